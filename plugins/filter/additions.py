"""Filters that name what a run would add; the answers come from slipway.lab.additions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from slipway.lab import additions
from slipway.lab.vagrant import ids

DOCUMENTATION = r"""
name: nodes_to_add
short_description: Say which nodes of the page would join the cluster
description:
  - Gives a sentence for each node of the page that is not in the cluster, and one of those that are.
  - Beside it is machines_to_make, which says of the missing machines of a machine plan what would be made or started.
options:
  _input: {description: Groups of the inventory., type: dict, required: true}
  joined: {description: Names of the nodes in the cluster., type: list, elements: str, required: true}
  silent: {description: Names of machines that do not answer., type: list, elements: str, required: true}
author: The Slipway authors
"""
EXAMPLES = r"""
- ansible.builtin.debug:
    msg: "{{ groups | nodes_to_add(['ctrl', 'node-1'], []) }}"
"""
RETURN = r"""
_value: {description: Sentences., type: list, elements: str}
"""


def nodes_to_add(groups: Mapping[str, Sequence[str]], joined: Collection[str], silent: Collection[str]) -> list[str]:
    """Say it in the order of the page, controllers first."""
    return additions.nodes_to_add(groups["controllers"], groups.get("workers", []), joined, silent)


def machines_to_make(plan: Mapping[str, Any], missing: Collection[str]) -> list[str]:
    """Say it in the order of the plan."""
    return additions.machines_to_make(plan["machines"], missing, ids(Path(plan["vagrant"]), plan["provider"]))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {"machines_to_make": machines_to_make, "nodes_to_add": nodes_to_add}
