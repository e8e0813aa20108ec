"""Producing and consuming with librdkafka, and the ledger of what was acknowledged.

`Ledger` is the oracle of every crash test: it holds what the broker said it has, and `check` compares that with what a
fresh consumer reads from the beginning.
"""

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

CLIENT_SECONDS = 60.0
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


@dataclass(frozen=True)
class Seen:
    """One record as a consumer saw it."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple = ()

    @staticmethod
    def of(message: Message) -> "Seen":
        headers = tuple(message.headers() or ())
        return Seen(message.partition(), message.offset(), message.timestamp()[1], message.key(), message.value(), headers)


def client(bootstrap: str, **settings: object) -> dict:
    """Settings of a client: an underscore stands for a dot. What it would log is in what its calls return."""
    return {"bootstrap.servers": bootstrap, "log_level": 0} | {key.replace("_", "."): v for key, v in settings.items()}


def create_topic(bootstrap: str, name: str, partitions: int = 1, config: dict[str, str] | None = None) -> str:
    admin = AdminClient(client(bootstrap))  # a name of its own: a collected client fails what it was asked
    new = NewTopic(name, num_partitions=partitions, replication_factor=1, config=config or {})
    admin.create_topics([new])[name].result(CLIENT_SECONDS)
    return name


def delete_topic(bootstrap: str, name: str) -> None:
    admin = AdminClient(client(bootstrap))
    admin.delete_topics([name])[name].result(CLIENT_SECONDS)


def watermarks(bootstrap: str, topic: str, partition: int) -> tuple[int, int]:
    with closing(Consumer(client(bootstrap, group_id="watermarks"))) as consumer:
        return consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=CLIENT_SECONDS)


@contextlib.contextmanager
def closing(consumer: Consumer):
    try:
        yield consumer
    finally:
        consumer.close()


class Delivered:
    """Collects delivery reports; `finish` fails when any record was not acknowledged."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.errors: list[KafkaError] = []

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.messages.append(message)
        else:
            self.errors.append(error)

    def finish(self, producer: Producer, expected: int, seconds: float = CLIENT_SECONDS) -> list[Message]:
        left = producer.flush(seconds)
        assert left == 0, f"{left} records are still not answered after {seconds:.0f} s"
        assert not self.errors, f"{len(self.errors)} records were refused, first: {self.errors[0]}"
        assert len(self.messages) == expected, f"{expected} records sent, {len(self.messages)} acknowledged"
        return self.messages


def produce(
    bootstrap: str,
    topic: str,
    records: Iterable[dict],
    settings: dict | None = None,
    seconds: float = CLIENT_SECONDS,
) -> list[Message]:
    """Produces records (the arguments of `Producer.produce`), waits for all acknowledgements."""
    producer = Producer(client(bootstrap, linger_ms=5) | (settings or {}))
    delivered, count = Delivered(), 0
    for record in records:
        while True:
            try:
                producer.produce(topic, on_delivery=delivered, **record)
                break
            except BufferError:
                producer.poll(0.1)
        count += 1
        if count % 1000 == 0:
            producer.poll(0)
    return delivered.finish(producer, count, seconds)


def read_all(
    bootstrap: str,
    topic: str,
    partitions: Iterable[int],
    settings: dict | None = None,
    seconds: float = CLIENT_SECONDS,
    each: Callable[[Seen], None] | None = None,
) -> list[Seen]:
    """Reads every partition from its start to its high watermark, with no group."""
    consumer = Consumer(
        client(bootstrap, group_id="read-all", enable_auto_commit=False, enable_partition_eof=True)
        | {"auto.offset.reset": "error"}
        | (settings or {})
    )
    with closing(consumer):
        starts, left = [], set()
        for partition in partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=seconds)
            starts.append(TopicPartition(topic, partition, low))
            if high > low:
                left.add(partition)
        consumer.assign(starts)
        return _poll_to_ends(consumer, left, seconds, each)


def _poll_to_ends(consumer: Consumer, left: set[int], seconds: float, each: Callable[[Seen], None] | None) -> list[Seen]:
    seen: list[Seen] = []
    deadline = time.monotonic() + seconds
    while left:
        assert time.monotonic() < deadline, f"after {seconds:.0f} s partitions {sorted(left)} are not read to their end"
        for message in consumer.consume(1000, timeout=0.2):
            error = message.error()
            if error is None:
                seen.append(Seen.of(message))
                if each is not None:
                    each(seen[-1])
            elif error.code() == KafkaError._PARTITION_EOF:
                left.discard(message.partition())
            elif not error.retriable() and error.code() not in TRANSPORT_ERRORS:
                raise KafkaException(error)
    return seen


# What a client reports while a broker is away, and comes over by itself.
TRANSPORT_ERRORS = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._RESOLVE}


def check_gapless(seen: Iterable[Seen]) -> dict[int, list[Seen]]:
    """In order, nothing twice, no gap: per partition."""
    partitions: dict[int, list[Seen]] = defaultdict(list)
    for record in seen:
        partitions[record.partition].append(record)
    for number, records in partitions.items():
        offsets = [record.offset for record in records]
        expected = list(range(offsets[0], offsets[0] + len(offsets)))
        first_wrong = next((pair for pair in zip(offsets, expected, strict=True) if pair[0] != pair[1]), None)
        assert first_wrong is None, f"partition {number}: offset {first_wrong[0]} came where {first_wrong[1]} was due"
    return partitions


@dataclass
class Ledger:
    """What was sent and what was acknowledged, by value. Values are unique, so that a doubled record shows."""

    sent: set[bytes] = field(default_factory=set)
    acknowledged: dict[tuple[int, int], bytes] = field(default_factory=dict)
    acknowledged_somewhere: set[bytes] = field(default_factory=set)
    refused: int = 0

    def note(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.refused += 1
            return
        if message.offset() < 0:  # a retry whose original the broker knew, but no longer where it stands
            self.acknowledged_somewhere.add(message.value())
            return
        place = (message.partition(), message.offset())
        known = self.acknowledged.setdefault(place, message.value())
        assert known == message.value(), f"offset {place} was acknowledged for {known!r} and for {message.value()!r}"

    def check(self, seen: list[Seen]) -> None:
        """Every acknowledged record stands at its offset, none is there twice, none was never sent."""
        partitions = check_gapless(seen)
        stored = {(record.partition, record.offset): record.value for rows in partitions.values() for record in rows}
        missing = [place for place, value in self.acknowledged.items() if stored.get(place) != value]
        assert not missing, f"{len(missing)} acknowledged records are missing or changed, first: {sorted(missing)[:5]}"
        values = [record.value for record in seen]
        missing = self.acknowledged_somewhere - set(values)
        assert not missing, f"{len(missing)} acknowledged records are missing, first: {sorted(missing)[:3]}"
        doubled = len(values) - len(set(values))
        assert doubled == 0, f"{doubled} records are stored twice"
        strangers = set(values) - self.sent
        assert not strangers, f"{len(strangers)} records were never sent, first: {sorted(strangers)[:3]}"


class Load:
    """An idempotent producer that keeps producing in a thread until `finish`, through kills and restarts."""

    def __init__(self, bootstrap: str, topic: str, rate: int = 4000, settings: dict | None = None, padding: int = 200):
        self.topic = topic
        self.rate = rate
        self.padding = b"." * padding
        self.ledger = Ledger()
        self.failure = ""
        self.ending = threading.Event()
        self.producer = Producer(
            {
                **client(bootstrap),
                "enable.idempotence": True,
                "linger.ms": 5,
                "message.timeout.ms": 300_000,
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 200,
                "retry.backoff.ms": 50,
                "socket.timeout.ms": 10_000,
            }
            | (settings or {})
        )
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> "Load":
        self.thread.start()
        return self

    @property
    def acknowledged(self) -> int:
        return len(self.ledger.acknowledged) + len(self.ledger.acknowledged_somewhere)

    def _run(self) -> None:
        try:
            number = 0
            while not self.ending.is_set():
                for _ in range(max(1, self.rate // 100)):
                    value = b"%d %b" % (number, self.padding)
                    self.producer.produce(self.topic, value, key=b"%d" % (number % 97), on_delivery=self.ledger.note)
                    self.ledger.sent.add(value)
                    number += 1
                self.producer.poll(0.01)
                # A broker that is away must not let the queue grow without end.
                while len(self.producer) > 20_000 and not self.ending.is_set():
                    self.producer.poll(0.05)
        except BaseException as failure:  # noqa: BLE001 - `finish` fails with it in the test's thread
            self.failure = repr(failure)

    def finish(self, seconds: float = 120.0) -> Ledger:
        """Ends the load, waits for the last acknowledgements, and fails when any record was refused."""
        self.ending.set()
        self.thread.join(seconds)
        assert not self.failure, self.failure
        left = self.producer.flush(seconds)
        assert left == 0, f"{left} records are not answered {seconds:.0f} s after the last kill"
        assert self.ledger.refused == 0, f"{self.ledger.refused} records were refused"
        return self.ledger
