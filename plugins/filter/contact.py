"""Filters about hosts that are asked before anything is made: whom they ask in turn, and what stands in the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from slipway.node.ports import PORTS

DOCUMENTATION = r"""
name: contact_faults
short_description: Say what keeps hosts from becoming one cluster
description:
  - Names hosts that could not be looked at, ports that other programs have, and ports that do not answer other hosts.
options:
  _input: {description: Names of the hosts., type: list, elements: str, required: true}
  hostvars: {description: Variables of all hosts., type: dict, required: true}
  networks: {description: Networks of nodes and pods., type: list, elements: str, required: true}
  whole: {description: Whether the run is for all of them., type: bool, default: true}
  about: {description: "A host, of which alone to speak; empty for all.", type: str, default: ""}
author: The Slipway authors
"""
EXAMPLES = r"""
- ansible.builtin.assert:
    that: groups.nodes | contact_faults(hostvars, ['192.0.2.0/24', '10.244.0.0/16']) | length == 0
"""
RETURN = r"""
_value: {description: A sentence for each., type: list, elements: str}
"""

Vars = Mapping[str, Mapping[str, Any]]


def ports(name: str, groups: Mapping[str, Iterable[str]]) -> list[str]:
    """Give the ports that a node is going to answer on."""
    return list(PORTS["controller" if name in groups["controllers"] else "worker"])


def new(names: Iterable[str], hostvars: Vars) -> list[str]:
    """Keep the hosts that could be looked at and are in no cluster yet."""
    return [name for name in names if _node(hostvars[name]) and not _joined(hostvars[name])]


def peers(names: Iterable[str], hostvars: Vars, groups: Mapping[str, Iterable[str]]) -> dict[str, dict[str, Any]]:
    """Give whom a node asks, by name: of those that listen what they listen on, of a cluster's controllers the API."""
    found = {}
    for name in names:
        known = hostvars[name]
        api = [port for port in PORTS["controller"] if name in groups["controllers"] and port.startswith("6443/")]
        asked = api if _joined(known) else _registered(known, "contact_listening").get("open", [])
        found[name] = {"address": known["node_address"], "ports": list(asked)}
    return found


def faults(
    names: Iterable[str], hostvars: Vars, networks: Iterable[str], whole: bool = True, about: str = ""
) -> list[str]:
    """Say what keeps hosts from becoming one cluster; see the documentation above."""
    names = list(names)
    told: list[str] = []
    # Where a cluster stands, one that is away does not hold up the others.
    founded = stands(names, hostvars)
    away = [name for name in names if not _node(hostvars[name]) or _lost(hostvars[name])]
    if away and whole and not founded:
        what = "is not fit yet" if len(away) == 1 else "are not fit yet"
        told.append(f"{', '.join(away)} {what}: what stands in the way is named above, for each.")
    for name in names if not about else [about]:
        interrupted = _node(hostvars[name]).get("kubernetes", {}).get("interrupted")
        taken = {} if interrupted else _registered(hostvars[name], "contact_listening").get("taken", {})
        told += [f"{name}: another program has port {port}{f' ({who})' * bool(who)}: stop it, and what starts it."
                 for port, who in taken.items()]  # fmt: skip
    silent: dict[str, dict[str, dict[str, None]]] = {}
    for asker in names:
        for name, answers in _registered(hostvars[asker], "contact_asked").get("unreached", {}).items():
            for port, how in answers.items():
                if about not in ("", asker, name):
                    continue
                # One that is in answers for itself once its API server is up again, which this run may see to.
                if _joined(hostvars[name]) and how == "connection refused":
                    continue
                silent.setdefault(name, {}).setdefault(f"{port} ({how})", {})[asker] = None
    for name, answers in silent.items():
        what = "; ".join(f"{port} for {', '.join(askers)}" for port, askers in answers.items())
        told.append(f"{name} does not answer on {what}.")
    if silent:
        sources, (*first, last) = list(networks), PORTS["controller"]
        told.append(
            "A firewall on these machines or between them keeps nodes apart. What works on each of them, with ufw: "
            + "; ".join(f"sudo ufw allow from {source}" for source in sources)
            + ". With firewalld: "
            + "; ".join(f"sudo firewall-cmd --permanent --zone=trusted --add-source={source}" for source in sources)
            + f"; sudo firewall-cmd --reload. Between them: {', '.join(first)} and {last}."
        )
    return told


def _node(known: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = known.get("slipway_node", {})
    return found


def _joined(known: Mapping[str, Any]) -> bool:
    return bool(_node(known).get("kubernetes", {}).get("joined"))


def _lost(known: Mapping[str, Any]) -> bool:
    """Tell whether a host was lost after it was looked at."""
    steps = [_registered(known, name) for name in ("contact_listening", "contact_asked")]
    return any(step.get("failed") or step.get("unreachable") for step in steps)


def _registered(known: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Give what a task has registered; a step that was skipped has said nothing."""
    found: Mapping[str, Any] = known.get(name, {})
    return found


def stands(names: Iterable[str], hostvars: Vars) -> bool:
    """Tell whether one of the hosts is in a cluster already."""
    return any(_joined(hostvars[name]) for name in names)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {
            "contact_ports": ports,
            "contact_new": new,
            "contact_peers": peers,
            "contact_faults": faults,
            "contact_stands": stands,
        }
