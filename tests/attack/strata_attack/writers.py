"""Idempotent producers whose records can be recognised, and the account of what the broker acknowledged.

Each record carries a number. A writer gives each partition rising numbers, so a log in which the numbers of a writer
rise from offset to offset has no record of it twice and none out of order, per partition and therefore per key.

`LoyalWriter` goes on through every restart and must get every record acknowledged. `FickleWriter` gives up at each kill
what is not acknowledged, and goes on with a new producer id: its lost records may be there, but at most once.
`JavaWriter` is Apache Kafka's own producer in its own process.
"""

import json
import random
import threading
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer
from strata_lab import apache, traffic
from strata_lab.children import Child

KEYS = 97
NOISE = random.Random(4).randbytes(4 << 20)
FICKLE_NUMBERS = 1 << 40


def value(number: int) -> bytes:
    """The bytes of a record: its number, and noise of a length that the number says."""
    length = 100 + number * 7919 % 1900
    start = number * 104_729 % (len(NOISE) - 2_000)  # far from its neighbours, so that no codec makes it small
    return b"%d:" % number + NOISE[start : start + length]


def number_of(stored: bytes) -> int:
    """The number in a value; fails when the value is not exactly what was sent under that number."""
    digits = stored.partition(b":")[0]
    assert digits.isdigit() and value(int(digits)) == stored, f"a record was never sent like this: {stored[:60]!r}"
    return int(digits)


class Account:
    """What one writer sent and what was acknowledged to it, by number."""

    def __init__(self, first: int):
        self.first = first
        self.next = first
        self.acknowledged: dict[tuple[int, int], int] = {}
        self.acknowledged_somewhere: set[int] = set()
        self.abandoned = 0
        self.failure = ""

    def note(self, error: KafkaError | None, message: Message) -> None:
        number = number_of(message.value())
        if error is not None:
            self.abandoned += 1
            if error.code() not in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
                self.failure = self.failure or f"record {number} was refused: {error}"
        elif message.offset() < 0:  # a retry of what the broker has, whose offset it no longer knows
            self.acknowledged_somewhere.add(number)
        else:
            place = (message.partition(), message.offset())
            known = self.acknowledged.setdefault(place, number)
            if known != number:
                self.failure = f"offset {place} was acknowledged for record {known} and for {number}"

    def count(self) -> int:
        return len(self.acknowledged) + len(self.acknowledged_somewhere)

    def check(self, stored: dict[tuple[int, int], int], everything: bool) -> None:
        """`stored` is number by place, in order of offset. `everything`: all that was sent has to be there."""
        missing = [(place, n) for place, n in self.acknowledged.items() if stored.get(place) != n]
        assert not missing, f"{len(missing)} acknowledged records are missing or changed, first {sorted(missing)[:5]}"
        mine = [(place, n) for place, n in stored.items() if self.first <= n < self.first + FICKLE_NUMBERS]
        last: dict[int, int] = {}
        for (partition, offset), number in mine:
            before = last.get(partition, -1)
            assert number > before, f"partition {partition}, offset {offset}: record {number} stands after {before}"
            last[partition] = number
        numbers = {number for _, number in mine}
        lost = self.acknowledged_somewhere - numbers
        assert not lost, f"{len(lost)} acknowledged records are missing, first {sorted(lost)[:5]}"
        assert all(number < self.next for number in numbers), "a record is stored that was not sent yet"
        if everything:
            assert len(numbers) == self.next - self.first, f"{self.next - self.first - len(numbers)} records are missing"


class LoyalWriter:
    """One idempotent producer with acks=all, in a thread, through everything that happens until `finish`."""

    everything = True

    def __init__(self, bootstrap: str, topic: str, partitions: int, rate: int, codec: str, first: int = 0):
        self.topic = topic
        self.partitions = partitions
        self.rate = rate
        self.account = Account(first)
        self.settings = traffic.client(bootstrap) | {
            "enable.idempotence": True,
            "compression.type": codec,
            "linger.ms": 5,
            "message.timeout.ms": 300_000,
            "reconnect.backoff.ms": 10,
            "reconnect.backoff.max.ms": 100,
            "retry.backoff.ms": 20,
            "socket.timeout.ms": 10_000,
        }
        self.producer = Producer(self.settings)
        self.lock = threading.Lock()
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            while not self.ending.is_set():
                with self.lock:
                    if len(self.producer) < 5_000:  # a broker that is away must not let the queue grow without end
                        self._send(max(1, self.rate // 50))
                    self.producer.poll(0.01)
                self.ending.wait(0.01)
        except BaseException as failure:  # noqa: BLE001 - `finish` fails with it in the thread of the test
            self.account.failure = repr(failure)

    def _send(self, count: int) -> None:
        for _ in range(count):
            number = self.account.next
            key = number % KEYS
            place = key % self.partitions
            self.producer.produce(self.topic, value(number), b"%d" % key, place, on_delivery=self.account.note)
            self.account.next = number + 1

    def broker_is_dead(self) -> None:
        """Called between a kill and the next start."""

    def finish(self, seconds: float = 120.0) -> None:
        self.ending.set()
        self.thread.join(seconds)
        left = self.producer.flush(seconds)
        assert not self.account.failure, self.account.failure
        assert left == 0, f"{left} records are not answered {seconds:.0f} s after the last kill"

    def check(self, stored: dict[tuple[int, int], int]) -> None:
        self.account.check(stored, self.everything)


class FickleWriter(LoyalWriter):
    """A writer that gives up what is not acknowledged when the broker dies, as an application does that dies too."""

    everything = False

    def __init__(self, bootstrap: str, topic: str, partitions: int, rate: int, codec: str):
        super().__init__(bootstrap, topic, partitions, rate, codec, FICKLE_NUMBERS)

    def broker_is_dead(self) -> None:
        with self.lock:
            # Nothing that is purged here can reach the broker later: the connection died with it.
            self.producer.purge(in_queue=True, in_flight=True, blocking=True)
            self.producer.flush(10)
            self.producer = Producer(self.settings)


class JavaWriter:
    """Apache Kafka's VerifiableProducer, idempotent: it prints one line of JSON for each acknowledgement."""

    PROPERTIES = (
        "enable.idempotence=true\nacks=all\nretries=2147483647\nlinger.ms=5\ndelivery.timeout.ms=300000\n"
        "reconnect.backoff.ms=10\nreconnect.backoff.max.ms=100\nretry.backoff.ms=20\nrequest.timeout.ms=10000\n"
    )

    def __init__(self, bootstrap: str, topic: str, rate: int, directory: Path):
        self.topic = topic
        config = directory / "java.properties"
        config.write_text(self.PROPERTIES)
        options = ["--bootstrap-server", bootstrap, "--topic", topic, "--throughput", str(rate)]
        command = apache.command(f"{apache.TOOLS}.VerifiableProducer", *options, "--command-config", str(config))
        self.child = Child("VerifiableProducer", command, directory / "java.log").start()

    def finish(self, seconds: float = 120.0) -> None:
        assert self.child.running(), f"the Java producer ended by itself:\n{self.child.tail()}"
        self.child.stop(seconds)

    def check(self, stored: dict[tuple[int, int], bytes]) -> None:
        lines = (json.loads(line) for line in self.child.output().splitlines() if line.startswith("{"))
        events = [line for line in lines if line.get("name", "").startswith("producer_send")]
        failed = [event for event in events if event["name"] != "producer_send_success"]
        assert not failed, f"{len(failed)} records of the Java producer were refused, first: {failed[0]}"
        told = {(event["partition"], event["offset"]): event["value"].encode() for event in events}
        # An offset of -1 is a retry whose original the broker knew, but no longer where it stands.
        somewhere = {text for (_, offset), text in told.items() if offset < 0}
        missing = [place for place, text in told.items() if place[1] >= 0 and stored.get(place) != text]
        assert not missing, f"{len(missing)} acknowledged records of the Java producer are missing, first {missing[:5]}"
        last: dict[int, int] = {}
        for (partition, offset), text in stored.items():
            before = last.get(partition, -1)
            assert int(text) > before, f"Java, partition {partition}, offset {offset}: {text} stands after {before}"
            last[partition] = int(text)
        assert somewhere <= set(stored.values()), "acknowledged records of the Java producer are missing"
        assert len(events) == len(stored), f"{len(events)} records were acknowledged, {len(stored)} are stored"
