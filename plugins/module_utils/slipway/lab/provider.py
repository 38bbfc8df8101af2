"""What stands around Vagrant: checks before machines are made, and what Docker needs for container nodes.

``python -m slipway.lab.provider prepare`` reads the machine plan (``slipway.lab.plan``) on stdin, refuses what cannot
work before anything is made, sees to the node image and the network, and prints for each machine the arguments of
``docker run``. The other verbs look at machines that are made, give them their size, and take away what is left.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from ..errors import SlipwayError, together
from ..node.architecture import of_this_computer
from ..paths import ROOT
from . import docker, fit, libvirt, virtualbox
from .bake import chosen
from .box import content_of, ensure_box, kernel_of, of_machines
from .container import bundles, container_name, run_arguments, this_host
from .daemons import DAEMONS, stop
from .docker import CLUSTER, OWNER, Progress
from .image import ensure_node_image
from .libvirt import Driver, clear_half_made, driver, in_the_way
from .obstacles import Seen, answering, judge, look
from .removal import clear, forget_founding, remove, remove_cluster, sweep
from .sizes import resize, wrong_sizes
from .vagrant import ids, make_key, running, taken_in

if TYPE_CHECKING:
    from .plan import LabPlan


class Prepared(TypedDict):
    """What machines are made with: image and arguments of ``docker run`` per machine, and how libvirt runs them."""

    arguments: dict[str, list[str]]
    images: dict[str, str]
    libvirt: Driver | None


def prepare(plan: LabPlan, root: Path, progress: Progress, *, plugin: bool = True) -> Prepared:
    """Make all that machines need before Vagrant makes them; ``plugin``: Vagrant has what its provider needs."""
    if plan["provider"] == "libvirt":
        clear_half_made(plan, progress)
    seen = look(plan)
    findings = judge(plan, seen)
    if not plugin:
        findings.refusals.append(SlipwayError("vagrant-plugin-missing", _NO_PLUGIN))
    findings.refusals += _refusals_of_virtual_machines(plan, seen)
    if plan["network"]["name"] not in seen.networks:
        findings.refusals += answering(plan, seen)
    if findings.refusals:
        raise together(findings.refusals)
    if plan["provider"] != "docker":
        # Machines that are there need no box any more.
        fit.forget_half_taken_in(plan, seen.records, progress)
        new = [machine for machine in plan["machines"] if machine["box_file"] and machine["name"] not in seen.records]
        lacking = {m["system"] for m in new if not taken_in(m["box"], plan["provider"], of_this_computer())}
        for system in sorted(lacking):
            cache, provider = Path(plan["cache"]), plan["provider"]
            content = content_of(Path(plan["state"]), plan["baked"], system)
            content = of_machines(root, cache, plan["baked"], system, provider, content)
            ensure_box(root, cache, system, provider, progress, content)
        for sentence in resize(plan):
            progress(sentence)
        found = _driver(plan, seen, progress) if plan["provider"] == "libvirt" else None
        return {"arguments": {}, "images": {}, "libvirt": found}
    host = this_host()
    bundles(plan).mkdir(parents=True, exist_ok=True)
    for system in sorted({machine["system"] for machine in plan["machines"]}):
        ensure_node_image(root, Path(plan["cache"]), progress, system)
    clear(findings.containers, findings.volumes, findings.networks, progress)
    if plan["network"]["name"] not in seen.networks or findings.networks:
        make_network(plan)
    else:
        connect(plan, seen)
    for sentence in resize(plan):
        progress(sentence)
    key = make_key(Path(plan["vagrant"]))
    arguments = {machine["name"]: run_arguments(plan, machine, host, key) for machine in plan["machines"]}
    return {"arguments": arguments, "images": chosen(plan), "libvirt": None}


_NO_PLUGIN = (
    f"Vagrant has no plugin for libvirt. What works: {libvirt.SETUP}; or sudo apt-get install vagrant-libvirt beside "
    "Debian's Vagrant, or vagrant plugin install vagrant-libvirt with the Vagrant of its makers"
)


def _refusals_of_virtual_machines(plan: LabPlan, seen: Seen) -> list[SlipwayError]:
    """Ask the provider of virtual machines, and look at the box that they are made of."""
    if plan["provider"] == "docker":
        return []
    ask = {"libvirt": in_the_way, "virtualbox": virtualbox.in_the_way}[plan["provider"]]
    return [*ask(plan, seen.records), *fit.in_the_way(plan, seen.records)]


def _driver(plan: LabPlan, seen: Seen, progress: Progress) -> Driver:
    files = [Path(machine["box_file"]) for machine in plan["machines"] if machine["box_file"]]
    kernel = kernel_of(files[0]) if files else None
    return driver(Path(plan["state"]), progress, kernel, machines=bool(seen.records))


def make_network(plan: LabPlan) -> None:
    """Make the node network."""
    wanted = plan["network"]
    labels = [f"--label={CLUSTER}={plan['cluster']}", f"--label={OWNER}={plan['vagrant']}"]
    addresses = [f"--subnet={wanted['cidr']}", f"--gateway={wanted['gateway']}"]
    docker.run("network", "create", *addresses, *labels, wanted["name"])


def connect(plan: LabPlan, seen: Seen) -> None:
    """Give machines their address that run without: Vagrant was killed between starting them and that."""
    up = set(docker.run("ps", "--no-trunc", "--quiet").split())
    inside = set(docker.running_in(plan["network"]["name"]))
    for machine in plan["machines"]:
        found = seen.records.get(machine["name"], "")
        if found in up - inside:
            docker.run("network", "connect", f"--ip={machine['address']}", plan["network"]["name"], found)


def missing(plan: LabPlan) -> list[str]:
    """Return the machines of the plan that do not run in its network."""
    known = ids(Path(plan["vagrant"]), plan["provider"])
    if plan["provider"] == "docker":
        inside = set(docker.running_in(plan["network"]["name"])) if known else set()
        return [machine["name"] for machine in plan["machines"] if known.get(machine["name"]) not in inside]
    names = [machine["name"] for machine in plan["machines"]]
    if not names or not set(names) <= set(known):
        return [name for name in names if name not in known]
    up = running()
    return [name for name in names if name not in up]


def fallen(plan: LabPlan) -> list[str]:
    """Return what containers of the plan said last that were started and have ended by themselves."""
    mine, ended = f"--filter=label={OWNER}={plan['vagrant']}", "--filter=status=exited"
    names = docker.run("ps", "--all", mine, ended, "--format", "{{.Names}}").split()
    lines = []
    for machine in plan["machines"]:
        name = container_name(plan, machine["name"])
        if name in names:
            code = docker.run("inspect", "--format", "{{.State.ExitCode}}", name).strip()
            # A program that has no terminal says on stderr why it ends.
            said = subprocess.run(["docker", "logs", "--tail=5", name], capture_output=True, text=True, check=False)
            words = " / ".join(filter(None, map(str.strip, (said.stdout + said.stderr).splitlines())))
            lines.append(f"{machine['name']} has ended with {code} (docker logs {name}): {words or 'it said nothing'}")
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the verbs; 1 and a message on stderr when something stands in the way."""
    parser = argparse.ArgumentParser(prog="slipway.lab.provider", description=(__doc__ or "").partition("\n")[0])
    verbs = ["prepare", "missing", "resize", "fallen", "sweep", "remove", "stop-daemon"]
    parser.add_argument("verb", choices=verbs, help="all but `remove --cluster` read the machine plan on stdin")
    parser.add_argument("--cluster", help="with remove: the cluster of this name, whoever made it; else the plan's own")
    what = "with prepare: Vagrant does not have the plugin vagrant-libvirt"
    parser.add_argument("--without-plugin", action="store_true", help=what)
    options = parser.parse_args(argv)

    def progress(line: str) -> None:
        print(f"slipway: {line}", file=sys.stderr, flush=True)

    try:
        if options.verb == "remove" and options.cluster:
            remove(f"{CLUSTER}={options.cluster}", progress)
            return 0
        plan: LabPlan = json.load(sys.stdin)
        if options.verb == "prepare":
            print(json.dumps(prepare(plan, ROOT, progress, plugin=not options.without_plugin)))
        elif options.verb == "missing":
            print(json.dumps({"missing": missing(plan), "sizes": wrong_sizes(plan)}))
        elif options.verb == "resize":
            print("\n".join(resize(plan)))
        elif options.verb == "fallen":
            print("\n".join(fallen(plan) if plan["provider"] == "docker" else []))
        elif options.verb == "stop-daemon":
            if plan["provider"] in DAEMONS:
                stop(DAEMONS[plan["provider"]], Path(plan["state"]), progress)
        elif plan["provider"] == "docker":
            _verbs_of_docker(options.verb, plan, progress)
        if options.verb == "sweep":
            forget_founding(plan)
    except SlipwayError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


def _verbs_of_docker(verb: str, plan: LabPlan, progress: Progress) -> None:
    if not docker.is_there():
        progress("Docker does not run here, so there is nothing of this cluster to remove from it")
    elif verb == "remove":
        remove_cluster(plan, progress)
    else:
        sweep(plan, progress)


if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C.UTF-8")
    raise SystemExit(main())
