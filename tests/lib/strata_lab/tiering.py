"""The tier from outside: how far a topic was shipped, what is cold, and what the bucket says without a broker."""

import json
import os
import subprocess
import sys
from pathlib import Path

from . import replay, waiting
from .broker import Strata
from .stores import REPOSITORY

READER = REPOSITORY / "tiering" / "reader" / "strata_reader.py"

# Small objects, shipped soon, and freed soon: most of a topic is cold after seconds.
EAGER = {
    "strata.tier.object.bytes": str(256 << 10),
    "strata.tier.rpo.ms": "300",
    "log.retention.check.interval.ms": "300",
    "strata.export.interval.ms": "300",
}
COLD_TOPIC = {"segment.bytes": str(1 << 20), "local.retention.bytes": "1", "retention.ms": "-1"}


def partitions(broker: Strata, topic: str) -> list[dict]:
    """Per partition: log_start, local_start, high_watermark, tiered_end."""
    status, text = replay.get(broker.http, f"/v1/topics/{topic}")
    assert status == 200, f"/v1/topics/{topic} answered {status}: {text}"
    return json.loads(text)["partitions"]


def wait_shipped(broker: Strata, topic: str, seconds: float = 60.0) -> list[dict]:
    """Until everything that was produced is in the bucket."""

    def shipped() -> list[dict]:
        places = partitions(broker, topic)
        return places if all((place["tiered_end"] or 0) >= place["high_watermark"] for place in places) else []

    return waiting.until(shipped, f"{topic} to be shipped; {partitions(broker, topic)}", seconds, pause=0.1)


def wait_cold(broker: Strata, topic: str, seconds: float = 60.0) -> list[dict]:
    """Until each partition with more than one segment has freed local data."""

    def cold() -> list[dict]:
        places = partitions(broker, topic)
        wanted = (place for place in places if place["high_watermark"] > 0)
        return places if all(place["local_start"] > place["log_start"] for place in wanted) else []

    return waiting.until(cold, f"{topic} to go cold; {partitions(broker, topic)}", seconds, pause=0.1)


def read_bucket(directory: Path, topic: str) -> list[dict]:
    """The records of a topic as the reader in Python, which knows only FORMAT.md, prints them."""
    assert directory.exists(), directory
    done = subprocess.run(
        [sys.executable, str(READER), str(directory), "--topic", topic], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, f"the reader ended with {done.returncode}: {done.stderr}"
    return [json.loads(line) for line in done.stdout.splitlines()]


def verify(broker: Strata) -> str:
    """`strata tier verify`: ranges whole, objects there, and none without a name; fails when it is not so."""
    return broker.tool("tier", "verify")
