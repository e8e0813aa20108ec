"""Apache Kafka's own console, perf and admin tools against a running broker."""

import re

import pytest
from strata_lab import apache, traffic, waiting
from strata_lab.apache import TOOLS
from strata_lab.broker import Broker

pytestmark = pytest.mark.java


def console_producer(broker: Broker, topic: str, text: str, *options: str) -> None:
    main_class = f"{TOOLS}.ConsoleProducer"
    apache.run(main_class, "--bootstrap-server", broker.bootstrap, "--topic", topic, *options, given=text)


def console_consumer(broker: Broker, topic: str, count: int, *options: str) -> list[str]:
    limits = ["--max-messages", str(count), "--timeout-ms", "60000"]
    where = ["--bootstrap-server", broker.bootstrap, "--topic", topic, "--from-beginning"]
    return apache.run(f"{TOOLS}.consumer.ConsoleConsumer", *where, *limits, *options).splitlines()


@pytest.mark.parametrize("codec", traffic.CODECS)
def test_the_console_reads_what_the_console_wrote(broker: Broker, topic: str, codec: str) -> None:
    lines = [f"line {n} of {codec}" for n in range(200)]
    console_producer(broker, topic, "\n".join(lines) + "\n", "--compression-codec", codec)
    assert sorted(console_consumer(broker, topic, len(lines))) == sorted(lines)


def test_java_and_librdkafka_read_each_other(broker: Broker, topic: str) -> None:
    options = ["--reader-property", "parse.key=true", "--reader-property", "key.separator=:"]
    console_producer(broker, topic, "".join(f"k{n}:from java {n}\n" for n in range(50)), *options)
    traffic.produce(broker.bootstrap, topic, [{"key": b"k", "value": b"from c %d" % n} for n in range(50)])
    expected = {f"from java {n}" for n in range(50)} | {f"from c {n}" for n in range(50)}
    assert set(console_consumer(broker, topic, 100)) == expected
    assert {record.value.decode() for record in traffic.read_all(broker.bootstrap, topic, range(3))} == expected


def test_the_perf_tools_move_a_hundred_thousand_records(broker: Broker, name: str) -> None:
    traffic.create_topic(broker.bootstrap, name, partitions=3)
    count = 100_000
    load = ["--topic", name, "--num-records", str(count), "--record-size", "200", "--throughput", "-1"]
    produced = apache.run(
        f"{TOOLS}.ProducerPerformance", "--bootstrap-server", broker.bootstrap, *load, "--command-property", "acks=all"
    )
    assert f"{count} records sent" in produced.splitlines()[-1]
    read = ["--bootstrap-server", broker.bootstrap, "--topic", name, "--num-records", str(count)]
    consumed = apache.run(f"{TOOLS}.ConsumerPerformance", *read)
    columns = dict(zip(*(re.split(r",\s*", line) for line in consumed.splitlines()[:2]), strict=True))
    assert int(columns["data.consumed.in.nMsg"]) >= count
    assert sum(traffic.watermarks(broker.bootstrap, name, partition)[1] for partition in range(3)) == count


def topic_command(broker: Broker, *options: str) -> str:
    return apache.run(f"{TOOLS}.TopicCommand", "--bootstrap-server", broker.bootstrap, *options)


def test_topics_are_made_and_shown_by_the_topic_command(broker: Broker, name: str) -> None:
    topic_command(broker, "--create", "--topic", name, "--partitions", "4", "--config", "retention.ms=3600000")
    assert name in topic_command(broker, "--list").split()
    described = topic_command(broker, "--describe", "--topic", name)
    assert re.search(r"PartitionCount:\s*4\b", described), described
    assert len(re.findall(r"Partition: \d+\s+Leader: \d+", described)) == 4, described
    assert "retention.ms=3600000" in described
    topic_command(broker, "--delete", "--topic", name)
    waiting.until(lambda: name not in topic_command(broker, "--list").split(), "the topic to be gone", 60)


def test_offsets_are_shown_by_get_offset_shell(broker: Broker, topic: str) -> None:
    traffic.produce(broker.bootstrap, topic, [{"value": b"x", "partition": 2} for _ in range(9)])
    command = ["--bootstrap-server", broker.bootstrap, "--topic", topic]
    latest = apache.run(f"{TOOLS}.GetOffsetShell", *command, "--time", "latest").split()
    assert sorted(latest) == [f"{topic}:0:0", f"{topic}:1:0", f"{topic}:2:9"]


def test_the_versions_that_are_advertised_suit_the_newest_java_client(broker: Broker) -> None:
    told = apache.run(f"{TOOLS}.BrokerApiVersionsCommand", "--bootstrap-server", broker.bootstrap)
    usable = re.findall(r"^\s*(\w+)\((\d+)\): .*\[usable: \d+\]", told, re.MULTILINE)
    needed = {"Produce", "Fetch", "ListOffsets", "Metadata", "OffsetCommit", "OffsetFetch", "FindCoordinator", "JoinGroup"}
    needed |= {"Heartbeat", "LeaveGroup", "SyncGroup", "CreateTopics", "DeleteTopics", "DescribeConfigs", "InitProducerId"}
    assert needed <= {name for name, _ in usable}, told
