"""kafka-python, a client that shares no code with librdkafka or Java."""

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from strata_lab.broker import Broker


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
def test_what_it_produces_it_reads(broker: Broker, name: str, codec: str | None) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, compression_type=codec, acks="all", linger_ms=5)
    sent = [(b"key-%d" % (n % 7), b"value-%d" % n) for n in range(1_000)]
    answers = [producer.send(name, value=value, key=key, headers=[("n", b"1")]) for key, value in sent]
    assert all(answer.get(timeout=60).offset >= 0 for answer in answers)
    producer.close()

    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap, consumer_timeout_ms=30_000, enable_auto_commit=False)
    place = TopicPartition(name, 0)
    consumer.assign([place])
    consumer.seek_to_beginning(place)
    assert consumer.end_offsets([place])[place] == len(sent)
    seen = [next(consumer) for _ in sent]
    consumer.close()
    assert [(record.key, record.value) for record in seen] == sent
    assert [record.offset for record in seen] == list(range(len(sent)))


def test_a_group_commits_and_goes_on_where_it_stopped(broker: Broker, name: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.create_topics([NewTopic(name, num_partitions=2, replication_factor=1)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    for n in range(200):
        producer.send(name, value=b"%d" % n, partition=n % 2)
    producer.flush()
    producer.close()

    def read(count: int) -> set[bytes]:
        consumer = KafkaConsumer(
            name,
            bootstrap_servers=broker.bootstrap,
            group_id=name,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_poll_records=10,
            consumer_timeout_ms=30_000,
        )
        seen: set[bytes] = set()
        while len(seen) < count:
            batch = consumer.poll(timeout_ms=30_000)
            assert batch, f"nothing came after {len(seen)} of {count} records"
            seen |= {record.value for records in batch.values() for record in records}
            consumer.commit()
        consumer.close()
        return seen

    first = read(100)
    second = read(200 - len(first))
    assert not first & second, "records before the committed offset came again"
    assert first | second == {b"%d" % n for n in range(200)}
