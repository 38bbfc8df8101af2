#!/usr/bin/python
"""Find out whether machines reach each other's ports."""

from __future__ import annotations

DOCUMENTATION = r"""
module: port_probe
short_description: Find out whether machines reach each other's ports
description:
  - With O(listen) opens ports on this machine and answers there, in the background, until everybody has asked, or time is up.
  - With O(ask) asks ports of other machines, and gives those that do not answer. It fails for none of them.
  - Changes nothing.
options:
  address:
    description: This machine's address on the node network.
    type: str
    required: true
  listen:
    description: Ports to open, as C(8472/udp).
    type: list
    elements: str
    default: []
  askers:
    description: How many machines are going to ask.
    type: int
    default: 0
  seconds:
    description: How long to answer at most.
    type: float
    default: 20
  ask:
    description: Machines by name, each with C(address) and C(ports).
    type: dict
    default: {}
  stop:
    description: End what listens here from a call before.
    type: bool
    default: false
author: The Slipway authors
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Listen where a kubelet and the pod network will
  port_probe:
    address: 192.0.2.101
    listen: [10250/tcp, 8472/udp]
    askers: 1
"""

RETURN = r"""
open:
  description: Ports that are answered on.
  returned: success
  type: list
  elements: str
taken:
  description: Ports that another program has, each with what the system says of it.
  returned: success
  type: dict
  sample: {6443/tcp: 'users:(("k3s-server",pid=312,fd=12))'}
unreached:
  description: Ports that do not answer, and how, by the name of their machine.
  returned: success
  type: dict
  sample: {ctrl: {8472/udp: no answer}}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.errors import told
from ansible.module_utils.slipway.node.ports import bind, end, in_background, unreached


def owner(module: AnsibleModule, port: str) -> str:
    """Tell which program has a port, as far as the system knows: a tunnel has none."""
    number, _, protocol = port.partition("/")
    line = ["ss", "--no-header", "--listening", "--numeric", "--processes", f"--{protocol}", f"sport = :{number}"]
    _, out, _ = module.run_command(line)
    words: list[str] = out.split()
    return next((word for word in words if word.startswith("users:")), "")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "listen": {"type": "list", "elements": "str", "default": []},
            "askers": {"type": "int", "default": 0},
            "seconds": {"type": "float", "default": 20},
            "ask": {"type": "dict", "default": {}},
            "stop": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given = module.params
    if given["listen"] or given["stop"]:
        end()
    try:
        opened, taken = bind(given["address"], given["listen"])
    except OSError as exc:
        module.fail_json(**told("not-probed", f"ports of {given['address']} cannot be opened: {exc.strerror}"))
    if opened:
        in_background(opened, given["askers"], given["seconds"])
    module.exit_json(
        changed=False,
        open=list(opened),
        taken={port: owner(module, port) for port in taken},
        unreached=unreached(given["address"], given["ask"]),
    )


if __name__ == "__main__":
    main()
