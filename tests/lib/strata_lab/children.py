"""Child processes that leave nothing behind.

Each child is in a session of its own (a Ctrl-C reaches only us), dies with us (the kernel sends it SIGKILL when its
parent goes), writes its output to a file, and is known by its pid: nothing here ever looks for processes by name.
"""

import atexit
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

_running: set["Child"] = set()


class Child:
    """One process. `start` it once; it ends by `stop` (SIGTERM), `kill` (SIGKILL) or by itself."""

    def __init__(self, name: str, argv: list[str], log: Path, env: dict[str, str] | None = None):
        self.name = name
        self.argv = argv
        self.log = log
        self.env = {**os.environ, **(env or {})}
        self.process: subprocess.Popen | None = None

    def start(self) -> "Child":
        assert self.process is None, f"{self.name} was started before"
        tie = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                tie + self.argv, env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        _running.add(self)
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} was never started"
        return self.process.pid

    def exit_code(self) -> int | None:
        """None while it runs; negative for a signal."""
        assert self.process is not None, f"{self.name} was never started"
        return self.process.poll()

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, seconds: float = 30.0) -> int:
        assert self.process is not None
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} (pid {self.pid}) still runs after {seconds:.0f} s\n{self.tail()}") from None
        _running.discard(self)
        return code

    def stop(self, seconds: float = 30.0) -> int:
        """Asks it to end and returns its exit code."""
        if self.running():
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self) -> None:
        """kill -9, and waits until it is gone."""
        if self.running():
            self.send(signal.SIGKILL)
        self.wait()

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.output().splitlines()[-lines:])


def end_all() -> None:
    """Ends what still runs. The order does not matter: whoever has not stopped after its time is killed."""
    for child in list(_running):
        try:
            child.stop(10)
        except AssertionError:
            child.kill()


def _terminated(*_: object) -> None:
    sys.exit(143)


atexit.register(end_all)
signal.signal(signal.SIGTERM, _terminated)
