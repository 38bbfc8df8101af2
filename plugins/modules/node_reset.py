# SPDX-License-Identifier: Apache-2.0
"""Ansible module: take a machine out of its cluster for good. Runs on that machine, with its Python alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_reset
short_description: Remove everything of a cluster from a machine
description:
  - Stops the kubelet, containerd and all pods, and removes what Kubernetes and Slipway have put on the machine. Mounts, network interfaces,
    firewall rules, programs, files, units, images, and volumes of the StorageClass C(local-path). Asks neither the cluster nor containerd, so
    a broken machine is reset, too.
  - Debian packages stay, and SSH keys, C(/mnt/shared) and whatever is mounted in one of the removed folders. Kernel parameters and swap
    stay as they are until the machine boots again.
  - Runs as root.
options:
  only_look:
    description: Say only which volumes there are.
    type: bool
    default: false
  keep_volumes:
    description: Leave the volumes of the StorageClass C(local-path).
    type: bool
    default: false
attributes:
  check_mode: {support: full}
"""

RETURN = r"""
done:
  description: What was there and is gone (in check mode, what would go).
  returned: always
  type: list
  elements: str
volumes:
  description: Volumes that were there, with their bytes.
  returned: always
  type: dict
"""

EXAMPLES = r"""
- name: Reset a host that has left the cluster
  node_reset:
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.errors import told
from ansible.module_utils.slipway.node import lock
from ansible.module_utils.slipway.node.reset import Reset

# Seconds for what is still at work here; kubeadm itself is given up after 300.
BUSY = 330.0


def main() -> None:
    options = {name: {"type": "bool", "default": False} for name in ("only_look", "keep_volumes")}
    module = AnsibleModule(options, supports_check_mode=True)
    reset = Reset(module.run_command, dry_run=module.check_mode, keep_volumes=module.params["keep_volumes"])
    volumes = reset.volumes()
    try:
        if module.check_mode and not module.params["only_look"]:
            reset.all()
        elif not module.params["only_look"]:
            # A kubeadm, or another reset, that a killed run has left at work here would go on behind this one.
            with lock.taken(BUSY):
                reset.all()
    except lock.BusyError as exc:
        module.fail_json(**told("machine-busy", str(exc)))
    if reset.left:
        what = "\n".join(["this machine is not reset:", *reset.left])
        module.fail_json(**told("reset-incomplete", f"{what}\nReboot it, then run this again."))
    module.exit_json(changed=bool(reset.done), done=reset.done, volumes=volumes)


if __name__ == "__main__":
    main()
