"""aiokafka as its documentation teaches it: producer with batches, consumer, groups and the admin client."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from capability import BOOTSTRAP, CODECS, SECONDS, START_MS, Shelf, orders, run, settled

TOPIC, GROUP, COUNT, PARTITIONS = "aiokafka-orders", "aiokafka-billing", 1000, 3
ALL = [TopicPartition(TOPIC, partition) for partition in range(PARTITIONS)]


@contextlib.asynccontextmanager
async def administrator() -> AsyncIterator[AIOKafkaAdminClient]:
    one = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await one.start()
    try:
        yield one
    finally:
        await one.close()


@contextlib.asynccontextmanager
async def producer(**settings: object) -> AsyncIterator[AIOKafkaProducer]:
    one = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, **settings)
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


@contextlib.asynccontextmanager
async def consumer(*topics: str, group: str | None = None, **settings: object) -> AsyncIterator[AIOKafkaConsumer]:
    common = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "heartbeat_interval_ms": 500}
    one = AIOKafkaConsumer(*topics, bootstrap_servers=BOOTSTRAP, group_id=group, **(common | settings))
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


async def read_into(one: AIOKafkaConsumer, shelf: Shelf, count: int) -> Shelf:
    deadline = time.monotonic() + SECONDS
    while len(shelf) < count:
        assert time.monotonic() < deadline, f"{len(shelf)} of {count} records came in {SECONDS:.0f} s"
        for records in (await one.getmany(timeout_ms=200, max_records=count - len(shelf))).values():
            for record in records:
                shelf.add(record.partition, record.offset, record.key, record.value, record.headers)
    return shelf


async def until(probe: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not await probe():
        assert time.monotonic() < deadline, f"still waiting for {what}"
        await asyncio.sleep(0.05)


async def create_topic():
    """AIOKafkaAdminClient.create_topics with a config, and list_topics."""
    async with administrator() as admin:
        new = NewTopic(TOPIC, PARTITIONS, 1, topic_configs={"max.message.bytes": "2000000"})
        told = await admin.create_topics([new])
        assert told.topic_errors[0][1] == 0, told
        assert TOPIC in await admin.list_topics()


async def produce_with_every_codec():
    """Idempotent producers with none, gzip, snappy, lz4 and zstd: each record gets the next offset."""
    places: dict[int, list[int]] = {}
    share = 150
    for turn, codec in enumerate(CODECS):
        settings = {"compression_type": None if codec == "none" else codec, "enable_idempotence": True, "linger_ms": 5}
        async with producer(**settings) as one:
            sent = [
                await one.send(TOPIC, order.value, order.key, timestamp_ms=order.timestamp, headers=order.headers)
                for order in orders(share, turn * share)
            ]
            for told in await asyncio.gather(*sent):
                places.setdefault(told.partition, []).append(told.offset)
    for partition, offsets in places.items():
        assert offsets == list(range(len(offsets))), f"partition {partition} got {offsets[:5]}…"


async def produce_with_send_batch():
    """create_batch, append and send_batch to one partition."""
    async with producer() as one:
        batch = one.create_batch()
        for order in orders(COUNT - 750, 750):
            told = batch.append(key=order.key, value=order.value, timestamp=order.timestamp, headers=order.headers)
            if told is None:
                await (await one.send_batch(batch, TOPIC, partition=1))
                batch = one.create_batch()
                batch.append(key=order.key, value=order.value, timestamp=order.timestamp, headers=order.headers)
        await (await one.send_batch(batch, TOPIC, partition=1))
    await asyncio.to_thread(settled, TOPIC)


async def consume_with_a_group():
    """async for over a consumer of a group gives every record once; commit at the end."""
    shelf = Shelf()
    async with consumer(TOPIC, group=GROUP) as one:
        async with asyncio.timeout(SECONDS):
            async for record in one:
                shelf.add(record.partition, record.offset, record.key, record.value, record.headers)
                if len(shelf) == COUNT:
                    break
        await one.commit()
    assert sorted(shelf.numbers) == list(range(COUNT))
    return f"{len(shelf)} records"


async def go_on_after_the_committed_offset():
    """The next member of the group finds the committed offsets and reads only what is new."""
    async with consumer(TOPIC, group=GROUP) as one:
        committed = [await one.committed(place) for place in ALL]
        assert sum(committed) == COUNT, committed
        async with producer() as other:
            (order,) = orders(1, COUNT)
            await other.send_and_wait(TOPIC, order.value, order.key, partition=2, headers=order.headers)
        shelf = await read_into(one, Shelf(), 1)
        assert shelf.numbers == [COUNT], shelf.numbers


async def commit_by_hand():
    """commit of an offset with metadata, and seek_to_committed."""
    async with consumer(TOPIC, group="aiokafka-by-hand") as one:
        await read_into(one, Shelf(), COUNT + 1)
        await one.commit({ALL[0]: (12, "by hand")})
        await one.seek_to_committed(ALL[0])
        assert await one.position(ALL[0]) == 12
        assert (await read_into(one, Shelf(), 1)).records[0][1] == 12


async def seek_in_an_assignment():
    """assign, seek, seek_to_beginning, seek_to_end and position."""
    async with consumer() as one:
        one.assign(ALL[:1])
        one.seek(ALL[0], 40)
        assert (await read_into(one, Shelf(), 5)).records[0][1] == 40
        await one.seek_to_beginning(ALL[0])
        assert (await read_into(one, Shelf(), 1)).records[0][1] == 0
        await one.seek_to_end(ALL[0])
        assert await one.position(ALL[0]) == (await one.end_offsets(ALL[:1]))[ALL[0]]


async def pause_and_resume():
    """A paused partition gives nothing while the others go on; resumed it gives the rest."""
    async with consumer() as one:
        one.assign(ALL)
        ends = await one.end_offsets(ALL)
        await one.seek_to_beginning(*ALL)
        one.pause(ALL[1])
        shelf = await read_into(one, Shelf(), ends[ALL[0]] + ends[ALL[2]])
        assert {record[0] for record in shelf.records} == {0, 2} and one.paused() == {ALL[1]}
        one.resume(ALL[1])
        await read_into(one, shelf, COUNT + 1)
        assert sorted(shelf.numbers) == list(range(COUNT + 1))


async def find_offsets_by_time():
    """beginning_offsets, end_offsets and offsets_for_times."""
    async with consumer() as one:
        one.assign(ALL[:1])
        assert sum((await one.end_offsets(ALL)).values()) == COUNT + 1
        assert set((await one.beginning_offsets(ALL)).values()) == {0}
        at = (await read_into(one, Shelf(), 40)).numbers[33]
        found = await one.offsets_for_times({ALL[0]: START_MS + at})
        assert found[ALL[0]].offset == 33, f"{found} for order {at}"


class Owned(ConsumerRebalanceListener):
    """Counts rebalances as the documentation shows."""

    def __init__(self) -> None:
        self.assigned = 0

    def on_partitions_revoked(self, revoked) -> None: ...

    def on_partitions_assigned(self, assigned) -> None:
        self.assigned += 1


async def share_a_topic(name: str, assignor: type) -> None:
    settings = {"group": f"aiokafka-{name}", "partition_assignment_strategy": [assignor], "session_timeout_ms": 10_000}
    listener = Owned()
    async with consumer(**settings) as first:
        first.subscribe([TOPIC], listener=listener)
        await read_into(first, Shelf(), 1)
        async with consumer(TOPIC, **settings) as second:

            async def shared() -> bool:
                mine = [sorted(place.partition for place in member.assignment()) for member in (first, second)]
                return sorted(sum(mine, [])) == [0, 1, 2] and all(mine)

            await until(shared, "two members to share the partitions")

        async def has_all() -> bool:
            return len(first.assignment()) == PARTITIONS

        await until(has_all, "the first to have all again")
    assert listener.assigned >= 3


async def rebalance_with_range():
    """Two members share the partitions, and one has all when the other leaves."""
    await share_a_topic("range", RangePartitionAssignor)


async def rebalance_with_roundrobin():
    """The same with the round-robin assignor."""
    await share_a_topic("roundrobin", RoundRobinPartitionAssignor)


async def rebalance_with_sticky():
    """The same with the sticky assignor."""
    await share_a_topic("sticky", StickyPartitionAssignor)


async def describe_cluster_and_topics():
    """describe_cluster and describe_topics name one node and the partitions."""
    async with administrator() as admin:
        told = await admin.describe_cluster()
        assert told["cluster_id"] and len(told["brokers"]) == 1, told
        (topic,) = await admin.describe_topics([TOPIC])
        assert len(topic["partitions"]) == PARTITIONS, topic


async def describe_and_alter_configs():
    """describe_configs shows what was set, alter_configs replaces it."""
    async with administrator() as admin:

        async def read() -> dict:
            (told,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, TOPIC)])
            return {entry[0]: entry[1] for entry in told.resources[0][4]}

        assert (await read())["max.message.bytes"] == "2000000"
        wanted = {"max.message.bytes": "2000000", "retention.ms": "864000000"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, TOPIC, wanted)])
        found = await read()
        assert {key: found[key] for key in wanted} == wanted


async def list_and_describe_groups():
    """list_consumer_groups, describe_consumer_groups with a live member and list_consumer_group_offsets."""
    async with administrator() as admin:
        assert GROUP in {group[0] for group in await admin.list_consumer_groups()}
        offsets = await admin.list_consumer_group_offsets(GROUP)
        assert sum(place.offset for place in offsets.values()) >= COUNT, offsets
        async with consumer(TOPIC, group="aiokafka-described", client_id="describer") as one:
            await read_into(one, Shelf(), 1)
            (told,) = await admin.describe_consumer_groups(["aiokafka-described"])
            (group,) = told.groups
            assert group[2] == "Stable" and [member[1] for member in group[5]] == ["describer"], group


async def delete_records():
    """delete_records moves the start of a partition; a consumer from the beginning starts there."""
    async with administrator() as admin:
        assert await admin.delete_records({ALL[1]: RecordsToDelete(before_offset=25)}) == {ALL[1]: 25}
    async with consumer(TOPIC, group="aiokafka-deleted") as one:
        shelf = await read_into(one, Shelf(), COUNT + 1 - 25)
    assert min(record[1] for record in shelf.records if record[0] == 1) == 25


async def create_partitions():
    """create_partitions grows the topic, and the new partition takes records."""
    async with administrator() as admin:
        await admin.create_partitions({TOPIC: NewPartitions(PARTITIONS + 1)})
    async with producer() as one:
        told = await one.send_and_wait(TOPIC, b"first", partition=PARTITIONS)
        assert (told.partition, told.offset) == (PARTITIONS, 0), told


async def delete_topic():
    """delete_topics removes it from the list."""
    async with administrator() as admin:
        await admin.delete_topics([TOPIC])

        async def gone() -> bool:
            return TOPIC not in await admin.list_topics()

        await until(gone, "the topic to be gone")


def step(check: Callable[[], Awaitable[str | None]]) -> Callable[[], str | None]:
    def ran() -> str | None:
        return asyncio.run(check())

    ran.__name__, ran.__doc__ = check.__name__, check.__doc__
    return ran


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    steps = [create_topic, produce_with_every_codec, produce_with_send_batch, consume_with_a_group]
    steps += [go_on_after_the_committed_offset, commit_by_hand, seek_in_an_assignment, pause_and_resume]
    steps += [find_offsets_by_time, rebalance_with_range, rebalance_with_roundrobin, rebalance_with_sticky]
    steps += [describe_cluster_and_topics, describe_and_alter_configs, list_and_describe_groups, delete_records]
    steps += [create_partitions, delete_topic]
    run("aiokafka", aiokafka.__version__, [step(one) for one in steps])
