"""Offsets by time and by name over both tiers, asked by real clients and checked against what was produced."""

import random

import pytest
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from kafka import KafkaAdminClient
from kafka import TopicPartition as Partition
from strata_lab import tiering, traffic
from strata_lab.broker import Strata
from strata_lab.stores import LocalStack

pytestmark = pytest.mark.strata
FIRST = 10**12
EARLIEST_LOCAL, LATEST_TIERED = -4, -5


def rows(count: int, seed: int) -> list[dict]:
    """Timestamps go up on the whole, and here and there far back or ahead."""
    numbers = random.Random(seed)
    times = [FIRST + 10 * n + (numbers.randrange(-20_000, 20_000) if numbers.random() < 0.02 else 0) for n in range(count)]
    # Nothing that compression makes small: most of it has to leave the disk.
    return [{"value": b"%d " % n + numbers.randbytes(480), "partition": 0, "timestamp": at} for n, at in enumerate(times)]


def first_at(times: list[int], time: int, start: int) -> tuple[int, int]:
    found = next((offset for offset in range(start, len(times)) if times[offset] >= time), None)
    return (-1, -1) if found is None else (found, times[found])


def latest(times: list[int], start: int) -> tuple[int, int]:
    most = max(times[start:])
    return (times.index(most, start), most)


def ask(broker: Strata, topic: str, spec: OffsetSpec, isolation=IsolationLevel.READ_UNCOMMITTED) -> tuple[int, int]:
    admin = AdminClient(traffic.client(broker.bootstrap))
    [found] = admin.list_offsets({TopicPartition(topic, 0): spec}, isolation_level=isolation, request_timeout=60).values()
    result = found.result(60)
    return (result.offset, result.timestamp)


def by_number(broker: Strata, topic: str, spec: int) -> int:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    try:
        place = Partition(topic, 0)
        return admin.list_partition_offsets({place: spec})[place].offset
    finally:
        admin.close()


def check(broker: Strata, topic: str, times: list[int], start: int, seed: int) -> None:
    numbers = random.Random(seed)
    asked = [numbers.randrange(min(times) - 100, max(times) + 100) for _ in range(60)]
    asked += [0, min(times), max(times), max(times) + 1, times[start], times[-1]]
    for time in asked:
        assert ask(broker, topic, OffsetSpec.for_timestamp(time)) == first_at(times, time, start), f"time {time}"
    assert ask(broker, topic, OffsetSpec.max_timestamp()) == latest(times, start)
    for isolation in (IsolationLevel.READ_UNCOMMITTED, IsolationLevel.READ_COMMITTED):
        assert ask(broker, topic, OffsetSpec.earliest(), isolation)[0] == start
        assert ask(broker, topic, OffsetSpec.latest(), isolation)[0] == len(times)
    [place] = tiering.partitions(broker, topic)
    assert by_number(broker, topic, EARLIEST_LOCAL) == max(place["local_start"], start)
    assert by_number(broker, topic, LATEST_TIERED) == place["tiered_end"] - 1


def test_offsets_are_those_of_a_list_whatever_tier_they_are_in(strata, localstack: LocalStack, name: str) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    broker = strata(tiering.EAGER | localstack.settings("strata", name))
    broker.start()
    traffic.create_topic(broker.bootstrap, "timed", 1, tiering.COLD_TOPIC)
    sent = rows(9_000, seed)
    traffic.produce(broker.bootstrap, "timed", sent, {"batch.num.messages": 100, "compression.type": "lz4"})
    tiering.wait_shipped(broker, "timed")
    tiering.wait_cold(broker, "timed")
    times = [row["timestamp"] for row in sent]
    check(broker, "timed", times, 0, seed)
    admin = AdminClient(traffic.client(broker.bootstrap))
    [deleted] = admin.delete_records([TopicPartition("timed", 0, 3_333)]).values()
    assert deleted.result(60).low_watermark == 3_333
    check(broker, "timed", times, 3_333, seed + 1)
    broker.restart_after_kill()
    check(broker, "timed", times, 3_333, seed + 2)
    # The newest record of all is hot, then cold.
    ahead = {"value": b"ahead", "partition": 0, "timestamp": FIRST + 10**9}
    traffic.produce(broker.bootstrap, "timed", [ahead])
    times.append(ahead["timestamp"])
    assert ask(broker, "timed", OffsetSpec.max_timestamp()) == latest(times, 3_333)
    assert broker.stop() == 0
    tiering.verify(broker)
