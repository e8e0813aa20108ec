"""Who runs when: groups in order, and in each round both servers in turn, which of them first changing with each round.

One server runs at a time. A workload that fails is recorded as failed and the rest goes on, on a fresh server. All that is
written lies below one directory, which is emptied as servers go.
"""

import contextlib
import dataclasses
import shutil
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from strata_lab.stores import REPOSITORY

from . import flame, kinds, servers
from .workloads import Group, Workload

WARM_UP_RECORDS = 300_000
# A round that began in time may go on for so long.
GRACE_SECONDS = 600.0
# Of one start, warm-up and end of a shared server, with Strata and with Kafka.
SESSION_SECONDS = (3.0, 9.0)


@dataclasses.dataclass
class Plan:
    groups: list[Group]
    rounds: int
    quick: bool
    work: Path
    # time.monotonic() after which no round begins.
    deadline: float
    kinds: tuple[str, ...] = ("strata", "kafka")
    # Where flame graphs of Strata go, if they are wanted.
    profiles: Path | None = None


@dataclasses.dataclass
class Sample:
    """What one workload gave with one server in one round."""

    workload: str
    server: str
    round: int
    # Its place in the run: samples are comparable to their neighbours first of all.
    order: int
    seconds: float
    metrics: dict[str, float]
    error: str | None = None
    raw: dict | None = None


def chosen(groups: tuple[Group, ...], names: set[str]) -> list[Group]:
    """The groups with only these workloads."""
    kept = [dataclasses.replace(g, workloads=tuple(w for w in g.workloads if w.name in names)) for g in groups]
    return [group for group in kept if group.workloads]


def rounds_of(plan: Plan, workload: Workload, server: str) -> int:
    return min(plan.rounds, workload.rounds.get(server, plan.rounds))


def estimate_seconds(plan: Plan) -> float:
    """What the whole plan takes, roughly."""
    total = 0.0
    for group in plan.groups:
        for index, kind in enumerate(("strata", "kafka")):
            if kind not in plan.kinds:
                continue
            mine = [w for w in group.workloads if kind in w.servers]
            if group.shared and mine:
                total += SESSION_SECONDS[index] * plan.rounds
            total += sum(w.seconds[index] * rounds_of(plan, w, kind) for w in mine)
        total += sum(w.seconds[0] * plan.rounds for w in group.workloads if "limit" in w.servers)
    return total / 4 if plan.quick else total


class Run:
    """Runs a plan and keeps its samples; `saved` is called after each round of a group."""

    def __init__(self, plan: Plan, say: Callable[[str], None], saved: Callable[["Run"], None]):
        self.plan = plan
        self.say = say
        self.saved = saved
        self.samples: list[Sample] = []
        self.skipped: list[str] = []

    def all(self) -> None:
        for position, group in enumerate(self.plan.groups):
            for number in range(1, self.plan.rounds + 1):
                if time.monotonic() > self.plan.deadline:
                    self.skipped.append(f"{group.name} from round {number} on: the time was over")
                    self.say(f"skipped: {self.skipped[-1]}")
                    break
                self._round(group, number, first=(number + position) % 2)
                self.saved(self)

    def _round(self, group: Group, number: int, first: int) -> None:
        for workload in group.workloads:
            if "limit" in workload.servers:
                self._measure(workload, "limit", number, lambda options: kinds.limit(self.plan.work, options))
                shutil.rmtree(self.plan.work / "limit", ignore_errors=True)
        order = self.plan.kinds if first else self.plan.kinds[::-1]
        for kind in order:
            mine = [w for w in group.workloads if kind in w.servers and number <= rounds_of(self.plan, w, kind)]
            if mine and group.shared:
                self._session(kind, mine, number)
            for workload in [] if group.shared else mine:
                nursery = kinds.Nursery(kind, self.plan.work)
                try:
                    self._measure(workload, kind, number, lambda o, w=workload, n=nursery: kinds.ALONE[w.kind](n, w, o))
                finally:
                    nursery.close()

    def _session(self, kind: str, workloads: list[Workload], number: int) -> None:
        """The workloads of a group on one server; after a failure the next one gets a fresh server."""
        nursery = kinds.Nursery(kind, self.plan.work)
        session: kinds.Session | None = None
        try:
            for workload in workloads:

                def measure(options: dict[str, Any], workload: Workload = workload) -> kinds.Measured:
                    nonlocal session
                    if session is None:
                        session = self._warm(nursery)
                    with self._profiled(session, workload):
                        return kinds.SHARED[workload.kind](session, workload, options)

                if not self._measure(workload, kind, number, measure):
                    nursery.close()
                    session = None
        finally:
            nursery.close()

    def _profiled(self, session: kinds.Session, workload: Workload) -> contextlib.AbstractContextManager[None]:
        if self.plan.profiles is None:
            return contextlib.nullcontext()
        drawing = self.plan.profiles / f"flame-{session.server.kind}-{workload.name}.svg"
        return flame.profiled(session.server.pid, self.plan.work, drawing, f"{session.server.kind}, {workload.says}")

    def _warm(self, nursery: kinds.Nursery) -> kinds.Session:
        session = kinds.Session(nursery.server())
        servers.start(session.server)
        session.warm_up(WARM_UP_RECORDS // 10 if self.plan.quick else WARM_UP_RECORDS)
        return session

    def _measure(self, workload: Workload, kind: str, number: int, act: Callable[[dict[str, Any]], kinds.Measured]) -> bool:
        options = dict(workload.options) | (dict(workload.quick) if self.plan.quick else {})
        sample = Sample(workload.name, kind, number, len(self.samples), 0.0, {})
        began = time.monotonic()
        try:
            assert began < self.plan.deadline + GRACE_SECONDS, "the time was over"
            metrics, sample.raw = act(options)
            sample.metrics = {name: float(f"{value:.6g}") for name, value in metrics.items()}
        except Exception as error:  # whatever it is: it is recorded, and the others go on
            place = traceback.extract_tb(error.__traceback__)[-1]
            told = f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
            sample.error = told.replace(str(self.plan.work), "<work>").replace(str(REPOSITORY), "<repository>")[:4000]
        sample.seconds = round(time.monotonic() - began, 2)
        self.samples.append(sample)
        told = sample.error or "  ".join(
            f"{name} {sample.metrics[name]:.6g}" for name in workload.shows if name in sample.metrics
        )
        self.say(f"{number}/{self.plan.rounds} {workload.name:<28}{kind:<8}{sample.seconds:6.1f} s  {told}")
        return sample.error is None
