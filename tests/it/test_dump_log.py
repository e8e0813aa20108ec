"""Kafka's DumpLogSegments reads the files: deep iteration over records, sanity of both indexes."""

import re
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from strata_lab import apache, traffic, waiting
from strata_lab.broker import Broker

pytestmark = pytest.mark.java

COMPLAINTS = re.compile(r"mismatch|not found|Found timestamp|isvalid: false|Exception|out of order", re.IGNORECASE)

ALL, ALL_BUT_ACTIVE = slice(None), slice(-1)


def produce_over_segments(broker: Broker, topic: str, codec: str, count: int) -> None:
    # What differs from record to record does not compress away, so that every codec rolls segments.
    rows = (
        {"value": b"%d-" % n + bytes((n * 131 + i * i * 7 + (n >> 3) * i) % 251 for i in range(600)), "partition": 0}
        for n in range(count)
    )
    settings = {"compression.type": codec, "acks": "all", "batch.num.messages": 50}
    traffic.produce(broker.bootstrap, topic, rows, settings)


def dumped_files(files: list[Path], *options: str) -> dict[Path, str]:
    """What DumpLogSegments says of each file, in one run."""
    told = apache.dump_log(",".join(str(path) for path in files), *options)
    parts = re.split(r"^Dumping (.+)$", told, flags=re.MULTILINE)
    found = {Path(name): text for name, text in zip(parts[1::2], parts[2::2], strict=True)}
    assert set(found) == set(files), found.keys()
    return found


def check_logs(data: Path, codecs: tuple[str, ...], count: int) -> None:
    """Every record of every segment, rolled and active, is seen and valid."""
    segments = {codec: sorted(partition(data, codec).glob("*.log")) for codec in codecs}
    dumped = dumped_files([path for paths in segments.values() for path in paths], "--deep-iteration", "--print-data-log")
    for codec, paths in segments.items():
        assert len(paths) >= 2, f"{codec}: the log should have rolled"
        told = "".join(dumped[path] for path in paths)
        assert not COMPLAINTS.search(told), f"{codec}: {COMPLAINTS.search(told)}"
        assert set(re.findall(r"compresscodec: (\w+)", told)) == {codec}
        assert set(re.findall(r"isvalid: (\w+)", told)) == {"true"}, codec
        offsets = [int(offset) for offset in re.findall(r"^\|\s*offset: (\d+)", told, re.MULTILINE)]
        assert offsets == list(range(count)), f"{codec}: the dump shows {len(offsets)} records of {count}"


def check_indexes(data: Path, codecs: tuple[str, ...], which: slice) -> None:
    segments = [path for codec in codecs for path in sorted(partition(data, codec).glob("*.log"))[which]]
    indexes = [segment.with_suffix(suffix) for segment in segments for suffix in (".index", ".timeindex")]
    for path, told in dumped_files(indexes, "--index-sanity-check").items():
        assert "passed sanity check" in told, f"{path}: {told}"
    for path, told in dumped_files(indexes, "--verify-index-only").items():
        assert not COMPLAINTS.search(told), f"{path}: {told}"


def check_layout(directory: Path) -> None:
    assert (directory / f"{0:020}.log").exists(), sorted(path.name for path in directory.iterdir())
    metadata = (directory / "partition.metadata").read_text().split()
    assert metadata[:2] == ["version:", "0"] and metadata[2] == "topic_id:", metadata
    epochs = (directory / "leader-epoch-checkpoint").read_text().split()
    assert epochs[0] == "0" and int(epochs[1]) >= 1, epochs


def partition(data: Path, codec: str) -> Path:
    return data / f"dumped-{codec}-0"


def test_segments_of_every_codec_are_kafkas_files_also_after_kill_9(fresh) -> None:
    broker, count = fresh().start(), 5_000
    for codec in traffic.CODECS:
        settings = {"segment.bytes": str(1 << 20), "index.interval.bytes": "4096"}
        traffic.create_topic(broker.bootstrap, f"dumped-{codec}", config=settings)
        produce_over_segments(broker, f"dumped-{codec}", codec, count)
    broker.kill()
    check_logs(broker.data, traffic.CODECS, count)
    # The indexes of an active segment are complete after a clean stop or recovery only: Apache Kafka preallocates them,
    # Strata keeps the newest entries in memory, and makes the files when they are due.
    check_indexes(broker.data, traffic.CODECS, ALL_BUT_ACTIVE)

    broker.start()
    for codec in traffic.CODECS:
        assert traffic.watermarks(broker.bootstrap, f"dumped-{codec}", 0) == (0, count)
    assert broker.stop() in (0, 143)
    check_logs(broker.data, traffic.CODECS, count)
    check_indexes(broker.data, traffic.CODECS, ALL)
    for codec in traffic.CODECS:
        check_layout(partition(broker.data, codec))


@pytest.mark.strata
def test_the_offsets_topic_is_read_by_kafkas_decoder(fresh) -> None:
    broker = fresh().start()
    topic = traffic.create_topic(broker.bootstrap, "committed")
    traffic.produce(broker.bootstrap, topic, [{"value": b"x"}])
    with traffic.closing(Consumer(traffic.client(broker.bootstrap, group_id="dumpers"))) as consumer:
        consumer.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)
    broker.kill()
    logs = [path for path in broker.data.glob("__consumer_offsets-*/*.log") if path.stat().st_size]
    waiting.until(lambda: logs, "the offsets topic to have content")
    dumped = "".join(apache.dump_log(str(path), "--offsets-decoder") for path in logs)
    assert re.search(r'"group"\s*:\s*"dumpers"', dumped), dumped
    assert re.search(r'"offset"\s*:\s*1\b', dumped), dumped
