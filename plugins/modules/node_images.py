# SPDX-License-Identifier: Apache-2.0
"""Ansible module: have images in containerd before anything needs them. Runs on a node, with its Python alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_images
short_description: Have images on a node before anything needs them
description:
  - Pulls the images that containerd does not have, from the registries that its C(hosts.toml) files name.
  - Runs as root.
options:
  images:
    description: The images, by their full names.
    type: list
    elements: str
    required: true
  timeout:
    description: Seconds for each image.
    type: int
    default: 300
attributes:
  check_mode: {support: full}
"""

RETURN = r"""
pulled:
  description: Images that were not there (in check mode, are not).
  returned: always
  type: list
  elements: str
"""

EXAMPLES = r"""
- name: Have the images of the next release
  node_images:
    images: [registry.k8s.io/kube-proxy:v1.37.2]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.errors import told
from ansible.module_utils.slipway.node import lock
from ansible.module_utils.slipway.node.evidence import of_disks

CTR = ("ctr", "--namespace", "k8s.io", "images")
HOSTS = "/etc/containerd/certs.d"


def missing(module: AnsibleModule) -> list[str]:
    """Give the images that containerd does not have."""
    code, out, err = module.run_command([*CTR, "list", "--quiet"])
    if code:
        what = f"containerd does not say which images it has: {err.strip() or out.strip()}"
        module.fail_json(**told("images-not-pulled", f"{what}; look at: systemctl status containerd"))
    there = set(out.split())
    return [name for name in dict.fromkeys(module.params["images"]) if name not in there]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "images": {"type": "list", "elements": "str", "required": True},
            "timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    wanted = missing(module)
    if module.check_mode or not wanted:
        module.exit_json(changed=bool(wanted), pulled=wanted)
    try:
        with lock.taken(module.params["timeout"]) as held:
            for name in missing(module):
                line = ["timeout", str(module.params["timeout"]), *CTR, "pull", "--hosts-dir", HOSTS, name]
                code, out, err = module.run_command(line, pass_fds=[held])
                if code:
                    said = (err or out).strip()[-800:]
                    what = "\n".join(filter(None, [f"{name} cannot be pulled: {said}", of_disks()]))
                    module.fail_json(**told("images-not-pulled", what))
    except lock.BusyError as exc:
        module.fail_json(**told("machine-busy", str(exc)))
    module.exit_json(changed=True, pulled=wanted)


if __name__ == "__main__":
    main()
