"""librdkafka against a running broker: produce, consume, groups, topics, times."""

import itertools
import threading
import time

import pytest
from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec
from strata_lab import traffic, waiting
from strata_lab.broker import Broker
from strata_lab.traffic import client

SECONDS = traffic.CLIENT_SECONDS


def rows(count: int, start: int = 0) -> list[dict]:
    return [
        {
            "key": b"key-%d" % (n % 50),
            "value": b"value-%d " % n + b"x" * (n % 300),
            "headers": [("n", b"%d" % n), ("n", None)],
        }
        for n in range(start, start + count)
    ]


def values(records: list[traffic.Seen]) -> list[bytes]:
    return sorted(record.value for record in records)


@pytest.mark.parametrize("codec", traffic.CODECS)
@pytest.mark.parametrize("acks", ["all", "1"])
def test_every_codec_round_trips(broker: Broker, topic: str, codec: str, acks: str) -> None:
    sent = rows(2_000)
    traffic.produce(broker.bootstrap, topic, sent, {"compression.type": codec, "acks": acks})
    seen = traffic.read_all(broker.bootstrap, topic, range(3))
    assert values(seen) == sorted(row["value"] for row in sent)
    traffic.check_gapless(seen)
    by_value = {record.value: record for record in seen}
    for row in sent:
        assert by_value[row["value"]].key == row["key"]
        assert list(by_value[row["value"]].headers) == row["headers"], "headers keep their order, doubles and nulls"


def test_acks_zero_arrives_without_an_answer(broker: Broker, topic: str) -> None:
    traffic.produce(broker.bootstrap, topic, rows(500), {"acks": "0"})
    seen = waiting.until(
        lambda: len(found := traffic.read_all(broker.bootstrap, topic, range(3))) >= 500 and found, "the records to arrive"
    )
    assert values(seen) == sorted(row["value"] for row in rows(500))


def test_null_keys_and_null_values_stay_null(broker: Broker, topic: str) -> None:
    traffic.produce(broker.bootstrap, topic, [{"value": None, "key": b"k"}, {"value": b"", "key": None, "partition": 0}])
    seen = {(record.key, record.value) for record in traffic.read_all(broker.bootstrap, topic, range(3))}
    assert seen == {(b"k", None), (None, b"")}


def test_an_idempotent_producer_stores_each_record_once(broker: Broker, topic: str) -> None:
    settings = {"enable.idempotence": True, "max.in.flight": 5, "linger.ms": 0, "batch.num.messages": 10}
    traffic.produce(broker.bootstrap, topic, rows(3_000), settings)
    seen = traffic.read_all(broker.bootstrap, topic, range(3))
    assert values(seen) == sorted(row["value"] for row in rows(3_000))


def test_a_big_record_passes_and_a_too_big_one_is_refused(broker: Broker, topic: str) -> None:
    traffic.produce(broker.bootstrap, topic, [{"value": b"b" * 900_000, "partition": 0}])
    assert len(traffic.read_all(broker.bootstrap, topic, [0])[0].value) == 900_000
    errors: list[KafkaError | None] = []
    producer = Producer(client(broker.bootstrap, message_max_bytes=4_000_000))
    producer.produce(topic, b"b" * 2_000_000, partition=0, on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(SECONDS) == 0
    assert errors[0] is not None and errors[0].code() == KafkaError.MSG_SIZE_TOO_LARGE
    assert len(traffic.read_all(broker.bootstrap, topic, [0])) == 1


def test_a_topic_appears_when_it_is_produced_to(broker: Broker, name: str) -> None:
    traffic.produce(broker.bootstrap, name, [{"value": b"first"}])
    assert name in AdminClient(client(broker.bootstrap)).list_topics(timeout=SECONDS).topics
    assert [record.value for record in traffic.read_all(broker.bootstrap, name, [0])] == [b"first"]


def test_topics_are_created_listed_described_and_deleted(broker: Broker, name: str) -> None:
    admin = AdminClient(client(broker.bootstrap))
    traffic.create_topic(broker.bootstrap, name, partitions=4, config={"retention.ms": "86400000"})
    described = admin.list_topics(name, timeout=SECONDS).topics[name]
    assert sorted(described.partitions) == [0, 1, 2, 3]
    with pytest.raises(KafkaException) as again:
        traffic.create_topic(broker.bootstrap, name)
    assert again.value.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS

    traffic.produce(broker.bootstrap, name, [{"value": b"old life", "partition": 0}])
    traffic.delete_topic(broker.bootstrap, name)
    waiting.until(lambda: name not in admin.list_topics(timeout=SECONDS).topics, "the topic to be gone")
    with pytest.raises(KafkaException) as unknown:
        traffic.delete_topic(broker.bootstrap, name)
    assert unknown.value.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART

    traffic.create_topic(broker.bootstrap, name)
    traffic.produce(broker.bootstrap, name, [{"value": b"new life", "partition": 0}])
    assert [record.value for record in traffic.read_all(broker.bootstrap, name, [0])] == [b"new life"]


@pytest.mark.parametrize(
    ("wrong", "config", "code"),
    [("bad name!", {}, KafkaError.TOPIC_EXCEPTION), ("good-name", {"retention.ms": "soon"}, KafkaError.INVALID_CONFIG)],
)
def test_a_wrong_topic_is_refused_with_the_right_error(broker: Broker, wrong: str, config: dict, code: int) -> None:
    with pytest.raises(KafkaException) as refused:
        admin = AdminClient(client(broker.bootstrap))
        admin.create_topics([NewTopic(wrong, 1, 1, config=config)])[wrong].result(SECONDS)
    assert refused.value.args[0].code() == code


def test_offsets_are_found_by_time(broker: Broker, topic: str) -> None:
    base = 1_700_000_000_000
    stamped = [{"value": b"%d" % n, "timestamp": base + 1000 * n, "partition": 0} for n in range(100)]
    traffic.produce(broker.bootstrap, topic, stamped)
    with traffic.closing(Consumer(client(broker.bootstrap, group_id=topic))) as consumer:
        ask = lambda at: consumer.offsets_for_times([TopicPartition(topic, 0, at)], timeout=SECONDS)[0].offset  # noqa: E731
        assert ask(base) == 0
        assert ask(base + 41_001) == 42
        assert ask(base + 42_000) == 42
        assert ask(base + 100_000) == OFFSET_END
        assert consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=SECONDS) == (0, 100)


def test_earliest_and_latest_offsets_are_told(broker: Broker, topic: str) -> None:
    traffic.produce(broker.bootstrap, topic, [{"value": b"%d" % n, "partition": 1} for n in range(7)])
    admin = AdminClient(client(broker.bootstrap))
    place = TopicPartition(topic, 1)
    offset = lambda spec: admin.list_offsets({place: spec})[place].result(SECONDS).offset  # noqa: E731
    assert (offset(OffsetSpec.earliest()), offset(OffsetSpec.latest())) == (0, 7)


def test_a_waiting_consumer_is_woken_by_a_record(broker: Broker, topic: str) -> None:
    settings = client(broker.bootstrap, group_id=topic, fetch_wait_max_ms=30_000)
    with traffic.closing(Consumer(settings)) as consumer:
        consumer.assign([TopicPartition(topic, 0, 0)])
        assert consumer.poll(1.0) is None
        produced = time.monotonic()
        traffic.produce(broker.bootstrap, topic, [{"value": b"wake up", "partition": 0}])
        message = consumer.poll(25.0)
        assert message is not None and message.value() == b"wake up"
        assert time.monotonic() - produced < 15, "it came when the wait ran out, not when the record arrived"


class Member(threading.Thread):
    """A consumer of a group in its own thread, until `leave`."""

    def __init__(self, broker: Broker, group: str, topic: str):
        super().__init__(daemon=True)
        self.consumer = Consumer(
            client(broker.bootstrap, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False)
            | {"session.timeout.ms": 10_000, "heartbeat.interval.ms": 500}
        )
        self.topic = topic
        self.assigned: set[int] = set()
        self.seen: list[traffic.Seen] = []
        self.leaving = threading.Event()
        self.failure = ""
        self.start()

    def run(self) -> None:
        try:
            self.consumer.subscribe([self.topic], on_assign=self._assign, on_revoke=self._revoke)
            while not self.leaving.is_set():
                for message in self.consumer.consume(500, timeout=0.2):
                    if message.error() is None:
                        self.seen.append(traffic.Seen.of(message))
                    elif message.error().fatal():
                        raise KafkaException(message.error())
            self._commit()
            self.consumer.close()
        except BaseException as failure:  # noqa: BLE001 - `leave` and `shares` fail with it in the test's thread
            self.failure = repr(failure)

    def _commit(self) -> None:
        try:
            self.consumer.commit(asynchronous=False)
        except KafkaException as failed:
            if failed.args[0].code() != KafkaError._NO_OFFSET:  # nothing read since the last commit
                raise

    def _assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self.assigned |= {place.partition for place in partitions}

    def _revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._commit()
        self.assigned -= {place.partition for place in partitions}

    def leave(self) -> None:
        self.leaving.set()
        self.join(SECONDS)
        assert not self.is_alive(), "the consumer did not close"
        assert not self.failure, self.failure


def shares(members: list[Member]) -> bool:
    """Every partition belongs to one member, and every member has one."""
    for member in members:
        assert not member.failure, member.failure
    owned = list(itertools.chain.from_iterable(member.assigned for member in members))
    return sorted(owned) == [0, 1, 2] and all(member.assigned for member in members)


def test_a_group_shares_partitions_and_shares_again_when_members_come_and_go(broker: Broker, topic: str) -> None:
    traffic.produce(broker.bootstrap, topic, rows(3_000))
    first = Member(broker, topic, topic)
    waiting.until(lambda: shares([first]), "one member to own all", SECONDS)
    second, third = Member(broker, topic, topic), Member(broker, topic, topic)
    waiting.until(lambda: shares([first, second, third]), "three members to own one each", SECONDS)
    second.leave()
    waiting.until(lambda: shares([first, third]), "two members to own all", SECONDS)
    traffic.produce(broker.bootstrap, topic, rows(3_000, start=3_000))
    everything = {row["value"] for row in rows(6_000)}
    members = [first, second, third]
    read = lambda: {record.value for member in members for record in member.seen}  # noqa: E731
    waiting.until(lambda: read() == everything, "the group to read everything", SECONDS)
    first.leave()
    third.leave()


def commit(broker: Broker, group: str, topic: str, offsets: dict[int, int]) -> None:
    with traffic.closing(Consumer(client(broker.bootstrap, group_id=group))) as consumer:
        places = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        done = consumer.commit(offsets=places, asynchronous=False)
        assert all(place.error is None for place in done), done


def committed(broker: Broker, group: str, topic: str) -> dict[int, int]:
    with traffic.closing(Consumer(client(broker.bootstrap, group_id=group))) as consumer:
        places = consumer.committed([TopicPartition(topic, partition) for partition in range(3)], timeout=SECONDS)
        return {place.partition: place.offset for place in places if place.offset >= 0}


def test_committed_offsets_and_records_survive_kill_9(fresh) -> None:
    broker = fresh().start()
    topic = traffic.create_topic(broker.bootstrap, "kept", partitions=3)
    sent = rows(2_000)
    traffic.produce(broker.bootstrap, topic, sent, {"acks": "all"})
    commit(broker, "readers", topic, {0: 11, 1: 22})
    commit(broker, "readers", topic, {1: 23})
    for _ in range(2):
        broker.restart_after_kill()
        assert committed(broker, "readers", topic) == {0: 11, 1: 23}
        assert values(traffic.read_all(broker.bootstrap, topic, range(3))) == sorted(row["value"] for row in sent)
    assert broker.stop() in (0, 143)
    broker.start()
    assert committed(broker, "readers", topic) == {0: 11, 1: 23}


def test_an_idempotent_producer_goes_on_over_a_kill_without_doubling(fresh) -> None:
    broker = fresh().start()
    topic = traffic.create_topic(broker.bootstrap, "retried", partitions=2)
    load = traffic.Load(broker.bootstrap, topic).start()
    for count in (2_000, 4_000):
        waiting.until(lambda count=count: load.acknowledged > count, f"{count} records acknowledged", SECONDS)
        broker.restart_after_kill()
    ledger = load.finish()
    ledger.check(traffic.read_all(broker.bootstrap, topic, range(2)))


@pytest.mark.strata
def test_a_transactional_producer_is_told_at_once_that_it_cannot_work(broker: Broker) -> None:
    producer = Producer(client(broker.bootstrap, transactional_id="never"))
    with pytest.raises(KafkaException) as refused:
        producer.init_transactions(SECONDS)
    error = refused.value.args[0]
    # A time-out would be the minute of retries that this must not become.
    assert error.code() != KafkaError._TIMED_OUT, f"retried until the time was over: {error}"
    assert error.fatal() or not error.retriable(), f"retriable: {error}"
