"""The machines of a run: how others call them, and which of them are in the cluster.

Pure: a run hands in its groups and the variables of its hosts, with the facts ``slipway_node`` and ``slipway_joined``
of those that it has looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

LOOPBACK = "127.0.0.1"

Groups = Mapping[str, Iterable[str]]
Vars = Mapping[str, Mapping[str, Any]]


def names(
    groups: Groups, hostvars: Vars, api_name: str, machine: str = "", balanced: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Give the address and the names of each machine that ``machine`` is to know.

    A worker knows itself, the controllers and the mirror; so no worker changes when another one comes or goes. Every
    controller answers to ``api_name``, too, ``machine`` itself first if it is one; or that name leads to the
    balancer on ``machine``, where that has API servers (``balanced``).
    """
    controllers = sorted(groups.get("controllers", ()), key=lambda name: name != machine)
    workers = [name for name in groups.get("workers", ()) if machine in (*controllers, name)]
    others = [*workers, *groups.get("mirror", ())]
    own = [] if balanced else [api_name]
    return [
        *([{"address": LOOPBACK, "names": [api_name]}] if balanced else []),
        *({"address": hostvars[name]["node_address"], "names": [name, *own]} for name in controllers),
        *({"address": hostvars[name]["node_address"], "names": [name]} for name in others if name not in controllers),
    ]


def seen(groups: Groups, hostvars: Vars) -> list[str]:
    """Name the nodes that this run has seen in the cluster."""
    return [name for name in _nodes(groups) if _joined(hostvars[name])]


def expected(groups: Groups, hostvars: Vars, ca: str) -> list[str]:
    """Name the nodes that have to be Ready: those in the cluster whose CA is ``ca``; all, where none was looked at."""
    everyone = _nodes(groups)
    if not any("slipway_node" in hostvars[name] for name in everyone):
        return everyone
    # While the CA is replaced, a node has two.
    return [name for name in everyone if _joined(hostvars[name]) and ca in _authorities(hostvars[name], ca)]


def settled(groups: Groups, hostvars: Vars) -> list[str]:
    """Name the nodes that this run has seen with labels or taints of the page."""
    return [name for name in _nodes(groups) if _kubernetes(hostvars[name]).get("settings")]


def _nodes(groups: Groups) -> list[str]:
    return [*groups["controllers"], *groups.get("workers", ())]


def _kubernetes(known: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = known.get("slipway_node", {}).get("kubernetes", {})
    return found


def _authorities(known: Mapping[str, Any], ca: str) -> list[str]:
    found = _kubernetes(known)
    return list(found.get("cas") or [found.get("ca") or ca])


def _joined(known: Mapping[str, Any]) -> bool:
    """Tell whether a machine is in: this run has seen it join, or found it so."""
    return bool(known["slipway_joined"] if "slipway_joined" in known else _kubernetes(known).get("joined", False))
