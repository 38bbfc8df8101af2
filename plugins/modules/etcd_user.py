# SPDX-License-Identifier: Apache-2.0
"""Ansible module: have etcd run as a user of its own. Runs on a controller, with its Python alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_user
short_description: Have etcd run as a user of its own
description:
  - Makes the system user C(etcd), gives it the folder of data, and tells kubeadm to declare etcd with this user from now on.
  - etcd of a controller that runs as root is moved over. It stops for up to a minute. It is done only while all members of etcd are healthy,
    and what was declared before comes back if etcd does not come up.
  - What a move that was cut off has left is finished.
  - Runs as root.
options:
  address:
    description: Address of the API server of this controller.
    type: str
    required: true
  timeout:
    description: Seconds for etcd and the API server to be well again.
    type: int
    default: 120
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
moved:
  description: Whether etcd here was moved over to the user (in check mode, whether it would be).
  returned: always
  type: bool
"""

EXAMPLES = r"""
- name: Have etcd run as a user of its own
  etcd_user:
    address: "{{ node_address }}"
  throttle: 1
"""

import os
from contextlib import suppress

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.errors import told
from ansible.module_utils.slipway.node import lock
from ansible.module_utils.slipway.node.certificates import processes
from ansible.module_utils.slipway.node.durable import write
from ansible.module_utils.slipway.node.etcd_ready import PATIENCE, is_wished, wish
from ansible.module_utils.slipway.node.etcd_user import (
    BEFORE,
    MANIFEST,
    USER,
    EtcdUserError,
    about,
    account,
    follow,
    moved,
    own,
    runs_as,
)
from ansible.module_utils.slipway.node.settled import note
from ansible.module_utils.slipway.node.state import read
from ansible.module_utils.slipway.node.well import api_is_well, etcd_is_well, wait_until

PAUSE = 0.5


def user_of(process: int | None) -> int | None:
    """Give the user of a process; None: it is gone."""
    with suppress(OSError, TypeError):
        return os.stat(f"/proc/{process}").st_uid
    return None


def settled(ids: tuple[int, int], address: str) -> str:
    """Say how etcd is not well as the user; empty: it is. What it wrote as root meanwhile becomes the user's."""
    process = processes().get("etcd")
    user = user_of(process)
    if user != 0:
        own(ids)
    if user != ids[0]:
        return "etcd does not run" if user is None else "etcd runs as another user still"
    why: str = etcd_is_well() or api_is_well(address)
    return why


def move(module: AnsibleModule, ids: tuple[int, int]) -> None:
    """Declare etcd as the user's, and wait until it is well; else put back what was declared."""
    address, timeout = module.params["address"], module.params["timeout"]
    now, before = read(MANIFEST), read(BEFORE)
    if runs_as(now) != ids[0]:
        try:
            after = moved(now, *ids)
        except EtcdUserError as exc:
            module.fail_json(**told("etcd-user", f"etcd goes on as root: {exc}"))
        write(now, BEFORE)
        # Nearly all of it while etcd still runs, so that it stops for a short time.
        own(ids)
        write(after, MANIFEST)
        before = now
    why = wait_until(lambda: settled(ids, address), timeout)
    if not why:
        with suppress(FileNotFoundError):
            os.unlink(BEFORE)
        return
    if before and runs_as(before) != ids[0]:
        # Root may read what is the user's.
        write(before, MANIFEST)
        os.unlink(BEFORE)
        again = wait_until(
            lambda: "etcd is not back" if user_of(processes().get("etcd")) != 0 else etcd_is_well(), timeout
        )
        why += f". It is declared as it was before, and {again or 'is well'}"
    module.fail_json(
        **told("etcd-user", f"etcd was not well after {timeout} s as the user {USER}: {why}; look at: crictl ps --all")
    )


def work(module: AnsibleModule) -> None:
    ids = account()
    manifest = read(MANIFEST)
    # Cut off: what was declared before is still kept, or etcd came up with files of root's.
    begun = bool(manifest) and os.path.exists(BEFORE)
    due = bool(manifest) and (not ids or runs_as(manifest) != ids[0])
    if module.check_mode:
        module.exit_json(changed=due or begun or not is_wished(ids), moved=due or begun)
    try:
        ids, told_now = wish(module.run_command)
    except EtcdUserError as exc:
        module.fail_json(**told("etcd-user", str(exc)))
    why = etcd_is_well() if due and not begun else ""
    if why:
        module.warn(f"etcd here goes on as root until all of its members are healthy: {why}")
        module.exit_json(changed=told_now, moved=False)
    taken = own(ids) if not due else False
    # Where kubeadm was cut off among the keys, it goes on with them in this run.
    followed = follow(ids, patience=60 if due or begun else PATIENCE)
    if due or begun:
        if not followed:
            module.fail_json(
                **told("etcd-user", "etcd goes on as root: its keys in /etc/kubernetes/pki/etcd are not whole")
            )
        move(module, ids)
    if manifest:
        note(module.params["call"], about())
    module.exit_json(changed=due or begun or taken or told_now, moved=due or begun)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 120},
            "looked": {"type": "bool", "default": False},
            "call": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        work(module)
    try:
        with lock.taken(module.params["timeout"]):
            work(module)
    except lock.BusyError as exc:
        module.fail_json(**told("machine-busy", str(exc)))


if __name__ == "__main__":
    main()
