# SPDX-License-Identifier: Apache-2.0
"""Ansible module: a step in the rotation of a controller's CAs. Runs there, with its Python alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: authority
short_description: A step in the rotation of the CAs of a controller, and of the key of its service accounts
description:
  - V(looked) tells what this controller has. Nothing of it is secret.
  - V(made) has kubeadm make new CAs and a new key, in a folder beside the present ones, unless they wait there. V(given) gives them.
  - V(accept), V(issue) and V(drop) write the files of a step, V(seen) waits until this controller does what O(step) is for. What reads the
    files is started again by M(control_plane_certificates) between the two.
  - V(finished) removes the folder with the new ones, which are in place by then.
  - Files that are further stay so. Runs as root.
options:
  state:
    description: What is to be done.
    type: str
    choices: [looked, made, given, accept, issue, drop, seen, finished]
    required: true
  step:
    description: The step, for V(seen).
    type: str
    choices: [accept, issue, drop]
  new:
    description: The new CAs and the new key, as V(given) gives them.
    type: dict
  address:
    description: Address of the API server of this controller.
    type: str
  timeout:
    description: Seconds for it to do what the step is for.
    type: int
    default: 180
attributes:
  check_mode: {support: full}
"""

RETURN = r"""
trusts:
  description: Fingerprints of what this controller trusts, by file.
  returned: V(looked)
  type: dict
begun:
  description: How many steps of a rotation were begun here, in the order of their names in O(step).
  returned: V(looked)
  type: int
public:
  description: What this controller trusts, by file.
  returned: V(looked)
  type: dict
waits:
  description: Whether a whole set of new ones waits here.
  returned: V(looked)
  type: bool
new:
  description: The new ones, secret.
  returned: V(given)
  type: dict
files:
  description: Files that were written or removed.
  returned: V(accept), V(issue), V(drop)
  type: list
  elements: str
"""

EXAMPLES = r"""
- name: Accept what the new CAs sign
  authority:
    state: accept
    new: "{{ given.new }}"
"""

import os
import shutil

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.errors import told
from ansible.module_utils.slipway.node import authority, lock, trial
from ansible.module_utils.slipway.node.durable import flush, write
from ansible.module_utils.slipway.node.kubeapi import Api, ApiError
from ansible.module_utils.slipway.node.state import read
from ansible.module_utils.slipway.node.well import ADMIN, wait_until

CONFIG = "/run/slipway/authority.yml"
PART = f"{authority.FOLDER}/{authority.NEXT}.part"
PLACE = f"{authority.FOLDER}/{authority.NEXT}"
WRITES = authority.STEPS


def kubeadm(module: AnsibleModule, held: int, folder: str, phases: tuple[tuple[str, str], ...]) -> None:
    """Have kubeadm make something of the CAs of a folder, or the CAs."""
    address = module.params["address"]
    try:
        stored = trial.stored(Api(read(ADMIN), server=f"{address}:6443"))
        write(trial.configuration(stored, folder, address), CONFIG)
        for kind, name in phases:
            command = ["kubeadm", "init", "phase", kind, name, "--config", CONFIG]
            command += ["--kubeconfig-dir", folder] if kind == "kubeconfig" else []
            code, out, error = module.run_command(command, pass_fds=[held])
            if code:
                what = f"kubeadm init phase {kind} {name} failed: {error.strip() or out.strip()}"
                module.fail_json(**told("kubeadm-failed", what))
    except ApiError as exc:
        module.fail_json(**told("control-plane-not-well", f"kubeadm's configuration cannot be read: {exc}"))
    finally:
        if os.path.exists(CONFIG):
            os.unlink(CONFIG)


def look() -> dict[str, object]:
    here = authority.read_all()
    new = authority.given(here)
    return {
        "changed": False,
        "trusts": authority.sums(here),
        "begun": authority.step_of(here, new),
        "waits": bool(new),
        "public": {name: here[name] for name in authority.PUBLIC if name in here},
    }


def make(module: AnsibleModule, held: int) -> dict[str, object]:
    """Make new ones, whole or not at all, unless they wait here."""
    here = authority.read_all()
    # A cluster whose CA is kept elsewhere is told so before anything is made.
    check(module, here)
    made = not authority.given(here)
    if made:
        for folder in (PART, PLACE):
            shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(PART, mode=0o700)
        kubeadm(module, held, PART, trial.MADE)
        for name in authority.FILES:
            flush(f"{PART}/{name.removeprefix('pki/')}")
        os.replace(PART, PLACE)
        flush(os.path.dirname(PLACE))
    return {"changed": made}


def check(module: AnsibleModule, here: dict[str, str]) -> None:
    try:
        authority.wanted(authority.ACCEPT, here, {name: here.get(name, "") for name in authority.FILES})
    except authority.AuthorityError as exc:
        module.fail_json(**told("authority-files", f"{exc}. Nothing was changed"))


def step(module: AnsibleModule) -> dict[str, object]:
    """Write the files of a step, and what this machine remembers of its cluster."""
    new, here = module.params["new"], authority.read_all()
    wanted = {}
    try:
        # They wait on every controller, so that each knows by itself how far it is.
        waits = {authority.waiting(name): new[name] for name in authority.FILES}
        wanted = {**waits, **authority.wanted(module.params["state"], here, new)}
    except (authority.AuthorityError, KeyError, IndexError) as exc:
        module.fail_json(**told("authority-files", f"{exc}. No file was changed"))
    files = authority.differing(here, wanted)
    # What waits comes first.
    authority.place({name: text for name, text in files.items() if name in waits})
    authority.place({name: text for name, text in files.items() if name not in waits})
    authority.remember()
    return {"changed": bool(files), "files": sorted(files)}


def see(module: AnsibleModule, held: int) -> dict[str, object]:
    """Wait until this controller does what a step is for."""
    name, address, timeout = module.params["step"], module.params["address"], module.params["timeout"]
    here = authority.read_all()
    new = authority.given(here)
    if not new:
        what = f"{PLACE} has not all of the new CAs, so no step of a rotation was begun here"
        module.fail_json(**told("authority-files", what))
    try:
        if name == authority.ACCEPT:
            trial.lay(new, here)
            kubeadm(module, held, trial.PLACE, trial.TRIALS)
        why = wait_until(lambda: str(trial.seen(name, address, new)), timeout)
    finally:
        shutil.rmtree(trial.PLACE, ignore_errors=True)
    if why:
        what = f"after {timeout} s, {why}. No further step was begun; look at: crictl ps --all"
        module.fail_json(**told("authority-unseen", what))
    return {"changed": False}


def finish() -> dict[str, object]:
    there = os.path.isdir(PLACE)
    for folder in (PLACE, PART):
        shutil.rmtree(folder, ignore_errors=True)
    return {"changed": there}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {
                "type": "str",
                "choices": ["looked", "made", "given", "accept", "issue", "drop", "seen", "finished"],
                "required": True,
            },
            "step": {"type": "str", "choices": ["accept", "issue", "drop"]},
            "new": {"type": "dict", "no_log": True},
            "address": {"type": "str"},
            "timeout": {"type": "int", "default": 180},
        },
        required_if=[
            ("state", "made", ["address"]),
            ("state", "seen", ["address", "step"]),
            *(("state", name, ["new"]) for name in ("accept", "issue", "drop")),
        ],
        supports_check_mode=True,
    )
    state = module.params["state"]
    if state == "looked":
        module.exit_json(**look())
    if module.check_mode:
        module.exit_json(changed=True)
    if state == "given":
        module.exit_json(changed=False, new=authority.given(authority.read_all()))
    done: dict[str, object] = {}
    try:
        with lock.taken(module.params["timeout"]) as held:
            if state == "made":
                done = make(module, held)
            elif state == "seen":
                done = see(module, held)
            else:
                done = finish() if state == "finished" else step(module)
    except lock.BusyError as exc:
        module.fail_json(**told("machine-busy", str(exc)))
    module.exit_json(**done)


if __name__ == "__main__":
    main()
