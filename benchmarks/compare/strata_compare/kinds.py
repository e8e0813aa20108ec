"""How each kind of workload is run: a function from a workload and a place to metrics, and the raw answer beside them.

Those in `SHARED` get a session: a server that runs and is warm. Those in `ALONE` get the kind of server and a directory,
and start servers of their own; `LIMITS` need no server. A metric's name ends with its unit.
"""

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from strata_lab.broker import Broker

from . import load, meter, servers
from .pressure import again_and_again, evict
from .workloads import FILLED_RECORDS, Workload

Measured = tuple[dict[str, float], dict]
PER_RECORD_BYTES = 1024
# A clean stop writes what is not written yet, of all partitions.
STOP_SECONDS = 240.0
# After load, before idleness is measured.
SETTLE_SECONDS = 3.0
# Of the 10 partitions whose latency is compared with that beside 10,000.
FEW_RECORDS = 400_000
MB = 1e6


def of_load(printed: dict) -> dict[str, float]:
    """The metrics that every answer of a load generator gives."""
    metrics: dict[str, float] = {}
    for name in ("records_per_second", "bytes_per_second", "client_cpu_seconds"):
        if printed.get(name) is not None:
            metrics[name] = printed[name]
    used = printed.get("server") or {}
    if "cpu_seconds" in used:
        cpu = max(used["cpu_seconds"], 1 / meter.TICKS_PER_SECOND)
        metrics["cpu_seconds"] = used["cpu_seconds"]
        for name in ("records", "bytes"):
            if printed.get(name):
                metrics[f"{name}_per_cpu_second"] = printed[name] / cpu
        metrics["rss_mb"] = used["rss_bytes"] / MB
        metrics["context_switches"] = used["context_switches"]
        metrics["written_mb"] = used["written_bytes"] / MB
    for name in ("p50", "p99", "p99_9"):
        if name in (printed.get("latency_us") or {}):
            metrics[f"{name}_us"] = printed["latency_us"][name]
    return metrics


class Session:
    """A server that runs, for the workloads of a group. Topics are made for each workload and go with it."""

    def __init__(self, server: Broker):
        self.server = server
        self.filled: dict[str, int] = {}
        self.made = 0

    def warm_up(self, records: int) -> None:
        """Many small requests and some large ones, so that Java has compiled what it will."""
        topic = self.topic("warm-up", 4, {})
        small = {"batch_records": 1, "record_bytes": 1024, "connections": 4, "acks": "1"}
        load.load("produce", bootstrap=self.server.bootstrap, topic=topic, records=records // 15, **small)
        large = {"batch_bytes": 131_072, "record_bytes": 1024, "acks": "1"}
        load.load("produce", bootstrap=self.server.bootstrap, topic=topic, records=records, **large)
        load.load("fetch", bootstrap=self.server.bootstrap, topic=topic)
        load.delete_topic(self.server, topic)

    def topic(self, name: str, partitions: int, config: dict[str, str]) -> str:
        self.made += 1
        topic = f"{name}-{self.made}"
        load.create_topic(self.server, topic, partitions, config)
        return topic

    def data(self, records: int, partitions: int = 1) -> str:
        """A topic that holds so many records of 1 KiB; it is filled once."""
        topic = f"data-of-{partitions}"
        if self.filled.get(topic) != records:
            load.create_topic(self.server, topic, partitions, {})
            fill(self.server, topic, records)
            self.filled[topic] = records
        return topic


def fill(server: Broker, topic: str, records: int) -> None:
    options = {"batch_bytes": 131_072, "record_bytes": PER_RECORD_BYTES, "acks": "1", "records": records}
    load.load("produce", bootstrap=server.bootstrap, topic=topic, **options)


def produce(session: Session, workload: Workload, options: dict[str, Any]) -> Measured:
    topic = session.topic(workload.name, workload.partitions, dict(workload.topic))
    printed = load.drive(session.server, "produce", topic=topic, **options)
    load.delete_topic(session.server, topic)
    return of_load(printed), printed


def fetch(session: Session, workload: Workload, options: dict[str, Any]) -> Measured:
    """Reads the same data from its beginning, again and again until enough time was spent: once is over too soon."""
    topic = session.data(options.pop("filled", FILLED_RECORDS), workload.partitions)
    enough = options.pop("seconds")
    load.load("fetch", bootstrap=session.server.bootstrap, topic=topic, discard=True)
    before, runs = meter.used(session.server.pid), []
    while sum(run["seconds"] for run in runs) < enough:
        runs.append(load.drive(session.server, "fetch", topic=topic, **options))
    total = {name: sum(run[name] for run in runs) for name in ("records", "bytes", "seconds", "client_cpu_seconds")}
    for name in ("records", "bytes"):
        total[f"{name}_per_second"] = total[name] / total["seconds"]
    total["server"] = meter.between(before, meter.used(session.server.pid))
    total["server"]["rss_bytes"] = meter.rss_bytes(session.server.pid)
    total["latency_us"] = runs[-1]["latency_us"]
    return of_load(total), total | {"runs": len(runs)}


def end_to_end(session: Session, workload: Workload, options: dict[str, Any]) -> Measured:
    topic = session.topic(workload.name, workload.partitions, dict(workload.topic))
    printed = load.drive(session.server, "end-to-end", topic=topic, **options)
    load.delete_topic(session.server, topic)
    return of_load(printed), printed


def java_produce(session: Session, workload: Workload, options: dict[str, Any]) -> Measured:
    topic = session.topic(workload.name, workload.partitions, dict(workload.topic))
    printed = load.java_produce(
        session.server, topic, options["records"], options["record_bytes"], list(options["settings"])
    )
    load.delete_topic(session.server, topic)
    return of_load(printed), printed


def java_consume(session: Session, workload: Workload, options: dict[str, Any]) -> Measured:
    topic = session.data(options["records"])
    printed = load.java_consume(session.server, topic, options["records"])
    return of_load(printed), printed


def java_end_to_end(session: Session, workload: Workload, options: dict[str, Any]) -> Measured:
    topic = session.topic(workload.name, workload.partitions, dict(workload.topic))
    printed = load.java_end_to_end(session.server, topic, options["records"], options["record_bytes"])
    load.delete_topic(session.server, topic)
    return of_load(printed), printed


def connections(session: Session, workload: Workload, options: dict[str, Any]) -> Measured:
    if "topic" in options:
        options["topic"] = session.topic(options["topic"], workload.partitions, {})
    printed = load.drive(session.server, "connections", **options)
    assert not printed["lost"], f"{printed['lost']} connections were lost"
    metrics = of_load(printed)
    metrics["rss_kib_per_connection"] = printed["server_rss_per_connection_bytes"] / 1024
    metrics |= {f"probe_{name}_us": printed["probe_latency_us"][name] for name in ("p50", "p99")}
    return metrics, printed


SHARED: dict[str, Callable[[Session, Workload, dict[str, Any]], Measured]] = {
    "produce": produce,
    "fetch": fetch,
    "end-to-end": end_to_end,
    "java-produce": java_produce,
    "java-consume": java_consume,
    "java-end-to-end": java_end_to_end,
    "connections": connections,
}


class Nursery:
    """Fresh servers of one kind, each in a directory of its own; `close` ends and removes what is left."""

    def __init__(self, kind: str, work: Path):
        self.kind = kind
        self.work = work
        self.born: list[Broker] = []

    def server(self) -> Broker:
        server = servers.KINDS[self.kind](self.work / f"{self.kind}-{time.monotonic_ns()}")
        self.born.append(server)
        return server

    def close(self) -> None:
        while self.born:
            servers.discard(self.born.pop())


def start(nursery: Nursery, workload: Workload, options: dict[str, Any]) -> Measured:
    """Starts on empty directories; the last server is used a little and then left in peace."""
    times = []
    for _ in range(options["starts"]):
        nursery.close()
        server = nursery.server()
        times.append(servers.start(server) * 1000)
    load.create_topic(server, "first", 1, {})
    fill(server, "first", 1000)
    load.load("fetch", bootstrap=server.bootstrap, topic="first")
    time.sleep(1.0)
    metrics = {"start_ms": statistics.median(times), **idle(server, options["idle_seconds"])}
    return metrics, {"start_ms": times}


def idle(server: Broker, seconds: float) -> dict[str, float]:
    before = meter.used(server.pid)
    time.sleep(seconds)
    used = meter.between(before, meter.used(server.pid))
    return {
        "idle_cpu_percent": used["cpu_seconds"] / seconds * 100,
        "idle_context_switches_per_second": used["context_switches"] / seconds,
        "idle_rss_mb": meter.rss_bytes(server.pid) / MB,
        "idle_anonymous_mb": meter.anonymous_bytes(server.pid) / MB,
    }


def partitions(nursery: Nursery, workload: Workload, options: dict[str, Any]) -> Measured:
    """First with 10 partitions, then with many more; produce goes to all partitions of a topic in turn."""
    server, metrics = nursery.server(), {}
    servers.start(server)
    load.create_topic(server, "few", 10, {})
    fill(server, "few", FEW_RECORDS)
    few = _latencies(server, "few", options)
    time.sleep(SETTLE_SECONDS)
    rss = meter.rss_bytes(server.pid)
    topics = [f"many-{index}" for index in range(options["topics"])]
    count = len(topics) * options["partitions_each"]
    began = time.perf_counter()
    for topic in topics:
        load.create_topic(server, topic, options["partitions_each"], {}, seconds=300.0)
    metrics["create_s"] = time.perf_counter() - began
    metrics["rss_kib_per_created_partition"] = (meter.rss_bytes(server.pid) - rss) / 1024 / count
    for topic in topics:
        one_each = {"batch_records": 1, "record_bytes": 100, "acks": "1", "records": options["partitions_each"]}
        # One connection takes the partitions strictly in turn.
        load.load("produce", bootstrap=server.bootstrap, topic=topic, connections=1, **one_each)
    many = _latencies(server, topics[0], options)
    time.sleep(SETTLE_SECONDS)
    metrics |= idle(server, options["idle_seconds"])
    metrics["rss_kib_per_partition"] = (meter.rss_bytes(server.pid) - rss) / 1024 / count
    for name in ("produce_p99_us", "fetch_p99_us"):
        metrics[name] = many[name]
        metrics[name.replace("_us", "_few_us")] = few[name]
        metrics[name.replace("_us", "_ratio")] = many[name] / few[name]
    began = time.perf_counter()
    assert server.child is not None
    server.child.stop(STOP_SECONDS)
    metrics["clean_stop_s"] = time.perf_counter() - began
    metrics |= _restart(server, topics[-1], options["partitions_each"], "clean_restart_s", "clean_restart_last_s")
    return metrics, {"few": few, "many": many}


def _latencies(server: Broker, topic: str, options: dict[str, Any]) -> dict[str, float]:
    """Produce of one record to each partition in turn, at a fixed rate; fetch requests of 64 KiB of a full topic."""
    sent = {"batch_records": 1, "record_bytes": 100, "acks": "1", "connections": 4, "in_flight": 1}
    sent |= {"rate": options["rate"], "seconds": options["seconds"], "warmup_records": options["rate"] // 2}
    produced = load.drive(server, "produce", topic=topic, **sent)
    read = {"connections": 2, "bytes": 65_536, "request_bytes": 65_536}
    fetched = load.drive(server, "fetch", topic="few", **read)
    return {"produce_p99_us": produced["latency_us"]["p99"], "fetch_p99_us": fetched["latency_us"]["p99"]}


def _restart(server: Broker, topic: str, count: int, first: str, last: str) -> dict[str, float]:
    """Starts a server that was stopped; seconds until a record of one partition, and of its last, can be fetched."""
    began = time.perf_counter()
    server.launch()
    servers.await_record(server, topic, 0)
    metrics = {first: time.perf_counter() - began}
    servers.await_record(server, topic, count - 1)
    return metrics | {last: time.perf_counter() - began}


def restart(nursery: Nursery, workload: Workload, options: dict[str, Any]) -> Measured:
    """Fills a server, kills it, starts it; kills it again, drops the pages of its log, starts it again."""
    server, topic = nursery.server(), "kept"
    servers.start(server)
    load.create_topic(server, topic, workload.partitions, {}, seconds=300.0)
    # At least one batch for each partition.
    fill(server, topic, max(options["bytes"], workload.partitions << 18) // PER_RECORD_BYTES)
    server.kill()
    metrics = _restart(server, topic, workload.partitions, "first_fetch_s", "last_fetch_s")
    metrics["restart_rss_mb"] = meter.rss_bytes(server.pid) / MB
    server.kill()
    evict(server.data, "*")
    metrics |= _restart(server, topic, workload.partitions, "first_fetch_cold_s", "last_fetch_cold_s")
    return metrics, {}


def isolation(nursery: Nursery, workload: Workload, options: dict[str, Any]) -> Measured:
    """A light load alone, and then beside the pressure."""
    session = Session(nursery.server())
    server = session.server
    servers.start(server)
    session.warm_up(100_000)
    if options["filled"]:
        session.data(options["filled"])
    light = {"rate": options["rate"], "record_bytes": 1024, "acks": "1", "seconds": options["seconds"], "warmup_seconds": 1}
    load.create_topic(server, "light", 1, {})
    quiet = load.drive(server, "end-to-end", topic="light", **light)
    with _pressure(session, options) as done:
        pressed = load.drive(server, "end-to-end", topic="light", **light)
    metrics = of_load(pressed) | {"quiet_p99_us": quiet["latency_us"]["p99"]}
    metrics["p99_ratio"] = metrics["p99_us"] / metrics["quiet_p99_us"]
    return metrics, {"quiet": quiet, "pressed": pressed, "pressed_times": dict(done)}


@contextlib.contextmanager
def _pressure(session: Session, options: dict[str, Any]) -> Iterator[dict[str, int]]:
    """Keeps the server busy while the block runs; yields how often each thing was done."""
    server, done = session.server, {}
    with contextlib.ExitStack() as all_of:
        if options["pressure"] == "writeback":
            load.create_topic(server, "heavy", 4, {})
            heavy = {
                "batch_bytes": 131_072,
                "record_bytes": 1024,
                "acks": "1",
                "rate": 150_000,
                "seconds": options["seconds"] + 5,
            }
            child = load.start_load(server, server.directory / "heavy.log", "produce", topic="heavy", **heavy)
            all_of.callback(child.kill)
            all_of.enter_context(again_and_again("synced", os.sync, 0.01, done))
            yield done
            assert child.running() or child.exit_code() == 0, f"the heavy producer ended early:\n{child.tail()}"
            return
        topic = session.data(options["filled"])
        read = lambda: load.load("fetch", bootstrap=server.bootstrap, topic=topic, discard=True)  # noqa: E731
        if options["pressure"] == "evicted":
            all_of.enter_context(again_and_again("evicted", lambda: evict(server.data, "data-*"), 0.2, done))
        all_of.enter_context(again_and_again("read", read, 0.0, done))
        yield done


ALONE: dict[str, Callable[[Nursery, Workload, dict[str, Any]], Measured]] = {
    "start": start,
    "partitions": partitions,
    "restart": restart,
    "isolation": isolation,
}


def limit(work: Path, options: dict[str, Any]) -> Measured:
    """What the kernel can do, without a broker: of several ways the one that needs the least processor time."""
    directory, what = work / "limit", options.pop("what")
    directory.mkdir()
    printed = load.load("limits", what, directory=directory, **options)
    if what == "group-commit":
        return {
            "records_per_second": printed["appends_per_second"],
            "syncs_per_second": printed["syncs_per_second"],
            "records_per_cpu_second": printed["appends"] / max(printed["server_cpu_seconds"], 1 / meter.TICKS_PER_SECOND),
            "p99_us": printed["latency_us"]["p99"],
        }, printed
    # Kafka and Strata are read with the record bytes dropped in the kernel, so that receiver is the one to compare with.
    rows = [row for row in printed["rows"] if row.get("receiver", "discard") == "discard"]
    best = max(rows, key=lambda row: row["bytes_per_server_cpu_second"])
    metrics = {"bytes_per_second": best["bytes_per_second"], "bytes_per_cpu_second": best["bytes_per_server_cpu_second"]}
    return metrics | {"cpu_seconds": best["server_cpu_seconds"]}, printed
