# SPDX-License-Identifier: Apache-2.0
"""Ansible module: the members of etcd, and take those out that are to go. Runs on a controller, with its Python alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_member
short_description: Take members out of etcd
description:
  - Takes a member out of etcd, or those that belong to no machine. Refuses it if etcd has no quorum, or would lose it.
  - Runs on a controller, as root.
options:
  name:
    description: Name of the member that is to go, which is that of its node.
    type: str
    default: ""
  controllers:
    description:
      - The controllers that there are to be, name to address. Members that do not answer go if they belong to none of them, or if they
        never started. A member that answers stays.
    type: dict
    default: {}
  only_look:
    description: Say only whether they may go.
    type: bool
    default: false
"""

RETURN = r"""
removed:
  description: The members that went, or would go.
  returned: always
  type: list
  elements: str
members:
  description: The members that are there, each with C(name), C(healthy) and C(learner).
  returned: always
  type: list
  elements: dict
"""

EXAMPLES = r"""
- name: Take the member of a controller out that is removed
  etcd_member:
    name: ctrl-3
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.errors import told
from ansible.module_utils.slipway.node.etcd import Etcd, EtcdError, obstacle, strays


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "default": ""},
            "controllers": {"type": "dict", "default": {}},
            "only_look": {"type": "bool", "default": False},
        },
        required_one_of=[["name", "controllers"]],
        supports_check_mode=True,
    )
    name, controllers = module.params["name"], module.params["controllers"]
    try:
        etcd = Etcd()
        members = etcd.members()
        going = [member for member in members if name and member.name == name]
        going += [member for member in strays(members, controllers) if controllers and member not in going]
        why = obstacle(members, going) if going else ""
        if why:
            names = ", ".join(member.told for member in going)
            module.fail_json(
                **told("no-quorum", f"{names} cannot leave etcd: {why}. Bring those controllers back first.")
            )
        if not module.check_mode and not module.params["only_look"]:
            for member in going:
                etcd.remove(member)
    except EtcdError as exc:
        module.fail_json(**told("etcd-silent", f"etcd on this machine cannot be asked: {exc}; look at: crictl ps"))
    module.exit_json(
        changed=bool(going) and not module.params["only_look"],
        removed=[member.told for member in going],
        members=[
            {"name": member.name, "healthy": member.healthy, "learner": member.learner}
            for member in members
            if module.check_mode or member not in going
        ],
    )


if __name__ == "__main__":
    main()
