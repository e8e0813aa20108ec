"""Thousands of connections that send what no honest client sends, from one process of its own.

Each of them is one kind of hostility, again and again until time is over: it connects, does its worst, waits until it is
closed or has been open for a while, and connects again. It prints how often each kind was tried as one line of JSON.
Run as `python -m strata_attack.hostile`; `storm.py` does.
"""

import argparse
import asyncio
import contextlib
import json
import random
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from strata_lab import frames

from . import harness

PRODUCE, FETCH, METADATA = 0, 1, 3
HUNDRED_MIB = 100 << 20
HELD_OPEN = 20.0

Kind = Callable[["Hostile", socket.socket], Awaitable[None]]


def text(value: str) -> bytes:
    return struct.pack(">h", len(value)) + value.encode()


def fetch_request(topic: str, correlation: int) -> bytes:
    """Fetch v4 of partition 0 from offset 0: as much as there is."""
    head = struct.pack(">iiiib", -1, 500, 1, 50 << 20, 0)
    partition = struct.pack(">iqi", 0, 0, 50 << 20)
    one_topic = struct.pack(">i", 1) + text(topic) + struct.pack(">i", 1) + partition
    return frames.request(FETCH, 4, head + one_topic, correlation)


class Hostile:
    """All hostile connections of this process."""

    def __init__(self, chosen: argparse.Namespace):
        self.address = ("127.0.0.1", chosen.port)
        self.topic = chosen.topic
        self.rng = random.Random(chosen.seed)
        recorded = Path(chosen.frames).read_text().split() if chosen.frames else []
        self.recorded = [bytes.fromhex(line) for line in recorded]
        self.tried: Counter[str] = Counter()
        self.ending = asyncio.Event()
        self.open = 0
        self.open_most = 0

    async def run(self, connections: int, seconds: float) -> None:
        kinds = [KINDS[n % len(KINDS)] for n in range(connections)]
        tasks = [asyncio.create_task(self._repeat(kind, n)) for n, kind in enumerate(kinds)]
        await asyncio.sleep(seconds)
        self.ending.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        print(json.dumps({"most_open_at_once": self.open_most, "tried": dict(self.tried)}), flush=True)

    async def _repeat(self, kind: Kind, number: int) -> None:
        await asyncio.sleep(number / 2_500)  # they come within seconds, not within a moment
        while not self.ending.is_set():
            with socket.socket() as connection, contextlib.suppress(OSError, TimeoutError):
                connection.setblocking(False)
                if kind is Hostile.never_reads:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                await asyncio.wait_for(asyncio.get_running_loop().sock_connect(connection, self.address), 30)
                self.open += 1
                self.open_most = max(self.open_most, self.open)
                self.tried[kind.__name__] += 1
                try:
                    await kind(self, connection)
                finally:
                    self.open -= 1
            await asyncio.sleep(self.rng.uniform(0.05, 0.5))

    async def send(self, connection: socket.socket, data: bytes) -> None:
        await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(connection, data), HELD_OPEN)

    async def linger(self, connection: socket.socket) -> None:
        """Reads whatever comes until the other side closes or patience ends."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HELD_OPEN):
                while await asyncio.get_running_loop().sock_recv(connection, 65536):
                    pass

    async def random_bytes(self, connection: socket.socket) -> None:
        await self.send(connection, self.rng.randbytes(self.rng.randrange(1, 4096)))
        await self.linger(connection)

    async def unknown_api(self, connection: socket.socket) -> None:
        await self.send(connection, frames.request(self.rng.randrange(100, 32_000), 0, b"x" * 16))
        await self.linger(connection)

    async def lying_length(self, connection: socket.socket) -> None:
        length = self.rng.choice([0x7FFF_FFFF, -1, 0, -(1 << 31), HUNDRED_MIB + 1])
        await self.send(connection, struct.pack(">i", length) + self.rng.randbytes(64))
        await self.linger(connection)

    async def half_a_produce(self, connection: socket.socket) -> None:
        head = frames.request(PRODUCE, 9, b"")[4:]
        sent = self.rng.randrange(0, 64 << 10)
        await self.send(connection, struct.pack(">i", HUNDRED_MIB) + head + self.rng.randbytes(sent))
        await self.linger(connection)

    async def hoards(self, connection: socket.socket) -> None:
        """Megabytes of a frame that never ends: together they want more memory than all requests may have."""
        await self.send(connection, struct.pack(">i", HUNDRED_MIB) + frames.request(PRODUCE, 9, b"")[4:])
        for _ in range(64):
            await self.send(connection, b"\0" * (128 << 10))
        await self.linger(connection)

    async def flipped(self, connection: socket.socket) -> None:
        for _ in range(20):
            frame = bytearray(self.rng.choice(self.recorded))
            for _ in range(self.rng.randrange(1, 4)):
                # The length and the head's API key stay: what is behind them is attacked.
                frame[self.rng.randrange(6, len(frame))] ^= 1 << self.rng.randrange(8)
            await self.send(connection, bytes(frame))
        await self.linger(connection)

    async def slow(self, connection: socket.socket) -> None:
        for byte in frames.request(METADATA, 1, struct.pack(">i", 0)) * 4:
            await self.send(connection, bytes([byte]))
            await asyncio.sleep(0.1)

    async def connect_and_close(self, connection: socket.socket) -> None:
        if self.rng.random() < 0.5:  # with a reset, not with a FIN
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def never_reads(self, connection: socket.socket) -> None:
        metadata = frames.request(METADATA, 1, struct.pack(">i", -1))
        for number in range(64):
            await self.send(connection, fetch_request(self.topic, number) if number % 2 else metadata)
        await asyncio.sleep(HELD_OPEN)


KINDS: list[Kind] = [
    Hostile.random_bytes,
    Hostile.unknown_api,
    Hostile.lying_length,
    Hostile.half_a_produce,
    Hostile.hoards,
    Hostile.flipped,
    Hostile.slow,
    Hostile.connect_and_close,
    Hostile.never_reads,
]


def main() -> None:
    parser = argparse.ArgumentParser(prog="strata_attack.hostile", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--topic", required=True, help="a topic with data, for replies that are never read")
    parser.add_argument("--frames", help="a file of recorded frames, one in hex on each line")
    parser.add_argument("--connections", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    harness.raise_descriptor_limit(chosen.connections + 200)
    asyncio.run(Hostile(chosen).run(chosen.connections, chosen.seconds))


if __name__ == "__main__":
    main()
