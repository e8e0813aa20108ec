"""What is measured: data. How each kind is run stands in `kinds.py`.

Batches are those that the Java client makes with `batch.size=131072 linger.ms=5` under load, which is the usual setting
for throughput; `produce-1k-16k` has the client's default of 16 KiB. In flight are 5 requests for each connection, the
client's default, where nothing else is said.

The workloads of a shared group run one after the other on one server that was started and warmed up for the group and
the round. The others start servers of their own. `seconds` is what a round takes with Strata and with Kafka, roughly, on
2 cores: from it the time of a run is estimated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BOTH = ("strata", "kafka")
STRATA = ("strata",)
LIMIT = ("limit",)

THROUGHPUT = ("records_per_cpu_second", "records_per_second")
BYTES = ("bytes_per_cpu_second", "bytes_per_second")
LATENCY = ("p50_us", "p99_us", "p99_9_us")

FILLED_RECORDS = 1_000_000


@dataclass(frozen=True)
class Workload:
    name: str
    says: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    shows: tuple[str, ...] = THROUGHPUT
    partitions: int = 1
    topic: Mapping[str, str] = field(default_factory=dict)
    servers: tuple[str, ...] = BOTH
    seconds: tuple[float, float] = (2.0, 5.0)
    # What a smoke run changes in the options.
    quick: Mapping[str, Any] = field(default_factory=dict)
    # At most so many rounds, by server.
    rounds: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    name: str
    workloads: tuple[Workload, ...]
    # Its workloads share a server, which was warmed up.
    shared: bool = True


def produce(name: str, says: str, records: int, record_bytes: int, **more: Any) -> Workload:
    """A fixed number of records, so that both servers do the same work."""
    partitions, seconds = more.pop("partitions", 1), more.pop("seconds", (2.0, 5.0))
    topic, servers = more.pop("topic", {}), more.pop("servers", BOTH)
    options = {"batch_bytes": 131_072, "acks": "1", "in_flight": 5} | more
    options |= {"records": records, "record_bytes": record_bytes, "warmup_records": records // 5}
    quick = {"records": records // 20, "warmup_records": records // 100}
    return Workload(
        name, says, "produce", options, partitions=partitions, topic=topic, servers=servers, seconds=seconds, quick=quick
    )


def flush(name: str, says: str, partitions: int, connections: int) -> Workload:
    """One record a request, one request outstanding on each connection, each acknowledged when it is on the disk."""
    options = {"record_bytes": 1024, "batch_records": 1, "acks": "all", "in_flight": 1, "connections": connections}
    options |= {"warmup_records": 40 * connections, "seconds": 2.5}
    shows = ("records_per_second", "records_per_cpu_second", "p99_us")
    topic = {"flush.messages": "1"}
    return Workload(name, says, "produce", options, shows, partitions, topic, seconds=(3.5, 4.0), quick={"seconds": 0.5})


def fetch(name: str, says: str, consumers: int, partitions: int = 1) -> Workload:
    # Of all consumers together, in one of the runs that are repeated until the time is over.
    records = FILLED_RECORDS * min(consumers, 3)
    options = {"connections": consumers, "records": records, "seconds": 2.5, "discard": True}
    return Workload(name, says, "fetch", options, BYTES, partitions, seconds=(4.0, 5.0), quick={"seconds": 0.1})


def end_to_end(name: str, says: str, rate: int, **more: Any) -> Workload:
    options = {"rate": rate, "seconds": 4, "warmup_seconds": 1, "record_bytes": 1024, "acks": "1"} | more
    return Workload(name, says, "end-to-end", options, LATENCY, seconds=(5.5, 5.5), quick={"seconds": 1})


def limit(name: str, says: str, shows: tuple[str, ...], quick: Mapping[str, Any], **options: Any) -> Workload:
    return Workload(name, says, "limit", options, shows, servers=LIMIT, seconds=(4.0, 0), quick=quick)


def group_commit(name: str, files: int, outstanding: int) -> Workload:
    """As many files, threads and records that wait as the workload that is compared with it."""
    options = {"what": "group-commit", "files": files, "threads": files, "outstanding": outstanding // files}
    options |= {"record_bytes": 1100, "seconds": 2}
    says = f"the kernel: group commit, {files} files, {outstanding} outstanding"
    return limit(name, says, ("records_per_second", "p99_us"), {"seconds": 0.5}, **options)


def send_file(name: str, connections: int) -> Workload:
    options = {"what": "sendfile", "total_bytes": 4 << 30, "connections": connections}
    return limit(name, f"the kernel: sendfile to {connections} receivers", BYTES, {"total_bytes": 500_000_000}, **options)


PRODUCE = Group(
    "produce",
    (
        limit(
            "limit-socket-to-file",
            "the kernel: one socket to one file",
            BYTES,
            {"total_bytes": 100_000_000},
            what="socket-to-file",
            total_bytes=1 << 30,
        ),
        produce("produce-1k-acks1", "1 KiB, acks=1", 1_000_000, 1024),
        produce("produce-1k-all-idempotent", "1 KiB, acks=all, idempotent", 1_000_000, 1024, acks="all", idempotent=True),
        produce("produce-100b-acks1", "100 B, acks=1", 6_000_000, 100),
        produce("produce-100b-all-idempotent", "100 B, acks=all, idempotent", 6_000_000, 100, acks="all", idempotent=True),
    ),
)
PRODUCE_MORE = Group(
    "produce-more",
    (
        produce("produce-1k-acks0", "1 KiB, acks=0", 1_000_000, 1024, acks="0"),
        produce("produce-1k-16k", "1 KiB, acks=1, batches of 16 KiB", 1_000_000, 1024, batch_bytes=16_384),
        produce("produce-10k-acks1", "10 KiB, acks=1", 100_000, 10_240),
        produce(
            "produce-1k-100p",
            "1 KiB, acks=1, 100 partitions, batches of 16 KiB, 16 in a request",
            1_000_000,
            1024,
            partitions=100,
            batch_bytes=16_384,
            batches_per_request=16,
        ),
        produce("produce-1k-lz4", "1 KiB, acks=1, lz4", 1_000_000, 1024, compression="lz4"),
        produce("produce-1k-zstd", "1 KiB, acks=1, zstd", 1_000_000, 1024, compression="zstd"),
        produce(
            "produce-tiered",
            "1 KiB, acks=1, with the tier on (Strata only)",
            1_000_000,
            1024,
            servers=STRATA,
            topic={"remote.storage.enable": "true"},
        ),
    ),
)
FETCH = Group(
    "fetch",
    (
        send_file("limit-sendfile", 1),
        send_file("limit-sendfile-10", 10),
        # An answer holds 1 MiB of each partition: with one partition much of the time goes by between answers.
        fetch("fetch-1", "hot, catch-up, 1 consumer", 1),
        fetch("fetch-1-8p", "hot, catch-up, 1 consumer of 8 partitions", 1, partitions=8),
        fetch("fetch-10", "hot, catch-up, 10 consumers", 10),
    ),
)
LIVE = Group(
    "live",
    (
        end_to_end("end-to-end-10k", "10,000 records/s of 1 KiB, acks=1, 10 in a batch", 10_000, batch_records=10),
        end_to_end("end-to-end-10k-single", "10,000 records/s of 1 KiB, acks=1, each in a request", 10_000),
        end_to_end(
            "tail-10",
            "tail: 20,000 records/s in batches of 20, read by 10 consumers",
            20_000,
            batch_records=20,
            consumers=10,
        ),
        end_to_end("end-to-end-1k-all", "1,000 records/s of 1 KiB, acks=all", 1_000, acks="all"),
    ),
)
FLUSH = Group(
    "flush",
    (
        group_commit("limit-group-commit-alone", 1, 1),
        group_commit("limit-group-commit-1", 1, 64),
        group_commit("limit-group-commit-16", 16, 64),
        flush("flush-64-1p", "flush.messages=1, 64 outstanding, 1 partition", 1, 64),
        flush("flush-64-16p", "flush.messages=1, 64 outstanding, 16 partitions", 16, 64),
        flush("flush-1-1p", "flush.messages=1, 1 outstanding, 1 partition", 1, 1),
    ),
)
JAVA = Group(
    "java",
    (
        Workload(
            "java-produce-1k",
            "Kafka's ProducerPerformance: 1 KiB, acks=1, batch.size=131072, linger.ms=5",
            "java-produce",
            {"records": 1_000_000, "record_bytes": 1024, "settings": ("acks=1", "batch.size=131072", "linger.ms=5")},
            ("records_per_second", "records_per_cpu_second", "p99_us"),
            seconds=(8.0, 8.0),
            quick={"records": 50_000},
        ),
        Workload(
            "java-consume",
            "Kafka's ConsumerPerformance: 1 GiB, 1 consumer",
            "java-consume",
            {"records": FILLED_RECORDS},
            BYTES,
            seconds=(4.0, 6.0),
            quick={"records": 50_000},
        ),
        Workload(
            "java-end-to-end",
            "Kafka's EndToEndLatency: one record at a time, 1 KiB, acks=1",
            "java-end-to-end",
            {"records": 5_000, "record_bytes": 1024},
            LATENCY,
            seconds=(4.0, 6.0),
            quick={"records": 500},
        ),
    ),
)
CONNECTIONS = Group(
    "connections",
    (
        Workload(
            "connections-2000-idle",
            "2,000 idle connections; another one asks 100 times a second",
            "connections",
            {"count": 2000, "seconds": 3, "probe_rate": 100},
            ("rss_kib_per_connection", "probe_p99_us", "cpu_seconds"),
            seconds=(5.0, 6.0),
            quick={"count": 200, "seconds": 1},
        ),
        Workload(
            "connections-2000-busy",
            "2,000 connections, 4,000 produce requests a second over all of them",
            "connections",
            {"count": 2000, "seconds": 4, "busy_rate": 4000, "topic": "busy", "probe_rate": 100},
            ("p99_us", "probe_p99_us", "cpu_seconds", "rss_kib_per_connection"),
            partitions=16,
            seconds=(6.0, 7.0),
            quick={"count": 200, "seconds": 1},
        ),
    ),
)
START = Group(
    "start",
    (
        Workload(
            "start",
            "empty directory: to the first answer; idle after a first use",
            "start",
            {"starts": 3, "idle_seconds": 2.0},
            ("start_ms", "idle_rss_mb", "idle_cpu_percent"),
            seconds=(4.0, 9.0),
            quick={"starts": 1},
        ),
    ),
    shared=False,
)
PARTITIONS = Group(
    "partitions",
    (
        Workload(
            "partitions-10000",
            "10,000 partitions in 10 topics, each with a record",
            "partitions",
            {"topics": 10, "partitions_each": 1000, "idle_seconds": 20.0, "rate": 2000, "seconds": 3},
            (
                "create_s",
                "rss_kib_per_partition",
                "idle_cpu_percent",
                "clean_restart_s",
                "produce_p99_ratio",
                "fetch_p99_ratio",
            ),
            seconds=(55.0, 150.0),
            quick={"topics": 2, "partitions_each": 50, "idle_seconds": 2.0, "seconds": 1},
            rounds={"strata": 3, "kafka": 1},
        ),
    ),
    shared=False,
)
RESTART = Group(
    "restart",
    tuple(
        Workload(
            f"restart-{partitions}p",
            f"kill -9 with 10 GiB in {partitions:,} partitions, until the first fetch",
            "restart",
            {"bytes": 10 << 30},
            ("first_fetch_s", "last_fetch_s", "first_fetch_cold_s", "restart_rss_mb"),
            partitions=partitions,
            seconds=(30.0, 75.0),
            quick={"bytes": 64 << 20},
            rounds={"strata": 3, "kafka": 1},
        )
        for partitions in (10, 1000)
    ),
    shared=False,
)
ISOLATION = Group(
    "isolation",
    tuple(
        Workload(
            f"isolation-{pressure}",
            f"end to end at 1,000 records/s of 1 KiB, while {says}, to that when nothing else happens",
            "isolation",
            {"pressure": pressure, "rate": 1000, "seconds": 4, "filled": filled},
            ("p99_ratio", "p99_us", "quiet_p99_us"),
            seconds=(16.0, 18.0),
            quick={"seconds": 1},
            rounds={"strata": 5, "kafka": 2},
        )
        for pressure, says, filled in (
            ("evicted", "evicted pages are read", FILLED_RECORDS),
            ("resident", "resident pages are read", FILLED_RECORDS),
            ("writeback", "another writes 150 MB/s and all is synced without pause", 0),
        )
    ),
    shared=False,
)

GROUPS = (PRODUCE, FETCH, LIVE, FLUSH, JAVA, START, ISOLATION, PARTITIONS, RESTART, PRODUCE_MORE, CONNECTIONS)
