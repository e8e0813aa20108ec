"""Entry of tests/clients/run: starts the store and the brokers, runs the programs, prints, and writes or compares."""

import argparse
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from strata_lab.stores import LocalStack

from . import card
from .columns import COLD, HOT, KAFKA, Column
from .programs import PROGRAMS, Program
from .running import Outcome, Row, run

# Most programs wait more than they compute, for rebalances and for the tier.
AT_ONCE = 4
printing = threading.Lock()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests/clients/run", description="Real clients against Strata, hot and forced-cold."
    )
    parser.add_argument("--write", action="store_true", help="write SCORECARD.md")
    parser.add_argument("--check", action="store_true", help="fail when SCORECARD.md is not what this run would write")
    parser.add_argument("--kafka", action="store_true", help="run on Apache Kafka; with --write beside Strata")
    parser.add_argument("--column", choices=(HOT, COLD), action="append", help="only this column")
    parser.add_argument("-k", dest="only", default="", help="only clients whose name contains this")
    parser.add_argument("--keep", action="store_true", help="keep the directory with logs")
    return parser.parse_args()


def columns(chosen: argparse.Namespace, work: Path, stack: ExitStack) -> Iterator[Column]:
    names = chosen.column or ([HOT, COLD] if chosen.write or not chosen.kafka else [])
    store = stack.enter_context(LocalStack(work / "store")) if names else None
    for name in [*names, *([KAFKA] if chosen.kafka else [])]:
        column = Column(name, work / name.replace(" ", "-"), store)
        stack.enter_context(column.broker)
        yield column


def one(program: Program, column: Column) -> Outcome:
    began = time.monotonic()
    outcome = run(program, column.broker.bootstrap, column.settle, column.work)
    with printing:
        seconds = time.monotonic() - began
        good = f"{len(outcome.rows) - len(outcome.red)} of {len(outcome.rows)}"
        print(f"\n{program.name} {outcome.version}, {column.name}: {good} in {seconds:.0f} s", flush=True)
        for row in outcome.rows:
            print(f"    {'ok ' if row.ok else 'RED'} {row.name:<42} {row.detail}".rstrip(), flush=True)
    return outcome


def run_all(chosen: argparse.Namespace, work: Path) -> tuple[dict[str, dict[str, Outcome]], int]:
    """Outcomes by column and program, and in how many columns Strata logged what asks for a human."""
    outcomes: dict[str, dict[str, Outcome]] = {}
    wanted = [program for program in PROGRAMS if chosen.only in program.name]
    with ExitStack() as stack:
        met = list(columns(chosen, work, stack))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            # The longest are listed last and started first.
            jobs = [(program, column) for program in reversed(wanted) for column in met if not program.missing()]
            for (program, column), outcome in zip(jobs, pool.map(lambda job: one(*job), jobs), strict=True):
                outcomes.setdefault(column.name, {})[program.name] = outcome
        for program in wanted:
            if reason := program.missing():
                print(f"SKIPPED: {program.name}, because {reason}", flush=True)
                for column in met:
                    outcomes.setdefault(column.name, {})[program.name] = Outcome(program.name, skipped=reason)
        loud = [column for column in met if column.complaints()]
        for column in loud:
            print(f"\nRED  {column.name}: Strata logged WARN or ERROR:", *column.complaints()[:20], sep="\n    ", flush=True)
    return outcomes, len(loud)


def told(outcomes: dict[str, dict[str, Outcome]]) -> tuple[int, int, int]:
    """Prints the red rows once more; returns passed, failed, skipped."""
    rows: list[tuple[str, str, Row]] = []
    skipped = set()
    for column, by_program in outcomes.items():
        for name, outcome in by_program.items():
            rows += [(column, name, row) for row in outcome.rows]
            if outcome.skipped:
                skipped.add(name)
    red = [(column, name, row) for column, name, row in rows if not row.ok]
    print()
    for column, name, row in red:
        print(f"RED  {column:<12} {name}: {row.name}: {row.detail}")
    return len(rows) - len(red), len(red), len(skipped)


def main() -> None:
    chosen = arguments()
    work = Path(tempfile.mkdtemp(prefix="strata-clients-"))
    try:
        outcomes, loud = run_all(chosen, work)
    finally:
        if chosen.keep:
            print(f"Logs are kept in {work}", flush=True)
        else:
            shutil.rmtree(work, ignore_errors=True)
    passed, failed, skipped = told(outcomes)
    failed += loud
    stale = False
    text = card.render(card.merge(outcomes, card.parse(card.committed())))
    assert card.render(card.parse(text)) == text, "the card cannot be read back"
    if chosen.write:
        card.FILE.write_text(text)
    elif chosen.check and text != card.committed():
        stale = True
        failed += 1
        print(f"{card.FILE.name} is not what this run would write: see what tests/clients/run --write --kafka changes in it")
    print(f"clients: {passed} passed, {failed} failed, {skipped} skipped", flush=True)
    sys.exit(bool(failed) or stale)


if __name__ == "__main__":
    main()
