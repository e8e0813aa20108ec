"""Disks that are full, with real file systems: writes are refused, reads go on, and space is all that it takes to go on."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from strata_attack import harness
from strata_attack.disks import Disk, NoDisk
from strata_lab import traffic, waiting
from strata_lab.broker import Strata

pytestmark = pytest.mark.strata
LOCAL = {"remote.storage.enable": "false", "segment.bytes": str(1 << 20)}
VALUE = b"payload " * 125
KAFKA_STORAGE_ERROR = 56


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Disk]]:
    made: list[Disk] = []

    def make(size_mib: int) -> Disk:
        try:
            made.append(Disk(tmp_path / f"disk-{len(made)}", size_mib))
        except NoDisk as why:
            pytest.skip(f"no disk of a limited size can be mounted here: {why}")
        return made[-1]

    yield make
    for one in made:
        one.close()


def broker_on(directories: list[Path], place: Path) -> Strata:
    settings = {"log.dirs": ",".join(map(str, directories)), "auto.create.topics.enable": "false"}
    return Strata(place, settings | {"offsets.topic.num.partitions": "1"})


def values(first: int, count: int) -> list[bytes]:
    return [b"%d " % n + VALUE for n in range(first, first + count)]


def send_once(bootstrap: str, topic: str, rows: list[bytes], partition: int = 0) -> tuple[list[int], list[KafkaError]]:
    """Without any retry: the numbers of what was stored, by offset, and what the others were refused with."""
    delivered = traffic.Delivered()
    settings = {"message.send.max.retries": 0, "batch.num.messages": 20, "message.timeout.ms": 5_000}
    producer = Producer(traffic.client(bootstrap) | settings)
    for row in rows:
        producer.produce(topic, row, partition=partition, on_delivery=delivered)
    assert producer.flush(20) == 0, "a full disk leaves requests unanswered"
    stored = sorted(delivered.messages, key=lambda message: message.offset())
    return numbers([message.value() for message in stored]), delivered.errors


def fill_until_refused(broker: Strata, topic: str, first: int) -> list[int]:
    """Writes until the disk is full; returns the numbers of what was stored, by offset."""
    stored: list[int] = []
    for start in range(first, first + 40_000, 500):
        accepted, errors = send_once(broker.bootstrap, topic, values(start, 500))
        stored += accepted
        if errors:
            codes = {error.code() for error in errors}
            assert codes == {KAFKA_STORAGE_ERROR}, f"a full disk is told as {sorted(map(str, errors))[:3]}"
            return stored
    raise AssertionError("the disk does not become full")


def whole(broker: Strata, topic: str, partition: int = 0) -> list[bytes]:
    return [record.value for record in traffic.read_all(broker.bootstrap, topic, [partition], {"check.crcs": True})]


def numbers(found: list[bytes]) -> list[int]:
    return [int(value.split(b" ", 1)[0]) for value in found]


def test_a_full_disk_refuses_writes_serves_reads_and_goes_on_when_there_is_space(disk, tmp_path: Path) -> None:
    small = disk(48)
    broker = broker_on([small.path / "data"], tmp_path / "broker")
    with broker:
        for topic in ("full", "waiting"):
            traffic.create_topic(broker.bootstrap, topic, config=LOCAL)
        traffic.produce(broker.bootstrap, "waiting", [{"value": value, "partition": 0} for value in values(0, 50)])
        traffic.produce(broker.bootstrap, "full", [{"value": value, "partition": 0} for value in values(0, 3_000)])
        with traffic.closing(Consumer(traffic.client(broker.bootstrap, group_id="steady"))) as consumer:
            consumer.commit(offsets=[TopicPartition("full", 0, 7)], asynchronous=False)
        small.fill(leave=3 << 20)
        stored = [*range(3_000), *fill_until_refused(broker, "full", 3_000)]

        # Reads go on, as do heads of the log, group look-ups and metadata; nothing that was refused is read.
        assert numbers(whole(broker, "full")) == stored
        with traffic.closing(Consumer(traffic.client(broker.bootstrap, group_id="steady"))) as consumer:
            (place,) = consumer.committed([TopicPartition("full", 0)], timeout=20)
            assert place.offset == 7
            assert "full" in consumer.list_topics(timeout=20).topics

        # An idempotent producer waits for the space, and is then stored exactly once.
        patient = Producer(traffic.client(broker.bootstrap, enable_idempotence=True, retry_backoff_ms=100))
        delivered = traffic.Delivered()
        for value in values(50, 1_000):
            patient.produce("waiting", value, partition=0, on_delivery=delivered)
        patient.flush(2)
        small.relieve()
        delivered.finish(patient, 1_000)
        assert numbers(whole(broker, "waiting")) == list(range(1_050))
        later = list(range(50_000, 50_500))
        accepted = send_once(broker.bootstrap, "full", values(50_000, 500))
        assert accepted == (later, []), "there is space, and writes are still refused"
        assert broker.starts == 1, "no restart was needed"

        broker.restart_after_kill()
        assert numbers(whole(broker, "full")) == stored + later
        assert numbers(whole(broker, "waiting")) == list(range(1_050))
        assert broker.stop() == 0
    assert not harness.loud(broker)


def test_topics_cannot_be_made_on_a_full_disk_but_again_when_there_is_space(disk, tmp_path: Path) -> None:
    small = disk(48)
    broker = broker_on([small.path / "data"], tmp_path / "broker")
    with broker:
        traffic.create_topic(broker.bootstrap, "before", config=LOCAL)
        traffic.produce(broker.bootstrap, "before", [{"value": value, "partition": 0} for value in values(0, 100)])
        small.fill(leave=0)
        try:
            traffic.create_topic(broker.bootstrap, "during", config=LOCAL)
        except KafkaException as refused:
            print(f"refused: {refused}")
        assert numbers(whole(broker, "before")) == list(range(100))
        small.relieve()
        traffic.create_topic(broker.bootstrap, "after", config=LOCAL)
        for topic, first in (("before", 100), ("after", 0)):
            rows = [{"value": value, "partition": 0} for value in values(first, 10)]
            traffic.produce(broker.bootstrap, topic, rows)
        assert numbers(whole(broker, "before")) == list(range(110))
        assert broker.starts == 1


def test_a_broker_starts_on_a_full_disk_and_serves_reads(disk, tmp_path: Path) -> None:
    small = disk(48)
    broker = broker_on([small.path / "data"], tmp_path / "broker")
    with broker:
        traffic.create_topic(broker.bootstrap, "full", config=LOCAL)
        traffic.produce(broker.bootstrap, "full", [{"value": value, "partition": 0} for value in values(0, 3_000)])
        small.fill(leave=1 << 20)
        stored = [*range(3_000), *fill_until_refused(broker, "full", 3_000)]
        small.fill(leave=0)
        broker.restart_after_kill()
        assert numbers(whole(broker, "full")) == stored
        small.relieve()

        def accepted() -> bool:
            return send_once(broker.bootstrap, "full", values(50_000, 1))[0] == [50_000]

        waiting.until(accepted, "writes to go on", 30)
        assert numbers(whole(broker, "full")) == [*stored, 50_000]


class TwoDirectories:
    """A broker with one directory on a good disk, which has the metadata too, and one on a disk that can fail."""

    def __init__(self, bad: Disk, tmp_path: Path):
        self.bad = bad
        self.good = tmp_path / "good"
        self.broker = broker_on([self.good, bad.path / "data"], tmp_path / "broker")

    def begin(self) -> None:
        traffic.create_topic(self.broker.bootstrap, "spread", 6, LOCAL | {"flush.messages": "1"})
        for partition in range(6):
            assert send_once(self.broker.bootstrap, "spread", values(0, 50), partition) == (list(range(50)), [])
        self.safe = [n for n in range(6) if (self.good / f"spread-{n}").exists()]
        self.lost = [n for n in range(6) if (self.bad.path / "data" / f"spread-{n}").exists()]
        assert sorted(self.safe + self.lost) == list(range(6)) and self.safe and self.lost, "both directories have some"
        self.stored = dict.fromkeys(self.safe, 50)

    def check_offline(self) -> None:
        """What lies in the bad directory is refused, what lies in the other is served."""
        for partition in self.lost:
            stored, errors = send_once(self.broker.bootstrap, "spread", values(50, 5), partition)
            codes = {error.code() for error in errors}
            assert not stored and codes <= {KAFKA_STORAGE_ERROR, KafkaError._MSG_TIMED_OUT}, f"{stored} stored, {errors[:2]}"
        for partition in self.safe:
            rows = values(self.stored[partition], 20)
            assert send_once(self.broker.bootstrap, "spread", rows, partition) == (numbers(rows), [])
            self.stored[partition] += 20
            assert numbers(whole(self.broker, "spread", partition)) == list(range(self.stored[partition]))


@pytest.fixture
def two(disk, tmp_path: Path) -> Iterator[TwoDirectories]:
    bad = disk(64)
    if not bad.can_fail:
        pytest.skip("no disk that can fail: loop devices are not allowed here")
    made = TwoDirectories(bad, tmp_path)
    yield made
    made.broker.close()


def test_a_directory_that_becomes_read_only_takes_its_own_partitions_offline_and_nothing_else(two: TwoDirectories) -> None:
    broker = two.broker.start()
    two.begin()
    two.bad.become_read_only()
    two.check_offline()
    traffic.create_topic(broker.bootstrap, "later", 2, LOCAL)
    assert send_once(broker.bootstrap, "later", values(0, 5), 1) == (list(range(5)), [])
    assert broker.starts == 1 and broker.child.running()

    broker.restart_after_kill()
    two.check_offline()
    broker.kill()
    two.bad.repair()
    broker.start()
    for partition in two.safe:
        assert numbers(whole(broker, "spread", partition)) == list(range(two.stored[partition]))
    for partition in two.lost:
        assert numbers(whole(broker, "spread", partition)) == list(range(50)), "what was acknowledged is back with its disk"
        assert send_once(broker.bootstrap, "spread", values(50, 5), partition) == (list(range(50, 55)), [])
    assert broker.stop() == 0


def test_a_sync_that_failed_is_final_for_its_directory(two: TwoDirectories) -> None:
    broker = two.broker.start()
    two.begin()
    two.bad.fail()
    partition, count, errors = two.lost[0], 50, []
    while not errors:
        assert count < 40_000, "the disk does not fail"
        stored, errors = send_once(broker.bootstrap, "spread", values(count, 200), partition)
        count += len(stored)
    # The kernel drops what it could not write and says so once: a later sync succeeds, and must not be believed.
    two.check_offline()
    assert broker.starts == 1 and broker.child.running()
