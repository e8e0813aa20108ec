"""The tour: 336,776 real flights through Strata, and back out in every way it offers.

Start at `STEPS`: each step says in words and numbers what it shows, and fails when it is not so. It runs against
LocalStack, on free ports, in a directory that is removed at the end. `--seed N` repeats the moments of the kills.
"""

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
from confluent_kafka import Consumer, KafkaException

from . import flights, replay, stores, tiering, traffic, waiting
from .broker import Strata
from .proxy import Proxy
from .stores import LocalStack

TOPIC, PARTITIONS = "flights", 6
SEGMENT_BYTES = 1 << 20
LOCAL_BYTES = 1 << 20  # per partition, beside the segment that is being written
LOCAL_LIMIT = PARTITIONS * (LOCAL_BYTES + 2 * SEGMENT_BYTES)
CRASH_POINTS = ("after-put-before-swap", "after-swap-before-local-delete")
MARK = "\033[32m✓\033[0m" if sys.stdout.isatty() else "✓"


def show(text: str) -> None:
    print(f"    {MARK} {text}", flush=True)


def mebibytes(count: int) -> str:
    return f"{count / (1 << 20):.1f} MiB"


@dataclass
class Tour:
    directory: Path
    seed: int
    store: LocalStack = field(init=False)
    network: Proxy = field(init=False)
    broker: Strata = field(init=False)
    data: list[flights.Flight] = field(init=False)
    ends: dict[int, int] = field(default_factory=dict)

    def start(self, stack: ExitStack) -> None:
        """Check the data, start an S3 store and Strata on it."""
        self.data = flights.check()
        show(f"{len(self.data):,} departures from New York in 2013, {len({one.key for one in self.data})} carriers")
        self.store = stack.enter_context(LocalStack(self.directory / "localstack"))
        show(f"an S3 store: LocalStack on {self.store.endpoint}")
        self.network = stack.enter_context(Proxy(self.store.port))
        settings = tiering.EAGER | self.store.settings("strata", "tour", endpoint=self.network.endpoint)
        settings |= {"strata.tier.cache.bytes": str(4 << 20), "strata.tier.cache.disk.bytes": "0"}
        # The delay lets the three members of the group join the same, first generation.
        settings |= {"strata.tier.object.bytes": str(512 << 10), "group.initial.rebalance.delay.ms": "1000"}
        self.broker = Strata(self.directory / "strata", settings, stores.CREDENTIALS)
        began = time.monotonic()
        stack.enter_context(self.broker)
        show(f"Strata answers Kafka clients on {self.broker.bootstrap} after {(time.monotonic() - began) * 1000:.0f} ms")

    def produce(self) -> None:
        """Produce every flight with an ordinary Kafka client."""
        config = {"retention.ms": "-1", "segment.bytes": str(SEGMENT_BYTES), "local.retention.bytes": str(LOCAL_BYTES)}
        traffic.create_topic(self.broker.bootstrap, TOPIC, PARTITIONS, config)
        began = time.monotonic()
        rows = ({"key": one.key, "value": one.value, "timestamp": one.timestamp} for one in self.data)
        settings = {"enable.idempotence": True, "compression.type": "lz4", "partitioner": "murmur2_random"}
        delivered = traffic.produce(self.broker.bootstrap, TOPIC, rows, settings, seconds=120)
        took = time.monotonic() - began
        sizes = Counter(message.partition() for message in delivered)
        self.ends = {partition: sizes[partition] for partition in range(PARTITIONS)}
        show(f"{len(delivered):,} records acknowledged in {took:.1f} s")
        told = ", ".join(f"{sizes[number]:,}" for number in range(PARTITIONS))
        show(f"records per partition: {told} (16 carriers do not fill 6 evenly)")

    def go_cold(self) -> None:
        """Let the archive take over: the disk keeps little, the bucket keeps the rest."""
        tiering.wait_shipped(self.broker, TOPIC, 120)
        local = waiting.until(
            lambda: (size := self.broker.local_bytes(TOPIC)) <= LOCAL_LIMIT and size, "local retention to free the disk", 60
        )
        keys = self.store.keys("strata", "tour/topics/")
        objects = {key: size for key, size in keys.items() if f"/{TOPIC}-" in key and key.endswith(".log")}
        places = tiering.partitions(self.broker, TOPIC)
        cold = sum(max(0, place["local_start"] - place["log_start"]) for place in places)
        total = sum(place["high_watermark"] - place["log_start"] for place in places)
        assert total == flights.COUNT, f"{total} records in the log"
        assert cold > total // 2, f"only {cold:,} of {total:,} records are cold"
        assert sum(objects.values()) > local, "the bucket should hold more than the disk"
        show(f"local disk: {mebibytes(local)}, its limit {mebibytes(LOCAL_LIMIT)}")
        show(f"bucket: {mebibytes(sum(objects.values()))} in {len(objects)} objects; {cold:,} records are only there")

    def group(self) -> None:
        """A group of three consumers reads everything, from cold to hot, without noticing."""
        lock, seen = threading.Lock(), defaultdict(list)
        failures: list[str] = []
        done = threading.Event()
        readers = [set() for _ in range(3)]

        def read(number: int) -> None:
            settings = traffic.client(self.broker.bootstrap, group_id="tour", auto_offset_reset="earliest")
            with traffic.closing(Consumer(settings | {"session.timeout.ms": 10_000})) as consumer:
                consumer.subscribe([TOPIC])
                while not done.is_set():
                    for message in consumer.consume(2_000, timeout=0.2):
                        if message.error() is not None:
                            failures.append(str(message.error()))
                            continue
                        with lock:
                            seen[message.partition()].append(message.offset())
                            readers[number].add(message.partition())

        threads = [threading.Thread(target=read, args=(number,), daemon=True) for number in range(3)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        try:
            complete = lambda: failures or sum(map(len, seen.values())) >= flights.COUNT  # noqa: E731
            waiting.until(complete, "the group to read it all", 120, pause=0.1)
        finally:
            done.set()
            for thread in threads:
                thread.join(60)
        took = time.monotonic() - began
        assert not failures, failures[0]
        for partition, offsets in seen.items():
            assert sorted(set(offsets)) == list(range(self.ends[partition])), f"partition {partition} has a gap"
        read_count = sum(map(len, seen.values()))
        again = read_count - flights.COUNT
        assert again == 0, f"{again} records were read twice"
        assert all(offsets == sorted(offsets) for offsets in seen.values()), "out of order"
        show(f"{read_count:,} records in {took:.1f} s, in order in each partition, nothing twice, nothing missing")
        shares = ", ".join(str(sorted(owned)) for owned in readers)
        show(f"the three members read partitions {shares}")

    def replay(self) -> None:
        """Ask over HTTP for one day: 4 July 2013, New York time."""
        window = dict(zip(("from_time", "to_time"), flights.FOURTH_OF_JULY, strict=True))
        began = time.monotonic()
        whole = replay.records(self.broker.http, TOPIC, window)
        took = time.monotonic() - began
        assert len(whole.rows) == flights.FOURTH_OF_JULY_COUNT, f"{len(whole.rows)} flights"
        show(f"{len(whole.rows)} flights left New York that day (answered in {took:.1f} s)")
        pieces = replay.in_pieces(self.broker.http, TOPIC, window, 250)
        assert pieces == whole.rows, "cut off in the middle and resumed, it is not the same"
        show("cut off in the middle and resumed with the cursor, twice: the same 737 rows")

    def export(self) -> None:
        """Export to Parquet and ask DuckDB."""
        self.broker.tool("export", TOPIC)
        lake = self.store.download("strata", self.directory / "lake", "tour/tables/")
        files = [str(path) for path in lake.glob(f"{TOPIC}-*/**/*.parquet")]
        assert files, "no Parquet files were written"
        with duckdb.connect() as base:
            question = "select decode(key), count(*) from read_parquet($1) group by 1 order by 2 desc"
            counts = dict(base.execute(question, [files]).fetchall())
            question = "select count(distinct (_partition, _offset)) from read_parquet($1)"
            (unique,) = base.execute(question, [files]).fetchone()
        found = {carrier: counts.get(carrier) for carrier in flights.TOP_CARRIERS}
        assert found == flights.TOP_CARRIERS, f"DuckDB counts {found}"
        assert sum(counts.values()) == unique == flights.COUNT, f"{sum(counts.values())} rows, {unique} of them unique"
        told = ", ".join(f"{carrier} {count:,}" for carrier, count in found.items())
        show(f"DuckDB on {len(files)} Parquet files: {told}")
        shutil.rmtree(lake)

    def kills(self) -> None:
        """Kill it with -9 under load, at random moments and at the two worst."""
        rng = random.Random(self.seed)
        topic = traffic.create_topic(self.broker.bootstrap, "departures-live", 3, tiering.COLD_TOPIC)
        load = traffic.Load(self.broker.bootstrap, topic, rate=5_000, settings={"compression.type": "lz4"}, padding=400)
        load.start()
        moments = ["a random moment", CRASH_POINTS[0], "a random moment", CRASH_POINTS[1], "a random moment"]
        for moment in moments:
            if moment in CRASH_POINTS:
                self.broker.kill()
                self.broker.crash_point(moment)
                self.broker.launch()
                self.broker.wait_until_dead()
                self.broker.crash_point(None)
                self.broker.start()
            else:
                wanted = load.acknowledged + rng.randrange(1_000, 10_000)
                waiting.until(lambda wanted=wanted: load.acknowledged >= wanted, f"{wanted} records acknowledged", 60)
                self.broker.restart_after_kill()
        ledger = load.finish()
        ledger.check(traffic.read_all(self.broker.bootstrap, topic, range(3)))
        show(f"{len(moments)} kills -9 (also between {' and '.join(CRASH_POINTS)}), seed {self.seed}")
        show(f"{load.acknowledged:,} records acknowledged meanwhile: none missing, none doubled")

    def store_stops(self) -> None:
        """Stop the store in the middle of a cold read."""
        self.network.cut_after_bytes(2_000_000)
        mended = threading.Event()

        def mend_once_it_was_missed() -> None:
            waiting.until(lambda: self.network.refused >= 8, "the broker to ask for the store in vain", 60)
            self.network.mend()
            mended.set()

        threading.Thread(target=mend_once_it_was_missed, daemon=True).start()
        read = traffic.read_all(self.broker.bootstrap, TOPIC, range(PARTITIONS), seconds=120)
        assert mended.is_set(), "the read ended before the store was missed"
        traffic.check_gapless(read)
        assert len(read) == flights.COUNT, f"{len(read)} records were read"
        show(f"the store went away after 2 MB and {self.network.refused} requests failed; the client waited, and went on")
        show(f"{len(read):,} records, no gap")

    def verify(self) -> None:
        """At the end, every object in the bucket has a name in a root."""
        tiering.wait_shipped(self.broker, TOPIC, 60)
        tiering.wait_shipped(self.broker, "departures-live", 120)
        assert self.broker.stop() == 0, "SIGTERM should end it cleanly"
        # Warnings are expected (it was killed, its store went away); an ERROR would ask for a human.
        errors = [line for line in self.broker.unlisted_complaints() if "WARN" not in line]
        assert not errors, "\n".join(errors[:5])
        told = tiering.verify(self.broker)
        for line in told.strip().splitlines()[-3:]:
            show(line.strip())
        show("objects in the bucket minus objects that roots name or register = 0")


STEPS: list[Callable[[Tour], None]] = [
    Tour.produce,
    Tour.go_cold,
    Tour.group,
    Tour.replay,
    Tour.export,
    Tour.kills,
    Tour.store_stops,
    Tour.verify,
]


def headline(number: int, step: Callable) -> None:
    print(f"\n{number}. {(step.__doc__ or '').splitlines()[0]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests/tour", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32), help="moments of the kills")
    parser.add_argument("--keep", action="store_true", help="keep the directory with logs and data")
    chosen = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="strata-tour-"))
    began = time.monotonic()
    tour = Tour(directory, chosen.seed)
    try:
        with ExitStack() as stack:
            headline(1, Tour.start)
            tour.start(stack)
            for number, step in enumerate(STEPS, 2):
                headline(number, step)
                step(tour)
        print(f"\nAll {len(STEPS) + 1} steps passed in {time.monotonic() - began:.0f} s.", flush=True)
    except (AssertionError, KafkaException) as failed:
        print(f"    ✗ {failed}", flush=True)
        if hasattr(tour, "broker") and tour.broker.child is not None:
            print(f"\nThe end of Strata's log (seed {tour.seed}):\n{tour.broker.child.tail(30)}", flush=True)
        sys.exit(1)
    finally:
        if chosen.keep:
            print(f"Logs and data are kept in {directory}", flush=True)
        else:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
