"""The command line of the comparison."""

import argparse
import dataclasses
import json
import os
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from strata_lab.stores import REPOSITORY

from . import tables
from .machine import machine, versions
from .rounds import Plan, Run, Sample, chosen, estimate_seconds
from .servers import HERE, jvm_options, kafka_version, properties
from .workloads import GROUPS, Workload

RESULTS = REPOSITORY / "benchmarks" / "results"
RAW_DROPPED = ("settings", "command")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="benchmarks/compare/run", description="Compares Strata with Apache Kafka.")
    made.add_argument("--rounds", type=int, help="interleaved rounds (7; 1 for a smoke run)")
    made.add_argument("--only", metavar="NAMES", help="workloads or groups, with commas; else what the bars need")
    made.add_argument("--all", action="store_true", help="all workloads")
    made.add_argument("--quick", action="store_true", help="a smoke run with small workloads; its numbers mean nothing")
    made.add_argument("--name", help="the result's name (compare; quick for a smoke run)")
    made.add_argument("--profile", action="store_true", help="flame graphs beside the result; its numbers mean nothing")
    made.add_argument("--servers", default="strata,kafka", help="one of them alone: strata or kafka")
    made.add_argument("--gib", type=float, help="data of the restart workloads, GiB (10)")
    made.add_argument("--minutes", type=float, default=90.0, help="no round begins later than this (90)")
    made.add_argument("--work", type=Path, help="where the servers' data go while it runs (the temporary directory)")
    made.add_argument("--list", action="store_true", help="print the workloads and end")
    made.add_argument("--estimate", action="store_true", help="print how long it would take and end")
    return made


def wanted(options: argparse.Namespace) -> set[str]:
    everything = {workload.name for group in GROUPS for workload in group.workloads}
    if options.only:
        names: set[str] = set()
        for word in options.only.split(","):
            group = next((group for group in GROUPS if group.name == word), None)
            if group is None and word not in everything:
                sys.exit(f"there is no workload {word}: see --list")
            names |= {workload.name for workload in group.workloads} if group else {word}
        return names
    return everything if options.all else tables.wanted_by_bars() & everything


def sized(workload: Workload, gib: float | None) -> Workload:
    if workload.kind != "restart" or gib is None:
        return workload
    return dataclasses.replace(workload, options={**workload.options, "bytes": int(gib * (1 << 30))})


def recorded(sample: Sample) -> dict:
    raw = {key: value for key, value in (sample.raw or {}).items() if key not in RAW_DROPPED}
    return dataclasses.asdict(sample) | {"raw": raw}


def described(workload: Workload) -> dict:
    kept = ("name", "says", "kind", "options", "shows", "partitions", "topic", "servers")
    return {name: getattr(workload, name) for name in kept}


class Report:
    """The result as it grows: written after each round, so that what was measured is never lost."""

    def __init__(self, name: str, plan: Plan):
        self.began = time.monotonic()
        self.path = RESULTS / f"{name}.json"
        self.workloads = [described(workload) for group in plan.groups for workload in group.workloads]
        self.result = {
            "name": name,
            "taken": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(plan.work),
            "versions": versions(os.environ["STRATA_BIN"], kafka_version()),
            "quick": plan.quick,
            "rounds": plan.rounds,
            "settings": {
                "strata": properties(HERE / "strata.properties"),
                "kafka": properties(HERE / "kafka.properties"),
                "kafka_jvm": ["-Xmx1G", "-Xms1G", *jvm_options()],
            },
        }

    def write(self, run: Run) -> None:
        samples = json.loads(json.dumps([recorded(sample) for sample in run.samples]))
        self.result |= {
            "minutes": round((time.monotonic() - self.began) / 60, 1),
            "load_average_after": [round(value, 2) for value in os.getloadavg()],
            "bars": tables.judged(samples),
            "compared": tables.compared(samples, self.workloads),
            "skipped": run.skipped,
            "workloads": self.workloads,
            "samples": samples,
        }
        RESULTS.mkdir(exist_ok=True)
        self.path.write_text(json.dumps(self.result, indent=1) + "\n")
        self.path.with_suffix(".md").write_text(tables.page(self.result))


def main() -> None:
    options = parser().parse_args()
    if options.list:
        needed = tables.wanted_by_bars()
        for group in GROUPS:
            for workload in group.workloads:
                print(f"{group.name:<14}{workload.name:<30}{'bar' if workload.name in needed else '':<5}{workload.says}")
        return
    groups = [
        dataclasses.replace(group, workloads=tuple(sized(workload, options.gib) for workload in group.workloads))
        for group in GROUPS
    ]
    rounds = options.rounds or (1 if options.quick else 7)
    kinds = tuple(options.servers.split(","))
    plan = Plan(chosen(tuple(groups), wanted(options)), rounds, options.quick, Path(), 0.0, kinds)
    count, minutes = sum(len(group.workloads) for group in plan.groups), estimate_seconds(plan) / 60
    print(f"{count} workloads, {rounds} rounds: about {minutes:.0f} minutes", flush=True)
    if options.estimate:
        return
    plan.work = Path(tempfile.mkdtemp(prefix="strata-compare-", dir=options.work))
    plan.deadline = time.monotonic() + options.minutes * 60
    plan.profiles = RESULTS if options.profile else None
    report = Report(options.name or ("quick" if options.quick or options.profile else "compare"), plan)
    run = Run(plan, lambda line: print(line, flush=True), report.write)
    try:
        run.all()
    finally:
        shutil.rmtree(plan.work, ignore_errors=True)
    print()
    print(tables.page(report.result))
    failed = sum(1 for sample in run.samples if sample.error)
    print(f"written: {report.path.relative_to(REPOSITORY)}; {len(run.samples)} samples, {failed} failed")
    sys.exit(1 if failed else 0)
