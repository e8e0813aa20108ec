"""A consumer group whose members join, leave and are killed at random, held to at-least-once and to nothing less.

Each member is a process with librdkafka's consumer; some are static and come back under their `group.instance.id`. A
producer writes all the time. At the end the group must come to rest: stable, every partition with one member,
every record committed; then all leave, and the ledgers of all members are read together (`ownership`).
Start at `Group.attack`.
"""

import json
import random
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient
from strata_lab import traffic, waiting
from strata_lab.broker import Strata
from strata_lab.children import Child

from . import harness
from .ownership import Account

TOPIC, GROUP = "shared", "storm"
ASSIGNORS = ("range", "cooperative-sticky")
SESSION_MS = 6_000
KINDS = ["join", "leave", "kill", "kill"]


@dataclass(frozen=True)
class Size:
    """How large an attack is: members at rest, partitions, events, records a second, the longest pause between events."""

    members: int = 50
    partitions: int = 200
    events: int = 100
    rate: int = 1_000
    pause_seconds: float = 3.0


class Writer:
    """One idempotent producer in a thread, and what was acknowledged to it, by place."""

    def __init__(self, bootstrap: str, size: Size):
        self.size = size
        self.acknowledged: dict[tuple[int, int], str] = {}
        self.failure = ""
        self.ending = threading.Event()
        self.producer = Producer(traffic.client(bootstrap, enable_idempotence=True, linger_ms=5))
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _note(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.failure = self.failure or str(error)
        else:
            place = (message.partition(), message.offset())
            self.acknowledged[place] = message.value().partition(b" ")[0].decode()

    def _run(self) -> None:
        number = 0
        while not self.ending.is_set():
            for _ in range(max(1, self.size.rate // 50)):
                value = b"%d " % number + b"." * 100
                self.producer.produce(TOPIC, value, partition=number % self.size.partitions, on_delivery=self._note)
                number += 1
            self.producer.poll(0)
            time.sleep(0.02)

    def finish(self) -> dict[tuple[int, int], str]:
        self.ending.set()
        self.thread.join(30)
        left = self.producer.flush(60)
        assert not self.failure and left == 0, f"{left} records are not answered; {self.failure}"
        return self.acknowledged


class Group:
    """The members that live, those that lived, and what the broker says of them."""

    def __init__(self, broker: Strata, directory: Path, size: Size, assignor: str, rng: random.Random):
        self.broker, self.directory, self.size, self.assignor, self.rng = broker, directory, size, assignor, rng
        self.directory.mkdir(parents=True)
        self.alive: dict[str, tuple[Child, str | None]] = {}
        self.ended: list[tuple[str, int | None]] = []
        self.free_instances = [f"static-{number}" for number in range(size.members // 3)]
        self.admin = AdminClient(traffic.client(broker.bootstrap))
        self.started = 0
        self.told: dict[str, int] = {}

    def join(self) -> None:
        name = f"member-{self.started}"
        self.started += 1
        instance = self.free_instances.pop(0) if self.free_instances and self.rng.random() < 0.5 else None
        client = traffic.client(
            self.broker.bootstrap, group_id=GROUP, client_id=name, enable_auto_commit=False, auto_offset_reset="earliest"
        ) | {
            "partition.assignment.strategy": self.assignor,
            "session.timeout.ms": SESSION_MS,
            "heartbeat.interval.ms": 500,
            "topic.metadata.refresh.interval.ms": 60_000,
            "queued.min.messages": 100,
            "check.crcs": True,
        }
        given = {
            "topic": TOPIC,
            "ledger": str(self.directory / name),
            "commit_seconds": round(self.rng.uniform(0.2, 2.0), 2),
            "commits_at_revoke": self.rng.random() < 0.5,
            "client": client | ({"group.instance.id": instance} if instance else {}),
        }
        program = [sys.executable, str(Path(__file__).with_name("member.py")), json.dumps(given)]
        child = Child(name, program, self.directory / f"{name}.log").start()
        self.alive[name] = (child, instance)

    def leave(self) -> None:
        """A member that ends cleanly. A static one stays in the group until its session ends, as KIP-345 has it."""
        name = self.rng.choice(sorted(self.alive))
        child, instance = self.alive.pop(name)
        # Before its ledger is there it may not know what SIGTERM means.
        waiting.until((self.directory / name).exists, f"{name} to begin", 60)
        code = child.stop(60)
        assert code == 0, f"{name} ended with {code}:\n{child.tail()}"
        self.ended.append((name, None))
        self.free_instances += [instance] if instance else []

    def kill(self) -> None:
        name = self.rng.choice(sorted(self.alive))
        child, instance = self.alive.pop(name)
        assert child.running(), f"{name} ended by itself with {child.exit_code()}:\n{child.tail()}"
        child.kill()
        self.ended.append((name, time.monotonic_ns()))
        self.free_instances += [instance] if instance else []

    def event(self) -> None:
        """Something happens to one member. The group stays between a half and all of its size and a fifth."""
        kind = self.rng.choice(KINDS) if self.rng.random() < 0.6 else "join"
        if len(self.alive) <= max(1, self.size.members // 2):
            kind = "join"
        elif kind == "join" and len(self.alive) >= self.size.members + max(1, self.size.members // 5):
            kind = "kill"
        self.told[kind] = self.told.get(kind, 0) + 1
        {"join": self.join, "leave": self.leave, "kill": self.kill}[kind]()
        for name, (child, _) in self.alive.items():
            assert child.running(), f"{name} ended by itself with {child.exit_code()}:\n{child.tail()}"

    def owners(self) -> dict[int, list[str]] | None:
        """Who has which partition, by DescribeGroups; None while the group is not stable or not the one that lives."""
        described = self.admin.describe_consumer_groups([GROUP])[GROUP].result(traffic.CLIENT_SECONDS)
        names = sorted(member.client_id for member in described.members)
        if described.state != ConsumerGroupState.STABLE or names != sorted(self.alive):
            return None
        owners: dict[int, list[str]] = {}
        for member in described.members:
            for place in member.assignment.topic_partitions:
                owners.setdefault(place.partition, []).append(member.client_id)
        return owners

    def committed(self) -> dict[int, int]:
        asked = ConsumerGroupTopicPartitions(GROUP)
        answer = self.admin.list_consumer_group_offsets([asked])[GROUP].result(traffic.CLIENT_SECONDS)
        return {place.partition: place.offset for place in answer.topic_partitions}

    def come_to_rest(self, seconds: float) -> float:
        """Waits until the living members are the group, stable, each partition with one of them. Returns how long."""
        began = time.monotonic()
        owners = waiting.until(self.owners, f"a stable group of {len(self.alive)}", seconds, pause=0.25)
        assert sorted(owners) == list(range(self.size.partitions)), "a partition has no member"
        shared = {partition: names for partition, names in owners.items() if len(names) != 1}
        assert not shared, f"partitions with several members: {shared}"
        return time.monotonic() - began

    def attack(self) -> str:
        writer = Writer(self.broker.bootstrap, self.size)
        for _ in range(self.size.members):
            self.join()
        formed = self.come_to_rest(180)
        began = time.monotonic()
        for _ in range(self.size.events):
            time.sleep(self.rng.uniform(0, self.size.pause_seconds))
            self.event()
        took = time.monotonic() - began
        rested = self.come_to_rest(180)
        acknowledged = writer.finish()
        ends: dict[int, int] = {}
        for partition, offset in acknowledged:
            ends[partition] = max(ends.get(partition, 0), offset + 1)
        waiting.until(lambda: self.committed() == ends, "all records to be committed", 120, pause=0.5)
        self._all_leave()
        account = Account()
        for name, killed_at in self.ended:
            account.read(self.directory / name, killed_at)
        told = account.check(acknowledged)
        events = ", ".join(f"{count} {kind}s" for kind, count in sorted(self.told.items()))
        return (
            f"{self.assignor}: {events} in {took:.0f} s among {self.size.members} members and {self.size.partitions} "
            f"partitions; formed in {formed:.1f} s, at rest {rested:.1f} s after the last; {told}"
        )

    def _all_leave(self) -> None:
        for name, (child, _) in self.alive.items():
            child.send(15)
            self.ended.append((name, None))
        for name, (child, _) in self.alive.items():
            code = child.wait(90)
            assert code == 0, f"{name} ended with {code}:\n{child.tail()}"
        self.alive.clear()

        def is_empty() -> bool:
            described = self.admin.describe_consumer_groups([GROUP])[GROUP].result(traffic.CLIENT_SECONDS)
            return described.state == ConsumerGroupState.EMPTY

        # Static members do not say that they leave.
        waiting.until(is_empty, "an empty group", SESSION_MS / 1000 + 60, pause=0.25)
        self.admin.delete_consumer_groups([GROUP])[GROUP].result(traffic.CLIENT_SECONDS)


def attack(directory: Path, seed: int, size: Size, assignors: tuple[str, ...] = ASSIGNORS) -> list[str]:
    """One broker and one storm for each assignor. Returns what was seen."""
    told = []
    for assignor in assignors:
        place = directory / assignor
        # Short sessions, so that the dead are noticed soon.
        settings = {"offsets.topic.num.partitions": "3", "group.initial.rebalance.delay.ms": "1000"}
        with Strata(place / "broker", settings) as broker:
            try:
                traffic.create_topic(broker.bootstrap, TOPIC, size.partitions)
                rng = random.Random(f"{seed}-{assignor}")
                told.append(Group(broker, place / "members", size, assignor, rng).attack())
            except Exception:
                print(harness.evidence(broker), file=sys.stderr, flush=True)
                raise
            print(told[-1], flush=True)
            found = harness.loud(broker)
            assert not found, f"{len(found)} ERROR lines, first: {found[0]}"
    return told


def main() -> None:
    parser = harness.Arguments("tests/attack/members", __doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=Size.members)
    parser.add_argument("--partitions", type=int, default=Size.partitions)
    parser.add_argument("--events", type=int, default=Size.events)
    parser.add_argument("--assignor", choices=ASSIGNORS, action="append", help="this one alone")
    chosen = parser.parse_args()
    size = Size(members=chosen.members, partitions=chosen.partitions, events=chosen.events)
    assignors = tuple(chosen.assignor or ASSIGNORS)
    harness.in_directory("members", chosen, lambda directory: attack(directory, chosen.seed, size, assignors) and None)


if __name__ == "__main__":
    main()
