# SPDX-License-Identifier: Apache-2.0
"""Ansible module: have a kubelet, and the pods of its node, follow the CAs of the cluster. Runs there, with its Python alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubelet_trust
short_description: Have a kubelet, and the pods of its node, follow the CAs of the cluster
description:
  - V(followed) has the kubelet believe O(authorities). With O(issue), it gets certificates that the first of them has signed. It is started
    again for that, and pods go on meanwhile. The module waits until it is well.
  - V(seen) waits until the files of all pods of the node have O(authorities), and with O(key), until none has had a token of another key for
    O(settled) seconds.
  - What a run that was cut off has begun is finished. Runs as root.
options:
  state:
    description: What is to be done.
    type: str
    choices: [followed, seen]
    required: true
  authorities:
    description: Certificates of the CAs, in one text. The first one signs.
    type: str
    required: true
  issue:
    description: Whether the kubelet has to have certificates of the first one.
    type: bool
    default: false
  key:
    description: Public half of the key that signs tokens.
    type: str
    default: ""
  address:
    description: Address of this node.
    type: str
  timeout:
    description: Seconds to wait.
    type: int
    default: 180
  settled:
    description: Seconds for which no token of another key may be there. Clients of Kubernetes read theirs again every minute.
    type: int
    default: 75
attributes:
  check_mode: {support: full}
"""

RETURN = r"""
restarted:
  description: Whether the kubelet was started again.
  returned: V(followed)
  type: bool
certificates:
  description: Certificates that the kubelet got anew.
  returned: V(followed)
  type: list
  elements: str
"""

EXAMPLES = r"""
- name: Have the kubelet believe both CAs
  kubelet_trust:
    state: followed
    authorities: "{{ trusted }}"
    address: "{{ node_address }}"
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.errors import told
from ansible.module_utils.slipway.node import kubelet_trust, lock
from ansible.module_utils.slipway.node.authority import remember
from ansible.module_utils.slipway.node.certificates import started
from ansible.module_utils.slipway.node.kubeapi import find_node
from ansible.module_utils.slipway.node.state import kubernetes_state, read
from ansible.module_utils.slipway.node.trust import blocks, key_id
from ansible.module_utils.slipway.node.units import parse_show
from ansible.module_utils.slipway.node.well import wait_until

UNIT = "kubelet.service"
READS = (kubelet_trust.CONFIG, kubelet_trust.CA)


def process(module: AnsibleModule) -> int:
    _, out, _ = module.run_command(["systemctl", "show", "--property=MainPID", UNIT])
    return int(parse_show(out).get("MainPID") or 0)


def is_stale(module: AnsibleModule) -> bool:
    """Tell whether the kubelet has started before what it reads was written."""
    number = process(module)
    try:
        since = started(number) + 1
        return any(os.stat(path).st_mtime > since for path in READS)
    except (OSError, ValueError):
        return True


def registered(module: AnsibleModule, node: str) -> str:
    """Say how the kubelet does not reach the API; empty: it does."""
    if not process(module):
        return "the kubelet does not run"
    found = find_node(read(kubelet_trust.CONFIG), node)
    if found is None:
        return "the API does not answer with the kubelet's certificate"
    ready = [one for one in (found.get("status") or {}).get("conditions") or [] if one.get("type") == "Ready"]
    return "" if ready and ready[0].get("status") == "True" else "the node is not Ready"


def follow(module: AnsibleModule) -> dict[str, object]:
    authorities, timeout = module.params["authorities"], module.params["timeout"]
    changed = kubelet_trust.believe(authorities)
    remember()
    taken = kubelet_trust.renew(authorities) if module.params["issue"] else []
    restarted = bool(changed or taken or kubelet_trust.asked() or is_stale(module))
    if restarted:
        code, out, error = module.run_command(["systemctl", "restart", UNIT])
        if code:
            module.fail_json(**told("authority-unseen", f"the kubelet does not start: {error.strip() or out.strip()}"))
    node = kubernetes_state("/")["node"] or os.uname().nodename

    def why() -> str:
        wrong = ""
        if module.params["issue"]:
            wrong = kubelet_trust.trouble(authorities, module.params["address"])
        return wrong or registered(module, node)

    if wrong := wait_until(why, timeout):
        what = f"after {timeout} s, {wrong}; look at: journalctl -u kubelet; kubectl get csr. No further step was begun"
        module.fail_json(**told("authority-unseen", what))
    kubelet_trust.settle()
    return {"changed": restarted, "restarted": restarted, "certificates": taken}


def see(module: AnsibleModule) -> dict[str, object]:
    authorities, timeout = module.params["authorities"], module.params["timeout"]
    key = key_id(blocks(module.params["key"])[0]) if module.params["key"] else ""
    quiet = [time.monotonic()]

    def why() -> str:
        left = kubelet_trust.behind(authorities, key)
        if left:
            quiet[0] = time.monotonic()
            return f"files of these pods are still old: {', '.join(left)}"
        calm = not key or time.monotonic() - quiet[0] >= module.params["settled"]
        return "" if calm else "programs may still use tokens that they read before"

    if wrong := wait_until(why, timeout + (module.params["settled"] if key else 0)):
        what = f"after {timeout} s, {wrong}. The kubelet writes them; look at: journalctl -u kubelet"
        module.fail_json(**told("authority-unseen", f"{what}. No further step was begun"))
    return {"changed": False}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["followed", "seen"], "required": True},
            "authorities": {"type": "str", "required": True},
            "issue": {"type": "bool", "default": False},
            "key": {"type": "str", "default": "", "no_log": False},
            "address": {"type": "str"},
            "timeout": {"type": "int", "default": 180},
            "settled": {"type": "int", "default": 75},
        },
        required_if=[("state", "followed", ["address"])],
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=module.params["state"] == "followed")
    if module.params["state"] == "seen":
        module.exit_json(**see(module))
    done: dict[str, object] = {}
    try:
        with lock.taken(module.params["timeout"]):
            done = follow(module)
    except lock.BusyError as exc:
        module.fail_json(**told("machine-busy", str(exc)))
    module.exit_json(**done)


if __name__ == "__main__":
    main()
