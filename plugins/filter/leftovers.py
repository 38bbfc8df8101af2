"""Filters that name what the page no longer has; the answers come from slipway.lab.leftovers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from slipway.cluster.prune import hindrances
from slipway.lab import leftovers

DOCUMENTATION = r"""
name: machines_left
short_description: Say how to take away nodes and machines that the page no longer has
description:
  - Gives a sentence with commands for each node that is not listed, and for each machine that only Vagrant still has.
  - Beside it are filters about parts. parts_left names those that are off on the page and in the cluster,
    parts_left_told says which command takes them away, parts_hindered what builds on them, and parts_told what came
    of it.
options:
  _input: {description: Nodes as the API gives them., type: list, elements: dict, required: true}
  listed: {description: Names of the nodes on the page., type: list, elements: str, required: true}
  machines: {description: Machines that Vagrant has beside them., type: list, elements: str, required: true}
  hosts: {description: Whether the machines are the user's own., type: bool, required: true}
author: The Slipway authors
"""
EXAMPLES = r"""
- ansible.builtin.debug:
    msg: "{{ nodes.resources | machines_left(['ctrl', 'node-1'], ['node-2'], false) }}"
"""
RETURN = r"""
_value: {description: Sentences., type: list, elements: str}
"""


def machines_left(
    nodes: Iterable[Mapping[str, Any]], listed: Collection[str], machines: Collection[str], hosts: bool
) -> list[str]:
    """Say it in the order of the names."""
    return list(leftovers.machines_told(nodes, listed, machines, hosts=hosts).values())


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {
            "machines_left": machines_left,
            "parts_hindered": lambda names, seen: [why for name in names for why in hindrances(name, seen)],
            "parts_left": leftovers.parts_left,
            "parts_left_told": leftovers.parts_left_told,
            "parts_told": leftovers.parts_told,
        }
