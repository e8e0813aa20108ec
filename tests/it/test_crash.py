"""kill -9 under load: nothing acknowledged is missing or doubled, and the bucket has no object without a name."""

import os
import random

import pytest
from confluent_kafka import Consumer, TopicPartition
from strata_lab import tiering, traffic, waiting
from strata_lab.stores import LocalStack

pytestmark = pytest.mark.strata
PARTITIONS = 3
POINTS = ["after-put-before-swap", "after-swap-before-local-delete"]


def seeded() -> random.Random:
    seed = int(os.environ.get("STRATA_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"STRATA_TEST_SEED={seed}")
    return random.Random(seed)


def test_kills_at_random_moments_and_at_the_worst_lose_and_double_nothing(strata, localstack: LocalStack, name: str) -> None:
    rng = seeded()
    broker = strata(tiering.EAGER | localstack.settings("strata", name))
    broker.start()
    traffic.create_topic(broker.bootstrap, "crashed", PARTITIONS, tiering.COLD_TOPIC)
    load = traffic.Load(broker.bootstrap, "crashed", settings={"compression.type": "lz4"}, padding=400).start()
    for moment in ["random", POINTS[0], "random", POINTS[1], "random", POINTS[0], POINTS[1], "random"]:
        if moment == "random":
            more = load.acknowledged + rng.randrange(500, 6_000)
            waiting.until(lambda more=more: load.acknowledged >= more, f"{more} records acknowledged", 60)
            broker.restart_after_kill()
        else:
            broker.kill()
            broker.crash_point(moment)
            broker.launch()
            broker.wait_until_dead(60)
            broker.crash_point(None)
            broker.start()
    ledger = load.finish()
    tiering.wait_shipped(broker, "crashed", 120)
    ledger.check(traffic.read_all(broker.bootstrap, "crashed", range(PARTITIONS)))
    assert broker.stop() == 0
    tiering.verify(broker)
    # What is unnamed now would never be collected: verify fails on it.
    broker.start()
    ledger.check(traffic.read_all(broker.bootstrap, "crashed", range(PARTITIONS)))


def test_a_kill_while_a_group_commits_keeps_the_last_acknowledged_commit(fresh) -> None:
    broker = fresh().start()
    topic = traffic.create_topic(broker.bootstrap, "progress")
    traffic.produce(broker.bootstrap, topic, [{"value": b"%d" % n} for n in range(1000)])
    settings = traffic.client(broker.bootstrap, group_id="workers")
    for start in (0, 300, 600):
        with traffic.closing(Consumer(settings)) as consumer:
            for offset in range(start, start + 300):
                consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
            broker.restart_after_kill()
        with traffic.closing(Consumer(settings)) as consumer:
            (place,) = consumer.committed([TopicPartition(topic, 0)], timeout=60)
            assert place.offset == start + 299
