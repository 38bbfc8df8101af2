"""What the rounds come to: tables, and whether it is what the project promises."""

from __future__ import annotations

from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from . import ratios, timeline

# What is installed on top of the cluster: its key in ``cluster_parts``, its namespace and how its pods' names begin.
PARTS = {
    "metallb": ("metallb-system", ""),
    "istio": ("istio-system", ""),
    "storage": ("local-path-storage", ""),
    "metrics_server": ("kube-system", "metrics-server"),
}
# The plays of those parts in ``site.yml``; all others are the cluster's.
PLAYS = {
    "Shared folder",
    "Storage",
    "Metrics",
    "MetalLB",
    "Addresses",
    "Load balancer",
    "Mesh",
    "Control plane's metrics",
    "Monitoring",
}
# What the project promises. By hand times this: the cluster with nodes that are baked and with nodes that are not, from
# there to an answer through the gateway, the whole page; and with several controllers, each of them.
MOST = {"cluster": 0.8, "plain": 1.1, "gateway": 1.0, "whole": 1.0}
MOST_OF_SEVERAL = 1.5
# The 90th percentile of a ratio, in its median.
MOST_SPREAD = 1.2
# Seconds of a second run of the whole page, and of its release alone; the cluster's tasks in it; MiB that the parts use
# when nothing is asked of them, and cores that all nodes do then.
AGAIN_SECONDS, FINALIZATION_SECONDS, AGAIN_TASKS, PARTS_MEMORY, IDLE_CORES = 15.0, 5.0, 40, 1229, 0.5
# What Slipway took, and the stretch by hand that it is held against.
BY_HAND = {"cluster": "cluster", "plain": "cluster", "gateway": "gateway", "whole": "whole"}
WHAT = {
    "machines": "machines",
    "plain_machines": "machines that are not baked",
    "cluster": "cluster: all nodes Ready, DNS answers",
    "plain": "the same with nodes that are not baked",
    "gateway": "from there: a workload answers through the gateway",
    "whole": "the whole page: monitoring is up, the release answers",
}


def compared(hand: list[dict[str, Any]], ours: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Give the ratio of each round for all that is held against the same by hand."""
    pairs = list(zip(hand, ours, strict=True))
    return {key: [b[key] / a[by] for a, b in pairs] for key, by in BY_HAND.items() if all(by in a for a, _ in pairs)}


def of_parts(phase: dict[str, Any]) -> bool:
    """Is this play one of the parts'?"""
    return phase["name"] in PLAYS


def carried_out(times: dict[str, Any]) -> int:
    """Count the cluster's tasks that ran on any machine. Phases follow each other, so this is the longest path."""
    return sum(1 for phase in times["phases"] if not of_parts(phase) for task in phase["tasks"] if task["ran"])


def changed(times: dict[str, Any]) -> int:
    """Sum what the recap calls changed."""
    return sum(int(host["changed"]) for host in times["hosts"].values())


def show(hand: list[dict[str, Any]], ours: list[dict[str, Any]], *, several: bool) -> bool:
    """Print the figures; return whether they are what the project promises. ``several``: of controllers."""
    console = Console(width=120)
    kept = [_ratios(console, hand, ours, several=several)]
    if not several:
        kept.append(_figures(console, ours))
    _moments(console, hand, ours)
    _phases(console, ours[-1])
    return all(kept)


def _ratios(console: Console, hand: list[dict[str, Any]], ours: list[dict[str, Any]], *, several: bool) -> bool:
    found = compared(hand, ours)
    titles = ("seconds", "by hand", "Slipway", "ratio", "its interval", "90th percentile / median")
    table = Table(*titles, title=f"{len(ours)} round(s), medians")
    kept = True
    for key, what in WHAT.items():
        by = BY_HAND.get(key, "machines")
        if not all(by in each for each in hand):
            continue
        row = [what, f"{median(each[by] for each in hand):.1f}", f"{median(each[key] for each in ours):.1f}"]
        if key in found:
            most = MOST_OF_SEVERAL if several else MOST[key]
            low, high = ratios.interval(found[key])
            spread = ratios.spread(found[key])
            row += [f"{median(found[key]):.2f} (at most {most:.1f})", f"{low:.2f} to {high:.2f}"]
            row += [f"{spread:.2f} (at most {MOST_SPREAD:.1f})"]
            kept = kept and median(found[key]) <= most and spread <= MOST_SPREAD
        table.add_row(*row)
    console.print(table)
    for key, width in ratios.wide(found).items():
        console.print(
            f"This machine is too noisy for the ratio of {WHAT[key]!r}: after {len(ours)} round(s) its interval is "
            f"still {width:.2f} wide, and not below {ratios.NARROW}."
        )
    return kept


def _figures(console: Console, ours: list[dict[str, Any]]) -> bool:
    lines = []
    for key, what, most in (
        ("again", "second run of the whole page, seconds", AGAIN_SECONDS),
        ("finalization", "finalization.yml alone with nothing to do, seconds", FINALIZATION_SECONDS),
    ):
        lines.append((what, median(each[key] for each in ours), most, ".1f"))
    tasks = max(carried_out(each["again_times"]) for each in ours)
    lines.append(("second run: the cluster's tasks on the longest path", tasks, AGAIN_TASKS, ".0f"))
    lines.append(("second run: changed", max(changed(each["again_times"]) for each in ours), 0, ".0f"))
    idle = next(each for each in ours if "memory" in each)
    lines.append(("MiB of the parts when idle", sum(idle["memory"].values()), PARTS_MEMORY, ".0f"))
    lines.append(("cores of all nodes when idle", idle["cores"], IDLE_CORES, ".2f"))
    table = Table("what", "measured", "at most")
    table.add_row("images of nodes are baked, once per bundle, seconds", f"{ours[0]['baking']:.1f}", "")
    table.add_row("the release is proved, seconds", f"{median(each['proof'] for each in ours):.1f}", "")
    for what, value, most, form in lines:
        table.add_row(what, f"{value:{form}}", f"{most:g}")
    console.print(table)
    console.print("MiB when idle: " + ", ".join(f"{part} {figure}" for part, figure in idle["memory"].items()))
    return all(value <= most for _, value, most, _ in lines)


def _moments(console: Console, hand: list[dict[str, Any]], ours: list[dict[str, Any]]) -> None:
    titles = ("seconds until", "by hand", "Slipway", "not baked")
    table = Table(*titles, title="What a cluster waits for, to the second: medians, and from the first to the last")
    ways = [each["moments"] for each in hand], [each["moments"] for each in ours], [e["plain_moments"] for e in ours]
    for row in timeline.rows(ways):
        table.add_row(*row)
    console.print(table)


def _phases(console: Console, last: dict[str, Any]) -> None:
    table = Table("phase", "seconds", "tasks", "whole page", "second run", title="Slipway by phase, last round")
    took = {
        name: {p["name"]: p["ended"] - p["began"] for p in last[f"{name}_times"]["phases"]}
        for name in ("whole", "again")
        if f"{name}_times" in last
    }
    first = [p for p in last["first_times"]["phases"] if not of_parts(p)]
    first += [{**p, "name": f"{p['name']} (parts)"} if not of_parts(p) else p for p in last["mesh_times"]["phases"]]
    shown = {phase["name"] for phase in first}
    # What the first two stretches do not play is seen in the second run alone.
    again = last.get("again_times", {"phases": []})["phases"]
    rest = [{**p, "began": 0, "ended": 0} for p in again if p["name"] not in shown]
    for phase in first + rest:
        ran = sum(1 for task in phase["tasks"] if task["ran"])
        table.add_row(
            phase["name"],
            f"{phase['ended'] - phase['began']:.1f}" if phase["ended"] else "",
            str(ran),
            *(f"{took.get(name, {}).get(phase['name'], 0):.1f}" for name in ("whole", "again")),
        )
    console.print(table)
    steps = Table("seconds", "phase", "task", title="Slipway by task, last round (those of half a second and more)")
    again = [{**p, "name": f"{p['name']} (second run)"} for p in again]
    tasks = [(t["ended"] - t["began"], p["name"], t["name"]) for p in [*first, *again] for t in p["tasks"]]
    for seconds, where, name in sorted(tasks, reverse=True):
        if seconds >= 0.5:
            steps.add_row(f"{seconds:.1f}", where, name)
    console.print(steps)
