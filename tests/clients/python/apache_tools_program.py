"""Apache Kafka's command line tools by their main classes, with a look at what each prints."""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from capability import BOOTSTRAP, orders, run, settled
from strata_lab import apache
from strata_lab.apache import TOOLS

TOPIC, GROUP, COUNT, PARTITIONS = "tools-orders", "tools-billing", 600, 3
PERF, CHECKED = "tools-perf", "tools-verified"
WORK = Path(tempfile.mkdtemp(prefix="apache-tools-"))


def tool(name: str, *arguments: str, given: str | None = None) -> str:
    return apache.run(f"{TOOLS}.{name}", "--bootstrap-server", BOOTSTRAP, *arguments, given=given, seconds=60)


def groups(*arguments: str) -> str:
    return tool("consumer.group.ConsumerGroupCommand", *arguments)


def configs(*arguments: str) -> str:
    return apache.run("kafka.admin.ConfigCommand", "--bootstrap-server", BOOTSTRAP, *arguments, seconds=60)


def offsets(when: str, topic: str = TOPIC) -> dict[int, int]:
    rows = (line.split(":") for line in tool("GetOffsetShell", "--topic", topic, "--time", when).split())
    return {int(partition): int(offset) for name, partition, offset in rows if name == topic}


def table(text: str, first: str) -> list[dict[str, str]]:
    """The rows of what a tool prints below a head that begins with `first`."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    head = next(place for place, words in enumerate(lines) if words[0] == first)
    return [dict(zip(lines[head], words, strict=False)) for words in lines[head + 1 :]]


def file(content: object) -> str:
    path = WORK / "given.json"
    path.write_text(json.dumps(content))
    return str(path)


def topic_command() -> None:
    """TopicCommand: --create with a config, --list, --describe, and --alter --partitions."""
    tool("TopicCommand", "--create", "--topic", TOPIC, "--partitions", "2", "--config", "max.message.bytes=2000000")
    assert TOPIC in tool("TopicCommand", "--list").split()
    tool("TopicCommand", "--alter", "--topic", TOPIC, "--partitions", str(PARTITIONS))
    told = tool("TopicCommand", "--describe", "--topic", TOPIC)
    assert re.search(rf"PartitionCount:\s*{PARTITIONS}\b", told) and "max.message.bytes=2000000" in told, told
    assert len(re.findall(r"Partition: \d+\s+Leader: \d+\s+Replicas: \d+\s+Isr: \d+", told)) == PARTITIONS, told
    tool("TopicCommand", "--create", "--if-not-exists", "--topic", TOPIC)


def console_producer() -> str:
    """ConsoleProducer: keys, headers and gzip from standard input."""
    lines = "".join(f"kind:order,from:console\t{order.key.decode()}\t{order.value.decode()}\n" for order in orders(COUNT))
    options = ("parse.headers=true", "parse.key=true")
    properties = [word for option in options for word in ("--reader-property", option)]
    tool("ConsoleProducer", "--topic", TOPIC, *properties, "--compression-codec", "gzip", given=lines)
    settled(TOPIC)
    assert sum(offsets("latest").values()) == COUNT
    return f"{COUNT} lines"


def console_consumer() -> str:
    """ConsoleConsumer with a group: partition, offset, headers, key and value of every record, in order."""
    shown = ("print.partition=true", "print.offset=true", "print.headers=true", "print.key=true")
    properties = [word for option in shown for word in ("--formatter-property", option)]
    limits = ["--max-messages", str(COUNT), "--timeout-ms", "30000", "--from-beginning", "--group", GROUP]
    lines = tool("consumer.ConsoleConsumer", "--topic", TOPIC, *limits, *properties).splitlines()
    assert len(lines) == COUNT, f"{len(lines)} lines"
    seen: dict[str, int] = {}
    values = []
    for line in lines:
        partition, offset, headers, key, value = line.split("\t")
        assert int(offset.removeprefix("Offset:")) == seen.get(partition, 0), line
        seen[partition] = seen.get(partition, 0) + 1
        assert headers == "kind:order,from:console", headers
        values.append((key, value))
    assert sorted(values) == sorted((order.key.decode(), order.value.decode()) for order in orders(COUNT))
    return f"{len(lines)} records of {len(seen)} partitions in order"


def group_command_describe() -> None:
    """ConsumerGroupCommand: --list, --describe with the lag of each partition, and --state."""
    assert GROUP in groups("--list").split()
    rows = table(groups("--describe", "--group", GROUP), "GROUP")
    assert len(rows) == PARTITIONS and all(row["LAG"] == "0" for row in rows), rows
    assert sum(int(row["CURRENT-OFFSET"]) for row in rows) == COUNT
    told = groups("--describe", "--group", GROUP, "--state")
    assert "Empty" in told and BOOTSTRAP in told, told


def group_command_reset() -> None:
    """--reset-offsets --shift-by and --to-datetime, with --execute; the lag follows."""
    groups("--reset-offsets", "--group", GROUP, "--topic", TOPIC, "--shift-by", "-10", "--execute")
    rows = table(groups("--describe", "--group", GROUP), "GROUP")
    assert [row["LAG"] for row in rows] == ["10"] * PARTITIONS, rows
    at = ["--to-datetime", "2001-01-01T00:00:00.000"]
    rows = table(groups("--reset-offsets", "--group", GROUP, "--topic", TOPIC, *at, "--execute"), "GROUP")
    assert [row["NEW-OFFSET"] for row in rows] == ["0"] * PARTITIONS, rows


def group_command_members() -> None:
    """--describe --members --verbose shows a live member and its partitions; --reset-offsets refuses a live group."""
    arguments = ["--bootstrap-server", BOOTSTRAP, "--topic", TOPIC, "--group", "tools-live"]
    command = apache.command(f"{TOOLS}.consumer.ConsoleConsumer", *arguments)
    live = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: "Stable" in described("--state"))
        told = groups("--describe", "--group", "tools-live", "--members", "--verbose")
        (row,) = table(told, "GROUP")
        assert row["#PARTITIONS"] == str(PARTITIONS) and f"{TOPIC}:0,1,2" in told, told
        told = groups("--reset-offsets", "--group", "tools-live", "--topic", TOPIC, "--to-earliest", "--execute")
        assert "only be reset if the group" in told and "inactive" in told, told
    finally:
        live.terminate()
        live.wait(30)


def described(option: str) -> str:
    try:
        return groups("--describe", "--group", "tools-live", option)
    except AssertionError:  # the group is not there yet
        return ""


def wait_for(probe: Callable[[], bool]) -> None:
    assert any(probe() for _ in range(10)), "what was waited for did not come"


def group_command_delete() -> None:
    """--delete-offsets of a topic, and --delete of the group."""
    told = groups("--delete-offsets", "--group", GROUP, "--topic", TOPIC)
    assert "Request succeeded for deleting offsets" in told and told.count("Successful") == PARTITIONS, told
    told = groups("--delete", "--group", "tools-live")
    assert "Deletion of requested consumer groups ('tools-live') was successful" in told, told
    assert "tools-live" not in groups("--list").split()


def groups_command() -> None:
    """GroupsCommand --list shows type and protocol of each group."""
    groups("--reset-offsets", "--group", "tools-listed", "--topic", TOPIC, "--to-earliest", "--execute")
    rows = {row["GROUP"]: row for row in table(tool("GroupsCommand", "--list"), "GROUP")}
    assert rows["tools-listed"]["TYPE"] == "Classic", rows


def get_offset_shell() -> None:
    """GetOffsetShell: earliest, latest, max-timestamp, earliest-local and a time."""
    latest = offsets("latest")
    assert set(offsets("earliest").values()) == {0} and sum(latest.values()) == COUNT
    newest = offsets("max-timestamp")
    assert all(newest[partition] < latest[partition] for partition in latest), newest
    local = offsets("earliest-local")
    assert all(0 <= local[partition] <= latest[partition] for partition in latest), local
    assert set(offsets("1000").values()) == {0}


def config_command_topics() -> None:
    """ConfigCommand on a topic: --add-config, --describe, --delete-config, and a refusal of nonsense."""
    entity = ["--entity-type", "topics", "--entity-name", TOPIC]
    configs("--alter", *entity, "--add-config", "retention.ms=864000000,segment.bytes=2097152")
    told = configs("--describe", *entity)
    assert "retention.ms=864000000" in told and "segment.bytes=2097152" in told and "DYNAMIC_TOPIC_CONFIG" in told, told
    configs("--alter", *entity, "--delete-config", "segment.bytes")
    told = configs("--describe", *entity, "--all")
    assert "segment.bytes=1073741824" in told and "DEFAULT_CONFIG:log.segment.bytes=1073741824" in told, told
    try:
        configs("--alter", *entity, "--add-config", "retention.ms=soon")
    except AssertionError as refused:
        assert "InvalidConfigurationException" in str(refused) or "InvalidRequest" in str(refused), refused
    else:
        raise AssertionError("retention.ms=soon was taken")


def config_command_brokers() -> None:
    """ConfigCommand --describe --all on the broker."""
    rows = {row["ID"]: row for row in table(tool_brokers(), "ID")}
    (number,) = rows
    told = configs("--describe", "--entity-type", "brokers", "--entity-name", number, "--all")
    assert "log.segment.bytes=1073741824" in told and f"node.id={number}" in told, told[:2000]


def tool_brokers() -> str:
    return apache.run(f"{TOOLS}.ClusterTool", "list-endpoints", "--bootstrap-server", BOOTSTRAP)


def cluster_tool() -> None:
    """ClusterTool: cluster-id and list-endpoints."""
    assert "Cluster ID: " in apache.run(f"{TOOLS}.ClusterTool", "cluster-id", "--bootstrap-server", BOOTSTRAP)
    (row,) = table(tool_brokers(), "ID")
    assert f"{row['HOST']}:{row['PORT']}" == BOOTSTRAP, row


def performance_tools() -> str:
    """ProducerPerformance writes 20,000 records, ConsumerPerformance reads them."""
    count = 20_000
    tool("TopicCommand", "--create", "--topic", PERF, "--partitions", "3")
    load = ["--topic", PERF, "--num-records", str(count), "--record-size", "200", "--throughput", "-1"]
    produced = tool("ProducerPerformance", *load, "--command-property", "acks=all")
    assert f"{count} records sent" in produced.splitlines()[-1], produced
    settled(PERF)
    consumed = tool("ConsumerPerformance", "--topic", PERF, "--num-records", str(count))
    columns = dict(zip(*(re.split(r",\s*", line) for line in consumed.splitlines()[:2]), strict=True))
    assert int(columns["data.consumed.in.nMsg"]) == count, columns
    assert sum(offsets("latest", PERF).values()) == count
    return f"{count} records"


def end_to_end_latency() -> None:
    """EndToEndLatency prints the mean and the percentiles."""
    told = tool("EndToEndLatency", "--topic", PERF, "--num-records", "200", "--producer-acks", "all", "--record-size", "100")
    assert re.search(r"Avg latency: [\d.]+ ms", told) and re.search(r"99.9th = \d+", told), told


def verifiable_tools() -> str:
    """VerifiableProducer has every record acknowledged, VerifiableConsumer tells that it consumed and committed them."""
    tool("TopicCommand", "--create", "--topic", CHECKED, "--partitions", "3")
    told = events(tool("VerifiableProducer", "--topic", CHECKED, "--max-messages", "1000", "--throughput", "-1"))
    assert told[-1]["name"] == "tool_data" and told[-1]["sent"] == told[-1]["acked"] == 1000, told[-1]
    settled(CHECKED)
    limits = ["--max-messages", "1000", "--reset-policy", "earliest", "--group-id", "tools-verifiable"]
    told = events(tool("VerifiableConsumer", "--topic", CHECKED, *limits))
    consumed = sum(event["count"] for event in told if event["name"] == "records_consumed")
    committed = [event for event in told if event["name"] == "offsets_committed"]
    assert consumed == 1000 and committed and all(event["success"] for event in committed), told[-3:]
    assert sum(place["offset"] for place in committed[-1]["offsets"]) <= 1000
    return f"{consumed} records"


def events(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def broker_api_versions() -> None:
    """BrokerApiVersionsCommand finds a usable version of every API that ordinary clients need."""
    told = tool("BrokerApiVersionsCommand")
    usable = set(re.findall(r"^\s*(\w+)\(\d+\): .*\[usable: \d+\]", told, re.MULTILINE))
    needed = "Produce Fetch ListOffsets Metadata OffsetCommit OffsetFetch FindCoordinator JoinGroup Heartbeat LeaveGroup"
    needed += " SyncGroup DescribeGroups ListGroups DeleteGroups OffsetDelete CreateTopics DeleteTopics CreatePartitions"
    needed += " DeleteRecords DescribeConfigs AlterConfigs IncrementalAlterConfigs InitProducerId DescribeCluster"
    needed += " DescribeTopicPartitions DescribeLogDirs OffsetForLeaderEpoch ElectLeaders AlterPartitionReassignments"
    needed += " ListPartitionReassignments ApiVersions"
    missing = set(needed.split()) - usable
    assert not missing, f"not usable: {sorted(missing)}"


def log_dirs_command() -> None:
    """LogDirsCommand --describe: a log directory with each partition of the topic."""
    told = json.loads(tool("LogDirsCommand", "--describe", "--topic-list", TOPIC).splitlines()[-1])
    (broker,) = told["brokers"]
    found = [place["partition"] for directory in broker["logDirs"] for place in directory["partitions"]]
    assert sorted(found) == [f"{TOPIC}-{partition}" for partition in range(PARTITIONS)], told
    assert all(directory["error"] is None for directory in broker["logDirs"]), told


def leader_election_command() -> None:
    """LeaderElectionCommand of the preferred kind: the valid replica is elected already."""
    told = tool("LeaderElectionCommand", "--election-type", "preferred", "--topic", TOPIC, "--partition", "0")
    assert f"Valid replica already elected for partitions {TOPIC}-0" in told, told


def reassign_partitions_command() -> None:
    """ReassignPartitionsCommand: --generate, --execute onto the same node, --verify and --list."""
    (broker,) = table(tool_brokers(), "ID")
    node = int(broker["ID"])
    name = "reassign.ReassignPartitionsCommand"
    wanted = file({"version": 1, "topics": [{"topic": TOPIC}]})
    told = tool(name, "--generate", "--topics-to-move-json-file", wanted, "--broker-list", str(node))
    proposed = json.loads(told.splitlines()[-1])
    assert len(proposed["partitions"]) == PARTITIONS and all(one["replicas"] == [node] for one in proposed["partitions"])
    told = tool(name, "--execute", "--reassignment-json-file", file(proposed))
    assert "Successfully started partition reassignments" in told, told
    told = tool(name, "--verify", "--reassignment-json-file", file(proposed))
    assert told.count("is completed") == PARTITIONS, told
    assert "No partition reassignments found" in tool(name, "--list")


def replica_verification_tool() -> None:
    """ReplicaVerificationTool reads every partition and reports its lag."""
    limits = ["--topics-include", TOPIC, "--report-interval-ms", "500", "--time", "-2"]
    command = apache.command(f"{TOOLS}.ReplicaVerificationTool", "--broker-list", BOOTSTRAP, *limits)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as verifier:
        try:
            lines = []
            while not any("max lag is" in line for line in lines[-1:]):
                lines.append(verifier.stdout.readline())
                assert lines[-1], f"it ended: {lines[-5:]}"
                assert len(lines) < 100, lines[-5:]
        finally:
            verifier.kill()
    assert "verification process is started" in "".join(lines) and "among 3 partitions" in lines[-1], lines


def delete_records_command() -> None:
    """DeleteRecordsCommand moves the start of a partition, GetOffsetShell and a consumer see it."""
    wanted = file({"version": 1, "partitions": [{"topic": TOPIC, "partition": 0, "offset": 20}]})
    told = tool("DeleteRecordsCommand", "--offset-json-file", wanted)
    assert re.search(rf"partition: {TOPIC}-0\s+low_watermark: 20", told), told
    assert offsets("earliest")[0] == 20
    where = ["--topic", TOPIC, "--from-beginning", "--timeout-ms", "30000", "--max-messages", str(COUNT - 20)]
    assert len(tool("consumer.ConsoleConsumer", *where).splitlines()) == COUNT - 20


def topic_command_delete() -> None:
    """TopicCommand --delete; --describe then says that it does not exist."""
    tool("TopicCommand", "--delete", "--topic", TOPIC)
    assert TOPIC not in tool("TopicCommand", "--list").split()
    try:
        tool("TopicCommand", "--describe", "--topic", TOPIC)
    except AssertionError as refused:
        assert "does not exist" in str(refused), refused
    else:
        raise AssertionError("it is described still")


def kafka_version() -> str:
    (jar,) = Path(os.environ["STRATA_LAB_KAFKA_LIBS"]).glob("kafka-tools-[0-9]*.jar")
    return jar.stem.removeprefix("kafka-tools-")


if __name__ == "__main__":
    steps = [topic_command, console_producer, console_consumer, group_command_describe, group_command_reset]
    steps += [group_command_members, group_command_delete, groups_command, get_offset_shell, config_command_topics]
    steps += [config_command_brokers, cluster_tool, performance_tools, end_to_end_latency, verifiable_tools]
    steps += [broker_api_versions, log_dirs_command, leader_election_command, reassign_partitions_command]
    steps += [replica_verification_tool, delete_records_command, topic_command_delete]
    run("Apache Kafka's tools", kafka_version(), steps)
