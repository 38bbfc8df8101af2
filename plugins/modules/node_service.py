#!/usr/bin/python
"""Programs and files on a machine and the systemd units that run and read them, in one step."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_service
short_description: Place programs and files and keep the systemd units that run and read them current
description:
  - Fetches the items of the bundle that are not there yet, several at once, checks their sha256 sums and moves each into place in one step.
    What was placed is remembered on the machine, so that sums are checked when an item arrives and not on every run;
    a file that was changed or removed behind our back is fetched again.
  - Writes all files of a service at once (a folder that is missing is made for the file's owner), then brings its units to the wanted state.
  - A unit that became active before one of its files changed is restarted. The decision is read from the machine
    (modification times against the unit's start), so a run that was killed between writing and restarting is
    finished by the next one, which a handler that never ran is not.
options:
  artifacts:
    description: Items, as the filter P(bundle_files#filter) gives them, each with its place.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name of the item., type: str, required: true}
      version: {description: Version of the item., type: str, default: ""}
      url: {description: "Where it is: http, https or file.", type: str, required: true}
      sha256: {description: Sum of what the URL gives., type: str, required: true}
      size: {description: Bytes., type: int}
      source: {description: V(built) or V(upstream)., type: str}
      dest: {description: "File to write; the folder to unpack into when O(artifacts[].archive) is set.", type: path, required: true}
      mode: {description: Permissions of what is placed., type: str, default: "0755"}
      archive: {description: Whether the item is a tar archive., type: bool, default: false}
      strip: {description: Leading folders to leave out of the members' names., type: int, default: 0}
      only: {description: Shell patterns of the members to unpack; empty for all., type: list, elements: str, default: []}
      rename: {description: New names of members., type: dict, default: {}}
  record:
    description: Where the machine remembers what was placed.
    type: path
    default: /var/lib/slipway/artifacts.json
  files_record:
    description: Where the machine remembers which files were written, for P(node_reset#module). Empty for a machine that is no node.
    type: str
    default: /var/lib/slipway/files.json
  looked:
    description: >-
      Whether nothing but this module has worked on the machine since P(node_state#module) looked at it. A call that the look found
      in effect is left out then.
    type: bool
    default: false
  call:
    description: Name by which the machine notes this call, once it is in effect. The plugin gives it.
    type: str
    default: ""
  later:
    description:
      - Whether the next call for this machine that is not for later does this one, too. One process on the machine carries out all of
        them, each as it would be alone and in the order in which they came. The result of this call says nothing then; that of the
        last one has what all of them did.
      - For calls between which nothing else needs what they do. In check mode, for another machine than the task's own, and with
        a secret, a call is carried out at once.
    type: bool
    default: false
  earlier:
    description: Calls that were put off, each with the options above and the C(task) that it comes from. The plugin gives them.
    type: list
    elements: dict
    default: []
  environment:
    description: Variables that downloads go by (C(http_proxy), C(https_proxy), C(no_proxy)). Not shown, and never on a command line.
    type: dict
    default: {}
  timeout:
    description: Seconds without an answer after which a download counts as failed.
    type: int
    default: 60
  files:
    description: Files to write.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: "Absolute path of the file; C(~user) is that user's home.", type: str, required: true}
      content: {description: "The whole text of the file (of the block when O(files[].block) is set).", type: str}
      secret: {description: "The whole text in the place of O(files[].content): shown in no difference, output or log.", type: str}
      source: {description: "A file on the machine whose text is taken instead of O(files[].content). Not shown either.", type: str}
      mode: {description: Permissions., type: str, default: "0644"}
      owner: {description: Owner of the file., type: str, default: root}
      block: {description: "Keep the rest of the file and manage only a marked block in it; without a text the block is taken out.", type: bool, default: false}
      substitute: {description: "Regular expressions, and what takes the place of their matches in the lines outside of the block.", type: dict, default: {}}
      keep: {description: "Never overwrite a file that has something in it (keys made once).", type: bool, default: false}
      only_over: {description: "Regular expression of what may be overwritten; a file that it does not match is left with a warning.", type: str, default: ""}
      state: {description: Whether the file has to be there., type: str, choices: [present, absent], default: present}
  units:
    description: Units to keep current, in this order.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Unit name with its suffix., type: str, required: true}
      enabled: {description: Whether it starts at boot; left alone when not set., type: bool}
      state: {description: "Wanted state; left alone when not set. V(restarted): restarted by this very call, for a reason that no file shows.", type: str, choices: [started, restarted, stopped]}
      watch: {description: "Files besides O(files) whose change restarts the unit (its binary).", type: list, elements: path, default: []}
      reads: {description: Those of O(files) whose change restarts the unit; all where this is not set., type: list, elements: path}
      answers: {description: "URLs that answer once it is up; they are asked for 20 s.", type: list, elements: str, default: []}
author: The Slipway authors
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""

EXAMPLES = r"""
- name: Run containerd
  node_service:
    artifacts: "{{ containerd_files | placed({'containerd': {'dest': '/usr/local/bin/containerd'}}) }}"
    files:
      - path: /etc/containerd/config.toml
        content: "{{ lookup('slipway_template', 'config.toml.j2') }}"
    units:
      - name: containerd.service
        enabled: true
        state: started
        watch: [/usr/local/bin/containerd]
"""

RETURN = r"""
installed:
  description: Names of the items that were fetched (in check mode, that would be).
  type: list
  returned: always
written:
  description: Paths that were written or removed.
  type: list
  returned: always
actions:
  description: What systemctl was asked for, as C(verb unit).
  type: list
  returned: always
"""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.errors import SlipwayError, told
from ansible.module_utils.slipway.node.durable import flush
from ansible.module_utils.slipway.node.evidence import of_disks, of_units
from ansible.module_utils.slipway.node.fetch import FetchError, ensure, key_of, load_record, make_folders
from ansible.module_utils.slipway.node.record import remember
from ansible.module_utils.slipway.node.settled import ask, command, modified, note, read_by, record_beside
from ansible.module_utils.slipway.node.state import read
from ansible.module_utils.slipway.node.units import BEGIN, difference, parse_show, steps, with_block

UNIT_FOLDERS = ("/etc/systemd/system/", "/usr/local/lib/systemd/system/")
DOWNLOADS = 3
# Seconds for which a unit that is up is asked, for one answer, and between two tries.
PATIENCE = 20
ANSWER = 5
PAUSE = 0.5
Given = dict[str, Any]
NOTHING: dict[str, list[str]] = {"installed": [], "written": [], "actions": []}


def install(module: AnsibleModule, given: Given) -> list[str]:
    """Place the items that are missing; return their names."""
    if not given["artifacts"]:
        return []
    os.environ.update(given["environment"])

    def run(function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
        with ThreadPoolExecutor(DOWNLOADS) as pool:
            return list(pool.map(function, items))

    try:
        names: list[str] = ensure(given["artifacts"], given["record"], given["timeout"], module.check_mode, run)
    except FetchError as exc:
        what = "\n".join(filter(None, [str(exc), of_disks() or "look at: systemctl status nginx on the mirror"]))
        raise SlipwayError("download-failed", what) from None
    return names


def placed(given: Given) -> list[str]:
    """Give the files of all items, as they were remembered."""
    record = load_record(given["record"])
    entries = [record.get(key_of(item), {}) for item in given["artifacts"]]
    return [path for entry in entries for path in entry.get("files", {})]


def make_parents(path: str, owner: str, private: bool) -> None:
    """Make the folders above ``path`` that are missing, as their file's owner would have made them."""
    for new in make_folders(os.path.dirname(path), 0o700 if private else 0o755):
        shutil.chown(new, owner)


def is_anothers(spec: dict[str, Any]) -> bool:
    """Tell whether a file is there that is none of those which may be overwritten."""
    path = os.path.expanduser(spec["path"])
    text = read(path) if spec["only_over"] and os.path.lexists(path) else ""
    return bool(text) and not re.search(spec["only_over"], text, re.DOTALL)


def write(module: AnsibleModule, spec: dict[str, Any], diffs: list[dict[str, str]]) -> bool:
    """Bring one file to its wanted state; return whether that changed something."""
    path = os.path.expanduser(spec["path"])
    if not os.path.isabs(path):
        what = f"{spec['path']} leads nowhere: there is no such user on this machine, or it is no absolute path"
        raise SlipwayError("wrong-path", what)
    there = os.path.lexists(path)
    if spec["source"] and not os.path.exists(spec["source"]):
        raise SlipwayError("file-missing", f"{spec['source']}, from which {path} is written, is not there")
    content = read(spec["source"]) if spec["source"] else spec["secret"] or spec["content"] or ""
    secret = spec["secret"] is not None or bool(spec["source"])
    before = read(path) if there else ""
    if spec["state"] == "absent":
        if there:
            diffs.append(difference(path, before, "", secret))
            if not module.check_mode:
                os.unlink(path)
        return there
    if spec["keep"] and before:
        after = before
    elif is_anothers(spec):
        module.warn(f"{path} is somebody's own and was left as it is")
        return False
    elif spec["block"]:
        if not content.strip() and BEGIN not in before.splitlines() and not spec["substitute"]:
            # No block is wanted and none is there: the file is somebody else's alone.
            return False
        after = with_block(before, content, spec["substitute"])
    else:
        after = content
    changed = not there or after != before
    if changed:
        diffs.append(difference(path, before, after, secret))
        if module.check_mode:
            return True
        make_parents(path, spec["owner"], spec["mode"].endswith("00"))
        handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".slipway-")
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(after)
        flush(temporary)
        # Before the move, so that a secret is never readable under its final name.
        os.chmod(temporary, int(spec["mode"], 8))
        module.atomic_move(temporary, path, keep_dest_attrs=False)
        flush(os.path.dirname(path))
    arguments = module.load_file_common_arguments({**spec, "group": None}, path)
    return bool(module.set_fs_attributes_if_different(arguments, changed))


def systemctl(module: AnsibleModule, *arguments: str) -> tuple[int, str, str]:
    code, out, err = module.run_command(["systemctl", *arguments])
    return code, out, err


def show(module: AnsibleModule, unit: str) -> dict[str, str]:
    _, out, _ = module.run_command(command([unit]))
    shown: dict[str, str] = parse_show(out)
    return shown


def failed(module: AnsibleModule, unit: str, what: str) -> SlipwayError:
    """Give what is wrong with a unit, and what the machine knows of it."""
    lines = [what, of_units(module.run_command, [unit]), of_disks()]
    lines.append(f"look at: systemctl status {unit}; journalctl -u {unit}")
    return SlipwayError("unit-failed", "\n".join(filter(None, lines)))


def keep_current(module: AnsibleModule, unit: dict[str, Any], paths: list[str], written: list[str]) -> list[str]:
    """Bring one unit to its wanted state; return the verbs that had an effect."""
    name = unit["name"]
    paths = read_by(unit, paths)
    shown = show(module, name)
    if shown.get("LoadState") == "not-found" and unit["state"] == "stopped":
        # What is not there does not run.
        return []
    if shown.get("LoadState") == "not-found" and not module.check_mode:
        what = f"there is no unit {name} on this machine; is the package or file that brings it installed?"
        raise SlipwayError("unit-missing", what)
    verbs: list[str] = steps(unit, shown, modified(paths), any(path in written for path in paths))
    if module.check_mode:
        return verbs
    done = []
    for verb in verbs:
        code, _, err = systemctl(module, verb, name)
        if code:
            raise failed(module, name, f"systemctl {verb} {name} failed: {err.strip()}")
        # Starting a unit whose condition does not hold yet succeeds and changes nothing.
        if verb != "start" or show(module, name).get("ActiveState") not in ("inactive", "failed"):
            done.append(verb)
    return done


def await_answers(module: AnsibleModule, unit: dict[str, Any]) -> None:
    """Ask each URL of a unit until it answers; one that does not within the time is a failure."""
    until = time.monotonic() + PATIENCE
    for url in unit["answers"]:
        while True:
            try:
                ask(url, ANSWER)
                break
            except OSError as exc:
                if time.monotonic() > until:
                    what = f"{unit['name']} is up, and {url} does not answer after {PATIENCE} s: {exc}"
                    raise failed(module, unit["name"], what) from None
            time.sleep(PAUSE)


# What one call is.
CALL: dict[str, Any] = {
    "artifacts": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "version": {"type": "str", "default": ""},
            "url": {"type": "str", "required": True},
            "sha256": {"type": "str", "required": True},
            "size": {"type": "int"},
            "source": {"type": "str"},
            "dest": {"type": "path", "required": True},
            "mode": {"type": "str", "default": "0755"},
            "archive": {"type": "bool", "default": False},
            "strip": {"type": "int", "default": 0},
            "only": {"type": "list", "elements": "str", "default": []},
            "rename": {"type": "dict", "default": {}},
        },
    },
    "record": {"type": "path", "default": "/var/lib/slipway/artifacts.json"},
    "files_record": {"type": "str", "default": "/var/lib/slipway/files.json"},
    "looked": {"type": "bool", "default": False},
    "call": {"type": "str", "default": ""},
    "environment": {"type": "dict", "default": {}, "no_log": True},
    "timeout": {"type": "int", "default": 60},
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "str", "required": True},
            "content": {"type": "str"},
            "secret": {"type": "str", "no_log": True},
            "source": {"type": "str"},
            "mode": {"type": "str", "default": "0644"},
            "owner": {"type": "str", "default": "root"},
            "block": {"type": "bool", "default": False},
            "substitute": {"type": "dict", "default": {}},
            "keep": {"type": "bool", "default": False},
            "only_over": {"type": "str", "default": ""},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
    },
    "units": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "enabled": {"type": "bool"},
            "state": {"type": "str", "choices": ["started", "restarted", "stopped"]},
            "watch": {"type": "list", "elements": "path", "default": []},
            "reads": {"type": "list", "elements": "path"},
            "answers": {"type": "list", "elements": "str", "default": []},
        },
    },
}


def carry_out(module: AnsibleModule, given: Given, diffs: list[dict[str, str]]) -> dict[str, list[str]]:
    """Carry out one call; return what it did."""
    installed = install(module, given)
    files, units = given["files"], given["units"]
    written = [spec["path"] for spec in files if write(module, spec, diffs)]
    if files and given["files_record"] and not module.check_mode:
        remember(given["files_record"], files)
    paths = [spec["path"] for spec in files]
    actions = []
    if units and not module.check_mode:
        unit_written = any(path.startswith(UNIT_FOLDERS) for path in written)
        if unit_written or any(show(module, unit["name"]).get("NeedDaemonReload") == "yes" for unit in units):
            systemctl(module, "daemon-reload")
            actions.append("daemon-reload")
    for unit in units:
        actions += [f"{verb} {unit['name']}" for verb in keep_current(module, unit, paths, written)]
    if not module.check_mode:
        for unit in units:
            await_answers(module, unit)
        # What is somebody's own is to be told of by every run.
        if given["call"] and not any(map(is_anothers, files)):
            sources = [spec["source"] for spec in files if spec["source"]]
            about = [os.path.expanduser(path) for path in paths]
            note(given["call"], about, [*placed(given), *sources], units, record=record_beside(given["record"]))
    return {"installed": installed, "written": written, "actions": actions}


def main() -> None:
    earlier = {"type": "list", "elements": "dict", "default": [], "options": {**CALL, "task": {"type": "str"}}}
    module = AnsibleModule(
        argument_spec={**CALL, "later": {"type": "bool", "default": False}, "earlier": earlier},
        supports_check_mode=True,
        # The texts of all files would go to the machine's journal, in a form in which Ansible finds no secret.
        no_log=True,
    )
    diffs: list[dict[str, str]] = []
    done = {name: list(nothing) for name, nothing in NOTHING.items()}
    for given in [*module.params["earlier"], module.params]:
        try:
            one = carry_out(module, given, diffs)
        except SlipwayError as exc:
            step = f"\nIt is of the step: {given['task']}" if given.get("task") else ""
            module.fail_json(**told(exc.id, exc.text + step))
        done = {name: done[name] + one[name] for name in done}
    result = {"changed": any(done.values()), **done}
    if module._diff:
        result["diff"] = diffs
    module.exit_json(**result)


if __name__ == "__main__":
    main()
