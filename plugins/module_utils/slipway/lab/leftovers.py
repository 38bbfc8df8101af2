"""What the page no longer has and the cluster, or this computer, still does; and the commands that take it away.

Pure: names and objects in, words out. Nothing is removed by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ..node import pod_network

Object = Mapping[str, Any]

CONTROLLER = "node-role.kubernetes.io/control-plane"
# The label of all that was applied for a part.
PART = "slipway.io/part"
# The Deployment that shows, with the part's label, that it is there: namespace and name. A part stands behind those
# that it builds on.
PARTS: dict[str, tuple[str, str]] = {
    "storage": ("local-path-storage", "local-path-provisioner"),
    "metrics_server": ("kube-system", "metrics-server"),
    "metallb": ("metallb-system", "controller"),
    "istio": ("istio-system", "istiod"),
    "monitoring": ("monitoring", "prometheus-operator"),
    "grafana": ("monitoring", "grafana"),
    "kiali": ("istio-system", "kiali"),
    "headlamp": ("headlamp", "headlamp"),
    "tracing": ("tracing", "zipkin"),
}


def nodes_left(nodes: Iterable[Object], listed: Collection[str]) -> dict[str, bool]:
    """Name the Node objects that the page does not list, and whether each is a controller's."""
    found = {node["metadata"]["name"]: CONTROLLER in (node["metadata"].get("labels") or {}) for node in nodes}
    return {name: found[name] for name in sorted(set(found) - set(listed))}


def machines_told(
    nodes: Iterable[Object], listed: Collection[str], machines: Collection[str], *, hosts: bool
) -> dict[str, str]:
    """Say of each node and machine that the page no longer has how to take it away, by its name.

    ``listed``: names of the page; ``machines``: those that Vagrant still has beside them; ``hosts``: whether the
    machines are the user's own.
    """
    left = nodes_left(nodes, listed)
    told: dict[str, str] = {}
    for name in sorted({*left, *machines}):
        what, steps = _steps(name, left.get(name), name in machines, hosts)
        told[name] = f"{name} is {what}, and the page does not have it. To take it away: {'; '.join(steps)}"
    return told


def _steps(name: str, controller: bool | None, machine: bool, hosts: bool) -> tuple[str, list[str]]:
    """Say what there is of ``name`` and what takes it away. ``controller``: None where there is no node."""
    # A machine alone needs no cluster that answers.
    steps = [f"make remove-node NODE={name}" if controller is not None else f"vagrant destroy --force {name}"]
    if controller is not None and hosts:
        steps.append(f"on that machine, where it still is: {pod_network.reset()}")
    if controller is None:
        return "a machine", steps
    kind = "controller" if controller else "worker"
    return f"a {kind}" if machine or hosts else f"a {kind} without a machine", steps


def parts_left(deployments: Iterable[Object], parts: Mapping[str, bool]) -> list[str]:
    """Name the parts that the page has off and that are in the cluster, those first that others do not build on.

    What somebody else has installed under the same name is not a part: it does not carry the label.
    """
    there = {
        (one["metadata"]["namespace"], one["metadata"]["name"]): (one["metadata"].get("labels") or {}).get(PART)
        for one in deployments
    }
    return [name for name in reversed(PARTS) if not parts.get(name, True) and there.get(PARTS[name]) == name]


def parts_left_told(deployments: Iterable[Object], parts: Mapping[str, bool]) -> list[str]:
    """Say of each part that is left which command takes it away."""
    return [
        f"{name} is off on the page and still in the cluster; `make remove-parts` takes it away"
        for name in parts_left(deployments, parts)
    ]


def parts_told(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say what came of taking parts away: results of cluster_objects, each with its ``item`` and what it ``kept``."""
    lines = [""]
    for one in results:
        lines += [
            f"{one['item']}: {len(one['changes'])} objects are gone",
            *(f"  {why}" for why in one.get("kept") or []),
        ]
    return lines if len(lines) > 1 else ["", "No part that is off is in the cluster."]


def sizes_differ(machine: str, wanted: Mapping[str, int], has: Mapping[str, int]) -> list[str]:
    """Say which of ``memory`` (MiB) and ``cpus`` a machine has otherwise than the page wants; 0 is not known."""
    units = {"memory": " MiB", "cpus": ""}
    return [
        f"{what} of {machine} is {has[what]}{unit} and the page says {wanted[what]}{unit}"
        for what, unit in units.items()
        if has.get(what) and has[what] != wanted[what]
    ]
