# SPDX-License-Identifier: Apache-2.0
"""Ansible module: take a machine to another release of Kubernetes with kubeadm. Runs there, with its Python alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_upgrade
short_description: Take a machine to another release of Kubernetes with kubeadm
description:
  - V(apply) upgrades the control plane of the first controller, and what kubeadm keeps in the cluster. V(control) upgrades that of another
    controller. V(node) gets the configuration of the kubelet, before its program is replaced.
  - V(repair) puts back manifests that a kubeadm which was killed has taken away and not put anew.
  - Each but V(node) does that first. It waits for a kubeadm that is still at work on this machine.
  - kubeadm of the new release has to be there. It rolls back by itself what does not come up.
  - Runs as root.
options:
  action:
    description: What is to be done.
    type: str
    choices: [repair, apply, control, node]
    required: true
  version:
    description: Release to go to, without the leading v.
    type: str
    default: ""
  address:
    description: Address of the API server of this controller.
    type: str
    default: ""
  ignore_preflight_errors:
    description: Preflight checks that do not apply to this machine.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds for each part of the control plane to be well again.
    type: int
    default: 300
attributes:
  check_mode: {support: full}
"""

RETURN = r"""
put_back:
  description: Parts whose manifests were put back.
  returned: always
  type: list
  elements: str
seconds:
  description: How long kubeadm took.
  returned: when it ran
  type: float
"""

EXAMPLES = r"""
- name: Upgrade the control plane
  kubeadm_upgrade:
    action: apply
    version: 1.37.2
    address: 192.0.2.100
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.errors import told
from ansible.module_utils.slipway.node import lock, upgrade
from ansible.module_utils.slipway.node.durable import write
from ansible.module_utils.slipway.node.evidence import of_disks, of_units
from ansible.module_utils.slipway.node.kubeadm import explain, without_secrets
from ansible.module_utils.slipway.node.kubeapi import Api, ApiError
from ansible.module_utils.slipway.node.state import PARTS, kubernetes_state

RUN = "/run/slipway"
LOG = "/var/log/slipway"
ADMIN = "/etc/kubernetes/admin.conf"
# Programs of ours that read certificates when they start; kubeadm renews these.
READERS = ("slipway-serving.service", "slipway-control-plane-metrics.service")
PAUSE = 1.0


def save(path: str, text: str) -> None:
    """Write ``text`` to ``path`` for root alone, in one step."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    write(text, path)


def api_trouble(address: str) -> str:
    """Say how the API server here fails; empty: it answers, out of etcd."""
    try:
        with open(ADMIN, encoding="utf-8") as file:
            status, _ = Api(file.read(), server=f"{address}:6443").request("GET", "/api/v1/nodes?limit=1")
    except (OSError, ValueError, ApiError) as exc:
        return str(exc)
    return "" if status == 200 else f"https://{address}:6443/api/v1/nodes is answered with {status}"


def await_api(module: AnsibleModule) -> None:
    """Wait until the API server here answers: what an earlier run was killed over may just be starting."""
    until = time.monotonic() + module.params["timeout"]
    while why := api_trouble(module.params["address"]):
        if time.monotonic() > until:
            what = f"the API server here does not answer after {module.params['timeout']} s: {why}"
            module.fail_json(**told("control-plane-not-well", f"{what}; look at: /var/log/pods/kube-system_*"))
        time.sleep(PAUSE)


def run(module: AnsibleModule, held: int) -> float:
    """Run kubeadm to its end; ``held``: the lock of this machine, which kubeadm holds as well."""
    given = module.params
    action, config = given["action"], f"{RUN}/kubeadm-upgrade.yml"
    save(config, upgrade.configuration(action, given["timeout"], given["ignore_preflight_errors"]))
    line = upgrade.command(action, given["version"], config, given["ignore_preflight_errors"])
    began = time.monotonic()
    # Four parts, each with its own timeout, and what is around them.
    limit = given["timeout"] * (5 if action != "node" else 1)
    try:
        code, out, err = module.run_command(["timeout", str(limit), *line], pass_fds=[held])
    finally:
        os.unlink(config)
    log = f"{LOG}/kubeadm-upgrade.log"
    save(log, without_secrets(out + err))
    if code:
        why = f"stopped after {limit} s\n" if code == 124 else ""
        units = without_secrets(of_units(module.run_command, ["kubelet.service", "containerd.service"]))
        lines = [f"kubeadm upgrade {action} failed: {why}{explain(out + err)}", units, of_disks()]
        lines.append(f"look at: {log}; /var/log/pods/kube-system_*; the next run goes on from here")
        module.fail_json(**told("kubeadm-failed", "\n".join(filter(None, lines))))
    return round(time.monotonic() - began, 1)


def wrong_parts(parts: dict[str, str], version: str) -> list[str]:
    """Name the parts whose manifests are of another release than ``version``; etcd has its own."""
    return [part for part in PARTS if part != "etcd" and parts.get(part) != version]


def work(module: AnsibleModule, held: int) -> None:
    """Do it. ``held``: the lock of this machine."""
    action = module.params["action"]
    back: list[str] = []
    if action != "node":
        back = sorted(upgrade.lost()) if module.check_mode else upgrade.put_back()
    if action == "repair" or module.check_mode:
        module.exit_json(changed=bool(back) or action != "repair", put_back=back)
    if action == "node":
        seconds = run(module, held)
        upgrade.clean_flags()
        module.exit_json(changed=True, put_back=back, seconds=seconds)
    await_api(module)
    seconds = run(module, held)
    if wrong := wrong_parts(kubernetes_state("/")["parts"], module.params["version"]):
        what = f"kubeadm has ended well, and {', '.join(wrong)} is not of {module.params['version']}"
        module.fail_json(**told("kubeadm-failed", f"{what}; look at: {LOG}/kubeadm-upgrade.log"))
    await_api(module)
    module.run_command(["systemctl", "try-restart", *READERS])
    upgrade.forget()
    module.exit_json(changed=True, put_back=back, seconds=seconds)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "choices": ["repair", "apply", "control", "node"], "required": True},
            "version": {"type": "str", "default": ""},
            "address": {"type": "str", "default": ""},
            "ignore_preflight_errors": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 300},
        },
        required_if=[("action", name, ["version", "address"]) for name in ("apply", "control")],
        supports_check_mode=True,
    )
    if module.check_mode:
        work(module, -1)
    try:
        # kubeadm of a run that was cut off holds it until it is done.
        with lock.taken(module.params["timeout"] * 5) as held:
            work(module, held)
    except lock.BusyError as exc:
        module.fail_json(**told("machine-busy", str(exc)))


if __name__ == "__main__":
    main()
