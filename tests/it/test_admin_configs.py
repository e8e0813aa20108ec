"""Configs and partitions that change while a broker serves: librdkafka's AdminClient and Apache Kafka's own commands."""

import re
import time
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    ResourceType,
)
from strata_lab import apache, tiering, traffic, waiting
from strata_lab.apache import TOOLS
from strata_lab.broker import Broker, Strata

SET, DELETE = AlterConfigOpType.SET, AlterConfigOpType.DELETE
CONFIGS = "kafka.admin.ConfigCommand"


def admin(broker: Broker) -> AdminClient:
    return AdminClient(traffic.client(broker.bootstrap))


def alter(broker: Broker, kind: ResourceType, name: str, **changes: str | None) -> None:
    """Sets configs, or with None deletes them. An underscore stands for a dot."""
    entries = [
        ConfigEntry(key.replace("_", "."), value or "", incremental_operation=DELETE if value is None else SET)
        for key, value in changes.items()
    ]
    resource = ConfigResource(kind, name, incremental_configs=entries)
    client = admin(broker)
    [future] = client.incremental_alter_configs([resource]).values()
    future.result(60)


def describe(broker: Broker, kind: ResourceType, name: str) -> dict[str, ConfigEntry]:
    client = admin(broker)
    [future] = client.describe_configs([ConfigResource(kind, name)]).values()
    return future.result(60)


def grow(broker: Broker, topic: str, count: int) -> None:
    client = admin(broker)
    [future] = client.create_partitions([NewPartitions(topic, count)]).values()
    future.result(60)


def test_a_topics_configs_change_and_go_back(broker: Broker, topic: str) -> None:
    before = describe(broker, ResourceType.TOPIC, topic)["segment.ms"]
    alter(broker, ResourceType.TOPIC, topic, segment_ms="777000", compression_type="zstd")
    entry = describe(broker, ResourceType.TOPIC, topic)["segment.ms"]
    assert (entry.value, entry.source) == ("777000", ConfigSource.DYNAMIC_TOPIC_CONFIG.value)
    assert list(entry.synonyms)[:1] == ["segment.ms"]
    alter(broker, ResourceType.TOPIC, topic, segment_ms=None)
    entry = describe(broker, ResourceType.TOPIC, topic)["segment.ms"]
    assert (entry.value, entry.source) == (before.value, before.source)
    with pytest.raises(KafkaException, match="INVALID_CONFIG|Invalid value"):
        alter(broker, ResourceType.TOPIC, topic, segment_ms="soon")


def test_broker_configs_change_and_listeners_do_not(broker: Broker) -> None:
    [node] = admin(broker).list_topics(timeout=60).brokers
    alter(broker, ResourceType.BROKER, str(node), log_roll_ms="8640000")
    entry = describe(broker, ResourceType.BROKER, str(node))["log.roll.ms"]
    assert (entry.value, entry.source) == ("8640000", ConfigSource.DYNAMIC_BROKER_CONFIG.value)
    alter(broker, ResourceType.BROKER, str(node), log_roll_ms=None)
    assert describe(broker, ResourceType.BROKER, str(node))["log.roll.ms"].value is None
    with pytest.raises(KafkaException, match="Cannot update these configs dynamically"):
        alter(broker, ResourceType.BROKER, str(node), num_partitions="3")


def test_new_partitions_are_written_and_read(broker: Broker, topic: str) -> None:
    grow(broker, topic, 6)
    # A client may know the older number until its metadata is read again.
    waiting.until(lambda: len(admin(broker).list_topics(topic, 60).topics[topic].partitions) == 6, "six partitions", 60)
    traffic.produce(broker.bootstrap, topic, [{"value": b"%d" % n, "partition": n % 6} for n in range(60)])
    assert len(traffic.read_all(broker.bootstrap, topic, range(6))) == 60
    with pytest.raises(KafkaException, match="would not be an increase"):
        grow(broker, topic, 5)


@pytest.mark.java
def test_kafkas_commands_change_topics_and_brokers(broker: Broker, topic: str) -> None:
    def configs(*options: str) -> str:
        return apache.run(CONFIGS, "--bootstrap-server", broker.bootstrap, *options)

    of_topic = ["--entity-type", "topics", "--entity-name", topic]
    changed = configs("--alter", *of_topic, "--add-config", "retention.ms=3600000,cleanup.policy=[delete]")
    assert f"Completed updating config for topic {topic}" in changed
    described = configs("--describe", *of_topic)
    assert "retention.ms=3600000" in described and "DYNAMIC_TOPIC_CONFIG:retention.ms=3600000" in described, described
    configs("--alter", *of_topic, "--delete-config", "retention.ms")
    assert "retention.ms" not in configs("--describe", *of_topic)
    everything = configs("--describe", "--all", *of_topic)
    assert re.search(r"segment\.bytes=\d+ sensitive=false synonyms=\{", everything), everything
    default = ["--entity-type", "brokers", "--entity-default"]
    configs("--alter", *default, "--add-config", "message.max.bytes=2000000")
    assert "message.max.bytes=2000000" in configs("--describe", *default)
    described = configs("--describe", "--all", *of_topic)
    assert "max.message.bytes=2000000" in described and "DYNAMIC_DEFAULT_BROKER_CONFIG" in described, described
    configs("--alter", *default, "--delete-config", "message.max.bytes")
    assert "message.max.bytes" not in configs("--describe", *default)


@pytest.mark.java
def test_the_topic_command_adds_partitions(broker: Broker, topic: str) -> None:
    def topics(*options: str) -> str:
        return apache.run(f"{TOOLS}.TopicCommand", "--bootstrap-server", broker.bootstrap, *options)

    topics("--alter", "--topic", topic, "--partitions", "5")
    described = topics("--describe", "--topic", topic)
    assert re.search(r"PartitionCount:\s*5\b", described), described
    assert len(re.findall(r"Partition: \d+\s+Leader: \d+", described)) == 5, described


def test_a_shorter_retention_deletes_what_a_running_log_has(fresh, name: str) -> None:
    broker = fresh({"log.retention.check.interval.ms": "300"})
    broker.start()
    kept = {"retention.ms": "-1", "segment.bytes": str(1 << 20)}
    if isinstance(broker, Strata):
        kept["remote.storage.enable"] = "false"
    traffic.create_topic(broker.bootstrap, name, 1, kept)
    old = int(time.time() * 1000) - 3_600_000
    rows = [{"value": b"x" * 1000, "partition": 0, "timestamp": old} for _ in range(4000)]
    traffic.produce(broker.bootstrap, name, rows, {"batch.num.messages": 100})
    assert traffic.watermarks(broker.bootstrap, name, 0) == (0, 4000)
    alter(broker, ResourceType.TOPIC, name, retention_ms="60000")
    waiting.until(lambda: traffic.watermarks(broker.bootstrap, name, 0)[0] > 0, "old segments to go", 120, pause=0.2)


@pytest.mark.strata
def test_new_partitions_are_shipped(strata, name: str) -> None:
    broker = strata(tiering.EAGER)
    broker.start()
    traffic.create_topic(broker.bootstrap, name, 1)
    grow(broker, name, 3)
    traffic.produce(broker.bootstrap, name, [{"value": b"%d" % n, "partition": n % 3} for n in range(90)])
    places = tiering.wait_shipped(broker, name)
    assert [place["tiered_end"] for place in places] == [30, 30, 30]
    tiering.verify(broker)


@pytest.mark.strata
def test_a_topic_that_leaves_the_tier_keeps_what_is_local(strata, name: str, tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    broker = strata(tiering.EAGER | {"strata.tier.url": f"file://{bucket}"})
    broker.start()
    traffic.create_topic(broker.bootstrap, name, 1, tiering.COLD_TOPIC)
    rows = [{"value": b"%d " % n + b"payload " * 60, "partition": 0} for n in range(6000)]
    traffic.produce(broker.bootstrap, name, rows, {"batch.num.messages": 100})
    tiering.wait_shipped(broker, name)
    [place] = tiering.wait_cold(broker, name)
    with pytest.raises(KafkaException, match="remote.log.delete.on.disable"):
        alter(broker, ResourceType.TOPIC, name, remote_storage_enable="false")
    alter(broker, ResourceType.TOPIC, name, remote_storage_enable="false", remote_log_delete_on_disable="true")
    begins = waiting.until(lambda: traffic.watermarks(broker.bootstrap, name, 0)[0], "the log to begin locally", 60)
    assert begins >= place["local_start"]
    seen = traffic.read_all(broker.bootstrap, name, [0])
    assert [record.value for record in seen] == [row["value"] for row in rows[begins:]]

    def objects() -> list[Path]:
        """Names that were registered and not used are occupied by empty objects for a day."""
        return [path for path in bucket.rglob("*.log") if f"/{name}-" in str(path) and path.stat().st_size]

    waiting.until(lambda: not objects(), "the bucket to be empty of it", 180, pause=0.2)
    # The names that the archive registered are waited out, as those of a deleted topic are.
    with pytest.raises(KafkaException, match="still being deleted"):
        alter(broker, ResourceType.TOPIC, name, remote_storage_enable="true")
    broker.kill()
    broker.start()
    assert traffic.watermarks(broker.bootstrap, name, 0) == (begins, len(rows))
    seen = traffic.read_all(broker.bootstrap, name, [0])
    assert [record.value for record in seen] == [row["value"] for row in rows[begins:]]
