"""One program on one broker: what it prints becomes rows, and its questions are answered.

A program prints one JSON object a line: first its client, version and plan, then a row per capability, and between
them `{"settle": TOPIC}`, to which the answer is one line on its standard input. A program that ends or hangs before
its plan is done leaves red rows for the rest, never none.
"""

import json
import os
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .programs import Program

PROGRAM_SECONDS = 180.0
SHOWN = 300


@dataclass
class Row:
    """What came of one capability on one broker."""

    name: str
    what: str
    ok: bool = False
    detail: str = "the program ended before it came to this"


@dataclass
class Outcome:
    """Everything that one program told. `skipped` is why it did not run at all."""

    program: str
    client: str = ""
    version: str = ""
    rows: list[Row] = field(default_factory=list)
    skipped: str = ""

    @property
    def red(self) -> list[Row]:
        return [row for row in self.rows if not row.ok]


def run(program: Program, bootstrap: str, settle: Callable[[str], str], work: Path) -> Outcome:
    """Runs the program to its end. `settle` answers "ok", or why a topic does not lie where it should."""
    outcome = Outcome(program.name)
    errors = work / f"{program.name.split()[0].replace('/', '-')}.stderr"
    env = os.environ | {"STRATA_CLIENTS_BOOTSTRAP": bootstrap, "TMPDIR": str(work)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with errors.open("wb") as out:
        child = subprocess.Popen(program.command(), **pipes, stderr=out, text=True, env=env, errors="replace")
    hung = threading.Event()
    # The program is killed by its pid when its time is over; its rows say so.
    watch = threading.Timer(PROGRAM_SECONDS, lambda: (hung.set(), child.kill()))
    watch.start()
    try:
        _listen(child, outcome, settle)
        code = child.wait()
    finally:
        watch.cancel()
        if child.poll() is None:
            child.kill()
            child.wait()
    _close(outcome, f"still ran after {PROGRAM_SECONDS:.0f} s" if hung.is_set() else f"ended with {code}", errors, code)
    return outcome


def _listen(child: subprocess.Popen, outcome: Outcome, settle: Callable[[str], str]) -> None:
    assert child.stdin is not None and child.stdout is not None
    for line in child.stdout:
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if not isinstance(told, dict):
            continue
        if "settle" in told:
            child.stdin.write(settle(told["settle"]) + "\n")
            child.stdin.flush()
        elif "plan" in told:
            outcome.client, outcome.version = told["client"], told["version"]
            outcome.rows = [Row(one["name"], one["what"]) for one in told["plan"]]
        elif "name" in told:
            row = next((row for row in outcome.rows if row.name == told["name"]), None)
            assert row is not None, f"{outcome.program} told of {told['name']}, which is not in its plan"
            row.ok, row.detail = told["ok"] is True, str(told.get("detail", ""))


def _close(outcome: Outcome, ending: str, errors: Path, code: int) -> None:
    tail = " / ".join(errors.read_text(errors="replace").strip().splitlines()[-3:])[-SHOWN:]
    if not outcome.rows:
        outcome.rows = [Row("start", "the program starts", detail=f"{ending}: {tail}")]
        return
    unreached = [row for row in outcome.rows if row.detail == Row("", "").detail]
    for row in unreached:
        row.detail = f"not reached, the program {ending}: {tail}"
    if code != 0 and not unreached:
        outcome.rows.append(Row("end", "the program ends with 0", detail=f"{ending}: {tail}"))
