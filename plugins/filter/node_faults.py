"""Filter of the role host: what of the page cannot be on machines as they are; see slipway.page.nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from slipway.page.nodes import node_faults

DOCUMENTATION = r"""
name: node_faults
short_description: Say what of the page cannot be on machines as they are
description:
  - Holds the networks of pods and Services against the interfaces, routes and name servers of every machine that was
    looked at, and the address of every controller that is in a cluster against the one that it is to have.
  - Gives one line for each that does not fit, with a value that would work; an empty list where all do.
options:
  _input:
    description: Variables of the machines (C(hostvars)), of which those with C(slipway_node) count.
    type: list
    elements: dict
    required: true
  networks: {description: The networks of the page by their key., type: dict, required: true}
author: The Slipway authors
"""
EXAMPLES = r"""
- ansible.builtin.fail:
    msg: "{{ faults | join('\n') }}"
  vars:
    faults: "{{ ansible_play_hosts | map('extract', hostvars) | node_faults({'cluster_pod_cidr': '10.244.0.0/16'}) }}"
  when: faults | length > 0
"""
RETURN = r"""
_value: {description: A line for each., type: list, elements: str}
"""


def faults(machines: Iterable[Mapping[str, Any]], networks: Mapping[str, str]) -> list[str]:
    """Hold what was found out about machines against what the page wants of them."""
    looked = {str(machine["inventory_hostname"]): machine for machine in machines if "slipway_node" in machine}
    addresses = {name: str(machine.get("node_address", "")) for name, machine in looked.items()}
    return node_faults({name: machine["slipway_node"] for name, machine in looked.items()}, networks, addresses)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {"node_faults": faults}
