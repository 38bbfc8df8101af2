"""The machine plan: what the page of settings means in machines, addresses and names.

``python -m slipway.lab.plan`` prints it as JSON for the Vagrantfile; it must start fast, because every Vagrant command
asks for it. Nothing here starts a program.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from ipaddress import IPv4Network as Network
from pathlib import Path
from typing import TypedDict

from ..artifacts.cache import default_root
from ..errors import SlipwayError
from ..page.checks import on_the_page, on_this_computer
from ..page.examine import Check, examine_page
from ..page.machines import GATEWAY_NUMBER, members
from ..page.model import PAGE, Settings
from ..page.read import shown_path
from ..page.rules import Surroundings
from ..paths import ROOT, state_folder, user_path
from .decide import decide_baked, decide_box, decide_mirror, decide_provider
from .vagrant import records, vagrant_folder

VIRTUAL = ("libvirt", "virtualbox")


class NetworkPlan(TypedDict):
    """The network of the nodes; ``name`` is its name at the provider, ``apart`` are the other networks of the page."""

    name: str
    cidr: str
    gateway: str
    apart: list[str]


class MachinePlan(TypedDict):
    """A machine to make; ``memory`` in MiB.

    ``image`` is a container's, ``box`` a virtual machine's, with its file when it is built here; each is else empty.
    ``system`` is empty where a box that is not built here decides it.
    """

    name: str
    role: str
    address: str
    cpus: int
    memory: int
    system: str
    image: str
    box: str
    box_file: str


class HostPlan(TypedDict):
    """A machine that exists (provider hosts); ``key`` is an absolute path; empty texts: ssh's own choice."""

    name: str
    role: str
    address: str
    user: str
    port: int
    key: str


class LabPlan(TypedDict):
    """All of it; paths are absolute. ``machines`` is empty for hosts; ``left``: those that only Vagrant still has.

    ``checkout``: whether machines have this checkout at /vagrant. ``baked``: whether their image has in it what roles
    would install: ``auto`` (where it can be), ``always`` (or a run stops), ``never``.
    """

    cluster: str
    provider: str
    network: NetworkPlan
    machines: list[MachinePlan]
    left: list[str]
    hosts: list[HostPlan]
    checkout: bool
    baked: str
    cache: str
    page: str
    state: str
    vagrant: str


def page_file() -> Path:
    """Find the page: $SLIPWAY_PAGE, else group_vars/all/cluster.yml."""
    return Path(os.environ.get("SLIPWAY_PAGE") or PAGE).absolute()


def other_lab(page: Path, state: Path) -> str:
    """Say that the environment names another lab than the one of ``page`` and ``state``; empty: it does not."""
    for name, own in (("SLIPWAY_PAGE", page), ("SLIPWAY_STATE", state)):
        said = os.environ.get(name)
        if said and Path(said).resolve() != own.resolve():
            return (
                f"{name}={said} is another lab's: the inventory of this run has {shown_path(own)}. Type unset {name}, "
                "or name that lab's own inventory with -i (docs/how-to/two-clusters.md)."
            )
    return ""


def make_plan(settings: Settings, *, page: Path, state: Path, root: Path = ROOT) -> LabPlan:
    """Work out the plan of ``settings``, which stand in ``page``."""
    vagrant = vagrant_folder(state, root)
    existing = records(vagrant)
    provider = decide_provider(settings, existing)
    network = Network(settings.cluster_node_cidr)
    made = (
        [] if provider == "hosts" else members(settings, with_mirror=decide_mirror(settings, provider, existing, state))
    )
    hosts = settings.cluster_hosts if provider == "hosts" else []
    box = decide_box(settings, existing, state, provider) if provider in VIRTUAL else ""
    baked = decide_baked(settings)
    # All machines with one system have the same image, whose name takes a moment to work out.
    runs = cache(partial(_runs, provider=provider, box=box, root=root, baked=baked, state=state))
    return {
        "cluster": settings.cluster_name,
        "provider": provider,
        "network": {
            "name": settings.cluster_name,
            "cidr": str(network),
            "gateway": str(network[min(GATEWAY_NUMBER, network.num_addresses - 1)]),
            "apart": [settings.cluster_pod_cidr, settings.cluster_service_cidr],
        },
        "machines": [
            {
                "name": m.name,
                "role": m.role,
                "address": m.address,
                "cpus": m.cpus,
                "memory": m.memory,
                **runs(settings.cluster_systems.get(m.name, "")),
            }
            for m in made
        ],
        "left": sorted(
            {name for name, (kept_by, _) in existing.items() if kept_by == provider} - {m.name for m in made}
        ),
        "hosts": [
            {
                "name": host.name,
                "role": host.role,
                "address": host.address,
                "user": host.user,
                "port": host.port,
                "key": str(user_path(root, host.key)) if host.key else "",
            }
            for host in hosts
        ],
        "checkout": settings.cluster_vagrant_folder,
        "baked": baked,
        "cache": str(default_root()),
        "page": str(page),
        "state": str(state),
        "vagrant": str(vagrant),
    }


def preview(plan: LabPlan, settings: Settings) -> list[str]:
    """Say in lines what a run would make of ``plan`` where there is nothing yet; memory is in MiB."""
    lines = ["", "There is no cluster yet. A run would make this one:", ""]
    row = "{:<12} {:<16} {:<10} {:>3} {:>7}  {}"
    if plan["machines"]:
        lines.append(row.format("node", "address", "role", "CPU", "MiB", "system"))
    lines += [
        row.format(m["name"], m["address"], m["role"], m["cpus"], m["memory"], m["system"] or m["box"])
        for m in plan["machines"]
    ]
    lines += [f"{host['name']:<12} {host['address']:<16} {host['role']}" for host in plan["hosts"]]
    parts = [name for name, wanted in settings.cluster_parts.model_dump().items() if wanted]
    lines += ["", f"Kubernetes {settings.cluster_kubernetes_version} with {', '.join(parts) or 'nothing on top'}"]
    if settings.cluster_releases:
        lines.append(f"Releases: {', '.join(settings.cluster_releases)}")
    return lines


class _Runs(TypedDict):
    system: str
    image: str
    box: str
    box_file: str


def _runs(system: str, *, provider: str, box: str, root: Path, baked: str, state: Path) -> _Runs:
    """Name the system of a machine, and the image or the box that holds it."""
    if box or provider == "hosts":
        return {"system": "", "image": "", "box": box, "box_file": ""}
    from .image import NODE_SYSTEM, node_image_tag

    system = system or NODE_SYSTEM
    if provider == "docker":
        return {"system": system, "image": node_image_tag(root, system), "box": "", "box_file": ""}
    from .baked import of_box
    from .box import box_of, of_machines

    content = of_machines(root, default_root(), baked, system, provider, of_box(state, baked, system))
    built = box_of(root, default_root(), system, provider, content)
    return {"system": system, "image": "", "box": built.name, "box_file": str(built.file)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the plan as JSON; 2 and a message on stderr when the settings are wrong."""
    parser = argparse.ArgumentParser(prog="slipway.lab.plan", description="Print the machine plan as JSON.")
    parser.add_argument("--provider", help="overrules cluster_provider of the page")
    parser.add_argument(
        "--page", type=Path, default=None, help="page of settings ($SLIPWAY_PAGE, group_vars/all/cluster.yml)"
    )
    parser.add_argument("--check", action="store_true", help="also check memory, disk, keys and files of this computer")
    parser.add_argument("--any-release", action="store_true", help="whatever Kubernetes the cluster runs")
    options = parser.parse_args(arguments)
    page = (options.page or page_file()).absolute()
    state = state_folder()
    check: Check = on_the_page
    if options.check:
        from .surroundings import look_around

        def around(settings: Settings) -> Surroundings:
            return replace(look_around(settings, state=state), upgrading=options.any_release)

        check = on_this_computer(around)
    try:
        report = examine_page(page, check=check, provider=options.provider)
        plan = make_plan(report.accepted(), page=page, state=state)
    except SlipwayError as exc:
        print(exc.message, file=sys.stderr)
        return 2
    for warning in report.warnings:
        print(f"Note: {warning}", file=sys.stderr)
    print(json.dumps(plan, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
