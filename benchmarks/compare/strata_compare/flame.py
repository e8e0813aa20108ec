"""Flame graphs (Brendan Gregg's form) of a server during a workload, as SVG files that need nothing to be looked at.

perf(1) samples the clock, since a virtual machine seldom has hardware counters, and unwinds with the debug information of
the program. Wide is much time; the order from left to right means nothing. Time that a thread waits is not in it.
"""

import contextlib
import html
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

SAMPLES_PER_SECOND = 499
STACK_BYTES = 16_384
WIDTH, ROW, SHOWN_MIN = 1200, 15, 0.4
FRAME = re.compile(r"^\s+[0-9a-f]+ (.+?)(?:\+0x[0-9a-f]+)?(?: \(.*\))?$")


@contextlib.contextmanager
def profiled(pid: int, work: Path, drawing: Path, title: str) -> Iterator[None]:
    """Samples the process while the block runs, and draws where its time went."""
    assert shutil.which("perf"), "a profile needs perf"
    data, log = work / "perf.data", work / "perf.log"
    call_graph = f"dwarf,{STACK_BYTES}"
    argv = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(SAMPLES_PER_SECOND), "--call-graph", call_graph]
    with log.open("wb") as out:
        perf = subprocess.Popen([*argv, "-p", str(pid), "-o", str(data)], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield
    finally:
        perf.send_signal(signal.SIGINT)
        perf.wait(60)
    told = subprocess.run(
        ["perf", "script", "-i", str(data), "--no-inline", "-F", "comm,ip,sym"], capture_output=True, text=True, timeout=600
    )
    data.unlink(missing_ok=True)
    stacks = folded(told.stdout)
    assert stacks, f"perf saw nothing: {log.read_text()[-500:]} {told.stderr[-500:]}"
    drawing.write_text(drawn(stacks, title))


def folded(script: str) -> dict[tuple[str, ...], int]:
    """Samples by stack, the outermost frame first; its first name is the thread's."""
    stacks: dict[tuple[str, ...], int] = {}
    for sample in filter(None, script.strip().split("\n\n")):
        head, *lines = sample.splitlines()
        frames = [match[1] for line in lines if (match := FRAME.match(line))]
        names = [short(name) for name in reversed(frames) if name != "[unknown]"]
        # Threads of one kind differ in a number only.
        key = (re.sub(r"[-_ ]?\d+$", "", head.strip()), *names)
        if names:
            stacks[key] = stacks.get(key, 0) + 1
    return stacks


def short(name: str) -> str:
    """A symbol without its hash, and without the crate's disambiguator."""
    return re.sub(r"::h[0-9a-f]{16}$|\[[0-9a-f]{16}\]", "", name)


def drawn(stacks: dict[tuple[str, ...], int], title: str) -> str:
    total = sum(stacks.values())
    boxes: list[str] = []
    deepest = 0

    def place(entries: list[tuple[tuple[str, ...], int]], depth: int, left: float) -> None:
        nonlocal deepest
        at = 0
        while at < len(entries):
            name = entries[at][0][depth]
            until = at
            while until < len(entries) and entries[until][0][depth] == name:
                until += 1
            count = sum(number for _, number in entries[at:until])
            width = count / total * WIDTH
            if width >= SHOWN_MIN:
                deepest = max(deepest, depth)
                boxes.append(_box(name, count, total, left, depth, width))
                inner = [entry for entry in entries[at:until] if len(entry[0]) > depth + 1]
                place(inner, depth + 1, left)
            left += width
            at = until

    place(sorted(stacks.items()), 0, 0.0)
    height = (deepest + 3) * ROW
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="monospace" font-size="11">'
    )
    words = f'<text x="4" y="12">{html.escape(title)}: {total} samples</text>'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', words, *boxes, "</svg>", ""])


def _box(name: str, count: int, total: int, left: float, depth: int, width: float) -> str:
    red, green = 205 + sum(name.encode()) % 50, 90 + sum(name.encode()[::2]) % 130
    top = (depth + 1) * ROW + 3
    told = html.escape(f"{name}: {count} samples, {count / total:.1%}")
    letters = int(width / 6.7)
    label = html.escape(name if len(name) <= letters else name[-letters:]) if letters >= 4 else ""
    return (
        f'<g><title>{told}</title><rect x="{left:.1f}" y="{top}" width="{max(width - 0.3, 0.3):.1f}" height="{ROW - 1}" '
        f'fill="rgb({red},{green},60)"/><text x="{left + 2:.1f}" y="{top + 11}">{label}</text></g>'
    )
