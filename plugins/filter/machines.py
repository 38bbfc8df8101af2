"""Filters about the machines of a run; the answers come from slipway.lab.hosts."""

from __future__ import annotations

from typing import Any

from slipway.lab import hosts as machines
from slipway.page.machines import architecture_of

DOCUMENTATION = r"""
name: machine_names
short_description: Give the address and the names of each machine
description:
  - Each is a dictionary with C(address) and C(names), as role host writes them into C(/etc/hosts).
  - Beside it are nodes_seen (of groups and hostvars, the nodes that this run has seen in the cluster),
    nodes_expected (of groups, hostvars and the sum of the cluster's CA, the nodes that have to be Ready),
    and nodes_settled (those that the page has given labels or taints).
  - architecture_of gives a machine's architecture, of its name, cluster_architecture and the hosts of the page.
options:
  _input: {description: The groups of the inventory., type: dict, required: true}
  hostvars: {description: Variables of all hosts., type: dict, required: true}
  api_name: {description: Name by which nodes reach the API., type: str, required: true}
author: The Slipway authors
"""
EXAMPLES = r"""
- ansible.builtin.debug:
    msg: "{{ groups | machine_names(hostvars, 'api.lab.internal') }}"
"""
RETURN = r"""
_value: {description: The machines., type: list, elements: dict}
"""


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {
            "machine_names": machines.names,
            "nodes_seen": machines.seen,
            "nodes_expected": machines.expected,
            "nodes_settled": machines.settled,
            "architecture_of": architecture_of,
        }
