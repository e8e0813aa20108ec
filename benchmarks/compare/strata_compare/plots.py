"""Makes the page of plots from a result: `benchmarks/results/index.md` and SVG files beside it.

It reads only the result's JSON, so that it can be run anywhere and again. Needs matplotlib, which `plot` installs.
"""

import json
import re
import statistics
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator  # noqa: E402

from . import tables  # noqa: E402

RESULTS = Path(__file__).resolve().parents[2] / "results"
STRATA, KAFKA, LIMIT, WANTED = "#0b6e4f", "#c8553d", "#8d99ae", "#222222"
COLOURS = {"strata": STRATA, "kafka": KAFKA, "limit": LIMIT}
TITLES = {
    "records_per_second": "records per second (more is better)",
    "records_per_cpu_second": "records per CPU second of the broker (more is better)",
    "bytes_per_second": "bytes per second (more is better)",
    "bytes_per_cpu_second": "bytes per CPU second of the broker (more is better)",
}

# The same file for the same numbers: no dates, no random names inside.
plt.rcParams.update({"svg.hashsalt": "strata", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})


def save(figure: plt.Figure, name: str, about: str) -> str:
    figure.tight_layout()
    figure.savefig(RESULTS / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)
    return f"![{about}]({name}.svg)"


def bars_plot(result: dict) -> str | None:
    """Each bar as a factor of what is wanted: at 1 it is just met, to the right it is met."""
    rows = [row for row in result["bars"] if row["measured"]]
    if not rows:
        return None
    figure, axes = plt.subplots(figsize=(9, 0.34 * len(rows) + 1))
    for at, row in enumerate(reversed(rows)):
        wanted = row.get("at_least") or row["at_most"]
        better = "at_least" in row
        factor = {
            key: max((row["measured"][key] / wanted) if better else (wanted / max(row["measured"][key], 1e-9)), 1e-3)
            for key in ("median", "low", "high")
        }
        left, right = sorted((factor["low"], factor["high"]))
        axes.barh(at, factor["median"], color=STRATA if row["met"] else KAFKA, height=0.6)
        axes.plot([left, right], [at, at], color=WANTED, linewidth=1)
        told = f" {tables.shown(row['measured']['median'])} ({'≥' if better else '≤'} {wanted:g})"
        axes.text(max(factor["median"], right), at, told, va="center", fontsize=7)
    axes.axvline(1, color=WANTED, linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(range(len(rows)), [row["says"] for row in reversed(rows)], fontsize=7)
    axes.set_xlabel("how far beyond what is wanted (1: just met; the line: quartiles of rounds)")
    axes.margins(x=0.15)
    return save(figure, "bars", "each bar, to what is wanted")


def group_plot(result: dict, name: str, about: str, pattern: str, metrics: tuple[str, ...]) -> str | None:
    """One panel for each metric; a pair of columns for each workload, with the rounds as dots."""
    chosen = [w for w in result["workloads"] if re.match(pattern, w["name"])]
    panels = []
    for metric in metrics:
        found = []
        for workload in chosen:
            for server in workload["servers"]:
                numbers = list(tables.values(result["samples"], workload["name"], server, metric).values())
                if numbers:
                    found.append((workload["name"], server, numbers))
        if found:
            panels.append((metric, found))
    if not panels:
        return None
    rows = max(len({name for name, _, _ in found}) for _, found in panels)
    figure, all_axes = plt.subplots(1, len(panels), figsize=(4.8 * len(panels), 0.55 * rows + 1.2), squeeze=False)
    for axes, (metric, found) in zip(all_axes[0], panels, strict=True):
        _panel(axes, metric, found)
    return save(figure, name, about)


def _panel(axes: plt.Axes, metric: str, found: list[tuple[str, str, list[float]]]) -> None:
    names = list(dict.fromkeys(name for name, _, _ in found))
    shift = {"strata": 0.2, "kafka": -0.2, "limit": 0.0}
    for name, server, numbers in found:
        at = len(names) - 1 - names.index(name) + shift[server]
        middle = statistics.median(numbers)
        axes.barh(at, middle, height=0.36, color=COLOURS[server])
        axes.plot(numbers, [at] * len(numbers), ".", color=WANTED, markersize=3, alpha=0.6)
        axes.text(max(numbers), at, " " + tables.shown(middle, metric), va="center", fontsize=7)
    axes.set_yticks(range(len(names)), names[::-1], fontsize=8)
    axes.set_title(TITLES.get(metric, metric), fontsize=9)
    axes.ticklabel_format(axis="x", style="sci", scilimits=(0, 4))
    axes.margins(x=0.2)
    servers = dict.fromkeys(server for _, server, _ in found)
    handles = [plt.Rectangle((0, 0), 1, 1, color=COLOURS[server]) for server in servers]
    axes.legend(
        handles,
        [{"strata": "Strata", "kafka": "Kafka", "limit": "the kernel alone"}[s] for s in servers],
        fontsize=7,
        frameon=False,
    )


PLOTS = (
    ("produce", "Produce", r"produce-|limit-socket-to-file", ("records_per_cpu_second", "records_per_second")),
    ("fetch", "Fetch from the page cache", r"fetch-|limit-sendfile", ("bytes_per_cpu_second", "bytes_per_second")),
    ("live", "End to end latency, µs (less is better)", r"end-to-end-|tail-", ("p50_us", "p99_us", "p99_9_us")),
    ("flush", "Flushed before it is acknowledged", r"flush-|limit-group-commit", ("records_per_second", "p99_us")),
    (
        "java-rates",
        "Kafka's own tools",
        r"java-produce|java-consume",
        ("records_per_second", "bytes_per_second", "bytes_per_cpu_second"),
    ),
    ("java-latency", "Kafka's EndToEndLatency, µs (less is better)", r"java-end-to-end", ("p50_us", "p99_us", "p99_9_us")),
    ("start", "Start and idle (less is better)", r"start$", ("start_ms", "idle_rss_mb", "idle_cpu_percent")),
    (
        "partitions",
        "10,000 partitions (less is better)",
        r"partitions-",
        ("rss_kib_per_partition", "clean_restart_s", "idle_cpu_percent"),
    ),
    (
        "restart",
        "After kill -9, seconds until the first fetch (less is better)",
        r"restart-",
        ("first_fetch_s", "first_fetch_cold_s"),
    ),
    (
        "isolation",
        "p99 of others under pressure, to that when nothing else happens (less is better)",
        r"isolation-",
        ("p99_ratio", "p99_us"),
    ),
    (
        "connections",
        "2,000 connections (less is better)",
        r"connections-",
        ("rss_kib_per_connection", "probe_p99_us", "p99_us"),
    ),
)


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "compare"
    result = json.loads((RESULTS / f"{name}.json").read_text())
    machine, versions = result["machine"], result["versions"]
    lines = [
        "# Strata and Apache Kafka on one machine",
        "",
        f"Made by `benchmarks/compare/plot` from [{name}.json]({name}.json); the same as tables: [{name}.md]({name}.md); "
        "how it was measured: [README](../README.md).",
        "",
        f"{result['taken'][:10]}. {tables.told_machine(machine)}. {versions['strata']} at {versions['commit']}, "
        f"Apache Kafka {versions['kafka']}. {result['rounds']} rounds; columns are medians, dots are rounds.",
        "",
    ]
    parts = [("The bars", bars_plot(result))]
    parts += [
        (title, group_plot(result, f"plot-{file}", title, pattern, metrics)) for file, title, pattern, metrics in PLOTS
    ]
    for title, image in parts:
        if image:
            lines += [f"## {title}", "", image, ""]
    lines += ["## The bars as a table", "", tables.bars_table(result["bars"]), ""]
    (RESULTS / "index.md").write_text("\n".join(lines))
    print(f"written: benchmarks/results/index.md and {sum(1 for _, image in parts if image)} plots")


if __name__ == "__main__":
    main()
