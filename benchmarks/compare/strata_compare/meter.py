"""What a process has used so far, from /proc.

Processor time includes threads that ended. The kernel counts it exactly and shows it in ticks of 10 ms. Context switches
are those of the threads that still run.
"""

import os
import re
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
SWITCHES = re.compile(r"^(voluntary|nonvoluntary)_ctxt_switches:\s+(\d+)$", re.MULTILINE)


def used(pid: int) -> dict[str, float]:
    """Sums since the process began."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return {
        "cpu_seconds": (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND,
        "context_switches": _switches(pid),
        "written_bytes": _number(f"/proc/{pid}/io", r"^write_bytes: (\d+)$"),
    }


def between(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: max(0, after[name] - before[name]) for name in before}


def rss_bytes(pid: int) -> int:
    return _number(f"/proc/{pid}/status", r"^VmRSS:\s+(\d+) kB$") * 1024


def anonymous_bytes(pid: int) -> int:
    """Memory that is the process's own: without the program's file and mapped data."""
    return _number(f"/proc/{pid}/status", r"^RssAnon:\s+(\d+) kB$") * 1024


def _number(path: str, pattern: str) -> int:
    match = re.search(pattern, Path(path).read_text(), re.MULTILINE)
    return int(match[1]) if match else 0


def _switches(pid: int) -> int:
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += sum(int(count) for _, count in SWITCHES.findall((task / "status").read_text()))
        except OSError:
            continue  # the thread ended meanwhile
    return total
