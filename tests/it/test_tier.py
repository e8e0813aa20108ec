"""The tier on a real S3 server: shipping, cold reads, the bucket without a broker, and a store that goes away."""

import threading
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition
from strata_lab import frames, ports, replay, tiering, traffic, waiting
from strata_lab.broker import Strata
from strata_lab.proxy import Proxy
from strata_lab.stores import LocalStack, Store

pytestmark = pytest.mark.strata
PARTITIONS = 3


@pytest.fixture(params=["localstack", pytest.param("minio", marks=pytest.mark.minio)])
def store(request: pytest.FixtureRequest) -> Store:
    return request.getfixturevalue(request.param)


def rows(count: int) -> list[dict]:
    return [
        {
            "key": b"%d" % (n % 11),
            "value": b"%d " % n + b"payload " * 60,
            "partition": n % PARTITIONS,
            "timestamp": 10**12 + n,
        }
        for n in range(count)
    ]


def filled(broker: Strata, topic: str, count: int = 12_000, codec: str = "none") -> list[dict]:
    """Starts the broker, fills a topic, and waits until it is in the bucket and its old part no longer on disk."""
    broker.start()
    traffic.create_topic(broker.bootstrap, topic, PARTITIONS, tiering.COLD_TOPIC)
    sent = rows(count)
    traffic.produce(broker.bootstrap, topic, sent, {"compression.type": codec, "batch.num.messages": 100})
    tiering.wait_shipped(broker, topic)
    tiering.wait_cold(broker, topic)
    return sent


def same(seen: list[traffic.Seen], sent: list[dict]) -> None:
    found = [(record.partition, record.key, record.value, record.timestamp) for record in seen]
    wanted = [(row["partition"], row["key"], row["value"], row["timestamp"]) for row in sent]
    assert sorted(found) == sorted(wanted)
    traffic.check_gapless(seen)


def test_a_consumer_from_the_beginning_crosses_from_cold_to_hot(strata, store: Store, name: str) -> None:
    broker = strata(tiering.EAGER | store.settings("strata", name))
    sent = filled(broker, "crossed")
    assert broker.local_bytes("crossed") < sum(len(row["value"]) for row in sent)
    same(traffic.read_all(broker.bootstrap, "crossed", range(PARTITIONS)), sent)
    # Small fetches end in the middle of blocks and of objects.
    small = {"max.partition.fetch.bytes": 5_000, "message.max.bytes": 20_000, "fetch.max.bytes": 20_000}
    same(traffic.read_all(broker.bootstrap, "crossed", range(PARTITIONS), small), sent)


def test_cold_data_outlives_kill_9_and_an_empty_cache(strata, localstack: LocalStack, name: str) -> None:
    broker = strata(tiering.EAGER | localstack.settings("strata", name))
    sent = filled(broker, "kept")
    broker.restart_after_kill()
    same(traffic.read_all(broker.bootstrap, "kept", range(PARTITIONS)), sent)
    assert broker.stop() == 0
    tiering.verify(broker)


@pytest.mark.parametrize("codec", traffic.CODECS)
def test_the_bucket_holds_what_was_produced_as_a_reader_of_the_format_sees_it(
    strata, localstack: LocalStack, name: str, tmp_path: Path, codec: str
) -> None:
    broker = strata(tiering.EAGER | localstack.settings("strata", name))
    sent = filled_with_random(broker, "read", codec)
    assert broker.stop() == 0
    bucket = localstack.download("strata", tmp_path / "bucket", name)
    found = tiering.read_bucket(bucket, "read")
    assert sorted((row["partition"], row["value"]) for row in found) == sorted(
        (row["partition"], row["value"].decode()) for row in sent
    )
    offsets = [(row["partition"], row["offset"]) for row in found]
    assert offsets == sorted(offsets) and len(set(offsets)) == len(sent)
    tiering.verify(broker)


def filled_with_random(broker: Strata, topic: str, codec: str) -> list[dict]:
    broker.start()
    traffic.create_topic(broker.bootstrap, topic, PARTITIONS, tiering.COLD_TOPIC)
    sent = rows(1_500)
    traffic.produce(broker.bootstrap, topic, sent, {"compression.type": codec})
    tiering.wait_shipped(broker, topic)
    return sent


def test_offsets_are_found_by_time_in_cold_data(strata, localstack: LocalStack, name: str) -> None:
    broker = strata(tiering.EAGER | localstack.settings("strata", name))
    filled(broker, "timed")
    with traffic.closing(Consumer(traffic.client(broker.bootstrap, group_id="timed"))) as consumer:
        found = consumer.offsets_for_times([TopicPartition("timed", 0, 10**12 + 301)], timeout=60)
    assert found[0].offset == 101, "rows 0, 3, 6 … are in partition 0: the first not before 301 is 303"


def test_a_store_that_is_cut_off_in_a_cold_read_shows_no_gap_and_the_read_goes_on(
    strata, localstack: LocalStack, name: str
) -> None:
    with Proxy(localstack.port) as network:
        settings = localstack.settings("strata", name, endpoint=network.endpoint)
        # A cache of the smallest size: every cold read has to go to the store.
        cache = {"strata.tier.cache.bytes": str(1 << 20), "strata.tier.cache.disk.bytes": "0"}
        broker = strata(tiering.EAGER | cache | settings)
        broker.expected_complaints.append(r"WARN.*(store|tier|upload|cold|unreachable)")
        sent = filled(broker, "cut", count=30_000)
        assert broker.stop() == 0
        broker.start()

        network.cut_after_bytes(500_000)

        def mend_after_the_broker_met_the_cut() -> None:
            waiting.until(lambda: network.refused >= 8, "the broker to try again while the store is away", 60)
            network.mend()

        mender = threading.Thread(target=mend_after_the_broker_met_the_cut, daemon=True)
        mender.start()
        seen = traffic.read_all(broker.bootstrap, "cut", range(PARTITIONS), {"fetch.wait.max.ms": 500}, seconds=120)
        mender.join()
        assert network.refused >= 8, "the store was never away"
        same(seen, sent)


def test_a_replay_whose_store_goes_away_aborts_and_is_resumed_without_loss(
    strata, localstack: LocalStack, name: str
) -> None:
    with Proxy(localstack.port) as network:
        cache = {"strata.tier.cache.bytes": str(1 << 20), "strata.tier.cache.disk.bytes": "0"}
        broker = strata(tiering.EAGER | cache | localstack.settings("strata", name, endpoint=network.endpoint))
        broker.expected_complaints.append(r"WARN.*(store|tier|upload|cold|unreachable|replay)")
        sent = filled(broker, "broken", count=30_000)
        network.cut_after_bytes(6_000_000)
        first = replay.Replay()
        with pytest.raises(replay.Aborted) as aborted:
            replay.records(broker.http, "broken", into=first, seconds=120)
        assert aborted.value.line is not None and "error" in aborted.value.line, "the last line says what happened"
        assert 0 < len(first.rows) < len(sent)
        network.mend()
        rest = replay.records(broker.http, "broken", {"cursor": first.next_cursor()})
        found = [(row["partition"], row["offset"]) for row in first.rows + rest.rows]
        assert found == [(partition, offset) for partition in range(PARTITIONS) for offset in range(10_000)]


def test_a_store_that_hangs_holds_up_cold_reads_only(strata, localstack: LocalStack, name: str) -> None:
    with Proxy(localstack.port) as network:
        cache = {"strata.tier.cache.bytes": str(1 << 20), "strata.tier.cache.disk.bytes": "0"}
        broker = strata(tiering.EAGER | cache | localstack.settings("strata", name, endpoint=network.endpoint))
        broker.expected_complaints.append(r"WARN.*(store|tier|upload|cold|unreachable)")
        sent = filled(broker, "hanging")
        traffic.create_topic(broker.bootstrap, "hot", config={"remote.storage.enable": "false"})
        network.hold()
        cold: list[traffic.Seen] = []
        reader = threading.Thread(
            target=lambda: cold.extend(traffic.read_all(broker.bootstrap, "hanging", range(PARTITIONS), seconds=180)),
            daemon=True,
        )
        reader.start()
        for number in range(10):
            traffic.produce(broker.bootstrap, "hot", [{"value": b"%d" % number}], {"acks": "all"})
            assert len(traffic.read_all(broker.bootstrap, "hot", [0], seconds=10)) == number + 1
        assert reader.is_alive(), "the cold read ended though its store hangs"
        network.mend()
        reader.join(180)
        same(cold, sent)


def test_hot_service_goes_on_while_the_store_is_away_and_shipping_catches_up(
    strata, localstack: LocalStack, name: str
) -> None:
    with Proxy(localstack.port) as network:
        broker = strata(tiering.EAGER | localstack.settings("strata", name, endpoint=network.endpoint))
        broker.expected_complaints.append(r"WARN.*(store|tier|upload|unreachable)")
        broker.start()
        traffic.create_topic(broker.bootstrap, "hot", PARTITIONS, tiering.COLD_TOPIC)
        traffic.produce(broker.bootstrap, "hot", rows(3_000))
        tiering.wait_shipped(broker, "hot")
        network.cut()
        traffic.produce(broker.bootstrap, "hot", rows(6_000))
        hot_starts = tiering_offsets(broker, "hot")
        network.mend()
        tiering.wait_shipped(broker, "hot", 120)
        assert tiering_offsets(broker, "hot") >= hot_starts
        same(traffic.read_all(broker.bootstrap, "hot", range(PARTITIONS)), rows(3_000) + rows(6_000))
        assert broker.stop() == 0
        tiering.verify(broker)


def tiering_offsets(broker: Strata, topic: str) -> list[int]:
    return [place["high_watermark"] for place in tiering.partitions(broker, topic)]


def test_an_unreachable_store_does_not_keep_it_from_starting(strata) -> None:
    broker = strata(
        {"strata.tier.url": "s3://strata/nowhere", "strata.tier.s3.endpoint": f"http://127.0.0.1:{ports.free()}"}
    )
    broker.expected_complaints.append(r"(WARN|ERROR).*(store|tier|unreachable|bucket)")
    broker.start()
    traffic.produce(broker.bootstrap, "hot", [{"value": b"%d" % n} for n in range(100)])
    assert len(traffic.read_all(broker.bootstrap, "hot", [0])) == 100
    status, said = replay.get(broker.http, "/ready")
    assert status == 503 and "tier" in said, f"/ready answered {status}: {said}"


def test_an_unreachable_store_is_fatal_when_the_tier_is_required(strata) -> None:
    broker = strata(
        {"strata.tier.url": "s3://strata/nowhere", "strata.tier.s3.endpoint": f"http://127.0.0.1:{ports.free()}"}
        | {"strata.tier.required": "true"}
    )
    broker.expected_complaints.append("(WARN|ERROR)")
    child = broker.launch()
    assert child.wait(90) > 0, child.tail()


def test_the_bucket_of_another_cluster_is_refused(strata, localstack: LocalStack, name: str) -> None:
    first = strata(tiering.EAGER | localstack.settings("strata", name))
    filled_with_random(first, "mine", "none")
    first.stop()
    stranger = strata(tiering.EAGER | localstack.settings("strata", name))
    stranger.expected_complaints.append(r"(WARN|ERROR).*(cluster|bucket|tier)")
    before = localstack.keys("strata", name)
    stranger.launch()
    # It either refuses to start or serves hot data only; it never writes into the other's bucket.
    waiting.until(
        lambda: not stranger.child.running() or replay_status(stranger) == 503, "the stranger to be refused", 60, pause=0.1
    )
    # What its probe writes on the way is gone again; the archive is as it was.
    waiting.until(lambda: localstack.keys("strata", name) == before, "the bucket to be as it was")


def replay_status(broker: Strata) -> int:
    if not frames.answers(broker.address):
        return 0
    return replay.get(broker.http, "/ready")[0]


def test_a_deleted_topic_leaves_nothing_in_the_bucket(strata, localstack: LocalStack, name: str) -> None:
    broker = strata(tiering.EAGER | localstack.settings("strata", name))
    filled_with_random(broker, "doomed", "none")
    data = lambda: [key for key in localstack.keys("strata", name) if "/doomed-" in key and key.endswith(".log")]  # noqa: E731
    assert data()
    traffic.delete_topic(broker.bootstrap, "doomed")
    waiting.until(lambda: not list(broker.data.glob("doomed-*")), "the local directories to be gone", 60)
    assert broker.stop() == 0
    tiering.verify(broker)


def test_offsets_below_the_start_are_told_as_such_and_never_invented(strata, localstack: LocalStack, name: str) -> None:
    broker = strata(tiering.EAGER | localstack.settings("strata", name))
    filled(broker, "bounded")
    settings = traffic.client(broker.bootstrap, group_id="bounded", auto_offset_reset="error")
    with traffic.closing(Consumer(settings)) as consumer:
        consumer.assign([TopicPartition("bounded", 0, 10_000_000)])
        message = waiting.until(lambda: consumer.poll(1.0), "an answer", 60)
        assert message.error().code() == KafkaError._AUTO_OFFSET_RESET
