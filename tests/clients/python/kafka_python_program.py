"""kafka-python as its documentation teaches it: KafkaProducer, KafkaConsumer and KafkaAdminClient."""

import contextlib
import time
from collections.abc import Iterator

import kafka
from capability import BOOTSTRAP, CODECS, SECONDS, START_MS, Shelf, orders, run, settled, until
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import GroupIdNotFoundError, TopicAlreadyExistsError

TOPIC, GROUP, COUNT, PARTITIONS = "kafka-python-orders", "kafka-python-billing", 1000, 3
ALL = [TopicPartition(TOPIC, partition) for partition in range(PARTITIONS)]


@contextlib.contextmanager
def administrator() -> Iterator[KafkaAdminClient]:
    one = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    try:
        yield one
    finally:
        one.close()


@contextlib.contextmanager
def consumer(*topics: str, group: str | None = None, **settings: object) -> Iterator[KafkaConsumer]:
    common = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "heartbeat_interval_ms": 500}
    one = KafkaConsumer(*topics, bootstrap_servers=BOOTSTRAP, group_id=group, **(common | settings))
    try:
        yield one
    finally:
        one.close()


def poll_into(one: KafkaConsumer, shelf: Shelf, count: int) -> Shelf:
    deadline = time.monotonic() + SECONDS
    while len(shelf) < count:
        assert time.monotonic() < deadline, f"{len(shelf)} of {count} records came in {SECONDS:.0f} s"
        for records in one.poll(timeout_ms=200, max_records=min(500, count - len(shelf))).values():
            for record in records:
                shelf.add(record.partition, record.offset, record.key, record.value, record.headers)
    return shelf


def create_topic():
    """KafkaAdminClient.create_topics with a config; a second time it is TopicAlreadyExistsError."""
    wanted = {TOPIC: {"num_partitions": PARTITIONS, "replication_factor": 1, "configs": {"max.message.bytes": "2000000"}}}
    with administrator() as admin:
        admin.create_topics(wanted, wait_for_metadata=True)
        assert TOPIC in admin.list_topics()
        with contextlib.suppress(TopicAlreadyExistsError):
            admin.create_topics(wanted)
            raise AssertionError("it was made twice")


def produce_with_every_codec():
    """KafkaProducer with none, gzip, snappy, lz4 and zstd: each future has the next offset of its partition."""
    places: dict[int, list[int]] = {}
    share = COUNT // len(CODECS)
    for turn, codec in enumerate(CODECS):
        producer = KafkaProducer(
            bootstrap_servers=BOOTSTRAP, compression_type=None if codec == "none" else codec, acks="all", linger_ms=5
        )
        sent = [
            producer.send(TOPIC, order.value, order.key, headers=order.headers, timestamp_ms=order.timestamp)
            for order in orders(share, turn * share)
        ]
        producer.flush()
        for told in (future.get(SECONDS) for future in sent):
            places.setdefault(told.partition, []).append(told.offset)
        producer.close()
    for partition, offsets in places.items():
        assert offsets == list(range(len(offsets))), f"partition {partition} got {offsets[:5]}…"
    settled(TOPIC)


def consume_with_a_group():
    """Iterating over a consumer of a group gives every record once, in order, with key and headers."""
    shelf = Shelf()
    with consumer(TOPIC, group=GROUP, consumer_timeout_ms=20_000) as one:
        for record in one:
            shelf.add(record.partition, record.offset, record.key, record.value, record.headers)
            if len(shelf) == COUNT:
                break
        one.commit()
    return shelf.check(orders(COUNT))


def go_on_after_the_committed_offset():
    """Offsets committed by hand with metadata; the next member of the group reads only the rest."""
    shelf = Shelf()
    with consumer(TOPIC, group="kafka-python-resume") as first:
        poll_into(first, shelf, 100)
        read = {place: OffsetAndMetadata(first.position(place), "by hand", -1) for place in first.assignment()}
        first.commit(read)
    with consumer(TOPIC, group="kafka-python-resume") as second:
        poll_into(second, shelf, COUNT)
    return shelf.check(orders(COUNT))


def seek_in_an_assignment():
    """assign, seek, seek_to_beginning, seek_to_end and position."""
    with consumer() as one:
        one.assign(ALL[:1])
        one.seek(ALL[0], 40)
        assert poll_into(one, Shelf(), 5).records[0][1] == 40
        one.seek_to_beginning(ALL[0])
        assert poll_into(one, Shelf(), 1).records[0][1] == 0
        one.seek_to_end(ALL[0])
        assert one.position(ALL[0]) == one.end_offsets(ALL[:1])[ALL[0]]


def pause_and_resume():
    """A paused partition gives nothing while the others go on; resumed it gives the rest."""
    with consumer() as one:
        ends = one.end_offsets(ALL)
        one.assign(ALL)
        one.seek_to_beginning()
        one.pause(ALL[1])
        shelf = poll_into(one, Shelf(), ends[ALL[0]] + ends[ALL[2]])
        assert {record[0] for record in shelf.records} == {0, 2} and one.paused() == {ALL[1]}
        one.resume(ALL[1])
        return poll_into(one, shelf, COUNT).check(orders(COUNT))


def find_offsets_by_time():
    """beginning_offsets, end_offsets and offsets_for_times."""
    with consumer() as one:
        assert sum(one.end_offsets(ALL).values()) == COUNT and set(one.beginning_offsets(ALL).values()) == {0}
        one.assign(ALL[:1])
        at = poll_into(one, Shelf(), 40).numbers[33]
        found = one.offsets_for_times({ALL[0]: START_MS + at})
        assert found[ALL[0]].offset == 33, f"{found} for order {at}"
        assert one.offsets_for_times({ALL[0]: START_MS + 10**9})[ALL[0]] is None


def share_a_topic(name: str, assignor: type) -> None:
    settings = {"group": f"kafka-python-{name}", "partition_assignment_strategy": [assignor], "session_timeout_ms": 10_000}
    with consumer(TOPIC, **settings) as first:
        poll_into(first, Shelf(), 1)
        with consumer(TOPIC, **settings) as second:

            def shared() -> bool:
                first.poll(timeout_ms=100), second.poll(timeout_ms=100)
                mine = [sorted(place.partition for place in member.assignment()) for member in (first, second)]
                return sorted(sum(mine, [])) == [0, 1, 2] and all(mine)

            until(shared, "two members to share the partitions")
        until(lambda: first.poll(timeout_ms=100) is not None and len(first.assignment()) == 3, "the first to have all again")


def rebalance_with_range():
    """Two members share the partitions, and one has all when the other leaves."""
    share_a_topic("range", RangePartitionAssignor)


def rebalance_with_roundrobin():
    """The same with the round-robin assignor."""
    share_a_topic("roundrobin", RoundRobinPartitionAssignor)


def rebalance_cooperatively():
    """The same with the cooperative sticky assignor."""
    share_a_topic("cooperative", CooperativeStickyAssignor)


def describe_cluster_and_topics():
    """describe_cluster, describe_topics and describe_topic_partitions name one node, leaders and in-sync replicas."""
    with administrator() as admin:
        told = admin.describe_cluster()
        assert told["cluster_id"] and len(told["brokers"]) == 1, told
        (topic,) = admin.describe_topics([TOPIC])
        assert len(topic["partitions"]) == PARTITIONS, topic
        (topic,) = admin.describe_topic_partitions([TOPIC])["topics"]
        assert [len(one["isr_nodes"]) for one in topic["partitions"]] == [1, 1, 1], topic


def describe_and_alter_configs():
    """describe_configs shows what was set; alter_configs sets one key and leaves the other."""
    with administrator() as admin:

        def read() -> dict:
            topic = ConfigResource(ConfigResourceType.TOPIC, TOPIC)
            (by_name,) = admin.describe_configs([topic], config_filter="all").values()
            return {key: entry["value"] for key, entry in by_name[TOPIC].items()}

        assert read()["max.message.bytes"] == "2000000"
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, TOPIC, {"retention.ms": "864000000"})])
        after = read()
        assert (after["retention.ms"], after["max.message.bytes"]) == ("864000000", "2000000"), after


def list_offsets():
    """list_partition_offsets: earliest, latest and the largest timestamp."""
    with administrator() as admin:
        found = {
            spec.name: admin.list_partition_offsets({ALL[0]: spec})[ALL[0]].offset
            for spec in (kafka.OffsetSpec.EARLIEST, kafka.OffsetSpec.LATEST, kafka.OffsetSpec.MAX_TIMESTAMP)
        }
    assert found["EARLIEST"] == 0 and found["MAX_TIMESTAMP"] == found["LATEST"] - 1 > 0, found


def list_and_describe_groups():
    """list_groups, describe_groups with a live member, and list_group_offsets."""
    with administrator() as admin:
        assert GROUP in {one["group_id"] for one in admin.list_groups()}
        offsets = admin.list_group_offsets(GROUP)[GROUP]
        assert sum(place.offset for place in offsets.values()) == COUNT, offsets
        with consumer(TOPIC, group="kafka-python-described", client_id="describer") as one:
            poll_into(one, Shelf(), 1)
            told = admin.describe_groups(["kafka-python-described"])["kafka-python-described"]
            assert [member["client_id"] for member in told["members"]] == ["describer"], told


def alter_reset_and_delete_group_offsets():
    """alter_group_offsets, reset_group_offsets and delete_group_offsets of a group at rest."""
    with administrator() as admin:
        admin.alter_group_offsets(GROUP, {ALL[0]: OffsetAndMetadata(7, "", -1)})
        assert admin.list_group_offsets(GROUP)[GROUP][ALL[0]].offset == 7
        admin.reset_group_offsets(GROUP, {ALL[1]: kafka.OffsetSpec.EARLIEST})
        assert admin.list_group_offsets(GROUP)[GROUP][ALL[1]].offset == 0
        told = admin.delete_group_offsets(GROUP, [ALL[2]])
        assert [error.errno for error in told.values()] == [0], told
        left = admin.list_group_offsets(GROUP)[GROUP]
        assert ALL[2] not in left or left[ALL[2]].offset == -1, left


def delete_groups():
    """delete_groups removes a group from the list; unknown ones are GroupIdNotFoundError."""
    with administrator() as admin:
        told = admin.delete_groups([GROUP, "kafka-python-nobody"])
        assert told[GROUP] == "OK", told
        assert GroupIdNotFoundError.__name__ in str(told["kafka-python-nobody"]), told
        assert GROUP not in {one["group_id"] for one in admin.list_groups()}


def describe_log_dirs():
    """describe_log_dirs knows the partitions and their sizes."""
    with administrator() as admin:
        (told,) = admin.describe_log_dirs({TOPIC: [0, 1, 2]})
        found = [part for place in told["log_dirs"] for one in place["topics"] for part in one["partitions"]]
        assert sorted(part["partition_index"] for part in found) == [0, 1, 2], told


def elect_leaders():
    """elect_leaders of the preferred kind: nothing to do, as the only node leads already."""
    with administrator() as admin:
        told = admin.elect_leaders(0, {TOPIC: [0]}, raise_errors=False)
    assert "84" in str(told) or "ElectionNotNeeded" in str(told), told


def delete_records():
    """delete_records moves the start of a partition; a consumer from the beginning starts there."""
    with administrator() as admin:
        told = admin.delete_records({ALL[2]: 25})
        assert told[ALL[2]]["low_watermark"] == 25, told
    with consumer(TOPIC, group="kafka-python-deleted") as one:
        shelf = poll_into(one, Shelf(), COUNT - 25)
        assert one.beginning_offsets(ALL)[ALL[2]] == 25
    shelf.check_order()
    assert min(record[1] for record in shelf.records if record[0] == 2) == 25


def create_partitions():
    """create_partitions grows the topic, and the new partition takes records."""
    with administrator() as admin:
        admin.create_partitions({TOPIC: PARTITIONS + 1})
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP)
    until(lambda: len(producer.partitions_for(TOPIC)) == PARTITIONS + 1, "the partition to show")
    told = producer.send(TOPIC, b"first", partition=PARTITIONS).get(SECONDS)
    producer.close()
    assert (told.partition, told.offset) == (PARTITIONS, 0), told


def delete_topic():
    """delete_topics removes it from the list."""
    with administrator() as admin:
        admin.delete_topics([TOPIC])
        until(lambda: TOPIC not in admin.list_topics(), "the topic to be gone")


if __name__ == "__main__":
    steps = [create_topic, produce_with_every_codec, consume_with_a_group, go_on_after_the_committed_offset]
    steps += [seek_in_an_assignment, pause_and_resume, find_offsets_by_time, rebalance_with_range]
    steps += [rebalance_with_roundrobin, rebalance_cooperatively, describe_cluster_and_topics]
    steps += [describe_and_alter_configs, list_offsets, list_and_describe_groups, alter_reset_and_delete_group_offsets]
    steps += [delete_groups, describe_log_dirs, elect_leaders, delete_records, create_partitions, delete_topic]
    run("kafka-python", kafka.__version__, steps)
