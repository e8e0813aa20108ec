"""From samples to ratios, bars and tables.

A ratio is Strata to Kafka (or to the machine's limit) within one round; its median and quartiles are over rounds. Where
one of the two has fewer rounds, the other's median stands in for the missing ones.
"""

import json
import statistics
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
RESOURCES = ("cpu_seconds", "rss_mb", "context_switches", "written_mb", "client_cpu_seconds")
RATES = ("_per_second", "_per_cpu_second")


def bars() -> list[dict]:
    return json.loads((HERE / "bars.json").read_text())["bars"]


def wanted_by_bars() -> set[str]:
    """The workloads that the bars need."""
    return {name for bar in bars() for name in (bar["workload"], bar.get("against")) if name}


def values(samples: list[dict], workload: str, server: str, metric: str) -> dict[int, float]:
    """By round."""
    mine = (s for s in samples if s["workload"] == workload and s["server"] == server and not s["error"])
    return {s["round"]: s["metrics"][metric] for s in mine if metric in s["metrics"]}


def spread(numbers: list[float]) -> dict[str, float]:
    """Median, quartiles, and of how many."""
    if len(numbers) > 1:
        low, middle, high = statistics.quantiles(numbers, n=4, method="inclusive")
    else:
        low = middle = high = numbers[0]
    return {"median": middle, "low": low, "high": high, "rounds": len(numbers)}


def ratios(upper: dict[int, float], lower: dict[int, float]) -> list[float]:
    if not upper or not lower:
        return []
    upper_median, lower_median = statistics.median(upper.values()), statistics.median(lower.values())
    rounds = sorted(set(upper) | set(lower))
    pairs = [(upper.get(number, upper_median), lower.get(number, lower_median)) for number in rounds]
    return [above / below for above, below in pairs if below > 0]


def compared(samples: list[dict], workloads: list[dict]) -> list[dict]:
    """A row for each metric that a workload shows."""
    rows = []
    for workload in workloads:
        for metric in workload["shows"]:
            row = {"workload": workload["name"], "says": workload["says"], "metric": metric}
            for server in workload["servers"]:
                found = values(samples, workload["name"], server, metric)
                row[server] = spread(list(found.values())) if found else None
            found = ratios(*(values(samples, workload["name"], server, metric) for server in ("strata", "kafka")))
            row["ratio"] = spread(found) if found else None
            rows.append(row)
    return rows


def judged(samples: list[dict]) -> list[dict]:
    """Each bar with what was measured: met, missed, or not measured."""
    rows = []
    for bar in bars():
        mine = values(samples, bar["workload"], "strata", bar["metric"])
        if bar["of"] == "strata":
            numbers = list(mine.values())
        elif bar["of"] == "ratio":
            numbers = ratios(mine, values(samples, bar["workload"], "kafka", bar["metric"]))
        else:
            numbers = ratios(mine, values(samples, bar["against"], "limit", bar["metric"]))
        row = dict(bar) | {"measured": None, "met": None}
        if numbers:
            row["measured"] = spread(numbers)
            middle = row["measured"]["median"]
            row["met"] = middle >= bar["at_least"] if "at_least" in bar else middle <= bar["at_most"]
        rows.append(row)
    return rows


def shown(number: float, metric: str = "") -> str:
    """Three or four digits, with k or M where it is large."""
    if "bytes_per" in metric:
        return f"{number / 1e6:,.0f} MB"
    if abs(number) >= 1e6:
        return f"{number / 1e6:.3g} M"
    if abs(number) >= 1e4:
        return f"{number / 1e3:.3g} k"
    return f"{number:.3g}" if abs(number) < 100 else f"{number:.0f}"


def _of(found: dict | None, metric: str = "") -> str:
    return shown(found["median"], metric) if found else "–"


def _ratio(found: dict | None) -> str:
    return f"{found['median']:.3g} [{found['low']:.3g}, {found['high']:.3g}] of {found['rounds']}" if found else "–"


def table(heads: list[str], rows: list[list[str]]) -> str:
    """Markdown that is also readable as it is."""
    widths = [max(len(row[at]) for row in [heads, *rows]) for at in range(len(heads))]
    line = lambda cells: "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"  # noqa: E731
    return "\n".join([line(heads), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, rows)])


def bars_table(rows: list[dict]) -> str:
    cells = []
    for row in rows:
        wanted = f"≥ {row['at_least']:g}" if "at_least" in row else f"≤ {row['at_most']:g}"
        mark = {True: "met", False: "MISSED", None: "not measured"}[row["met"]]
        cells.append(
            [
                row["says"],
                {"ratio": "× Kafka", "limit": "of the limit", "strata": ""}[row["of"]],
                wanted,
                _ratio(row["measured"]),
                mark,
            ]
        )
    return table(["bar", "", "wanted", "median [quartiles] of rounds", ""], cells)


def compared_table(rows: list[dict]) -> str:
    cells = [
        [
            row["workload"],
            row["metric"],
            _of(row.get("strata") or row.get("limit"), row["metric"]),
            _of(row.get("kafka"), row["metric"]),
            _ratio(row["ratio"]),
        ]
        for row in rows
    ]
    return table(["workload", "metric", "Strata (or limit)", "Kafka", "ratio: median [quartiles] of rounds"], cells)


def resources_table(samples: list[dict], workloads: list[dict]) -> str:
    """What the broker's process used in a round of a workload: medians, Strata and Kafka."""
    cells = []
    for workload in workloads:
        row = [workload["name"]]
        for metric in RESOURCES:
            both = [list(values(samples, workload["name"], server, metric).values()) for server in ("strata", "kafka")]
            row.append(" / ".join(shown(statistics.median(numbers)) if numbers else "–" for numbers in both))
        if any(character.isdigit() for cell in row[1:] for character in cell):
            cells.append(row)
    return table(
        ["workload (Strata / Kafka)", "broker CPU s", "RSS MB", "context switches", "written MB", "client CPU s"], cells
    )


def told_machine(machine: dict) -> str:
    memory, kernel = f"{machine['memory_mib']} MiB", f"Linux {machine['kernel']}"
    return ", ".join([machine["cpu"], f"{machine['cores']} cores", memory, kernel, machine["filesystem"]])


def page(result: dict) -> str:
    """The whole result as markdown."""
    machine, versions = result["machine"], result["versions"]
    changed = " with changes that are not committed" if versions["changed_files"] else ""
    words = [
        f"# {result['name']}: Strata and Apache Kafka {versions['kafka']} on one machine",
        "",
        f"Taken {result['taken']}: {result['rounds']} rounds, {result['minutes']:.0f} minutes. {told_machine(machine)}; "
        f"load average before {machine['load_average'][0]}. {versions['strata']} at {versions['commit']}{changed}, "
        f"{versions['java']}. How: [README](../README.md).",
        "",
        "## Bars",
        "",
        bars_table(result["bars"]),
        "",
        "## Ratios",
        "",
        "Strata to Kafka within a round. More is better for rates; less is better for times, memory and processor time.",
        "",
        compared_table(result["compared"]),
        "",
        "## What the brokers used",
        "",
        resources_table(result["samples"], result["workloads"]),
        "",
    ]
    failed = [
        f"- {s['workload']}, {s['server']}, round {s['round']}: {s['error'].splitlines()[0][:300]}"
        for s in result["samples"]
        if s["error"]
    ]
    failed += [f"- {skipped}" for skipped in result["skipped"]]
    if failed:
        words += ["## Failed or skipped", "", *failed, ""]
    return "\n".join(words)
