"""What every program here in Python shares: how it tells what it saw, and the orders that it writes and expects.

A program is a list of capabilities: functions whose docstring says what is checked, run in the order of the list. Each
prints one line of JSON: name, ok, detail. `settled(topic)` between writing and reading is where the runner makes a
topic cold: it asks on standard output and waits for the answer on standard input.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

BOOTSTRAP = os.environ.get("STRATA_CLIENTS_BOOTSTRAP", "127.0.0.1:9092")
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
SECONDS = 30.0


def tell(**line: object) -> None:
    print(json.dumps(line), flush=True)


def run(client: str, version: str, capabilities: list[Callable[[], str | None]]) -> None:
    """Runs each capability, also after one that failed."""
    told = lambda one: " ".join((one.__doc__ or "").split()).rstrip(".")  # noqa: E731
    named = [(one.__name__.replace("_", " "), told(one), one) for one in capabilities]
    tell(client=client, version=version, plan=[{"name": name, "what": what} for name, what, _ in named])
    for name, _, one in named:
        try:
            tell(name=name, ok=True, detail=one() or "")
        except Exception as failed:  # whatever a client throws is what the row tells
            place = traceback.extract_tb(failed.__traceback__)
            line = next((frame.lineno for frame in reversed(place) if frame.filename == sys.argv[0]), 0)
            tell(name=name, ok=False, detail=f"line {line}: {type(failed).__name__}: {failed}")


def settled(*topics: str) -> None:
    """Returns when the topics lie where this run wants them: on the disk, or only in the bucket."""
    for topic in topics:
        tell(settle=topic)
        answer = sys.stdin.readline().strip()
        assert answer == "ok", f"{topic} did not settle: {answer}"


def until(probe: Callable[[], object], what: str, seconds: float = SECONDS) -> object:
    """Calls `probe` until it returns something true."""
    deadline = time.monotonic() + seconds
    while not (value := probe()):
        assert time.monotonic() < deadline, f"still waiting for {what} after {seconds:.0f} s"
        time.sleep(0.05)
    return value


@dataclass(frozen=True)
class Order:
    """One record of the programs: the order `number` of a customer, with a trace in the headers."""

    number: int

    @property
    def key(self) -> bytes:
        return b"customer-%d" % (self.number % 11)

    @property
    def value(self) -> bytes:
        return json.dumps({"order": self.number, "note": "padding " * 20}).encode()

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        return [("trace", b"trace-%d" % self.number), ("kind", b"order")]

    @property
    def timestamp(self) -> int:
        """Yesterday, in milliseconds, a millisecond apart."""
        return START_MS + self.number


START_MS = int(time.time() * 1000) - 86_400_000


def orders(count: int, first: int = 0) -> Iterator[Order]:
    return (Order(number) for number in range(first, first + count))


@dataclass
class Shelf:
    """What a consumer saw of a topic of orders. `check` fails unless it is exactly what was written, in order."""

    records: list[tuple[int, int, bytes | None, bytes | None, list]] = field(default_factory=list)

    def add(self, partition: int, offset: int, key: bytes | None, value: bytes | None, headers: Iterable | None) -> None:
        self.records.append((partition, offset, key, value, [tuple(header) for header in headers or []]))

    def __len__(self) -> int:
        return len(self.records)

    @property
    def numbers(self) -> list[int]:
        return [json.loads(value)["order"] for _, _, _, value, _ in self.records]

    def check(self, wanted: Iterable[Order]) -> str:
        wanted = list(wanted)
        self.check_order()
        numbers = self.numbers
        missing = {order.number for order in wanted} - set(numbers)
        assert not missing, f"{len(missing)} orders are missing, first {sorted(missing)[:5]}"
        assert len(numbers) == len(wanted), f"{len(wanted)} orders were written and {len(numbers)} read"
        partitions = len({record[0] for record in self.records})
        return f"{len(numbers)} records of {partitions} partitions in order, with keys and headers"

    def check_order(self) -> None:
        """Offsets without a gap in each partition, customers in order, keys and headers as written."""
        offsets: dict[int, int] = {}
        customers: dict[bytes, int] = {}
        for (partition, offset, key, value, headers), number in zip(self.records, self.numbers, strict=True):
            due = offsets.get(partition, offset)
            assert offset == due, f"partition {partition}: offset {offset} came where {due} was due"
            offsets[partition] = offset + 1
            order = Order(number)
            assert (key, value, headers) == (order.key, order.value, order.headers), (
                f"order {number} came back as {key} {headers}"
            )
            assert customers.get(key, -1) < number, f"order {number} of {key} came after {customers.get(key)}"
            customers[key] = number
