// kafkajs as its documentation teaches it: producer with headers and gzip, batches, groups with eachMessage and
// eachBatch, manual commits, seek, pause and resume, and the admin client.
'use strict'

const assert = require('node:assert/strict')
const { CompressionTypes, ConfigResourceTypes, Kafka, logLevel, Partitioners, AssignerProtocol } = require('kafkajs')
const { version } = require('kafkajs/package.json')
const { run, settled, until, orders, Shelf, START_MS } = require('./capability')

const TOPIC = 'kafkajs-orders'
const GROUP = 'kafkajs-billing'
const COUNT = 1200
const PARTITIONS = 3

const kafka = new Kafka({
  clientId: 'strata-clients',
  brokers: [process.env.STRATA_CLIENTS_BOOTSTRAP ?? '127.0.0.1:9092'],
  logLevel: logLevel.NOTHING,
  retry: { retries: 5 },
})
const admin = kafka.admin()

async function withProducer(settings, use) {
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, ...settings })
  await producer.connect()
  try {
    return await use(producer)
  } finally {
    await producer.disconnect()
  }
}

// Runs a consumer of the group until `done` is true, and leaves the group.
async function withConsumer(groupId, settings, handlers, done) {
  const consumer = kafka.consumer({ groupId, sessionTimeout: 10_000, heartbeatInterval: 500, maxWaitTimeInMs: 200, ...settings })
  await consumer.connect()
  try {
    await consumer.subscribe({ topics: [TOPIC], fromBeginning: true })
    await consumer.run(typeof handlers === 'function' ? handlers(consumer) : handlers)
    return await done(consumer)
  } finally {
    await consumer.disconnect()
  }
}

const into = shelf => ({ eachMessage: async ({ partition, message }) => shelf.add(partition, message) })

async function createTopic() {
  await admin.connect()
  const made = await admin.createTopics({
    topics: [{ topic: TOPIC, numPartitions: PARTITIONS, configEntries: [{ name: 'max.message.bytes', value: '2000000' }] }],
  })
  assert.equal(made, true)
  assert.ok((await admin.listTopics()).includes(TOPIC))
  assert.equal(await admin.createTopics({ topics: [{ topic: TOPIC }] }), false, 'it was made twice')
}

async function produceWithHeaders() {
  await withProducer({}, async producer => {
    const told = await producer.send({ topic: TOPIC, acks: -1, messages: orders(300) })
    assert.ok(told.length >= 1 && told.every(one => one.errorCode === 0), JSON.stringify(told))
  })
}

async function produceWithGzip() {
  await withProducer({}, async producer => {
    await producer.send({ topic: TOPIC, compression: CompressionTypes.GZIP, messages: orders(300, 300) })
  })
}

async function produceABatch() {
  await withProducer({}, async producer => {
    await producer.sendBatch({
      compression: CompressionTypes.GZIP,
      topicMessages: [
        { topic: TOPIC, messages: orders(150, 600) },
        { topic: TOPIC, messages: orders(150, 750) },
      ],
    })
  })
}

async function produceIdempotently() {
  await withProducer({ idempotent: true, maxInFlightRequests: 1 }, async producer => {
    for (let first = 900; first < COUNT; first += 60) {
      await producer.send({ topic: TOPIC, messages: orders(60, first) })
    }
  })
  const ends = await admin.fetchTopicOffsets(TOPIC)
  assert.equal(ends.reduce((sum, one) => sum + Number(one.offset), 0), COUNT)
  await settled(TOPIC)
}

async function consumeEachMessage() {
  const shelf = new Shelf()
  await withConsumer(GROUP, {}, into(shelf), () => until(() => shelf.length >= COUNT, `${COUNT} records`))
  return shelf.check(COUNT)
}

async function offsetsOfTheGroupAfterARestart() {
  const shelf = new Shelf()
  const [committed] = await admin.fetchOffsets({ groupId: GROUP, topics: [TOPIC] })
  assert.equal(committed.partitions.reduce((sum, one) => sum + Number(one.offset), 0), COUNT)
  await withConsumer(GROUP, {}, into(shelf), async consumer => {
    await until(async () => (await consumer.describeGroup()).state === 'Stable', 'the group to be stable')
    await withProducer({}, producer => producer.send({ topic: TOPIC, messages: orders(30, COUNT) }))
    await until(() => shelf.length >= 30, 'the new records')
  })
  const numbers = shelf.records.map(record => record.number)
  assert.ok(numbers.length === 30 && numbers.every(number => number >= COUNT), 'old records came again')
}

async function consumeEachBatch() {
  const shelf = new Shelf()
  let batches = 0
  const eachBatch = async ({ batch, resolveOffset, heartbeat, isRunning, isStale }) => {
    assert.ok(Number(batch.highWatermark) > Number(batch.lastOffset()) && batch.offsetLag() !== undefined)
    batches += 1
    for (const message of batch.messages) {
      if (!isRunning() || isStale()) return
      shelf.add(batch.partition, message)
      resolveOffset(message.offset)
    }
    await heartbeat()
  }
  const handlers = { eachBatchAutoResolve: false, partitionsConsumedConcurrently: 3, eachBatch }
  await withConsumer('kafkajs-batches', {}, handlers, () => until(() => shelf.length >= COUNT + 30, 'all records'))
  shelf.check(COUNT + 30)
  assert.ok(batches >= PARTITIONS)
}

async function commitByHand() {
  const first = new Shelf()
  const handlers = consumer => ({
    autoCommit: false,
    eachMessage: async ({ topic, partition, message }) => {
      if (first.length >= 40) return
      first.add(partition, message)
      await consumer.commitOffsets([{ topic, partition, offset: String(Number(message.offset) + 1), metadata: 'by hand' }])
    },
  })
  await withConsumer('kafkajs-by-hand', {}, handlers, () => until(() => first.length >= 40, '40 records'))
  const [told] = await admin.fetchOffsets({ groupId: 'kafkajs-by-hand', topics: [TOPIC] })
  assert.ok(told.partitions.some(one => one.metadata === 'by hand'))
  const second = new Shelf()
  const rest = COUNT + 30 - 40
  await withConsumer('kafkajs-by-hand', {}, into(second), () => until(() => second.length >= rest, `${rest} records`))
  const all = new Shelf()
  all.records = [...first.records, ...second.records]
  return all.check(COUNT + 30)
}

async function seekBack() {
  const shelf = new Shelf()
  await withConsumer('kafkajs-seek', {}, into(shelf), async consumer => {
    await until(() => shelf.length >= COUNT + 30, 'all records')
    consumer.seek({ topic: TOPIC, partition: 1, offset: '17' })
    await until(() => shelf.of(1).some((record, n, all) => n > 0 && record.offset < all[n - 1].offset), 'the seek')
    const back = shelf.of(1).findIndex((record, n, all) => n > 0 && record.offset < all[n - 1].offset)
    assert.equal(shelf.of(1)[back].offset, 17)
  })
}

async function pauseAndResume() {
  const shelf = new Shelf()
  let paused = false
  const handlers = consumer => ({
    eachMessage: async ({ topic, partition, message }) => {
      shelf.add(partition, message)
      if (!paused && partition === 0) {
        paused = true
        consumer.pause([{ topic, partitions: [0] }])
      }
    },
  })
  await withConsumer('kafkajs-pause', {}, handlers, async consumer => {
    const others = async () => {
      const ends = await admin.fetchTopicOffsets(TOPIC)
      const wanted = ends.filter(one => one.partition !== 0).reduce((sum, one) => sum + Number(one.offset), 0)
      return paused && shelf.of(1).length + shelf.of(2).length >= wanted
    }
    await until(others, 'the other partitions')
    assert.deepEqual(consumer.paused(), [{ topic: TOPIC, partitions: [0] }])
    const before = shelf.of(0).length
    assert.ok(before >= 1 && shelf.length < COUNT + 30)
    consumer.resume([{ topic: TOPIC, partitions: [0] }])
    await until(() => shelf.length >= COUNT + 30, 'the rest')
  })
  return shelf.check(COUNT + 30)
}

async function twoMembers() {
  const owned = new Map()
  const watch = (name, consumer) =>
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => owned.set(name, payload.memberAssignment[TOPIC] ?? []))
  const members = await Promise.all(
    ['a', 'b'].map(async name => {
      const consumer = kafka.consumer({ groupId: 'kafkajs-share', sessionTimeout: 10_000, heartbeatInterval: 200, maxWaitTimeInMs: 200 })
      watch(name, consumer)
      await consumer.connect()
      await consumer.subscribe({ topic: TOPIC, fromBeginning: true })
      await consumer.run({ eachMessage: async () => {} })
      return consumer
    })
  )
  try {
    const shared = () => {
      const all = [...owned.values()].flat().sort()
      return owned.size === 2 && all.join() === '0,1,2' && [...owned.values()].every(list => list.length > 0)
    }
    await until(shared, 'two members to share the partitions')
    await members.pop().disconnect()
    await until(() => owned.get('a').length === PARTITIONS || owned.get('b').length === PARTITIONS, 'the other to take over')
  } finally {
    await Promise.all(members.map(member => member.disconnect()))
  }
}

async function describeClusterAndTopics() {
  const cluster = await admin.describeCluster()
  assert.ok(cluster.clusterId && cluster.brokers.length === 1 && cluster.controller !== null, JSON.stringify(cluster))
  const { topics } = await admin.fetchTopicMetadata({ topics: [TOPIC] })
  assert.equal(topics[0].partitions.length, PARTITIONS)
  assert.ok(topics[0].partitions.every(one => one.leader === cluster.brokers[0].nodeId && one.isr.length === 1))
}

async function describeAndAlterConfigs() {
  const resource = { type: ConfigResourceTypes.TOPIC, name: TOPIC }
  const read = async name => {
    const told = await admin.describeConfigs({ includeSynonyms: true, resources: [resource] })
    return told.resources[0].configEntries.find(entry => entry.configName === name)
  }
  assert.equal((await read('max.message.bytes')).configValue, '2000000')
  const configEntries = [
    { name: 'max.message.bytes', value: '2000000' },
    { name: 'retention.ms', value: '864000000' },
  ]
  await admin.alterConfigs({ validateOnly: false, resources: [{ ...resource, configEntries }] })
  const found = await read('retention.ms')
  assert.ok(found.configValue === '864000000' && found.isDefault === false && found.configSource === 1, JSON.stringify(found))
}

async function listAndDescribeGroups() {
  const { groups } = await admin.listGroups()
  assert.ok(groups.some(one => one.groupId === GROUP && one.protocolType === 'consumer'), JSON.stringify(groups))
  await withConsumer('kafkajs-described', {}, into(new Shelf()), async () => {
    const described = async () => (await admin.describeGroups(['kafkajs-described'])).groups[0]
    const group = await until(async () => ((await described()).state === 'Stable' ? described() : null), 'the group')
    assert.equal(group.protocol, 'RoundRobinAssigner')
    const { assignment } = AssignerProtocol.MemberAssignment.decode(group.members[0].memberAssignment)
    assert.deepEqual([...assignment[TOPIC]].sort(), [0, 1, 2])
  })
}

async function setAndResetOffsets() {
  const partitions = [{ partition: 0, offset: '5' }]
  await admin.setOffsets({ groupId: GROUP, topic: TOPIC, partitions })
  const read = async () => (await admin.fetchOffsets({ groupId: GROUP, topics: [TOPIC] }))[0].partitions
  assert.equal((await read()).find(one => one.partition === 0).offset, '5')
  await admin.resetOffsets({ groupId: GROUP, topic: TOPIC, earliest: true })
  const [{ partitions: resolved }] = await admin.fetchOffsets({ groupId: GROUP, topics: [TOPIC], resolveOffsets: true })
  assert.deepEqual(resolved.map(one => one.offset), ['0', '0', '0'])
}

async function offsetsByTime() {
  const found = await admin.fetchTopicOffsetsByTimestamp(TOPIC, START_MS + 600)
  const shelf = new Shelf()
  await withConsumer('kafkajs-times', {}, into(shelf), () => until(() => shelf.length >= COUNT + 30, 'all records'))
  for (const { partition, offset } of found) {
    const first = shelf.of(partition).find(record => record.number >= 600)
    assert.equal(Number(offset), first.offset, `partition ${partition}`)
  }
}

async function deleteGroups() {
  const groupIds = ['kafkajs-seek', 'kafkajs-pause']
  const told = await admin.deleteGroups(groupIds)
  assert.ok(told.every(one => one.errorCode === undefined || one.errorCode === 0), JSON.stringify(told))
  const { groups } = await admin.listGroups()
  assert.ok(!groups.some(one => groupIds.includes(one.groupId)))
}

async function deleteRecords() {
  await admin.deleteTopicRecords({ topic: TOPIC, partitions: [{ partition: 0, offset: '50' }] })
  const [told] = (await admin.fetchTopicOffsets(TOPIC)).filter(one => one.partition === 0)
  assert.equal(told.low, '50')
  const shelf = new Shelf()
  const left = COUNT + 30 - 50
  await withConsumer('kafkajs-deleted', {}, into(shelf), () => until(() => shelf.length >= left, `${left} records`))
  shelf.checkOrder()
  assert.equal(shelf.of(0)[0].offset, 50)
}

async function createPartitions() {
  await admin.createPartitions({ topicPartitions: [{ topic: TOPIC, count: PARTITIONS + 1 }] })
  const { topics } = await admin.fetchTopicMetadata({ topics: [TOPIC] })
  assert.equal(topics[0].partitions.length, PARTITIONS + 1)
}

async function deleteTopic() {
  await admin.deleteTopics({ topics: [TOPIC] })
  await until(async () => !(await admin.listTopics()).includes(TOPIC), 'the topic to be gone')
  await admin.disconnect()
}

run('kafkajs', version, [
  ['create topic', 'admin.createTopics with a config, listTopics; a second time it answers false', createTopic],
  ['produce with headers', 'producer.send of keyed messages with headers and timestamps', produceWithHeaders],
  ['produce with gzip', 'producer.send with CompressionTypes.GZIP', produceWithGzip],
  ['produce a batch', 'producer.sendBatch', produceABatch],
  ['produce idempotently', 'an idempotent producer, and admin.fetchTopicOffsets counts every record once', produceIdempotently],
  ['group with eachMessage', 'a group reads every record once, in order, with key, headers and timestamp', consumeEachMessage],
  ['group after a restart', 'fetchOffsets shows the commits; the group that comes back reads only what is new', offsetsOfTheGroupAfterARestart],
  ['group with eachBatch', 'resolveOffset and heartbeat, three partitions at once', consumeEachBatch],
  ['commit by hand', 'commitOffsets with metadata after each record; the next member reads the rest', commitByHand],
  ['seek', 'consumer.seek to an offset goes on there', seekBack],
  ['pause and resume', 'a paused partition stands still while the others go on, and then gives the rest', pauseAndResume],
  ['two members', 'two members share the partitions; when one leaves the other has all', twoMembers],
  ['describe cluster and topics', 'describeCluster and fetchTopicMetadata: leaders and in-sync replicas', describeClusterAndTopics],
  ['describe and alter configs', 'describeConfigs with synonyms; alterConfigs replaces what was set', describeAndAlterConfigs],
  ['list and describe groups', 'listGroups; describeGroups with the assignment of a live member', listAndDescribeGroups],
  ['set and reset offsets', 'setOffsets and resetOffsets of a group at rest', setAndResetOffsets],
  ['offsets by time', 'fetchTopicOffsetsByTimestamp finds the first record not older', offsetsByTime],
  ['delete groups', 'deleteGroups removes them from the list', deleteGroups],
  ['delete records', 'deleteTopicRecords moves the start; a consumer from the beginning starts there', deleteRecords],
  ['create partitions', 'createPartitions grows the topic', createPartitions],
  ['delete topic', 'deleteTopics removes it from the list', deleteTopic],
]).then(() => process.exit(0))
