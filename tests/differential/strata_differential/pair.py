"""Strata and Apache Kafka side by side, with the same settings, for `strata-differential`.

What both would do by themselves within a run (retention, expiry of sessions of fetches) is put beyond it. Start at
`compare`.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from strata_lab.broker import ApacheKafka, Strata

SETTINGS = {
    "node.id": "1",
    "num.partitions": "1",
    "offsets.topic.num.partitions": "3",
    "group.initial.rebalance.delay.ms": "0",
    # Records have any time; none of them goes.
    "log.retention.ms": "-1",
    "log.segment.delete.delay.ms": "60000",
    "max.incremental.fetch.session.cache.slots": "100000",
}
# Topics begin as Kafka's do: nothing is tiered unless a request says so.
OF_STRATA = SETTINGS | {"strata.remote.storage.enable.default": "false"}
ROOT = Path(__file__).resolve().parents[3]


def program() -> str:
    """The program that compares: STRATA_DIFFERENTIAL_BIN when given, otherwise built."""
    given = os.environ.get("STRATA_DIFFERENTIAL_BIN")
    if given:
        return given
    subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "tests-differential"], cwd=ROOT, check=True)
    return str(Path(os.environ["CARGO_TARGET_DIR"]) / "release" / "strata-differential")


def compare(directory: Path, arguments: list[str], stdout: int | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the comparison to its end; it prints to `stdout`, or to ours."""
    command = [program()]
    with Strata(directory / "strata", OF_STRATA) as strata, ApacheKafka(directory / "kafka", SETTINGS) as kafka:
        command += ["--strata", strata.bootstrap, "--kafka", kafka.bootstrap, *arguments]
        return subprocess.run(command, text=True, stdout=stdout, check=False)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="strata-differential-") as directory:
        return compare(Path(directory), sys.argv[1:]).returncode


if __name__ == "__main__":
    sys.exit(main())
