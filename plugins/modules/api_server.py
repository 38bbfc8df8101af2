# SPDX-License-Identifier: Apache-2.0
"""Ansible module: give the API server of a controller the arguments of the page. Runs there, with its Python alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: api_server
short_description: Give the API server of a controller the arguments of the page
description:
  - Compares the arguments in the manifest of the API server with those that are wanted. If they differ, kubeadm stores the configuration in
    the cluster (for controllers that join later, and for upgrades) and declares the API server anew. The module waits until it answers.
  - What was declared before comes back if it does not.
  - What a change that was cut off has left is finished.
  - Files of O(files_folder) that no argument names are removed.
  - Runs as root. A machine without an API server, or with another release than O(version), is left alone.
options:
  config:
    description: Configuration of kubeadm, with InitConfiguration and ClusterConfiguration.
    type: str
    required: true
  arguments:
    description: Arguments that are wanted, each with C(name) and C(value).
    type: list
    elements: dict
    required: true
  version:
    description: Release of Kubernetes that O(config) is for.
    type: str
    required: true
  address:
    description: Address of the API server of this controller.
    type: str
    required: true
  files_folder:
    description: Folder of files of which the arguments name one.
    type: path
    required: true
  timeout:
    description: Seconds for the API server to be well again.
    type: int
    default: 180
  looked:
    description: >-
      Whether nothing but such modules has worked on the machine since P(node_state#module) looked at it. A call that the look found
      in effect is left out then.
    type: bool
    default: false
  call:
    description: Name by which the machine notes this call, once it is in effect. The plugin gives it.
    type: str
    default: ""
attributes:
  check_mode: {support: full}
"""

RETURN = r"""
arguments:
  description: Names of the arguments that were changed, were added, or went (in check mode, that would be).
  returned: always
  type: list
  elements: str
"""

EXAMPLES = r"""
- name: Give the API servers the arguments of the page
  api_server:
    config: "{{ lookup('slipway_template', 'init.yml.j2') }}"
    arguments: "{{ configuration.apiServer.extraArgs }}"
    version: 1.37.0
    address: "{{ node_address }}"
    files_folder: /etc/kubernetes/audit
  throttle: 1
"""

import os
from contextlib import suppress

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.errors import told
from ansible.module_utils.slipway.node import lock
from ansible.module_utils.slipway.node.api_server import (
    BEFORE,
    MANIFEST,
    Argument,
    declared,
    differences,
    running,
    wanted,
)
from ansible.module_utils.slipway.node.certificates import processes
from ansible.module_utils.slipway.node.durable import write
from ansible.module_utils.slipway.node.settled import note
from ansible.module_utils.slipway.node.state import read, server_version
from ansible.module_utils.slipway.node.well import api_is_well, wait_until

CONFIG = "/run/slipway/api-server.yml"


def arguments_here() -> set[Argument]:
    """Give the arguments of the API server that runs here; empty: none does."""
    try:
        with open(f"/proc/{processes()['kube-apiserver']}/cmdline", "rb") as file:
            return set(running(file.read()))
    except (OSError, KeyError):
        return set()


def kubeadm(module: AnsibleModule, held: int, *phase: str) -> None:
    code, out, error = module.run_command(["kubeadm", "init", "phase", *phase, "--config", CONFIG], pass_fds=[held])
    if code:
        module.fail_json(
            **told("kubeadm-failed", f"kubeadm init phase {' '.join(phase)} failed: {error.strip() or out.strip()}")
        )


def settled(wished: set[Argument], address: str) -> str:
    """Say how the API server is not well with its new arguments; empty: it is."""
    wrong = differences(arguments_here(), wished)
    return f"it does not run with {', '.join(wrong)}" if wrong else api_is_well(address)


def change(module: AnsibleModule, wished: set[Argument], held: int) -> None:
    """Declare the API server anew, and wait until it is well; else put back what was declared."""
    address, timeout = module.params["address"], module.params["timeout"]
    if differences(declared(read(MANIFEST)), wished):
        # Whoever cannot store it cannot declare it either: the next run begins with both.
        kubeadm(module, held, "upload-config", "kubeadm")
        write(read(MANIFEST), BEFORE)
        kubeadm(module, held, "control-plane", "apiserver")
    why = wait_until(lambda: settled(wished, address), timeout)
    if why and os.path.exists(BEFORE):
        write(read(BEFORE), MANIFEST)
        os.unlink(BEFORE)
        again = wait_until(lambda: api_is_well(address), timeout)
        why += f". It is declared as it was before, and {again or 'is well'}"
    if why:
        what = f"the API server was not well after {timeout} s with its new arguments: {why}"
        module.fail_json(
            **told("api-server", f"{what}; look at: crictl ps --all, and /var/log/pods/kube-system_kube-apiserver-*")
        )
    with suppress(FileNotFoundError):
        os.unlink(BEFORE)


def unused(folder: str, wished: set[Argument]) -> list[str]:
    """Name the files of a folder that no argument names."""
    named = {value for _, value in wished}
    try:
        return sorted(path for name in os.listdir(folder) if (path := f"{folder}/{name}") not in named)
    except FileNotFoundError:
        return []


def work(module: AnsibleModule, held: int) -> None:
    wished: set[Argument] = wanted(module.params["arguments"])
    manifest = read(MANIFEST)
    if not manifest or server_version(manifest) != module.params["version"]:
        module.exit_json(changed=False, arguments=[])
    wrong = differences(declared(manifest), wished)
    begun = os.path.exists(BEFORE)
    old = unused(module.params["files_folder"], wished)
    if module.check_mode:
        module.exit_json(changed=bool(wrong or begun or old), arguments=wrong)
    if wrong or begun:
        try:
            write(module.params["config"], CONFIG)
            change(module, wished, held)
        finally:
            os.unlink(CONFIG)
    for path in old:
        os.unlink(path)
    note(module.params["call"], [MANIFEST, BEFORE, module.params["files_folder"]])
    module.exit_json(changed=bool(wrong or begun or old), arguments=wrong)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "config": {"type": "str", "required": True},
            "arguments": {"type": "list", "elements": "dict", "required": True},
            "version": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "files_folder": {"type": "path", "required": True},
            "timeout": {"type": "int", "default": 180},
            "looked": {"type": "bool", "default": False},
            "call": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        work(module, -1)
    try:
        with lock.taken(module.params["timeout"]) as held:
            work(module, held)
    except lock.BusyError as exc:
        module.fail_json(**told("machine-busy", str(exc)))


if __name__ == "__main__":
    main()
