"""The programs that drive a server: our load generator, and Kafka's own tools as a neutral referee.

All that is known of their options and of what they print is here.
"""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from strata_lab.apache import TOOLS
from strata_lab.broker import Broker
from strata_lab.children import Child

from . import meter
from .servers import java

SECONDS_MAX = 300.0
TOOL_HEAP = "-Xmx512M"


def arguments(options: dict[str, Any]) -> list[str]:
    """`{"in_flight": 5, "idempotent": True}` as `--in-flight 5 --idempotent`."""
    made: list[str] = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            made.append(flag)
        elif value is not None and value is not False:
            made += [flag, str(value)]
    return made


def _run(argv: list[str], seconds: float) -> str:
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, errors="replace"
        )
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"{' '.join(argv[:3])} still runs after {seconds:.0f} s: {late.stderr!r}") from None
    said = f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert done.returncode == 0, f"{' '.join(argv)} ended with {done.returncode}\n{said}"
    return done.stdout


def load(*words: str, **options: Any) -> dict:
    """Runs the load generator to its end; the object that it printed."""
    printed = json.loads(_run([os.environ["STRATA_LOAD_BIN"], *words, *arguments(options)], SECONDS_MAX))
    total = (printed.get("errors") or {}).get("total", 0)
    assert not total, f"{' '.join(words)}: {total} errors: {printed['errors']}"
    return printed


def drive(server: Broker, *words: str, **options: Any) -> dict:
    """The same against a server, whose use of the machine is in the answer."""
    return load(*words, bootstrap=server.bootstrap, server_pid=server.pid, **options)


def start_load(server: Broker, log: Path, *words: str, **options: Any) -> Child:
    """Starts the load generator and does not wait for it."""
    argv = [os.environ["STRATA_LOAD_BIN"], *words, *arguments({"bootstrap": server.bootstrap} | options)]
    return Child("strata-load", argv, log).start()


def create_topic(server: Broker, topic: str, partitions: int, config: dict[str, str], seconds: float = 120.0) -> None:
    argv = [os.environ["STRATA_LOAD_BIN"], "topic", "create", "--bootstrap", server.bootstrap, "--topic", topic]
    argv += ["--partitions", str(partitions)]
    for key, value in (server.topic_config | config).items():
        argv += ["--config", f"{key}={value}"]
    _run(argv, seconds)


def delete_topic(server: Broker, topic: str) -> None:
    _run([os.environ["STRATA_LOAD_BIN"], "topic", "delete", "--bootstrap", server.bootstrap, "--topic", topic], 60.0)


def _tool(server: Broker, main_class: str, *options: str) -> tuple[str, dict]:
    """Runs one of Kafka's tools; what it printed, and what the server used meanwhile."""
    before = meter.used(server.pid)
    printed = _run(java(f"{TOOLS}.{main_class}", *options, heap=TOOL_HEAP), SECONDS_MAX)
    return printed, meter.between(before, meter.used(server.pid)) | {"rss_bytes": meter.rss_bytes(server.pid)}


def _numbers(printed: str, pattern: str) -> list[float]:
    matches = re.findall(pattern, printed)
    assert matches, f"the tool printed nothing that is understood:\n{printed[-2000:]}"
    last = matches[-1]
    return [float(value) for value in (last if isinstance(last, tuple) else (last,))]


def java_produce(server: Broker, topic: str, records: int, record_bytes: int, settings: list[str]) -> dict:
    options = ["--bootstrap-server", server.bootstrap, "--topic", topic, "--num-records", str(records)]
    options += ["--record-size", str(record_bytes), "--throughput", "-1"]
    printed, used = _tool(server, "ProducerPerformance", *options, "--command-property", *settings)
    (rate,) = _numbers(printed, r"records sent, ([\d.]+) records/sec")
    p50, p99, p999 = _numbers(printed, r"(\d+) ms 50th, \d+ ms 95th, (\d+) ms 99th, (\d+) ms 99\.9th")
    latency = {"p50": p50 * 1000, "p99": p99 * 1000, "p99_9": p999 * 1000}
    return {
        "records": records,
        "bytes": records * record_bytes,
        "records_per_second": rate,
        "latency_us": latency,
        "server": used,
    }


def java_consume(server: Broker, topic: str, records: int) -> dict:
    options = ["--bootstrap-server", server.bootstrap, "--topic", topic, "--num-records", str(records)]
    printed, used = _tool(server, "ConsumerPerformance", *options)
    rows = [line.split(",") for line in printed.splitlines() if line.count(",") >= 9]
    header, row = ([field.strip() for field in fields] for fields in (rows[0], rows[-1]))
    told = dict(zip(header, row, strict=True))
    read = float(told["data.consumed.in.MB"]) * (1 << 20)
    return {
        "records": int(told["data.consumed.in.nMsg"]),
        "bytes": read,
        "bytes_per_second": float(told["fetch.MB.sec"]) * (1 << 20),
        "server": used,
    }


def java_end_to_end(server: Broker, topic: str, records: int, record_bytes: int) -> dict:
    # This tool takes its options by position: topic, records, acks, bytes of a record.
    options = [server.bootstrap, topic, str(records), "1", str(record_bytes)]
    printed, used = _tool(server, "EndToEndLatency", *options)
    p50, p99, p999 = _numbers(printed, r"50th = ([\d.]+), 99th = ([\d.]+), 99\.9th = ([\d.]+)")
    latency = {"p50": p50 * 1000, "p99": p99 * 1000, "p99_9": p999 * 1000}
    return {"records": records, "latency_us": latency, "server": used}
