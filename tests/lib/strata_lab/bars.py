"""The bars: small promises about size and speed that are measured, each with its limit.

Start at `measure`. A bar that cannot be measured here (no strace) is said to be so and does not count as met.
"""

import argparse
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from . import frames, ports, traffic, waiting
from .broker import Strata
from .children import Child
from .stores import REPOSITORY

RESULTS = REPOSITORY / "benchmarks" / "results" / "bars.json"
RUNS = 7
PARTITIONS = 10_000
IDLE_SECONDS = 20


@dataclass
class Bar:
    name: str
    limit: str
    measured: str
    met: bool | None  # None: could not be measured here
    values: list[float]


def unreachable() -> dict[str, str]:
    return {"strata.tier.url": "s3://strata/nowhere", "strata.tier.s3.endpoint": f"http://127.0.0.1:{ports.free()}"}


CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)[1])


def idle_memory(work: Path) -> Bar:
    values = []
    for run in range(3):
        with Strata(work / f"idle-{run}") as broker:
            # Idle is what it is after it did something: a topic made, written, read.
            traffic.produce(broker.bootstrap, "t", [{"value": b"%d" % n} for n in range(1000)])
            traffic.read_all(broker.bootstrap, "t", [0])
            values.append(resident_kib(broker.pid) / 1024)
    worst = max(values)
    return Bar("idle memory (RSS after a first use)", "at most 30 MB", f"{worst:.1f} MiB", worst * 1.048576 <= 30, values)


def start_time(work: Path, name: str, settings: dict[str, str]) -> Bar:
    values = []
    for run in range(RUNS):
        broker = Strata(work / f"start-{name.split()[0]}-{run}", settings, CREDENTIALS)
        command = broker.command()
        began = time.perf_counter()
        child = Child("strata", command, broker.log, broker.environment()).start()
        _until_first_answer(broker.address)
        values.append((time.perf_counter() - began) * 1000)
        child.stop()
    middle, worst = statistics.median(values), max(values)
    told = f"median {middle:.0f} ms, worst {worst:.0f} ms of {RUNS}"
    return Bar(f"start on an empty directory to the first ApiVersions ({name})", "median at most 50 ms", told, middle <= 50, values)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle_cpu_percent(pid: int) -> float:
    before, began = cpu_seconds(pid), time.monotonic()
    time.sleep(IDLE_SECONDS)
    return 100 * (cpu_seconds(pid) - before) / (time.monotonic() - began)


def many_partitions(work: Path) -> list[Bar]:
    """One tiered topic with many partitions, each with a record: what they cost at rest, and how they start again."""
    broker = Strata(work / "many")
    broker.start()
    traffic.create_topic(broker.bootstrap, "one", 1)
    traffic.produce(broker.bootstrap, "one", [{"value": b"first"}])
    before = resident_kib(broker.pid)
    traffic.create_topic(broker.bootstrap, "many", PARTITIONS)
    traffic.produce(broker.bootstrap, "many", [{"value": b"x" * 100, "partition": n} for n in range(PARTITIONS)])
    time.sleep(10)
    each = (resident_kib(broker.pid) - before) / PARTITIONS
    busy = idle_cpu_percent(broker.pid)
    broker.stop()
    began = time.perf_counter()
    broker.launch()
    _until_first_answer(broker.address)
    traffic.produce(broker.bootstrap, "many", [{"value": b"again", "partition": PARTITIONS // 2}])
    back = time.perf_counter() - began
    rested = idle_cpu_percent(broker.pid)
    broker.close()
    name = f"{PARTITIONS} partitions"
    percent = max(busy, rested)
    return [
        Bar(f"{name}: memory of each", "at most 10 KiB", f"{each:.1f} KiB", each <= 10, [each]),
        Bar(f"{name}: idle CPU", "at most 1 %", f"{percent:.2f} % (written to; started again)", percent <= 1, [busy, rested]),
        Bar(f"{name}: start after a clean stop to the first produce", "at most 2 s", f"{back:.2f} s", back <= 2, [back]),
    ]


def _until_first_answer(address: tuple[str, int]) -> None:
    deadline = time.perf_counter() + 30
    while True:
        assert time.perf_counter() < deadline, "it does not answer"
        with socket.socket() as connection:
            connection.settimeout(5)
            try:
                connection.connect(address)
                frames.api_versions(connection)
                return
            except (OSError, ConnectionError):
                time.sleep(0.001)


def sendfile(work: Path) -> Bar:
    name, limit = "fetch of local data leaves by sendfile", "nearly all bytes"
    if shutil.which("strace") is None:
        return Bar(name, limit, "not measured: there is no strace", None, [])
    with Strata(work / "sendfile") as broker:
        payload = [{"value": os.urandom(1000), "partition": 0} for _ in range(20_000)]
        traffic.create_topic(broker.bootstrap, "sent", config={"remote.storage.enable": "false"})
        traffic.produce(broker.bootstrap, "sent", payload)
        trace = work / "sendfile.trace"
        tracer = Child(
            "strace", ["strace", "-f", "-e", "trace=sendfile", "-o", str(trace), "-p", str(broker.pid)], work / "strace.log"
        ).start()
        waiting.until(lambda: "attached" in tracer.output() or not tracer.running(), "strace to attach")
        if not tracer.running():
            return Bar(name, limit, f"not measured: {tracer.tail(1)}", None, [])
        traffic.read_all(broker.bootstrap, "sent", [0])
        tracer.send(signal.SIGINT)
        tracer.wait()
        returned = re.findall(r"sendfile(?:\(.*|.*resumed.*)\)\s*= (\d+)$", trace.read_text(), re.MULTILINE)
        calls = [int(count) for count in returned]
    sent, wanted = sum(calls), sum(len(row["value"]) for row in payload)
    told = f"{sum(1 for count in calls if count)} calls moved {sent / 1e6:.1f} MB of {wanted / 1e6:.1f} MB of values"
    return Bar(name, limit, told, sent >= wanted, [sent, wanted])


def release_build(work: Path) -> Bar:
    """From nothing: an empty target directory; downloaded sources are not part of the measurement."""
    env = os.environ | {"CARGO_TARGET_DIR": str(work / "target")}
    subprocess.run(["cargo", "fetch", "--quiet"], cwd=REPOSITORY, check=True)
    began = time.monotonic()
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=REPOSITORY, env=env, check=True)
    minutes = (time.monotonic() - began) / 60
    told = f"{minutes:.1f} min on {os.cpu_count()} cores"
    return Bar("cargo build --release from nothing", "under 20 minutes on 2 cores", told, minutes < 20, [minutes])


def measure(work: Path, with_build: bool) -> list[Bar]:
    bars = [
        start_time(work, "file tier", {}),
        start_time(work, "unreachable S3", unreachable()),
        idle_memory(work),
        *many_partitions(work),
        sendfile(work),
    ]
    return [*bars, release_build(work)] if with_build else bars


def machine() -> dict[str, str | int]:
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return {
        "cpu": model[1] if model else platform.processor(),
        "cores": os.cpu_count() or 0,
        "memory_mib": int(memory[1]) // 1024 if memory else 0,
        "kernel": platform.release().split("-")[0],
    }


def versions() -> dict[str, str]:
    ask = lambda *command: subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY).stdout.strip()  # noqa: E731
    return {
        "strata": ask(os.environ["STRATA_BIN"], "--version"),
        "commit": ask("git", "rev-parse", "--short", "HEAD"),
        "rustc": ask("rustc", "--version"),
        "python": platform.python_version(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks/bars", description="Measures the bars and writes them down.")
    parser.add_argument("--release-build", action="store_true", help="also time a release build from nothing (minutes)")
    chosen = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="strata-bars-"))
    try:
        bars = measure(work, chosen.release_build)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for bar in bars:
        mark = {True: "met", False: "MISSED", None: "unknown"}[bar.met]
        print(f"{mark:<8}{bar.name:<70}{bar.limit:<30}{bar.measured}")
    taken = datetime.now(UTC).isoformat(timespec="seconds")
    written = {"taken": taken, "machine": machine(), "versions": versions(), "bars": [asdict(bar) for bar in bars]}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(written, indent=2) + "\n")
    sys.exit(any(bar.met is False for bar in bars))


if __name__ == "__main__":
    main()
