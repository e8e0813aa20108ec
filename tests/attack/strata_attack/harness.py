"""What all attacks share: seeds that replay, what a broker process holds, and evidence when it hangs.

A random attack draws everything from one seed that it prints. A broker that is alive and does not answer is evidence:
`evidence` writes a dump of its threads before anybody kills it.
"""

import argparse
import contextlib
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from strata_lab.broker import Broker


def seed() -> int:
    """The seed of this test: STRATA_TEST_SEED, or a new one. Printed, so that a failure can be run again."""
    drawn = int(os.environ.get("STRATA_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"STRATA_TEST_SEED={drawn}", flush=True)
    return drawn


def sockets(pid: int) -> int:
    """How many sockets a process holds."""
    links = []
    for entry in os.scandir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(entry.path))
    return sum(link.startswith("socket:") for link in links)


def memory_kib(pid: int, field: str = "VmRSS") -> int:
    """VmRSS is what is resident now, VmHWM the most that ever was."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)[1])


def raise_descriptor_limit(wanted: int) -> int:
    """Raises the soft limit of this process and of its children; returns what was reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        soft = min(wanted, hard) if hard != resource.RLIM_INFINITY else wanted
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


def evidence(broker: Broker) -> str:
    """A dump of all threads of a broker that still runs, into its directory. Says where, or why there is none."""
    if broker.child is None or not broker.child.running():
        return "the broker does not run"
    if shutil.which("gdb") is None:
        return "no thread dump: there is no gdb"
    target = broker.directory / f"threads-{broker.starts}.txt"
    command = ["gdb", "-p", str(broker.pid), "-batch", "-ex", "set pagination off", "-ex", "thread apply all bt"]
    with target.open("w") as out:
        subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, timeout=300, check=False)
    return f"threads of the broker are in {target}"


def loud(broker: Broker, *allowed: str) -> list[str]:
    """ERROR lines and panics of the broker's log that no pattern allows."""
    lines = broker.log.read_text(errors="replace").splitlines()
    found = [line for line in lines if re.search(r"\bERROR\b|panicked at", line)]
    return [line for line in found if not any(re.search(pattern, line) for pattern in allowed)]


class Arguments(argparse.ArgumentParser):
    """The arguments that every long attack takes."""

    def __init__(self, program: str, what: str):
        super().__init__(prog=program, description=what)
        self.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
        self.add_argument("--keep", action="store_true", help="keep the directory also when nothing was found")


def in_directory(name: str, chosen: argparse.Namespace, attack: Callable[[Path], None]) -> None:
    """Runs a long attack in a fresh directory, which stays when the attack found something. Exit code 1 then."""
    directory = Path(tempfile.mkdtemp(prefix=f"strata-{name}-"))
    print(f"seed {chosen.seed}, directory {directory}", flush=True)
    try:
        attack(directory)
    except Exception as found:
        print(f"FOUND with seed {chosen.seed}, kept in {directory}: {found}", file=sys.stderr, flush=True)
        raise
    if not chosen.keep:
        shutil.rmtree(directory, ignore_errors=True)
