#!/usr/bin/python
"""Find out whether somebody else on the node network has an address that is to be handed out."""

from __future__ import annotations

DOCUMENTATION = r"""
module: address_probe
short_description: Make sure that nobody else on a network has certain addresses
description:
  - Asks by ARP, from one machine and its interface on the network, for every address of O(ranges), and fails when one is
    answered by a machine that is not among O(members). Changes nothing, in no neighbour table either.
  - An address that a machine of O(members) answers for, though it is not its own, is announced by MetalLB there, so
    it counts as ours.
  - Beyond 4096 addresses the rest is not asked for.
options:
  interface:
    description: Interface on the network.
    type: str
    required: true
  ranges:
    description: What to ask for, each C(first-last) or a network.
    type: list
    elements: str
    required: true
  members:
    description: Addresses of the cluster's nodes on that network.
    type: list
    elements: str
    required: true
  seconds:
    description: How long to listen for answers.
    type: float
    default: 0.6
author: The Slipway authors
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Make sure that nobody else has the addresses
  address_probe:
    interface: eth1
    ranges: [192.0.2.90-192.0.2.99]
    members: [192.0.2.100, 192.0.2.101]
"""

RETURN = r"""
strangers:
  description: Who else answered, MACs by address.
  returned: success and failure
  type: dict
  sample: {192.0.2.90: [02:42:c0:00:02:65]}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.errors import told
from ansible.module_utils.slipway.node.arp import SECONDS, conflict, strangers_at


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "interface": {"type": "str", "required": True},
            "ranges": {"type": "list", "elements": "str", "required": True},
            "members": {"type": "list", "elements": "str", "required": True},
            "seconds": {"type": "float", "default": SECONDS},
        },
        supports_check_mode=True,
    )
    interface, members = module.params["interface"], module.params["members"]
    try:
        found = strangers_at(interface, module.params["ranges"], members, module.params["seconds"])
    except (OSError, ValueError) as exc:
        module.fail_json(**told("not-probed", f"the addresses cannot be asked for on {interface}: {exc}"))
    if found:
        module.fail_json(**told("address-in-use", conflict(found)), strangers=found)
    module.exit_json(changed=False, strangers={})


if __name__ == "__main__":
    main()
