"""What the numbers were taken on and with."""

import os
import platform
import re
import subprocess
from pathlib import Path

from strata_lab.stores import REPOSITORY


def _found(path: str, pattern: str) -> str:
    match = re.search(pattern, Path(path).read_text(), re.MULTILINE)
    return match[1].strip() if match else "unknown"


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    return (done.stdout.strip() or done.stderr.strip()) if done.returncode == 0 else "unknown"


def filesystem(directory: Path) -> str:
    """The type of the file system that a directory lies in."""
    return _said("df", "--output=fstype", str(directory)).splitlines()[-1]


def machine(work: Path) -> dict:
    settings = ("dirty_background_ratio", "dirty_ratio")
    return {
        "cpu": _found("/proc/cpuinfo", r"^model name\s*:\s*(.+)$"),
        "cores": os.cpu_count() or 0,
        "memory_mib": int(_found("/proc/meminfo", r"^MemTotal:\s+(\d+) kB")) // 1024,
        "kernel": platform.release().split("-")[0],
        "filesystem": filesystem(work),
        "vm": {name: int(Path(f"/proc/sys/vm/{name}").read_text()) for name in settings},
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


def versions(strata: str, kafka: str) -> dict:
    java = _said("java", "-version")
    return {
        "strata": _said(strata, "--version"),
        "commit": _said("git", "rev-parse", "--short", "HEAD"),
        "changed_files": len(_said("git", "status", "--porcelain").splitlines()),
        "kafka": kafka,
        "java": java.splitlines()[0] if java else "unknown",
        "rustc": _said("rustc", "--version"),
        "python": platform.python_version(),
    }
