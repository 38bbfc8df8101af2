"""When things happened while a cluster was made, as its objects tell afterwards: to the second, as the API has it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from statistics import median
from typing import Any

from tests.support.kube import Kube

# The moments in the order in which they are shown.
MOMENTS = (
    "the API server runs",
    "the first node is there",
    "the last node is there",
    "the pod network runs on every node",
    "every node is Ready",
    "CoreDNS has a node",
    "CoreDNS runs",
    "CoreDNS is Ready",
)


def seconds(text: str) -> float:
    """Read a time of the API, in seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def moments(nodes: list[dict[str, Any]], pods: list[dict[str, Any]], began: float) -> dict[str, float]:
    """Give the seconds from ``began`` to each moment. What is still to come, as at a second replica, is endless."""

    def became(item: dict[str, Any], condition: str) -> float:
        conditions = item["status"].get("conditions", [])
        reached = [
            seconds(c["lastTransitionTime"]) for c in conditions if (c["type"], c["status"]) == (condition, "True")
        ]
        return min(reached, default=math.inf)

    def started(pod: dict[str, Any]) -> float:
        states = [each["state"].get("running") for each in pod["status"].get("containerStatuses", [{"state": {}}])]
        return max(seconds(state["startedAt"]) if state else math.inf for state in states)

    def of(*starts: str) -> list[dict[str, Any]]:
        return [pod for pod in pods if pod["metadata"]["name"].startswith(starts)]

    made = [seconds(node["metadata"]["creationTimestamp"]) for node in nodes]
    dns = of("coredns-")
    found = (
        min(map(started, of("kube-apiserver-"))),
        min(made),
        max(made),
        max(map(started, of("kube-flannel-"))),
        max(became(node, "Ready") for node in nodes),
        min(became(pod, "PodScheduled") for pod in dns),
        min(map(started, dns)),
        min(became(pod, "Ready") for pod in dns),
    )
    return {moment: at - began for moment, at in zip(MOMENTS, found, strict=True)}


def look(kube: Kube, began: float) -> dict[str, float]:
    """Ask a cluster that has just become ready. ``began`` is in seconds since 1970."""
    return moments(kube.nodes(), kube("get", "pods", "--all-namespaces")["items"], began)


def rows(ways: Iterable[list[dict[str, float]]]) -> list[tuple[str, ...]]:
    """Give a line for each moment: its name, and per way the median and, of several rounds, the range."""

    def text(values: list[float]) -> str:
        middle = f"{median(values):.0f}"
        return f"{middle} ({min(values):.0f} to {max(values):.0f})" if len(values) > 1 else middle

    found = list(ways)
    return [(moment, *(text([each[moment] for each in way]) for way in found)) for moment in MOMENTS]
