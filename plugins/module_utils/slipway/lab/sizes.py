"""Sizes of machines that were made with others than the page has now: found, told, and set where that can be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from . import computer, container, docker
from .leftovers import sizes_differ
from .vagrant import ids

if TYPE_CHECKING:
    from .plan import LabPlan, MachinePlan

# What the processes of a container hold, as it sees that itself.
MEMORY_STAT = "/sys/fs/cgroup/memory.stat"
# Docker counts CPUs in these.
NANO = 10**9
# Of what is in use below a new limit so much has to be free: the kernel ends programs of a machine that is too small.
HEADROOM = 1.1


def sizes(plan: LabPlan) -> dict[str, dict[str, int]]:
    """Find out what machines have: ``memory`` in MiB and ``cpus`` by their name; 0 where there is no telling."""
    known = ids(Path(plan["vagrant"]), plan["provider"])
    names = {known[machine["name"]]: machine["name"] for machine in plan["machines"] if machine["name"] in known}
    if not names:
        return {}
    if plan["provider"] == "docker":
        lines = computer.lines(
            "docker", "inspect", "--format", "{{.Id}} {{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}", *names
        )
        rows = [line.split() for line in lines if len(line.split()) == 3]
        return {names[row[0]]: {"memory": int(row[1]) >> 20, "cpus": int(row[2]) // NANO} for row in rows}
    read = {"virtualbox": _virtualbox_size, "libvirt": _libvirt_size}[plan["provider"]]
    return {name: read(identity) for identity, name in names.items()}


def wrong_sizes(plan: LabPlan) -> dict[str, list[str]]:
    """Say which machines are of another size than the page wants, in a sentence for memory and one for CPUs."""
    found = sizes(plan)
    wrong = {}
    for machine in plan["machines"]:
        has, wanted = found.get(machine["name"], {}), {"memory": machine["memory"], "cpus": machine["cpus"]}
        if has and plan["provider"] == "docker":
            host = container.this_host()
            # A container may use all CPUs that there are where it was given no fewer.
            has = {"memory": has["memory"] * host.limits_memory, "cpus": (has["cpus"] or host.cpus) * host.limits_cpus}
            wanted["cpus"] = min(machine["cpus"], host.cpus)
        if said := sizes_differ(machine["name"], wanted, has):
            wrong[machine["name"]] = said
    return wrong


def resize(plan: LabPlan) -> list[str]:
    """Give container nodes that run the size of the page; say what was done, and what stays as it is, and why.

    A virtual machine has its size from its last start on.
    """
    wrong = wrong_sizes(plan)
    if plan["provider"] != "docker":
        return [
            f"{sentence}: `vagrant reload --no-provision {name}` restarts it with that"
            for name, said in wrong.items()
            for sentence in said
        ]
    machines = {machine["name"]: machine for machine in plan["machines"]}
    return [_resized(plan, machines[name], sentence) for name, said in wrong.items() for sentence in said]


def _resized(plan: LabPlan, machine: MachinePlan, sentence: str) -> str:
    """Give a container node one limit, and say so; one of memory below what is in use stays."""
    name, node, memory = machine["name"], container.container_name(plan, machine["name"]), machine["memory"]
    if not sentence.startswith("memory"):
        docker.run("update", f"--cpus={min(machine['cpus'], container.this_host().cpus)}", node)
        return f"{sentence}: it has that now"
    used = _number(r"^anon (\d+)$", "\n".join(computer.lines("docker", "exec", node, "cat", MEMORY_STAT))) >> 20
    if used * HEADROOM > memory:
        return f"{sentence}, but {used} MiB are in use there: take pods off {name} first (kubectl drain {name})"
    docker.run("update", f"--memory={memory}m", f"--memory-swap={memory}m", node)
    return f"{sentence}: it has that now"


def _virtualbox_size(identity: str) -> dict[str, int]:
    text = "\n".join(computer.lines("VBoxManage", "showvminfo", identity, "--machinereadable"))
    return {key: _number(rf"^{key}=(\d+)$", text) for key in ("memory", "cpus")}


def _libvirt_size(identity: str) -> dict[str, int]:
    text = "\n".join(computer.lines("virsh", "--connect", "qemu:///system", "dominfo", identity))
    return {"memory": _number(r"^Max memory:\s+(\d+) KiB", text) >> 10, "cpus": _number(r"^CPU\(s\):\s+(\d+)", text)}


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text, re.MULTILINE)
    return int(found.group(1)) if found else 0
