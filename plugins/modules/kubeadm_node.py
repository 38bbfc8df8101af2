#!/usr/bin/python
"""Make a machine part of a cluster with kubeadm, once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_node
short_description: Make a machine part of a cluster with kubeadm, once
description:
  - Runs C(kubeadm init) or C(kubeadm join) unless this machine is already in a cluster.
  - The machine remembers that a run began and that it ended. One that began and did not end (killed, power lost) is
    finished by the next call (which waits for a kubeadm that is still at work), with the checks of what it left behind itself switched off and nothing wiped.
  - One that kubeadm's checks refused before it did anything is as if it had never begun.
  - A kubelet that ends again and again ends the wait for it. Whatever fails is told with the journal of the kubelet and of
    containerd, and with disks that are full.
  - The configuration may hold a token; it is written to a memory file system for root alone and removed afterwards.
options:
  action: {description: What to do., type: str, required: true, choices: [init, join]}
  node: {description: The name of this machine's node., type: str, required: true}
  config: {description: The kubeadm configuration., type: str, required: true}
  ignore_preflight_errors:
    description: Preflight checks that do not apply to this machine.
    type: list
    elements: str
    default: []
  etcd_user:
    description: Whether etcd, which kubeadm is going to declare here, runs as a user of its own (P(etcd_user#module)), which is made where it is not.
    type: bool
    default: false
  keep:
    description: A file on the computer that runs Ansible, as path and content. It is written before kubeadm begins, and removed where it did not.
    type: dict
  timeout: {description: Seconds after which kubeadm is stopped., type: int, default: 300}
  predecessor_timeout:
    description: Seconds to go on trying while the cluster takes the machine that had this name before for one that still runs.
    type: int
    default: 120
author: The Slipway authors
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Join the cluster
  kubeadm_node:
    action: join
    node: "{{ inventory_hostname }}"
    config: "{{ lookup('slipway_template', 'join.yml.j2') }}"
"""

RETURN = r"""
ansible_facts:
  description: The facts C(slipway_joined), true once this machine is in the cluster, and C(slipway_ca), the sum of its CA.
  type: dict
  returned: success
began:
  description: Whether kubeadm did anything; one that its checks refused did not.
  type: bool
  returned: failed
resumed:
  description: Whether an earlier run that did not end was finished.
  type: bool
  returned: changed
seconds:
  description: How long kubeadm took.
  type: float
  returned: changed
invitation:
  description: Command by which workers join, of a controller that has founded a cluster. It has a token, so the result is hidden.
  type: str
  returned: changed
admin:
  description: The administrator's kubeconfig of a cluster that was founded.
  type: str
  returned: changed
"""

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.errors import told
from ansible.module_utils.slipway.node import lock
from ansible.module_utils.slipway.node.durable import write
from ansible.module_utils.slipway.node.etcd_ready import prepare
from ansible.module_utils.slipway.node.etcd_user import EtcdUserError
from ansible.module_utils.slipway.node.evidence import of_disks, of_units
from ansible.module_utils.slipway.node.kubeadm import (
    command,
    ends_again_and_again,
    explain,
    is_refused_by_checks,
    is_refused_for_predecessor,
    told_invitation,
    without_secrets,
)
from ansible.module_utils.slipway.node.state import (
    ADMIN,
    CA,
    KUBELET_CONF,
    LEASE,
    RECORD,
    ca_sum,
    kubernetes_state,
    read,
)

RUN = "/run/slipway"
LOG = "/var/log/slipway"
# Seconds between two tries.
PAUSE = 5
# Seconds between two looks at the kubelet.
LOOK = 2
KUBELET = "kubelet.service"


def save(path: str, text: str, mode: int) -> None:
    """Write ``text`` to ``path`` for root, in one step."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    write(text, path, mode)


def facts(ca: str) -> dict[str, Any]:
    """What the plays that follow go by."""
    return {"slipway_joined": True, "slipway_ca": ca}


def watching(module: AnsibleModule, over: threading.Event, hopeless: threading.Event) -> Callable[[Any], None]:
    """Make what ends kubeadm, once it runs, as soon as the kubelet that it waits for ends again and again."""

    def watch(kubeadm: Any) -> None:
        asked = ["systemctl", "show", "--property=NRestarts,SubState", KUBELET]
        _, before, _ = module.run_command(asked)
        while not over.wait(LOOK):
            _, shown, _ = module.run_command(asked)
            if ends_again_and_again(shown, before):
                hopeless.set()
                kubeadm.terminate()
                return

    return lambda kubeadm: threading.Thread(target=watch, args=(kubeadm,), daemon=True).start()


def take_lock(module: AnsibleModule, seconds: int) -> int:
    """Return the lock of this machine; a kubeadm of a run that was cut off holds it until it is done."""
    try:
        held: int = lock.take(seconds, RUN)
    except lock.BusyError as exc:
        module.fail_json(**told("machine-busy", str(exc)))
    return held


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "required": True, "choices": ["init", "join"]},
            "node": {"type": "str", "required": True},
            "config": {"type": "str", "required": True, "no_log": True},
            "ignore_preflight_errors": {"type": "list", "elements": "str", "default": []},
            "etcd_user": {"type": "bool", "default": False},
            # For the action plugin, which has been here by now.
            "keep": {"type": "dict"},
            "timeout": {"type": "int", "default": 300},
            "predecessor_timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    action = module.params["action"]
    # A run that was cut off may have left kubeadm at work here: it holds the lock until it is done.
    held = None if module.check_mode else take_lock(module, module.params["timeout"])
    state = kubernetes_state("/")
    if state["joined"]:
        module.exit_json(changed=False, ansible_facts=facts(state["ca"]))
    if module.check_mode:
        module.exit_json(changed=True, resumed=state["interrupted"], seconds=0.0)
    config, log, record = f"{RUN}/kubeadm-{action}.yml", f"{LOG}/kubeadm-{action}.log", f"/{RECORD}"
    since, until = time.time(), time.monotonic() + module.params["predecessor_timeout"]
    left_behind = state["interrupted"]
    if module.params["etcd_user"]:
        try:
            prepare(module.run_command)
        except EtcdUserError as exc:
            module.fail_json(**told("etcd-user", str(exc)), began=left_behind)
    if not os.path.exists(f"/{KUBELET_CONF}"):
        # Of a cluster before, which `kubeadm reset` leaves: pods would get addresses of the share that this node had there.
        with suppress(FileNotFoundError):
            os.unlink(f"/{LEASE}")
    save(record, json.dumps({"state": "started", "action": action}) + "\n", 0o644)
    while True:
        ignored, has_kubelet = module.params["ignore_preflight_errors"], os.path.exists(f"/{KUBELET_CONF}")
        line = command(action, config, ignored, left_behind, has_kubelet)
        save(config, module.params["config"], 0o600)
        over, hopeless = threading.Event(), threading.Event()
        try:
            code, out, err = module.run_command(
                ["timeout", str(module.params["timeout"]), *line],
                pass_fds=[held],
                before_communicate_callback=watching(module, over, hopeless),
            )
        finally:
            over.set()
            os.unlink(config)
        save(log, without_secrets(out + err), 0o600)
        if not code or not is_refused_for_predecessor(out + err) or time.monotonic() > until:
            break
        left_behind = True
        time.sleep(PAUSE)
    began = left_behind or not is_refused_by_checks(out + err)
    if code and not began:
        # What stands in the way is not ours: no later run may take it for what an interrupted one left behind.
        os.unlink(record)
    if code:
        why = f"stopped after {module.params['timeout']} s\n" if code == 124 else ""
        why = "the kubelet ends again and again\n" if hopeless.is_set() else why
        units = without_secrets(of_units(module.run_command, [KUBELET, "containerd.service"]))
        lines = [f"kubeadm {action} failed: {why}{explain(out + err)}", units, of_disks()]
        lines.append(f"look at: {log}; journalctl -u kubelet; the next run goes on from here")
        module.fail_json(**told("kubeadm-failed", "\n".join(filter(None, lines))), began=began)
    ca = ca_sum(read(f"/{CA}"))
    done = {"state": "done", "action": action, "ca": ca, "node": module.params["node"]}
    save(record, json.dumps(done) + "\n", 0o644)
    seconds = round(time.time() - since, 1)
    founded = {"invitation": told_invitation(out), "admin": read(f"/{ADMIN}")} if action == "init" else {}
    module.exit_json(changed=True, ansible_facts=facts(ca), resumed=state["interrupted"], seconds=seconds, **founded)


if __name__ == "__main__":
    main()
