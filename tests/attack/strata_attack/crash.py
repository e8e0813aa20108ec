"""kill -9 at random moments under load from real clients, and the check of everything that was promised.

A run is one broker directory with a scenario drawn from the seed (which tier, which syncs, which clients) and a number
of rounds, each of which is one kill at a moment drawn from the seed. Between a kill and the next start the accounts of
what was acknowledged are copied; after the start the broker is held to them. A run ends with a whole reading.

It kills processes, not machines: what the kernel has is kept. Power loss is simulated below `Files`, in `tests/sim`.
Start at `Run.attack`.
"""

import random
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from strata_lab import apache, tiering, traffic, waiting
from strata_lab.broker import Strata

from . import harness
from .churn import Churn
from .readers import CommittingReader, read_topic
from .writers import FickleWriter, JavaWriter, LoyalWriter, number_of

PARTITIONS = 3
TOPIC, JAVA_TOPIC = "crashed", "crashed-java"
SEGMENT_BYTES = 1 << 20
MOMENTS = ["loaded", "loaded", "loaded", "early", "recovering", "late"]


@dataclass(frozen=True)
class Scenario:
    """What one run is made of."""

    tier: bool
    flush: bool
    java: bool
    codec: str
    checkpoint_ms: int
    offsets_partitions: int

    @staticmethod
    def drawn(rng: random.Random, number: int) -> "Scenario":
        return Scenario(
            tier=number % 2 == 0,
            flush=number % 4 == 1,
            java=number % 2 == 1 and apache.available(),
            codec=rng.choice(traffic.CODECS),
            checkpoint_ms=rng.choice([200, 1_000, 60_000]),
            offsets_partitions=rng.choice([1, 3, 50]),
        )

    def broker(self) -> dict[str, str]:
        return (tiering.EAGER if self.tier else {}) | {
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": str(self.offsets_partitions),
            "log.flush.offset.checkpoint.interval.ms": str(self.checkpoint_ms),
        }

    def topic(self) -> dict[str, str]:
        base = tiering.COLD_TOPIC if self.tier else {"remote.storage.enable": "false"}
        return base | {"segment.bytes": str(SEGMENT_BYTES)} | ({"flush.messages": "1"} if self.flush else {})


class Run:
    """One broker directory, its clients, and its kills."""

    def __init__(self, directory: Path, seed: int, number: int):
        self.rng = random.Random(f"{seed}-{number}")
        self.scenario = Scenario.drawn(self.rng, number)
        self.broker = Strata(directory, self.scenario.broker())
        print(f"run {number}: {self.scenario}", flush=True)

    def attack(self, rounds: int) -> None:
        with self.broker:
            try:
                self._begin()
                for number in range(rounds):
                    self._round(number)
                self._finish()
            except Exception:
                print(harness.evidence(self.broker), file=sys.stderr, flush=True)
                raise

    def _begin(self) -> None:
        bootstrap = self.broker.bootstrap
        traffic.create_topic(bootstrap, TOPIC, PARTITIONS, self.scenario.topic())
        self.writers: list[LoyalWriter] = [
            LoyalWriter(bootstrap, TOPIC, PARTITIONS, 2_000, self.scenario.codec),
            FickleWriter(bootstrap, TOPIC, PARTITIONS, 400, self.scenario.codec),
        ]
        self.reader = CommittingReader(bootstrap, TOPIC, PARTITIONS, "workers")
        self.churn = Churn(bootstrap, random.Random(self.rng.random()))
        self.java = None
        if self.scenario.java:
            traffic.create_topic(bootstrap, JAVA_TOPIC, PARTITIONS, self.scenario.topic())
            self.java = JavaWriter(bootstrap, JAVA_TOPIC, 1_000, self.broker.directory)

    def _acknowledged(self) -> int:
        for writer in self.writers:
            assert not writer.account.failure, writer.account.failure
        return sum(writer.account.count() for writer in self.writers)

    def _round(self, number: int) -> None:
        moment = self.rng.choice(MOMENTS)
        told = self._wait_for(moment)
        self.broker.kill()
        if moment == "recovering":
            for _ in range(self.rng.randrange(1, 4)):
                self.broker.launch()
                time.sleep(self.rng.uniform(0.005, 0.15))
                self.broker.kill()
        for writer in self.writers:
            writer.broker_is_dead()
        committed, topics = dict(self.reader.committed), self.churn.acknowledged()
        began = time.monotonic()
        self.broker.start()
        answered = time.monotonic() - began
        self.reader.check_committed(committed)
        self.churn.check(topics)
        print(
            f"  round {number}: {moment} {told}, {self._acknowledged()} acknowledged, back in {answered * 1000:.0f} ms,"
            f" committed {sum(committed.values())} ({self.reader.commits} commits), {self.churn.changes} topic changes",
            flush=True,
        )

    def _wait_for(self, moment: str) -> str:
        """Lets time pass until the moment of the kill, and says what that was."""
        if moment in ("loaded", "recovering"):
            more = self.rng.randrange(1, 3_000)
            wanted = self._acknowledged() + more
            waiting.until(lambda: self._acknowledged() >= wanted, f"{more} more acknowledgements", 90, pause=0.002)
            pause = self.rng.uniform(0, 0.02)
            time.sleep(pause)
            return f"after {more} records"
        pause = self.rng.uniform(0.005, 0.2) if moment == "early" else self.rng.uniform(0.2, 2.0)
        time.sleep(pause)
        return f"after {pause * 1000:.0f} ms"

    def _finish(self) -> None:
        for writer in self.writers:
            writer.finish()
        if self.java:
            self.java.finish()
        self.churn.finish()
        self._check_stored()
        ends = {p: traffic.watermarks(self.broker.bootstrap, TOPIC, p)[1] for p in range(PARTITIONS)}
        self.reader.finish(ends)
        if self.scenario.tier:
            self._check_tier()
        assert self.broker.stop() == 0, "SIGTERM should end it cleanly"
        if self.scenario.tier:
            tiering.verify(self.broker)
        found = harness.loud(self.broker)
        assert not found, f"{len(found)} ERROR lines, first: {found[0]}"
        # Once more after a clean stop: what recovery mended must also be what it left on disk.
        self.broker.start()
        self._check_stored()

    def _check_stored(self) -> None:
        raw = read_topic(self.broker.bootstrap, TOPIC, PARTITIONS)
        stored = {place: number_of(text) for place, text in raw.items()}
        for writer in self.writers:
            writer.check(stored)
        self.reader.check(stored)
        if self.java:
            self.java.check(read_topic(self.broker.bootstrap, JAVA_TOPIC, PARTITIONS))
        abandoned = sum(writer.account.abandoned for writer in self.writers)
        print(f"  {len(stored)} records are as they should be, {abandoned} were given up", flush=True)

    def _check_tier(self) -> None:
        tiering.wait_shipped(self.broker, TOPIC, 120)
        tiering.wait_cold(self.broker, TOPIC, 120)
        self._check_stored()


def attack(directory: Path, seed: int, runs: list[tuple[int, int]]) -> None:
    """Runs given as number and rounds; the number decides the scenario. A run that finds something does not end the rest."""
    found = []
    for number, rounds in runs:
        place = directory / f"run-{number}"
        try:
            Run(place, seed, number).attack(rounds)
        except Exception as failure:  # noqa: BLE001 - the other runs go on
            print(f"  FOUND in run {number}: {failure}", flush=True)
            found.append(failure)
        else:
            shutil.rmtree(place, ignore_errors=True)
    assert not found, f"{len(found)} of {len(runs)} runs found something, first: {found[0]}"


def main() -> None:
    parser = harness.Arguments("tests/attack/crash", __doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200, help="kills in all")
    parser.add_argument("--each", type=int, default=20, help="kills of one run")
    parser.add_argument("--only", type=int, help="this run alone")
    chosen = parser.parse_args()
    runs = [(n, min(chosen.each, chosen.rounds - done)) for n, done in enumerate(range(0, chosen.rounds, chosen.each))]
    if chosen.only is not None:
        runs = [(chosen.only, chosen.each)]
    harness.in_directory("crash", chosen, lambda directory: attack(directory, chosen.seed, runs))
    print(f"{sum(rounds for _, rounds in runs)} kills, nothing found", flush=True)


if __name__ == "__main__":
    main()
