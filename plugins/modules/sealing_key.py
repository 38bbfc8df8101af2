# SPDX-License-Identifier: Apache-2.0
"""Ansible module: a step in the rotation of the key that encrypts Secrets. Runs on a controller, with its Python alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sealing_key
short_description: A step in the rotation of the key that encrypts Secrets
description:
  - With O(content), writes the configuration of the encryption, and restarts the API server of this controller if it has not read it yet.
    The module waits until the API server is well.
  - With O(rewrite), writes every Secret of the cluster again, and sees in etcd that each rests with the key that is the first.
  - Runs as root.
options:
  content:
    description: The configuration.
    type: str
  rewrite:
    description: Whether all Secrets are written again.
    type: bool
    default: false
  address:
    description: Address of the API server of this controller.
    type: str
    required: true
  timeout:
    description: Seconds for the API server to be well again.
    type: int
    default: 180
attributes:
  check_mode: {support: none}
"""

RETURN = r"""
restarted:
  description: Whether the API server was restarted.
  returned: always
  type: bool
secrets:
  description: Number of Secrets that were written again.
  returned: with O(rewrite)
  type: int
"""

EXAMPLES = r"""
- name: Write all Secrets again
  sealing_key:
    rewrite: true
    address: "{{ node_address }}"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.errors import told
from ansible.module_utils.slipway.node import lock
from ansible.module_utils.slipway.node.certificates import processes, stale
from ansible.module_utils.slipway.node.durable import write
from ansible.module_utils.slipway.node.etcd import Etcd, EtcdError
from ansible.module_utils.slipway.node.kubeapi import Api, ApiError
from ansible.module_utils.slipway.node.sealing import PREFIX, rewrite, sealed
from ansible.module_utils.slipway.node.snapshot import sealing_keys_in_order
from ansible.module_utils.slipway.node.state import read
from ansible.module_utils.slipway.node.well import ADMIN, api_is_well, restart, wait_until

FILE = "/etc/kubernetes/encryption/config.yml"
PART = "kube-apiserver"
# Seconds for the answer to one request.
ANSWER = 30.0


def step(module: AnsibleModule) -> dict[str, object]:
    """Have the API server run with the configuration."""
    address, timeout = module.params["address"], module.params["timeout"]

    def well() -> str:
        found: str = api_is_well(address)
        return found

    before = read(FILE)
    changed = before != module.params["content"]
    if changed:
        write(module.params["content"], FILE)
    process = processes().get(PART) if changed else stale().get(PART)
    # A run that was cut off may have ended it just now.
    why = restart(PART, process, well, timeout) if process else wait_until(well, timeout)
    if why:
        what = f"the API server was not well after {timeout} s: {why}"
        if changed:
            # The others are to go on: what does not start here does not start there.
            write(before, FILE)
            last = processes().get(PART)
            again = restart(PART, last, well, timeout) if last else wait_until(well, timeout)
            what += f". It has the keys of before again, and {again or 'is well'}"
        module.fail_json(**told("control-plane-not-well", f"{what}; look at: crictl ps --all"))
    return {"changed": bool(changed or process), "restarted": bool(process)}


def write_again(module: AnsibleModule) -> dict[str, object]:
    """Write all Secrets again, and look how they rest."""
    first = sealing_keys_in_order(read(FILE))[0]
    try:
        number = rewrite(Api(read(ADMIN), server=f"{module.params['address']}:6443", timeout=ANSWER))
        found = sealed(Etcd().values(PREFIX))
    except (ApiError, EtcdError, OSError) as exc:
        module.fail_json(**told("sealing-incomplete", f"not all Secrets were written again: {exc}. No key was removed"))
        raise SystemExit from exc
    left = {name: count for name, count in found.items() if name != first}
    if left:
        what = ", ".join(f"{count} with {name}" for name, count in left.items())
        module.fail_json(
            **told("sealing-incomplete", f"Secrets rest with another key than {first}: {what}. No key was removed")
        )
    return {"changed": True, "restarted": False, "secrets": number}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "content": {"type": "str", "no_log": True},
            "rewrite": {"type": "bool", "default": False},
            "address": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 180},
        },
        required_one_of=[["content", "rewrite"]],
    )
    try:
        with lock.taken(module.params["timeout"]):
            done = write_again(module) if module.params["rewrite"] else step(module)
    except lock.BusyError as exc:
        module.fail_json(**told("machine-busy", str(exc)))
    module.exit_json(**done)


if __name__ == "__main__":
    main()
