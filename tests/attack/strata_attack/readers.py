"""A consumer group that commits while the broker dies, and reading a whole topic as it is.

What a consumer has seen may never be taken back, and a commit that was acknowledged may never be forgotten.
"""

import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from strata_lab import traffic, waiting

from . import writers


class CommittingReader:
    """One member of a group in a thread: remembers all that it saw, and all commits that were acknowledged."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, group: str):
        self.topic = topic
        self.partitions = partitions
        self.settings = traffic.client(bootstrap, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest") | {
            "check.crcs": True,
            "session.timeout.ms": 10_000,
            "heartbeat.interval.ms": 500,
            "reconnect.backoff.ms": 10,
            "reconnect.backoff.max.ms": 100,
        }
        self.seen: dict[tuple[int, int], int] = {}
        self.committed: dict[int, int] = {}
        self.commits = 0
        self.failure = ""
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            with traffic.closing(Consumer(self.settings)) as consumer:
                consumer.subscribe([self.topic])
                while not self.ending.is_set():
                    self._commit(consumer, self._read(consumer))
        except BaseException as failure:  # noqa: BLE001 - `check` fails with it in the thread of the test
            self.failure = repr(failure)

    def _read(self, consumer: Consumer) -> dict[int, int]:
        """Reads some records; returns the next offset of each partition that had any."""
        positions: dict[int, int] = {}
        for message in consumer.consume(500, timeout=0.05):
            if message.error() is not None:
                code = message.error().code()
                assert code not in (KafkaError._BAD_MSG, KafkaError.OFFSET_OUT_OF_RANGE), str(message.error())
                continue
            place = (message.partition(), message.offset())
            number = writers.number_of(message.value())
            before = self.seen.setdefault(place, number)
            assert before == number, f"{place} was record {before} and is now {number}"
            positions[place[0]] = place[1] + 1
        return positions

    def _commit(self, consumer: Consumer, positions: dict[int, int]) -> None:
        if not positions:
            return
        wanted = [TopicPartition(self.topic, partition, offset) for partition, offset in positions.items()]
        try:
            answered = consumer.commit(offsets=wanted, asynchronous=False)
        except KafkaException:
            return  # not acknowledged: the broker died, or the group is being formed again
        for place in answered:
            if place.error is None:
                before = self.committed.get(place.partition, 0)
                assert place.offset >= before, f"the group went back from {before} to {place.offset}"
                self.committed[place.partition] = place.offset
                self.commits += 1

    def check_committed(self, acknowledged: dict[int, int]) -> None:
        """What the broker says now is not behind `acknowledged`, a copy of `committed` from before a restart."""
        assert not self.failure, self.failure
        with traffic.closing(Consumer(self.settings)) as asking:
            places = asking.committed([TopicPartition(self.topic, p) for p in range(self.partitions)], timeout=60)
        for place in places:
            due = acknowledged.get(place.partition, 0)
            assert place.error is None, str(place.error)
            now = max(place.offset, 0)
            assert now >= due, f"partition {place.partition}: commit {due} was acknowledged, the broker says {now}"

    def finish(self, ends: dict[int, int], seconds: float = 90.0) -> None:
        """Waits until the group has committed the end of every partition."""

        def done() -> bool:
            assert not self.failure, self.failure
            return all(self.committed.get(partition, 0) >= end for partition, end in ends.items())

        waiting.until(done, f"the group to commit {ends}; it is at {self.committed}", seconds, pause=0.1)
        self.ending.set()
        self.thread.join(60)
        assert not self.thread.is_alive(), "the consumer does not close"
        assert not self.failure, self.failure

    def check(self, stored: dict[tuple[int, int], int]) -> None:
        taken_back = [place for place, number in dict(self.seen).items() if stored.get(place) != number]
        assert not taken_back, f"{len(taken_back)} records were read once and are gone or changed, first {taken_back[:5]}"


def read_topic(bootstrap: str, topic: str, partitions: int, seconds: float = 120.0) -> dict[tuple[int, int], bytes]:
    """Everything from offset 0 to the end, by place in order of offset; fails on a gap."""
    settings = traffic.client(bootstrap, group_id="whole", enable_auto_commit=False, enable_partition_eof=True)
    found: dict[tuple[int, int], bytes] = {}
    due = dict.fromkeys(range(partitions), 0)
    with traffic.closing(Consumer(settings | {"auto.offset.reset": "error", "check.crcs": True})) as consumer:
        ends = {}
        for partition in range(partitions):
            low, ends[partition] = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=60)
            assert low == 0, f"{topic}-{partition} begins at {low}"
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
        deadline = time.monotonic() + seconds
        while any(due[partition] < end for partition, end in ends.items()):
            assert time.monotonic() < deadline, f"{topic} is read up to {due} of {ends} after {seconds:.0f} s"
            for message in consumer.consume(2_000, timeout=0.2):
                error = message.error()
                if error is not None:
                    if error.code() != KafkaError._PARTITION_EOF and error.code() not in traffic.TRANSPORT_ERRORS:
                        raise KafkaException(error)
                    continue
                partition, offset = message.partition(), message.offset()
                assert offset == due[partition], f"{topic}-{partition}: offset {offset} came where {due[partition]} was due"
                due[partition] = offset + 1
                found[partition, offset] = message.value()
    return found
