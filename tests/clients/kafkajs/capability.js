// How a program tells what it saw: the plan, then one line of JSON per capability (name, ok, detail).
// `settled(topic)` between writing and reading is where the runner makes a topic cold: it asks on standard output and
// waits for the answer on standard input.
'use strict'

const assert = require('node:assert/strict')
const readline = require('node:readline')

const SECONDS = 30
const START_MS = Date.now() - 86_400_000

const tell = line => process.stdout.write(JSON.stringify(line) + '\n')
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]()

// Runs each capability, also after one that failed. A capability is [name, what is checked, function].
async function run(client, version, capabilities) {
  tell({ client, version, plan: capabilities.map(([name, what]) => ({ name, what })) })
  for (const [name, , check] of capabilities) {
    try {
      tell({ name, ok: true, detail: (await check()) ?? '' })
    } catch (failed) {
      const place = /program\.js:(\d+)/.exec(failed.stack ?? '')?.[1] ?? '?'
      tell({ name, ok: false, detail: `line ${place}: ${failed.name}: ${failed.message}` })
    }
  }
}

async function settled(topic) {
  tell({ settle: topic })
  const { value } = await lines.next()
  assert.equal(value, 'ok', `${topic} did not settle: ${value}`)
}

// Calls `probe` until it returns something true.
async function until(probe, what, seconds = SECONDS) {
  const deadline = Date.now() + seconds * 1000
  for (;;) {
    const value = await probe()
    if (value) return value
    assert.ok(Date.now() < deadline, `still waiting for ${what} after ${seconds} s`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

const order = number => ({
  key: `customer-${number % 11}`,
  value: JSON.stringify({ order: number, note: 'padding '.repeat(20) }),
  headers: { trace: `trace-${number}`, kind: 'order' },
  timestamp: String(START_MS + number),
})

const orders = (count, first = 0) => Array.from({ length: count }, (_, n) => order(first + n))

// What a consumer saw of a topic of orders. `check` fails unless it is exactly what was written, in order.
class Shelf {
  records = []

  add(partition, message) {
    const number = JSON.parse(message.value.toString()).order
    this.records.push({ partition, offset: Number(message.offset), number, message })
  }

  get length() {
    return this.records.length
  }

  of(partition) {
    return this.records.filter(record => record.partition === partition)
  }

  checkOrder() {
    const offsets = new Map()
    const customers = new Map()
    for (const { partition, offset, number, message } of this.records) {
      const wanted = order(number)
      assert.equal(offset, offsets.get(partition) ?? offset, `partition ${partition} has a gap`)
      offsets.set(partition, offset + 1)
      assert.equal(message.key.toString(), wanted.key)
      assert.equal(message.value.toString(), wanted.value)
      assert.equal(message.timestamp, wanted.timestamp)
      const headers = Object.fromEntries(Object.entries(message.headers).map(([key, value]) => [key, value.toString()]))
      assert.deepEqual(headers, wanted.headers)
      assert.ok((customers.get(wanted.key) ?? -1) < number, `order ${number} came late`)
      customers.set(wanted.key, number)
    }
  }

  check(count) {
    this.checkOrder()
    const numbers = this.records.map(record => record.number).sort((a, b) => a - b)
    assert.deepEqual(numbers, Array.from({ length: count }, (_, n) => n))
    const partitions = new Set(this.records.map(record => record.partition)).size
    return `${numbers.length} records of ${partitions} partitions in order, with keys and headers`
  }
}

module.exports = { run, settled, until, orders, Shelf, START_MS, SECONDS }
