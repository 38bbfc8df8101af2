"""Filters that name what the page no longer has; the answers come from slipway.leftovers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from slipway import leftovers

DOCUMENTATION = r"""
name: machines_left
short_description: Say how to take away nodes and machines that the page no longer has
description:
  - Gives a sentence with commands for each node that is not listed, and for each machine that only Vagrant still has.
  - Beside it is parts_left, which names the parts that are off on the page and in the cluster.
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
            "parts_left": lambda deployments, parts: leftovers.parts_left(parts, deployments),
        }
