"""confluent-kafka as its documentation teaches it: producer, consumer, groups and the admin client."""

import contextlib
import time
from collections.abc import Iterator

import confluent_kafka
from capability import BOOTSTRAP, CODECS, SECONDS, START_MS, Shelf, orders, run, settled, until
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    ElectionType,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

TOPIC, GROUP, COUNT, PARTITIONS = "confluent-orders", "confluent-billing", 1200, 3
admin = AdminClient({"bootstrap.servers": BOOTSTRAP})


@contextlib.contextmanager
def consumer(group: str, **settings: object) -> Iterator[Consumer]:
    one = Consumer(
        {"bootstrap.servers": BOOTSTRAP, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
        | {key.replace("_", "."): value for key, value in settings.items()}
    )
    try:
        yield one
    finally:
        one.close()


def poll_into(one: Consumer, shelf: Shelf, count: int) -> Shelf:
    deadline = time.monotonic() + SECONDS
    while len(shelf) < count:
        assert time.monotonic() < deadline, f"{len(shelf)} of {count} records came in {SECONDS:.0f} s"
        for message in one.consume(min(500, count - len(shelf)), timeout=0.1):
            put(shelf, message)
    return shelf


def put(shelf: Shelf, message: Message) -> None:
    if message.error():
        raise KafkaException(message.error())
    shelf.add(message.partition(), message.offset(), message.key(), message.value(), message.headers())


def only(futures: dict):
    """The result of a request for one thing."""
    (future,) = futures.values()
    return future.result(SECONDS)


def create_topic():
    """AdminClient.create_topics with a config, and list_topics shows its partitions."""
    only(admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1, config={"max.message.bytes": "2000000"})]))
    partitions = admin.list_topics(TOPIC, timeout=SECONDS).topics[TOPIC].partitions
    assert sorted(partitions) == [0, 1, 2], partitions


def refuse_the_same_topic_twice():
    """A second create_topics is TOPIC_ALREADY_EXISTS."""
    try:
        only(admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)]))
    except KafkaException as refused:
        assert refused.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS, refused
    else:
        raise AssertionError("it was made again")


def produce_with_every_codec():
    """Idempotent producers with none, gzip, snappy, lz4 and zstd; every delivery report has the next offset."""
    places: dict[int, list[int]] = {}
    share = COUNT // len(CODECS)
    for turn, codec in enumerate(CODECS):
        producer = Producer({"bootstrap.servers": BOOTSTRAP, "compression.type": codec, "enable.idempotence": True})

        def delivered(error, message):
            assert error is None, error
            places.setdefault(message.partition(), []).append(message.offset())

        for order in orders(share, turn * share):
            producer.produce(
                TOPIC, order.value, order.key, headers=order.headers, timestamp=order.timestamp, on_delivery=delivered
            )
            producer.poll(0)
        assert producer.flush(SECONDS) == 0, "records are not delivered"
    for partition, offsets in places.items():
        assert offsets == list(range(len(offsets))), f"partition {partition} got {offsets[:5]}…"
    assert sum(map(len, places.values())) == COUNT
    settled(TOPIC)


def consume_with_a_group():
    """subscribe, poll and commit read every record once, in order, with key and headers."""
    with consumer(GROUP) as one:
        one.subscribe([TOPIC])
        shelf = poll_into(one, Shelf(), COUNT)
        one.commit(asynchronous=False)
    return shelf.check(orders(COUNT))


def go_on_after_the_committed_offset():
    """A consumer that committed after each record and went away is followed by one that reads only the rest."""
    shelf = Shelf()
    with consumer("confluent-resume") as first:
        first.subscribe([TOPIC])
        for _ in range(30):
            poll_into(first, shelf, len(shelf) + 1)
            first.commit(asynchronous=False)
    with consumer("confluent-resume") as second:
        second.subscribe([TOPIC])
        poll_into(second, shelf, COUNT)
    return shelf.check(orders(COUNT))


def commit_stored_offsets_by_itself():
    """enable.auto.commit commits at close what was polled."""
    with consumer("confluent-auto", enable_auto_commit=True, auto_commit_interval_ms=100) as one:
        one.subscribe([TOPIC])
        poll_into(one, Shelf(), COUNT)
    with consumer("confluent-auto") as again:
        again.subscribe([TOPIC])
        committed = again.committed([TopicPartition(TOPIC, n) for n in range(PARTITIONS)], timeout=SECONDS)
    assert sum(place.offset for place in committed) == COUNT, committed


def assign_and_seek():
    """assign at an offset, seek back, and the position follows."""
    with consumer("confluent-seek") as one:
        one.assign([TopicPartition(TOPIC, 0, 40)])
        assert poll_into(one, Shelf(), 5).records[0][1] == 40
        one.seek(TopicPartition(TOPIC, 0, 7))
        assert poll_into(one, Shelf(), 1).records[0][1] == 7
        (place,) = one.position([TopicPartition(TOPIC, 0)])
        assert place.offset >= 8, place


def pause_and_resume():
    """A paused partition gives nothing, the others go on; resumed it gives the rest."""
    with consumer("confluent-pause") as one:
        ends = [one.get_watermark_offsets(TopicPartition(TOPIC, n), timeout=SECONDS)[1] for n in range(PARTITIONS)]
        one.assign([TopicPartition(TOPIC, n, 0) for n in range(PARTITIONS)])
        one.pause([TopicPartition(TOPIC, 1)])
        shelf = poll_into(one, Shelf(), ends[0] + ends[2])
        assert {record[0] for record in shelf.records} == {0, 2}
        one.resume([TopicPartition(TOPIC, 1)])
        return poll_into(one, shelf, COUNT).check(orders(COUNT))


def find_offsets_by_time():
    """offsets_for_times finds the first record not older, and the watermarks bound the partition."""
    with consumer("confluent-times") as one:
        for partition in range(PARTITIONS):
            one.assign([TopicPartition(TOPIC, partition, 0)])
            shelf = poll_into(one, Shelf(), 20)
            at = shelf.numbers[15]
            (found,) = one.offsets_for_times([TopicPartition(TOPIC, partition, START_MS + at)], timeout=SECONDS)
            assert found.offset == 15, f"{found} for order {at}"
            low, high = one.get_watermark_offsets(TopicPartition(TOPIC, partition), timeout=SECONDS)
            assert low == 0 and high > 20, (low, high)


def share_a_topic(assignor: str) -> str:
    group = f"confluent-share-{assignor}"
    events: list[str] = []
    note = lambda what: lambda _, partitions: events.append(f"{what} {len(partitions)}")  # noqa: E731
    with consumer(group, partition_assignment_strategy=assignor, session_timeout_ms=6000) as first:
        first.subscribe([TOPIC], on_assign=note("assign"), on_revoke=note("revoke"))
        poll_into(first, Shelf(), 1)
        with consumer(group, partition_assignment_strategy=assignor, session_timeout_ms=6000) as second:
            second.subscribe([TOPIC])

            def shared() -> bool:
                first.poll(0.05), second.poll(0.05)
                return sorted(len(member.assignment()) for member in (first, second)) == [1, 2]

            until(shared, f"two members to share {PARTITIONS} partitions")
            mine = {place.partition for place in first.assignment()} | {place.partition for place in second.assignment()}
            assert mine == {0, 1, 2}, mine
    return ", ".join(events[:4])


def rebalance_with_range():
    """A second member joins: each partition has one owner."""
    share_a_topic("range")


def rebalance_with_roundrobin():
    """The same with the round-robin assignor."""
    share_a_topic("roundrobin")


def rebalance_cooperatively():
    """The same with cooperative-sticky: the first member gives up one partition and keeps two."""
    events = share_a_topic("cooperative-sticky")
    assert events.startswith("assign 3, revoke 1"), events


def stay_a_static_member():
    """A member with group.instance.id that restarts gets its partitions back without a rebalance of the other."""
    settings = {"session_timeout_ms": 10_000, "partition_assignment_strategy": "range"}
    rebalances: list[int] = []
    with consumer("confluent-static", group_instance_id="a", **settings) as stays:
        stays.subscribe([TOPIC], on_assign=lambda _, places: rebalances.append(len(places)))
        with consumer("confluent-static", group_instance_id="b", **settings) as leaves:
            leaves.subscribe([TOPIC])

            def both() -> bool:
                stays.poll(0.05), leaves.poll(0.05)
                return bool(leaves.assignment()) and bool(stays.assignment())

            until(both, "both static members to own partitions")
            owned = sorted(place.partition for place in leaves.assignment())
        before = len(rebalances)
        with consumer("confluent-static", group_instance_id="b", **settings) as back:
            back.subscribe([TOPIC])

            def again() -> bool:
                stays.poll(0.05), back.poll(0.05)
                return bool(back.assignment())

            until(again, "the static member to be back")
            assert sorted(place.partition for place in back.assignment()) == owned
        assert len(rebalances) == before, f"the other member was rebalanced: {rebalances}"


def describe_cluster():
    """AdminClient.describe_cluster names the cluster, one node and its controller."""
    told = admin.describe_cluster(request_timeout=SECONDS).result(SECONDS)
    assert told.cluster_id and len(told.nodes) == 1, told
    assert f"{told.nodes[0].host}:{told.nodes[0].port}" == BOOTSTRAP


def describe_topics():
    """AdminClient.describe_topics: a topic id, leaders, replicas and in-sync replicas."""
    told = only(admin.describe_topics(TopicCollection([TOPIC]), request_timeout=SECONDS))
    assert told.topic_id is not None and [one.id for one in told.partitions] == [0, 1, 2]
    assert all(one.leader and len(one.replicas) == len(one.isr) == 1 for one in told.partitions)


def describe_and_alter_configs():
    """describe_configs shows the value that was set and its source; incremental_alter_configs sets and deletes."""
    resource = ConfigResource(ResourceType.TOPIC, TOPIC)
    assert only(admin.describe_configs([resource]))["max.message.bytes"].value == "2000000"
    for operation, value, wanted in (("SET", "864000000", "864000000"), ("DELETE", None, "604800000")):
        entry = ConfigEntry("retention.ms", value, incremental_operation=AlterConfigOpType[operation])
        only(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, TOPIC, incremental_configs=[entry])]))
        found = only(admin.describe_configs([resource]))["retention.ms"]
        assert found.value == wanted and found.is_default == (value is None), f"{found} after {operation}"


def list_offsets():
    """AdminClient.list_offsets: earliest, latest, the largest timestamp and by time."""
    shelf = Shelf()
    with consumer("confluent-list-offsets") as one:
        one.assign([TopicPartition(TOPIC, 0, 0)])
        _, high = one.get_watermark_offsets(TopicPartition(TOPIC, 0), timeout=SECONDS)
        poll_into(one, shelf, high)
    numbers = shelf.numbers
    wanted = {
        OffsetSpec.earliest(): 0,
        OffsetSpec.latest(): high,
        OffsetSpec.max_timestamp(): high - 1,
        OffsetSpec.for_timestamp(START_MS + numbers[33]): 33,
    }
    for spec, offset in wanted.items():
        found = only(admin.list_offsets({TopicPartition(TOPIC, 0): spec}))
        assert found.offset == offset, f"{found.offset} where {offset} is right"


def list_and_describe_groups():
    """list_consumer_groups and describe_consumer_groups show a group, empty and with its member."""
    listed = admin.list_consumer_groups(request_timeout=SECONDS).result(SECONDS)
    assert not listed.errors and GROUP in {one.group_id for one in listed.valid}
    assert only(admin.describe_consumer_groups([GROUP])).state.name == "EMPTY"
    with consumer("confluent-described", client_id="describer") as one:
        one.subscribe([TOPIC])
        poll_into(one, Shelf(), 1)
        told = only(admin.describe_consumer_groups(["confluent-described"]))
        assert told.state.name == "STABLE" and told.partition_assignor == "range", told.state
        (member,) = told.members
        assert member.client_id == "describer" and len(member.assignment.topic_partitions) == PARTITIONS


def read_and_alter_group_offsets():
    """list_consumer_group_offsets and alter_consumer_group_offsets; a consumer starts where it was put."""
    places = only(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(GROUP)])).topic_partitions
    assert sum(place.offset for place in places) == COUNT, places
    back = [TopicPartition(TOPIC, place.partition, place.offset - 10) for place in places]
    only(admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(GROUP, back)]))
    with consumer(GROUP) as one:
        one.subscribe([TOPIC])
        poll_into(one, Shelf(), 10 * PARTITIONS)


def delete_groups():
    """delete_consumer_groups removes a group; a second time it is GROUP_ID_NOT_FOUND."""
    only(admin.delete_consumer_groups([GROUP]))
    listed = admin.list_consumer_groups().result(SECONDS)
    assert GROUP not in {one.group_id for one in listed.valid}
    try:
        only(admin.delete_consumer_groups([GROUP]))
    except KafkaException as refused:
        assert refused.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND, refused
    else:
        raise AssertionError("it was deleted twice")


def elect_leaders():
    """elect_leaders of the preferred kind: ELECTION_NOT_NEEDED, as the only node leads already."""
    answered = admin.elect_leaders(ElectionType.PREFERRED, [TopicPartition(TOPIC, 0)]).result(SECONDS)
    (error,) = answered.values()
    assert error is not None and error.code() == KafkaError.ELECTION_NOT_NEEDED, error


def delete_records():
    """delete_records moves the start of a partition; a consumer from the beginning starts there."""
    told = only(admin.delete_records([TopicPartition(TOPIC, 2, 25)]))
    assert told.low_watermark == 25, told.low_watermark
    with consumer("confluent-deleted") as one:
        assert one.get_watermark_offsets(TopicPartition(TOPIC, 2), timeout=SECONDS)[0] == 25
        one.subscribe([TOPIC])
        shelf = poll_into(one, Shelf(), COUNT - 25)
    shelf.check_order()
    assert min(record[1] for record in shelf.records if record[0] == 2) == 25


def create_partitions():
    """create_partitions grows the topic, and the new partition takes records."""
    only(admin.create_partitions([NewPartitions(TOPIC, PARTITIONS + 1)]))
    producer = Producer({"bootstrap.servers": BOOTSTRAP})
    until(lambda: len(producer.list_topics(TOPIC, timeout=SECONDS).topics[TOPIC].partitions) == 4, "the partition to show")
    (order,) = orders(1, COUNT)
    producer.produce(TOPIC, order.value, order.key, PARTITIONS, headers=order.headers)
    assert producer.flush(SECONDS) == 0
    with consumer("confluent-grown") as one:
        one.assign([TopicPartition(TOPIC, PARTITIONS, 0)])
        poll_into(one, Shelf(), 1).check([order])


def delete_topic():
    """delete_topics removes it from the metadata."""
    only(admin.delete_topics([TOPIC]))
    until(lambda: TOPIC not in admin.list_topics(timeout=SECONDS).topics, "the topic to be gone")


if __name__ == "__main__":
    steps = [create_topic, refuse_the_same_topic_twice, produce_with_every_codec, consume_with_a_group]
    steps += [go_on_after_the_committed_offset, commit_stored_offsets_by_itself, assign_and_seek, pause_and_resume]
    steps += [find_offsets_by_time, rebalance_with_range, rebalance_with_roundrobin, rebalance_cooperatively]
    steps += [stay_a_static_member, describe_cluster, describe_topics, describe_and_alter_configs, list_offsets]
    steps += [list_and_describe_groups, read_and_alter_group_offsets, delete_groups, elect_leaders, delete_records]
    steps += [create_partitions, delete_topic]
    run("confluent-kafka", confluent_kafka.__version__, steps)
