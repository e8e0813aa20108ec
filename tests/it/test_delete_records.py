"""DeleteRecords with real clients: what is deleted is gone in both tiers, and nothing brings it back."""

import json
import random

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from strata_lab import replay, tiering, traffic, waiting
from strata_lab.broker import Strata
from strata_lab.proxy import Proxy
from strata_lab.stores import LocalStack, Store

pytestmark = pytest.mark.strata
ROWS = 9_000
# How long the program keeps objects that no root names any more, and what a busy machine needs besides.
FREED_WITHIN = 180.0
OFFSET_END = -1


@pytest.fixture(params=["localstack", pytest.param("minio", marks=pytest.mark.minio)])
def store(request: pytest.FixtureRequest) -> Store:
    return request.getfixturevalue(request.param)


def rows(count: int) -> list[dict]:
    return [{"value": b"%d " % n + b"payload " * 60, "partition": 0, "timestamp": 10**12 + n} for n in range(count)]


def filled(broker: Strata, topic: str) -> list[dict]:
    """A topic most of which is in the bucket only."""
    broker.start()
    traffic.create_topic(broker.bootstrap, topic, 1, tiering.COLD_TOPIC)
    sent = rows(ROWS)
    traffic.produce(broker.bootstrap, topic, sent, {"batch.num.messages": 100})
    tiering.wait_shipped(broker, topic)
    tiering.wait_cold(broker, topic)
    return sent


def delete(broker: Strata, topic: str, offset: int, seconds: float = 60.0) -> int:
    """Deletes what is before the offset, and gives where the partition begins now."""
    admin = AdminClient(traffic.client(broker.bootstrap))
    place = TopicPartition(topic, 0, offset)
    [result] = admin.delete_records([place], request_timeout=seconds, operation_timeout=seconds).values()
    return result.result(seconds).low_watermark


def root(store: Store, name: str, topic: str) -> dict:
    """The root of partition 0 as it stands in the bucket."""
    [key] = [key for key in store.keys("strata", name) if f"/{topic}-" in key and key.endswith("/0/manifest.json")]
    body = store.client().get_object(Bucket="strata", Key=key)["Body"].read()
    return json.loads(body)


def objects(store: Store, name: str, topic: str) -> set[str]:
    return {key for key in store.keys("strata", name) if f"/{topic}-" in key and key.endswith(".log")}


def begins_at(broker: Strata, topic: str, start: int, sent: list[dict]) -> None:
    """Watermarks, records, and what is told of the offset before the start."""
    assert traffic.watermarks(broker.bootstrap, topic, 0) == (start, len(sent))
    seen = traffic.read_all(broker.bootstrap, topic, [0])
    assert [(record.offset, record.value) for record in seen] == [
        (offset, row["value"]) for offset, row in enumerate(sent) if offset >= start
    ]
    settings = traffic.client(broker.bootstrap, group_id="below", auto_offset_reset="error")
    with traffic.closing(Consumer(settings)) as consumer:
        consumer.assign([TopicPartition(topic, 0, start - 1)])
        message = waiting.until(lambda: consumer.poll(1.0), "an answer", 60)
        assert message.error() is not None and message.error().code() == KafkaError._AUTO_OFFSET_RESET


def test_what_is_deleted_is_gone_in_both_tiers_and_after_kill_9(strata, store: Store, name: str) -> None:
    broker = strata(tiering.EAGER | store.settings("strata", name))
    sent = filled(broker, "cut")
    before = objects(store, name, "cut")
    for start in (1_234, 5_001):
        assert delete(broker, "cut", start) == start
        assert root(store, name, "cut")["log_start"] == start, "the answer came before the root said it"
        begins_at(broker, "cut", start, sent)
        broker.restart_after_kill()
        begins_at(broker, "cut", start, sent)
        tiering.verify(broker)
    doomed = before - objects_from(store, name, "cut")
    assert doomed, f"none of {len(before)} objects lies below the start"
    waiting.until(lambda: not doomed & objects(store, name, "cut"), "cold objects to be freed", FREED_WITHIN, pause=1.0)
    begins_at(broker, "cut", 5_001, sent)
    assert broker.stop() == 0
    tiering.verify(broker)


def objects_from(store: Store, name: str, topic: str) -> set[str]:
    """Keys of the objects that hold what may still be read."""
    found = root(store, name, topic)
    names = {row[1] for row in found["entries"]} if found["entries"] else set()
    return {key for key in objects(store, name, topic) if any(key.endswith(str(one)) for one in names)}


def test_everything_up_to_the_end_can_be_deleted_hot_and_cold(strata, localstack: LocalStack, name: str) -> None:
    broker = strata(tiering.EAGER | localstack.settings("strata", name))
    sent = filled(broker, "all")
    assert delete(broker, "all", OFFSET_END) == len(sent)
    assert traffic.watermarks(broker.bootstrap, "all", 0) == (len(sent), len(sent))
    broker.restart_after_kill()
    assert traffic.watermarks(broker.bootstrap, "all", 0) == (len(sent), len(sent))
    more = [{"value": b"later %d" % n, "partition": 0} for n in range(500)]
    traffic.produce(broker.bootstrap, "all", more)
    tiering.wait_shipped(broker, "all")
    seen = traffic.read_all(broker.bootstrap, "all", [0])
    assert [record.value for record in seen] == [row["value"] for row in more]
    status, _ = replay.get(broker.http, "/v1/topics/all")
    assert status == 200
    assert broker.stop() == 0
    tiering.verify(broker)


def test_with_the_store_away_records_are_deleted_for_good_and_the_root_follows(
    strata, localstack: LocalStack, name: str
) -> None:
    with Proxy(localstack.port) as network:
        broker = strata(tiering.EAGER | localstack.settings("strata", name, endpoint=network.endpoint))
        broker.expected_complaints.append(r"WARN.*(store|tier|upload|cold|unreachable|shipping)")
        sent = filled(broker, "away")
        network.cut()
        assert delete(broker, "away", 4_000) == 4_000
        assert traffic.watermarks(broker.bootstrap, "away", 0) == (4_000, len(sent))
        broker.restart_after_kill()
        assert traffic.watermarks(broker.bootstrap, "away", 0) == (4_000, len(sent)), "a restart took it back"
        assert root(localstack, name, "away")["log_start"] == 0
        network.mend()
        waiting.until(
            lambda: root(localstack, name, "away")["log_start"] == 4_000, "the root to follow", 60, pause=0.2
        )
        begins_at(broker, "away", 4_000, sent)
        assert broker.stop() == 0
        tiering.verify(broker)


def test_deleting_while_others_produce_and_read_never_shows_a_gap(strata, localstack: LocalStack, name: str) -> None:
    broker = strata(tiering.EAGER | localstack.settings("strata", name))
    sent = filled(broker, "busy")
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    numbers, start = random.Random(seed), 0
    for _ in range(12):
        more = rows(200)
        sent += more
        traffic.produce(broker.bootstrap, "busy", more)
        start = numbers.randrange(start, len(sent))
        assert delete(broker, "busy", start) == start
        seen = traffic.read_all(broker.bootstrap, "busy", [0])
        assert [record.offset for record in seen] == list(range(start, len(sent)))
        assert [record.value for record in seen] == [row["value"] for row in sent[start:]]
    assert broker.stop() == 0
    tiering.verify(broker)


def test_errors_reach_the_client(strata) -> None:
    broker = strata()
    broker.start()
    traffic.create_topic(broker.bootstrap, "kept", 1, {"cleanup.policy": "compact"})
    traffic.create_topic(broker.bootstrap, "short")
    for topic, offset, code in (("kept", 0, KafkaError.POLICY_VIOLATION), ("short", 1, KafkaError.OFFSET_OUT_OF_RANGE)):
        with pytest.raises(KafkaException) as refused:
            delete(broker, topic, offset, 10.0)
        assert refused.value.args[0].code() == code, topic
