"""One flipped bit in each kind of file of a broker's directory, and what a real client may see afterwards.

A template directory is filled once. Each case copies it, flips one bit, starts a broker on it, and reads everything with
CRC checks on. Damaged records never come as data, all others come; an index or a checkpoint is never believed against
the log; damage that no broker can work around stops the start with a text that says what to do.
Start at `CASES` and `Flip.attack`.
"""

import contextlib
import random
import shutil
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, TopicPartition
from strata_lab import traffic
from strata_lab.broker import Strata

from . import harness

TOPIC, NEIGHBOUR, GROUP = "flipped", "neighbour", "flippers"
RECORDS, FIRST_TIME, STEP_MS, COMMITTED = 2_600, 10**12, 1_000, 77
SETTINGS = {"offsets.topic.num.partitions": "1", "auto.create.topics.enable": "false"}
CONFIG = {"segment.bytes": str(1 << 20), "remote.storage.enable": "false", "index.interval.bytes": "4096"}
NOISE = random.Random(8).randbytes(1 << 20)
# Where the fields of a batch stand (record batch v2).
FIELDS = {
    "base-offset": 7,
    "length": 11,
    "length-high": 8,
    "leader-epoch": 15,
    "magic": 16,
    "crc": 20,
    "attributes": 22,
    "last-offset-delta": 26,
    "records": 561,
}
UNREADABLE_FOR = 0.7


def values() -> list[bytes]:
    return [b"%d:" % n + NOISE[n * 300 : n * 300 + 900] for n in range(RECORDS)]


@dataclass(frozen=True)
class Batch:
    """Where a batch stands in its file, and its offsets, last one included."""

    position: int
    length: int
    first: int
    last: int


def batches(path: Path) -> list[Batch]:
    raw, found, position = path.read_bytes(), [], 0
    while position + 61 <= len(raw):
        first, length = struct.unpack_from(">qi", raw, position)
        (delta,) = struct.unpack_from(">i", raw, position + 23)
        found.append(Batch(position, 12 + length, first, first + delta))
        position += 12 + length
    return found


def flip(path: Path, position: int, bit: int = 0) -> None:
    with path.open("r+b") as file:  # in place: a running broker may have it open, or mapped
        file.seek(position)
        (byte,) = file.read(1)
        file.seek(position)
        file.write(bytes([byte ^ 1 << bit]))


class Templates:
    """The two directories that cases copy: one left by SIGTERM, one by kill -9."""

    def __init__(self, directory: Path):
        self.directory = directory
        broker = Strata(directory / "filled", SETTINGS)
        with broker:
            for topic in (TOPIC, NEIGHBOUR):
                traffic.create_topic(broker.bootstrap, topic, config=CONFIG)
                rows = ({"value": v, "partition": 0, "timestamp": FIRST_TIME + n * STEP_MS} for n, v in enumerate(values()))
                traffic.produce(broker.bootstrap, topic, rows, {"batch.num.messages": 20, "enable.idempotence": True})
            with traffic.closing(Consumer(traffic.client(broker.bootstrap, group_id=GROUP))) as consumer:
                for offset in range(COMMITTED + 1):
                    consumer.commit(offsets=[TopicPartition(TOPIC, 0, offset)], asynchronous=False)
            broker.kill()
        self._keep(broker, "killed")
        with broker:
            traffic.read_all(broker.bootstrap, TOPIC, [0])
        self._keep(broker, "stopped")

    def _keep(self, broker: Strata, name: str) -> None:
        shutil.copytree(broker.directory, self.directory / name, ignore=shutil.ignore_patterns("cache", "broker.log"))

    def copy(self, left: str, target: Path) -> Strata:
        shutil.copytree(self.directory / left, target)
        return Strata(target, SETTINGS)


class Flip:
    """One case: which file of a directory left how, and what may happen then."""

    def __init__(self, name: str, left: str, act: Callable[[Path], Batch | None], expect: Callable[["Flip", Strata], None]):
        self.name = f"{left}-{name}"
        self.left = left
        self.act = act
        self.expect = expect
        self.damaged: Batch | None = None

    def attack(self, templates: Templates, directory: Path) -> None:
        broker = templates.copy("stopped" if self.left == "running" else self.left, directory)
        try:
            if self.left == "running":
                broker.start()
                read_right(broker, TOPIC, 0, RECORDS)  # files are open, and what is cached is cached
            self.damaged = self.act(broker.data)
            self.expect(self, broker)
            assert "panicked at" not in broker.log.read_text(errors="replace"), "a panic is in the log"
        except Exception:
            print(harness.evidence(broker), file=sys.stderr, flush=True)
            raise
        finally:
            broker.close()


@contextlib.contextmanager
def serving(broker: Strata) -> Iterator[None]:
    """Starts it where it does not run yet."""
    if broker.child is None or not broker.child.running():
        broker.start()
    yield
    assert broker.child.running(), f"it ended by itself:\n{broker.child.tail()}"


def reads_all(case: Flip, broker: Strata) -> None:
    """Every record is right, found by offset and by time, the group stands where it stood, and writing goes on."""
    with serving(broker):
        read_right(broker, TOPIC, 0, RECORDS)
        read_right(broker, NEIGHBOUR, 0, RECORDS)
        times_right(broker, TOPIC)
        assert committed(broker) == COMMITTED
        writes_on(broker, TOPIC)


def reads_all_else(case: Flip, broker: Strata) -> None:
    """The damaged records never come, all others do."""
    damaged = case.damaged
    with serving(broker):
        read_right(broker, NEIGHBOUR, 0, RECORDS)
        read_right(broker, TOPIC, 0, damaged.first)
        unreadable(broker, damaged)
        read_right(broker, TOPIC, damaged.last + 1, RECORDS)
        assert committed(broker) == COMMITTED
        for topic in (NEIGHBOUR, TOPIC):
            writes_on(broker, topic)


def refuses(*words: str) -> Callable[[Flip, Strata], None]:
    def expect(case: Flip, broker: Strata) -> None:
        child = broker.launch()
        code = child.wait(30)
        said = child.output()
        assert code > 0, f"it should refuse to start with an error, not end with {code}:\n{said}"
        assert all(word in said for word in words), f"none of its words is {words}:\n{said}"

    return expect


def starts_or_says(*words: str) -> Callable[[Flip, Strata], None]:
    """Either all reads right, or the start is refused with these words."""

    def expect(case: Flip, broker: Strata) -> None:
        child = broker.launch()
        deadline = time.monotonic() + 20
        while child.running() and time.monotonic() < deadline and "is ready" not in child.output():
            time.sleep(0.02)
        if child.running():
            broker.kill()
            reads_all(case, broker)
            return
        said = child.output()
        assert child.exit_code() > 0 and all(word in said for word in words), f"not said: {words}:\n{said}"

    return expect


def serves_topics(case: Flip, broker: Strata) -> None:
    """Topics are read and written; the group is right or has an error, and its commits do not hang."""
    with serving(broker):
        read_right(broker, TOPIC, 0, RECORDS)
        read_right(broker, NEIGHBOUR, 0, RECORDS)
        writes_on(broker, TOPIC)
        try:
            found = committed(broker, 5.0)
        except AssertionError:
            raise
        except Exception as error:  # noqa: BLE001 - an error of the client is an answer
            print(f"  the group is refused: {error}")
        else:
            # A damaged commit is lost, the one before it holds: a group reads again, it skips nothing.
            assert COMMITTED - 1 <= found <= COMMITTED, f"the group's commit is {found}, acknowledged was {COMMITTED}"


def serves_neighbour(case: Flip, broker: Strata) -> None:
    """All but the damaged partition is served; of it come right records or none."""
    with serving(broker):
        read_right(broker, NEIGHBOUR, 0, RECORDS)
        writes_on(broker, NEIGHBOUR)
        found, _ = poll(broker, TOPIC, 0, RECORDS, 2.0)
        print(f"  {len(found)} records of the partition with the damaged file are read")


def reader(broker: Strata) -> Consumer:
    settings = traffic.client(broker.bootstrap, group_id="reads", enable_auto_commit=False)
    return Consumer(settings | {"check.crcs": True, "auto.offset.reset": "error", "fetch.error.backoff.ms": 20})


def poll(broker: Strata, topic: str, first: int, end: int, seconds: float) -> tuple[dict[int, bytes], list[KafkaError]]:
    """What comes from `first` on until `end` is reached or time is over. All that comes has to be what was sent."""
    sent, found, errors = values(), {}, []
    with traffic.closing(reader(broker)) as consumer:
        consumer.assign([TopicPartition(topic, 0, first)])
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not (found and max(found) + 1 >= end):
            for message in consumer.consume(1_000, timeout=0.1):
                if message.error() is not None:
                    errors.append(message.error())
                    continue
                offset = message.offset()
                right = offset >= RECORDS or message.value() == sent[offset]
                assert right, f"{topic}: what comes at offset {offset} was not sent there: {message.value()[:40]!r}"
                found[offset] = message.value()
    return found, errors


def read_right(broker: Strata, topic: str, first: int, end: int) -> None:
    if first >= end:
        return
    found, errors = poll(broker, topic, first, end, 10.0)
    missing = [offset for offset in range(first, end) if offset not in found]
    told = f"{topic}: {len(missing)} of offsets {first} to {end - 1} do not come, first {missing[:3]}; errors {errors[:3]}"
    assert not missing, told


def unreadable(broker: Strata, damaged: Batch) -> None:
    """No record of the batch comes, unless it is exactly what was sent (which `poll` checks)."""
    found, errors = poll(broker, TOPIC, damaged.first, damaged.last + 1, UNREADABLE_FOR)
    inside = [offset for offset in found if damaged.first <= offset <= damaged.last]
    print(f"  of offsets {damaged.first} to {damaged.last} come {len(inside)}, {len(found)} in all; errors {errors[:2]}")


def times_right(broker: Strata, topic: str) -> None:
    with traffic.closing(reader(broker)) as consumer:
        for offset in range(0, RECORDS, 131):
            asked = TopicPartition(topic, 0, FIRST_TIME + offset * STEP_MS)
            (found,) = consumer.offsets_for_times([asked], timeout=20)
            assert found.offset == offset, f"the time of offset {offset} is found at {found.offset}"


def committed(broker: Strata, seconds: float = 30.0) -> int:
    with traffic.closing(Consumer(traffic.client(broker.bootstrap, group_id=GROUP))) as consumer:
        (place,) = consumer.committed([TopicPartition(TOPIC, 0)], timeout=seconds)
        assert place.error is None, str(place.error)
        return place.offset


def writes_on(broker: Strata, topic: str) -> None:
    """New records come behind all others, without a gap, and are read back."""
    sent = [b"later %d" % n for n in range(5)]
    rows = [{"value": value, "partition": 0} for value in sent]
    stored = traffic.produce(broker.bootstrap, topic, rows, {"enable.idempotence": True})
    offsets = [message.offset() for message in stored]
    assert offsets == list(range(RECORDS, RECORDS + 5)), f"new records went to offsets {offsets}"
    found, _ = poll(broker, topic, RECORDS, RECORDS + 5, 10.0)
    assert [found.get(offset) for offset in offsets] == sent, f"new records come back as {found}"


def partition(data: Path) -> Path:
    return data / f"{TOPIC}-0"


def in_log(which: int, field: str, where: str = "middle") -> Callable[[Path], Batch]:
    """Flips a bit of a batch in the segment numbered `which`."""

    def act(data: Path) -> Batch:
        path = sorted(partition(data).glob("*.log"))[which]
        found = batches(path)
        batch = found[len(found) // 2] if where == "middle" else found[-1]
        flip(path, batch.position + FIELDS[field], 1)
        return batch

    return act


def in_file(pattern: str, which: int, position: float, bit: int = 1) -> Callable[[Path], None]:
    """Flips a bit of a file at a fraction of its length."""

    def act(data: Path) -> None:
        path = sorted(data.glob(pattern))[which]
        length = path.stat().st_size
        assert length > 0, f"{path} is empty: there is nothing to flip"
        flip(path, min(int(length * position), length - 1), bit)

    return act


def in_text(pattern: str, before: str, after: str) -> Callable[[Path], None]:
    """Changes one character of a text file, by one bit."""
    differing = [ord(a) ^ ord(b) for a, b in zip(before, after, strict=True) if a != b]
    assert len(differing) == 1 and differing[0].bit_count() == 1, "this is not one bit"

    def act(data: Path) -> None:
        (path,) = data.glob(pattern)
        content = path.read_text()
        assert before in content, f"{path} has no {before!r}: {content!r}"
        path.write_text(content.replace(before, after, 1))

    return act


LOGS = [Flip(f"closed-log-{field}", "stopped", in_log(0, field), reads_all_else) for field in FIELDS]
LOGS += [Flip(f"closed-log-{field}", "killed", in_log(0, field), reads_all_else) for field in ("records", "length", "crc")]
LOGS += [Flip(f"closed-log-{field}", "running", in_log(0, field), reads_all_else) for field in ("records", "length")]
LOGS += [
    Flip(f"active-log-{field}", left, in_log(-1, field), reads_all_else)
    for left in ("stopped", "killed")
    for field in ("records", "base-offset", "length")
]
LOGS += [Flip("last-batch", left, in_log(-1, "records", "last"), reads_all_else) for left in ("stopped", "killed")]

DERIVED = [
    Flip(f"{kind}-{part}", left, in_file(f"{TOPIC}-0/*.{kind}", 0, at, bit), reads_all)
    for left in ("stopped", "killed", "running")
    for kind in ("index", "timeindex")
    for part, at, bit in (("first", 0.0, 6), ("middle", 0.5, 1), ("last", 1.0, 0))
]
DERIVED += [
    Flip(f"snapshot-{part}", "stopped", in_file(f"{TOPIC}-0/*.snapshot", -1, at), reads_all)
    for part, at in (("head", 0.0), ("middle", 0.5))
]

CHECKPOINTS = [
    Flip("leader-epoch", "stopped", in_text(f"{TOPIC}-0/leader-epoch-checkpoint", "0 0\n", "4 0\n"), reads_all),
    Flip("leader-epoch-start", "stopped", in_text(f"{TOPIC}-0/leader-epoch-checkpoint", "0 0\n", "0 8\n"), reads_all),
    Flip("leader-epoch-version", "killed", in_text(f"{TOPIC}-0/leader-epoch-checkpoint", "0\n1\n", "2\n1\n"), reads_all),
]
for _name in ("recovery-point", "replication", "log-start"):
    for _left in ("stopped",):
        CHECKPOINTS += [
            Flip(f"{_name}-value", _left, in_file(f"{_name}-offset-checkpoint", 0, 0.9, 2), reads_all),
            Flip(f"{_name}-count", _left, in_file(f"{_name}-offset-checkpoint", 0, 0.12, 1), reads_all),
            Flip(f"{_name}-line-break", _left, in_file(f"{_name}-offset-checkpoint", 0, 1.0, 2), reads_all),
        ]

META, PARTITION_FILE = "meta.properties", f"{TOPIC}-0/partition.metadata"
METADATA_LOG, OFFSETS_LOG = "__cluster_metadata-0/*.log", "__consumer_offsets-0/*.log"
IDENTITY = [
    Flip("partition-topic", "stopped", in_file(PARTITION_FILE, 0, 0.7), serves_neighbour),
    Flip(
        "partition-version",
        "stopped",
        in_text(PARTITION_FILE, "version: 0", "version: 1"),
        serves_neighbour,
    ),
    Flip(
        "meta-node",
        "stopped",
        in_text(META, "node.id=1", "node.id=3"),
        refuses("belongs to node.id=3", "not 1"),
    ),
    Flip(
        "meta-cluster",
        "stopped",
        in_text(META, "cluster.id=", "cluster.kd="),
        starts_or_says(META),
    ),
    Flip("meta-cluster-value", "stopped", in_file(META, 0, 0.2), starts_or_says(META)),
    Flip("meta-version", "stopped", in_text(META, "version=1", "version=9"), starts_or_says(META)),
    Flip("metadata-log-first", "stopped", in_file(METADATA_LOG, 0, 0.1), refuses("__cluster_metadata")),
    Flip("metadata-log-middle", "stopped", in_file(METADATA_LOG, 0, 0.5), refuses("__cluster_metadata")),
    Flip("metadata-log-middle", "killed", in_file(METADATA_LOG, 0, 0.5), refuses("__cluster_metadata")),
    Flip("metadata-log-last", "stopped", in_file(METADATA_LOG, 0, 1.0), starts_or_says("__cluster_metadata")),
    Flip("offsets-log-middle", "stopped", in_file(OFFSETS_LOG, 0, 0.5), serves_topics),
    Flip("offsets-log-middle", "killed", in_file(OFFSETS_LOG, 0, 0.5), serves_topics),
    Flip("offsets-log-last", "stopped", in_file(OFFSETS_LOG, 0, 1.0), serves_topics),
]

CASES = [*LOGS, *DERIVED, *CHECKPOINTS, *IDENTITY]


def main() -> None:
    parser = harness.Arguments("tests/attack/flips", __doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    chosen = parser.parse_args()

    def attack(directory: Path) -> None:
        templates, found = Templates(directory / "templates"), 0
        for case in (case for case in CASES if chosen.only in case.name):
            began = time.monotonic()
            try:
                case.attack(templates, directory / case.name)
                print(f"holds  {case.name} ({time.monotonic() - began:.1f} s)", flush=True)
            except Exception as failure:  # noqa: BLE001 - the other cases go on
                print(f"FOUND  {case.name}: {str(failure)[:1500]}", flush=True)
                found += 1
        assert not found, f"{found} cases"

    harness.in_directory("flips", chosen, attack)


if __name__ == "__main__":
    main()
