"""The inventory: groups, addresses and SSH settings of the machines in the plan.

``python -m slipway.lab.inventory --write inventory.cfg`` writes it as a plain INI file for the machines that exist.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..errors import SlipwayError
from ..page.checks import on_the_page
from ..page.environment import settings_of
from ..page.examine import examine_page
from ..page.read import shown_path
from ..paths import ROOT, state_folder
from .libvirt import patience
from .plan import LabPlan, make_plan, other_lab, page_file
from .vagrant import records

Warn = Callable[[str], None]

GROUPS = {"controller": "controllers", "worker": "workers", "mirror": "mirror"}
VAGRANT_USER = "vagrant"
# A lab machine has another host key after every rebuild; hosts of the user's own keep the user's own policy.
# Of its keys only the one that is named is offered: servers end a connection after six, and an agent may have more.
LAB_SSH_ARGS = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o IdentitiesOnly=yes"
# What ansible.cfg says, and the same; not as common arguments, which the caller may say (--ssh-common-args).
KEY_SSH_ARGS = (
    "-o ControlMaster=auto -o ControlPersist=300s -o ServerAliveInterval=30 -o ServerAliveCountMax=6 "
    "-o IdentitiesOnly=yes"
)
HEADER = "# Written by Slipway after every `vagrant up`: a change made here is overwritten.\n"


@dataclass(frozen=True)
class Ssh:
    """How Vagrant gets into a machine; ``key`` is a file, empty when it is not known yet."""

    user: str = VAGRANT_USER
    key: str = ""


@dataclass(frozen=True)
class Inventory:
    """Hosts of each group with their variables, and the variables of all."""

    groups: dict[str, dict[str, dict[str, Any]]]
    variables: dict[str, Any]


def parse_ssh_config(text: str) -> dict[str, Ssh]:
    """Read the output of ``vagrant ssh-config`` for any number of machines: user and first key of each."""
    found: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.strip().partition(" ")
        value = value.strip().strip('"')
        if name == "Host":
            current = found.setdefault(value, {})
        elif name:
            current.setdefault(name, value)
    return {
        host: Ssh(user=options.get("User", VAGRANT_USER), key=options.get("IdentityFile", ""))
        for host, options in found.items()
    }


def ssh_settings(plan: LabPlan, *, root: Path = ROOT, warn: Warn = lambda _: None) -> dict[str, Ssh]:
    """Find how to get into each Vagrant machine that exists.

    Of virtual machines, asks Vagrant once (2 to 6 s) and remembers the answer in ``<state>/ssh-config.json`` until a
    machine is made, removed or given another key. Where Vagrant does not answer, the private keys in its folder do.
    """
    vagrant = Path(plan["vagrant"])
    existing = {name: record for name, record in records(vagrant).items() if record[0] == plan["provider"]}
    if not existing:
        return {}
    if plan["provider"] == "docker":
        # Container nodes share one key, which the Vagrantfile names.
        key = vagrant / "key"
        return dict.fromkeys(existing, Ssh(key=str(key) if key.is_file() else ""))
    # Virtual machines have one each, made by Vagrant.
    files = {name: vagrant / "machines" / name / provider / "private_key" for name, (provider, _) in existing.items()}
    stamp = {name: [*record, _changed(files[name])] for name, record in existing.items()}
    cache = Path(plan["state"]) / "ssh-config.json"
    known = _remembered(cache, stamp)
    if known is not None:
        return known
    answer, reason = _ask_vagrant(plan, root)
    if reason:
        warn(f"vagrant ssh-config: {reason}. Going on with the keys in {shown_path(vagrant)}.")
    found = {name: answer.get(name) or Ssh(key=str(file) if file.is_file() else "") for name, file in files.items()}
    if not reason:
        _remember(cache, stamp, found)
    return found


def _changed(file: Path) -> int:
    """When ``file`` was written (ns); 0 without it."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _remembered(cache: Path, stamp: Mapping[str, Any]) -> dict[str, Ssh] | None:
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
        if content["machines"] != stamp:
            return None
        return {name: Ssh(**options) for name, options in content["hosts"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _remember(cache: Path, stamp: Mapping[str, Any], found: Mapping[str, Ssh]) -> None:
    content = {"machines": stamp, "hosts": {name: {"user": ssh.user, "key": ssh.key} for name, ssh in found.items()}}
    write_file(cache, json.dumps(content, indent=2) + "\n")


def write_file(path: Path, text: str) -> None:
    """Write a file so that no reader ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        try:
            file.write(text)
            file.flush()
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _ask_vagrant(plan: LabPlan, root: Path) -> tuple[dict[str, Ssh], str]:
    """Run ``vagrant ssh-config``: what it says, and the reason when it does not say all."""
    import vagrant

    environment = {
        **os.environ,
        "SLIPWAY_PAGE": plan["page"],
        "SLIPWAY_STATE": plan["state"],
        "VAGRANT_DOTFILE_PATH": plan["vagrant"],
        "VAGRANT_CWD": str(root),
    }
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:

        @contextmanager
        def to_file() -> Iterator[IO[str]]:
            yield complaints

        try:
            text = vagrant.Vagrant(root, env=environment, err_cm=to_file).ssh_config()
        except subprocess.CalledProcessError as exc:
            complaints.seek(0)
            said = " ".join(complaints.read().split()).partition(". ")[0].rstrip(".")
            return parse_ssh_config(exc.output.decode(errors="replace")), said or f"ended with status {exc.returncode}"
        except (OSError, RuntimeError) as exc:
            return {}, f"{exc}"
    return parse_ssh_config(text), ""


def make_inventory(plan: LabPlan, ssh: Mapping[str, Ssh], settings: Mapping[str, Any]) -> Inventory:
    """Put the hosts of ``plan`` into their groups; ``settings`` become variables of all."""
    groups: dict[str, dict[str, dict[str, Any]]] = {group: {} for group in GROUPS.values()}
    for machine in plan["machines"]:
        groups[GROUPS[machine["role"]]][machine["name"]] = _lab_variables(machine["address"], ssh.get(machine["name"]))
    for host in plan["hosts"]:
        variables: dict[str, Any] = {
            "ansible_host": host["address"],
            "ansible_port": host["port"],
            "node_address": host["address"],
        }
        if host["user"]:
            variables["ansible_user"] = host["user"]
        if host["key"]:
            variables |= {"ansible_ssh_private_key_file": host["key"], "ansible_ssh_args": KEY_SSH_ARGS}
        groups[GROUPS[host["role"]]][host["name"]] = variables
    return Inventory(groups, {**settings, **_all_variables(plan)})


def _lab_variables(address: str, ssh: Ssh | None) -> dict[str, Any]:
    variables = {
        "ansible_host": address,
        "ansible_port": 22,
        "ansible_user": ssh.user if ssh else VAGRANT_USER,
        "ansible_ssh_common_args": LAB_SSH_ARGS,
        "node_address": address,
    }
    return {**variables, "ansible_ssh_private_key_file": ssh.key} if ssh and ssh.key else variables


def _all_variables(plan: LabPlan) -> dict[str, Any]:
    return {
        "slipway_page": plan["page"],
        "slipway_state": plan["state"],
        "slipway_provider": plan["provider"],
        "slipway_machines_left": plan["left"],
        "slipway_patience": patience(Path(plan["state"])) if plan["provider"] == "libvirt" else 1,
    }


def read_inventory(
    page: Path, state: Path, *, folder: Path | None, root: Path = ROOT, warn: Warn = lambda _: None
) -> Inventory:
    """Make the inventory of ``page``; ``folder`` is the one of the inventory file, if there is one.

    Raises ``SlipwayError`` when the page is wrong, when the environment names another lab, or when Ansible would read
    another page beside the inventory file.
    """
    if foreign := other_lab(page, state):
        raise SlipwayError("other-lab", foreign)
    beside = (folder or page.parent) / "group_vars" / "all" / "cluster.yml"
    if folder and beside.exists() and page.exists() and not beside.samefile(page):
        raise SlipwayError(
            "two-pages",
            f"{shown_path(folder)}: this inventory names the page {shown_path(page)}, but Ansible also reads "
            f"{shown_path(beside)}, which wins. Put the inventory file into a folder of its own, "
            f"for example beside {page.name}.",
        )
    settings = examine_page(page, check=on_the_page).accepted()
    # Kept for the variables of the run, in the process that all of its workers come from.
    settings_of(page)
    plan = make_plan(settings, page=page, state=state, root=root)
    return make_inventory(plan, ssh_settings(plan, root=root, warn=warn), settings.as_values())


def addresses() -> set[str]:
    """Give the addresses of all machines and hosts of the page of this checkout, or of $SLIPWAY_PAGE."""
    page = page_file()
    plan = make_plan(examine_page(page, check=on_the_page).accepted(), page=page, state=state_folder())
    return {machine["address"] for machine in (*plan["machines"], *plan["hosts"])}


def render_inventory_cfg(plan: LabPlan, ssh: Mapping[str, Ssh]) -> str:
    """Write the plan as a plain INI inventory, for ``-i inventory.cfg -u vagrant`` from any folder."""
    inventory = make_inventory(plan, ssh, {})
    common: dict[str, str] = {}
    parts = [HEADER]
    for group, hosts in inventory.groups.items():
        parts.append(f"[{group}]")
        for name, values in hosts.items():
            common |= {key: values.pop(key) for key in ("ansible_ssh_common_args",) if key in values}
            parts.append(" ".join([name, *(f"{key}={_ini(value)}" for key, value in values.items())]))
        parts.append("")
    # As in the inventory plugin.
    parts += [
        "[nodes:children]",
        "controllers",
        "workers",
        "",
        "[existing]",
        "",
        "[upgraded_controllers]",
        "",
        "[upgraded_workers]",
        "",
    ]
    for group in ("nodes", "mirror") if common else ():
        parts += [f"[{group}:vars]", *(f"{key}={json.dumps(value)}" for key, value in common.items()), ""]
    parts += ["[all:vars]", *(f"{key}={json.dumps(value)}" for key, value in inventory.variables.items()), ""]
    return "\n".join(parts)


def _ini(value: Any) -> str:
    return shlex.quote(str(value))


def active(plan: LabPlan) -> LabPlan:
    """Keep the machines that Vagrant has made; hosts of the user's own are always there."""
    made = {name for name, record in records(Path(plan["vagrant"])).items() if record[0] == plan["provider"]}
    machines = [machine for machine in plan["machines"] if machine["name"] in made]
    return {**plan, "machines": machines}


def write_inventory_cfg(path: Path, plan: LabPlan, ssh: Mapping[str, Ssh]) -> str:
    """Write ``path`` for the machines of ``plan`` that exist; take it away when there are none. Says what was done."""
    now = path.read_text(encoding="utf-8") if path.is_file() else ""
    if now and not now.startswith(HEADER):
        raise SlipwayError(
            "not-our-file",
            f"{shown_path(path)}: this file is not one of Slipway's and stays as it is; "
            "name another one, for example: python -m slipway.lab.inventory --write inventory.cfg",
        )
    here = active(plan)
    if not here["machines"] and not here["hosts"]:
        path.unlink(missing_ok=True)
        return "removed" if now else ""
    text = render_inventory_cfg(here, ssh)
    if text == now:
        return ""
    write_file(path, text)
    return "written"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the plain inventory, or write it; 2 and a message on stderr when the settings are wrong."""
    parser = argparse.ArgumentParser(
        prog="slipway.lab.inventory", description="Make a plain inventory of the machines."
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write it to FILE, when it differs")
    parser.add_argument(
        "--page", type=Path, default=None, help="page of settings ($SLIPWAY_PAGE, group_vars/all/cluster.yml)"
    )
    parser.add_argument("--provider", help="overrules cluster_provider of the page")
    options = parser.parse_args(arguments)
    page = (options.page or page_file()).absolute()
    try:
        settings = examine_page(page, check=on_the_page, provider=options.provider).accepted()
        plan = make_plan(settings, page=page, state=state_folder())
        ssh = ssh_settings(plan, warn=lambda text: print(f"Note: {text}", file=sys.stderr))
        if options.write:
            done = write_inventory_cfg(options.write, plan, ssh)
            if done:
                print(f"{options.write}: {done}")
        else:
            print(render_inventory_cfg(active(plan), ssh), end="")
    except SlipwayError as exc:
        print(exc.message, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
