"""A storm of hostile connections, while a well-behaved client notices nothing and memory stays under its bound.

The hostile ones live in a process of their own (`hostile.py`). The well-behaved client produces and reads back, on old
connections and on new ones; each of its operations has to succeed. The broker's memory is sampled: its peak is held to
what it had before, plus the bound of all request memory, plus what a connection may cost.
Start at `Storm.attack`.
"""

import contextlib
import json
import socket
import struct
import sys
import threading
import time
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition
from strata_lab import frames, ports, traffic, waiting
from strata_lab.broker import Strata
from strata_lab.children import Child

from . import harness

# The broker's one bound for the memory of all requests (`queued.max.request.bytes` is not set here).
REQUESTS_KIB = 256 << 10
# What an open connection may cost without any request: a task, its buffers' heads, a reply on its way.
CONNECTION_KIB = 32
# Allocator slack, thread pools and the page tables of a process that has been busy.
SLACK_KIB = 48 << 10
BAIT, HONEST = "bait", "well-behaved"


class Recorder:
    """A proxy that keeps the frames which clients send through it."""

    def __init__(self, target_port: int):
        self.target = ("127.0.0.1", target_port)
        self.listener = socket.create_server(("127.0.0.1", ports.free()))
        self.port = self.listener.getsockname()[1]
        self.sent: list[bytearray] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(self.target, timeout=10)
            except OSError:
                return
            far.settimeout(None)
            kept = bytearray()
            self.sent.append(kept)
            threading.Thread(target=self._pump, args=(near, far, kept), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, None), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket, kept: bytearray | None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if kept is not None:
                    kept += data
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def frames(self) -> list[bytes]:
        found = []
        for stream in self.sent:
            position = 0
            while position + 4 <= len(stream):
                (length,) = struct.unpack_from(">i", stream, position)
                end = position + 4 + length
                if end <= len(stream):
                    found.append(bytes(stream[position:end]))
                position = end
        return found

    def close(self) -> None:
        self.listener.close()


def record(directory: Path) -> list[bytes]:
    """What librdkafka sends when it produces, reads, and commits as a group."""
    broker = Strata(directory)
    recorder = Recorder(broker.port)
    broker.settings["advertised.listeners"] = f"PLAINTEXT://127.0.0.1:{recorder.port}"
    bootstrap = f"127.0.0.1:{recorder.port}"
    with broker:
        traffic.create_topic(bootstrap, "recorded", 2)
        traffic.produce(bootstrap, "recorded", [{"value": b"%d" % n} for n in range(50)], {"enable.idempotence": True})
        settings = traffic.client(bootstrap, group_id="recorded", auto_offset_reset="earliest")
        with traffic.closing(Consumer(settings)) as consumer:
            consumer.subscribe(["recorded"])
            waiting.until(lambda: consumer.poll(0.5), "a record")
            consumer.commit(asynchronous=False)
    recorder.close()
    found = recorder.frames()
    assert len({frame[4:6] for frame in found}) >= 10, f"only {len(found)} frames were recorded"
    return found


class HonestClient:
    """Produces and reads back in a thread; notes how long each turn took, and the first thing that went wrong."""

    def __init__(self, bootstrap: str, topic: str):
        self.bootstrap = bootstrap
        self.topic = topic
        self.turns: list[float] = []
        self.failure = ""
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            settings = traffic.client(self.bootstrap, group_id="honest", enable_auto_commit=False)
            producer = Producer(traffic.client(self.bootstrap, enable_idempotence=True))
            with traffic.closing(Consumer(settings)) as consumer:
                consumer.assign([TopicPartition(self.topic, 0, 0)])
                while not self.ending.wait(0.02):
                    if len(self.turns) % 25 == 24:
                        producer = Producer(traffic.client(self.bootstrap, enable_idempotence=True))
                    self._turn(producer, consumer)
        except BaseException as failure:  # noqa: BLE001 - `finish` fails with it in the thread of the test
            self.failure = repr(failure)

    def _turn(self, producer: Producer, consumer: Consumer) -> None:
        began = time.monotonic()
        sent = [b"%d-%d" % (len(self.turns), n) for n in range(10)]
        delivered = traffic.Delivered()
        for value in sent:
            producer.produce(self.topic, value, partition=0, on_delivery=delivered)
        delivered.finish(producer, len(sent))
        read = []
        while len(read) < len(sent):
            assert time.monotonic() < began + traffic.CLIENT_SECONDS, f"{len(read)} of {len(sent)} records came back"
            for message in consumer.consume(len(sent) - len(read), timeout=0.5):
                assert message.error() is None, str(message.error())
                read.append(message.value())
        assert read == sent, f"{sent[0]!r} and on was sent, {read[0]!r} and on came back"
        self.turns.append(time.monotonic() - began)

    def start(self) -> "HonestClient":
        self.thread.start()
        waiting.until(lambda: len(self.turns) >= 3 or self.failure, "the well-behaved client to begin")
        return self

    def finish(self) -> None:
        self.ending.set()
        self.thread.join(2 * traffic.CLIENT_SECONDS)
        assert not self.failure, f"the well-behaved client noticed: {self.failure}"
        assert not self.thread.is_alive(), "the well-behaved client waits for ever"


class Storm:
    """One broker, one well-behaved client, and everybody else."""

    def __init__(self, directory: Path, seed: int):
        self.directory = directory
        self.seed = seed
        self.broker = Strata(directory / "broker", {"auto.create.topics.enable": "false"})

    def attack(self, connections: int, seconds: float) -> dict:
        """Returns what was measured; fails when a promise was broken."""
        reached = harness.raise_descriptor_limit(connections + 1_000)
        if reached < connections + 500:
            connections = reached - 500
            print(f"SCALED: the limit of descriptors is {reached}, so {connections} connections are made", flush=True)
        recorded = self.directory / "frames.hex"
        recorded.write_text("\n".join(frame.hex() for frame in record(self.directory / "recorded")))
        with self.broker:
            try:
                return self._attack(connections, seconds, recorded)
            except AssertionError:
                print(harness.evidence(self.broker), file=sys.stderr, flush=True)
                raise

    def _attack(self, connections: int, seconds: float, recorded: Path) -> dict:
        bootstrap, pid = self.broker.bootstrap, self.broker.pid
        for topic in (BAIT, HONEST):
            traffic.create_topic(bootstrap, topic, config={"remote.storage.enable": "false"})
        traffic.produce(bootstrap, BAIT, [{"value": b"bait" * 2_000} for _ in range(4_000)])
        traffic.read_all(bootstrap, BAIT, [0])
        calm, honest = harness.sockets(pid), HonestClient(bootstrap, HONEST).start()
        before = harness.memory_kib(pid, "VmHWM")
        told = self._storm(connections, seconds, recorded)
        honest.finish()
        assert self.broker.child.running() and self.broker.starts == 1, "the broker died"
        told |= self._memory(before, connections)
        told |= {"honest_turns": len(honest.turns), "slowest_turn_ms": round(max(honest.turns) * 1000)}
        waiting.until(lambda: harness.sockets(pid) <= calm + 8, f"sockets to fall to {calm}", 60)
        assert frames.answers(self.broker.address), "nobody new is served"
        found = harness.loud(self.broker)
        assert not found, f"{len(found)} ERROR lines, first: {found[0]}"
        return told

    def _storm(self, connections: int, seconds: float, recorded: Path) -> dict:
        options = {"port": self.broker.port, "topic": BAIT, "frames": recorded, "seed": self.seed}
        options |= {"connections": connections, "seconds": seconds}
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        log = self.directory / "hostile.log"
        child = Child("hostile", [sys.executable, "-m", "strata_attack.hostile", *words], log, {"PYTHONPATH": _path()})
        code = child.start().wait(seconds + 120)
        assert code == 0, child.tail()
        told = json.loads(child.output().splitlines()[-1])
        assert told["most_open_at_once"] > connections // 2, f"this was no storm: {told}"
        return told

    def _memory(self, before: int, connections: int) -> dict:
        peak = harness.memory_kib(self.broker.pid, "VmHWM")
        bound = before + REQUESTS_KIB + SLACK_KIB + connections * CONNECTION_KIB
        assert peak <= bound, f"{peak >> 10} MiB at the most; {before >> 10} MiB before, the bound is {bound >> 10} MiB"
        now = harness.memory_kib(self.broker.pid)
        return {"before_mib": before >> 10, "peak_mib": peak >> 10, "bound_mib": bound >> 10, "after_mib": now >> 10}


def _path() -> str:
    return ":".join(entry for entry in sys.path if entry)


def main() -> None:
    parser = harness.Arguments("tests/attack/storm", __doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=5_000)
    parser.add_argument("--seconds", type=float, default=120)
    chosen = parser.parse_args()

    def attack(directory: Path) -> None:
        storm = Storm(directory, chosen.seed)
        print(json.dumps(storm.attack(chosen.connections, chosen.seconds), indent=2), flush=True)

    harness.in_directory("storm", chosen, attack)


if __name__ == "__main__":
    main()
