"""Bits that flip in local segments of a running broker: found, marked, healed from the bucket where it has them."""

import re
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from strata_lab import replay, tiering, traffic, waiting
from strata_lab.broker import Strata

pytestmark = pytest.mark.strata
FAST = tiering.EAGER | {"strata.log.scrub.bytes.per.second": str(1 << 30)}
SEGMENTS = {"segment.bytes": str(1 << 20), "retention.ms": "-1", "local.retention.ms": "-2"}
DAMAGED = r"ERROR.*records are damaged on disk.* from=(\d+) to=(\d+)"


def rows(count: int) -> list[dict]:
    return [{"value": b"%d " % n + b"payload " * 60, "partition": 0, "timestamp": 10**12 + n} for n in range(count)]


def filled(broker: Strata, topic: str, config: dict[str, str]) -> list[dict]:
    broker.expected_complaints.append(DAMAGED)
    broker.start()
    traffic.create_topic(broker.bootstrap, topic, 1, SEGMENTS | config)
    sent = rows(8_000)
    traffic.produce(broker.bootstrap, topic, sent, {"batch.num.messages": 100})
    return sent


# Where in a batch: its base offset, its length, its checksum, its records.
PLACES = {"base offset": 7, "length": 10, "checksum": 17, "records": 5_000}


def flip(broker: Strata, topic: str, within: int) -> tuple[Path, bytes]:
    """Flips a bit of a batch in the middle of the first segment; gives the file and what it was."""
    segments = sorted((broker.data / f"{topic}-0").glob("*.log"))
    assert len(segments) > 2, segments
    whole = segments[0].read_bytes()
    batch = 0
    while batch < len(whole) // 2:
        batch += 12 + int.from_bytes(whole[batch + 8 : batch + 12], "big")
    with segments[0].open("r+b") as file:
        file.seek(batch + within)
        file.write(bytes([whole[batch + within] ^ 0x10]))
    return segments[0], whole


def metric(broker: Strata, name: str) -> int:
    status, text = replay.get(broker.http, "/metrics")
    assert status == 200
    found = re.search(rf"^{name} (\d+)", text, re.MULTILINE)
    assert found, f"no {name} in the metrics"
    return int(found[1])


def values(broker: Strata, topic: str, start: int, end: int) -> list[bytes]:
    """The values of these offsets."""
    settings = traffic.client(broker.bootstrap, group_id="range", enable_auto_commit=False, check_crcs=True)
    seen: list[bytes] = []
    with traffic.closing(Consumer(settings)) as consumer:
        consumer.assign([TopicPartition(topic, 0, start)])

        def all_read() -> bool:
            for message in consumer.consume(1000, timeout=0.2):
                assert message.error() is None, message.error()
                if message.offset() < end:
                    assert message.offset() == start + len(seen)
                    seen.append(message.value())
            return len(seen) >= end - start

        waiting.until(all_read, f"offsets {start} to {end} of {topic}")
    return seen


@pytest.mark.parametrize("place", PLACES)
def test_a_flip_in_a_shipped_segment_is_healed_from_the_bucket(strata, place: str) -> None:
    broker = strata(FAST)
    sent = filled(broker, "healed", {})
    tiering.wait_shipped(broker, "healed")
    path, whole = flip(broker, "healed", PLACES[place])
    waiting.until(lambda: metric(broker, "strata_scrub_healed_total") == 1, "the damage to be healed", 90)
    assert metric(broker, "strata_scrub_damaged_total") == 1
    assert metric(broker, "strata_scrubbed_bytes_total") > len(whole)
    assert path.read_bytes() == whole
    assert values(broker, "healed", 0, len(sent)) == [row["value"] for row in sent]
    broker.restart_after_kill()
    assert values(broker, "healed", 0, len(sent)) == [row["value"] for row in sent]
    assert broker.stop() == 0
    tiering.verify(broker)


def test_a_flip_in_what_only_this_disk_has_is_marked_and_the_rest_serves(strata) -> None:
    broker = strata(FAST)
    sent = filled(broker, "marked", {"remote.storage.enable": "false"})
    flip(broker, "marked", PLACES["records"])
    waiting.until(lambda: metric(broker, "strata_scrub_damaged_total") == 1, "the damage to be found", 90)
    found = re.search(DAMAGED, broker.log.read_text())
    assert found, "the damage is said"
    first, after = int(found[1]), int(found[2])
    broker.expected_complaints.append(r"ERROR.*log is damaged here")
    assert 0 < after - first <= 100
    for _ in range(2):
        assert values(broker, "marked", 0, first) == [row["value"] for row in sent[:first]]
        assert values(broker, "marked", after, len(sent)) == [row["value"] for row in sent[after:]]
        broker.restart_after_kill()
