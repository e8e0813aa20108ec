"""Disks that are full, with real file systems: writes are refused, reads go on, and space is all that it takes to go on."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from strata_attack import harness
from strata_attack.disks import Disk, NoDisk
from strata_lab import traffic
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


def send_once(bootstrap: str, topic: str, rows: list[bytes], partition: int = 0) -> tuple[int, list[KafkaError]]:
    """Without any retry: how many were stored, and what the others were refused with."""
    delivered = traffic.Delivered()
    settings = {"message.send.max.retries": 0, "batch.num.messages": 20, "message.timeout.ms": 5_000}
    producer = Producer(traffic.client(bootstrap) | settings)
    for row in rows:
        producer.produce(topic, row, partition=partition, on_delivery=delivered)
    assert producer.flush(20) == 0, "a full disk leaves requests unanswered"
    return len(delivered.messages), delivered.errors


def fill_until_refused(broker: Strata, topic: str, first: int) -> tuple[int, list[bytes]]:
    """Writes until the disk is full; returns how many were stored, and the next values that were not."""
    stored = first
    while stored < first + 40_000:
        rows = values(stored, 500)
        count, errors = send_once(broker.bootstrap, topic, rows)
        stored += count
        if errors:
            codes = {error.code() for error in errors}
            assert codes == {KAFKA_STORAGE_ERROR}, f"a full disk is told as {sorted(map(str, errors))[:3]}"
            return stored, rows[count:]
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
        stored, _ = fill_until_refused(broker, "full", 3_000)

        # Reads go on, as do heads of the log, group look-ups and metadata; nothing that was refused is read.
        assert numbers(whole(broker, "full")) == list(range(stored))
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
        count, errors = send_once(broker.bootstrap, "full", values(stored, 500))
        assert (count, errors) == (500, []), "there is space, and writes are still refused"
        assert broker.starts == 1, "no restart was needed"

        broker.restart_after_kill()
        assert numbers(whole(broker, "full")) == list(range(stored + 500))
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
