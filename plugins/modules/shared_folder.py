#!/usr/bin/python
"""A folder that all machines have under one name, and folders of volumes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: shared_folder
short_description: Have a folder that every user may write to, and say whether the machines share it
description:
  - Makes the folder when it is missing, with the permissions of C(/tmp). Warns where a file system does not let
    it have them.
  - Warns when more than one machine should see the same files and the folder is no mount, so that each has its own.
  - Opens volumes that were lost with an older machine of the same name, and that the kubelet has made anew for root alone.
options:
  path:
    description: The folder.
    type: path
    required: true
  machines:
    description: Number of machines that should see the same files in it.
    type: int
    required: true
  volumes:
    description: Folder of the volumes of this machine. Empty folders in it that only root may write to are opened.
    type: path
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
author: The Slipway authors
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Have the shared folder
  shared_folder:
    path: /mnt/shared
    machines: 3
"""

RETURN = r"""
mounted:
  description: Whether something is mounted there.
  returned: success
  type: bool
opened:
  description: Volumes that were opened.
  returned: success
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.errors import told
from ansible.module_utils.slipway.node.folder import closed_volumes, mount_points, open_volume, share
from ansible.module_utils.slipway.node.settled import note
from ansible.module_utils.slipway.node.state import read


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "machines": {"type": "int", "required": True},
            "volumes": {"type": "path"},
            "looked": {"type": "bool", "default": False},
            "call": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    path, volumes = os.path.normpath(module.params["path"]), module.params["volumes"]
    mounted = path in mount_points(read("/proc/self/mountinfo"))
    try:
        folder = share(path, pretend=module.check_mode)
    except OSError as exc:
        what = f"{path} cannot be a folder for all: {exc.strerror}; look at: ls -ld {path}; mount"
        module.fail_json(**told("folder-not-shared", what))
    if folder.closed:
        module.warn(f"not every user may write to {path}, and this machine may not change that; look at: ls -ld {path}")
    apart = not mounted and module.params["machines"] > 1
    if apart:
        module.warn(
            f"{path} is a folder of this machine alone: pods on other machines see other files there. Mount one file "
            "system at it on all of them, by NFS for example, when they should see the same."
        )
    opened = closed_volumes(volumes) if volumes else []
    if not module.check_mode:
        for volume in opened:
            open_volume(volume)
        # What is amiss is to be told of by every run.
        if not folder.closed and not apart:
            there = [entry.path for entry in os.scandir(volumes)] if volumes and os.path.isdir(volumes) else []
            note(module.params["call"], [path, *([volumes] if volumes else []), *there])
    module.exit_json(changed=folder.changed or bool(opened), mounted=mounted, opened=opened)


if __name__ == "__main__":
    main()
