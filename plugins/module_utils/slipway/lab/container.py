"""Containers as machines: what Docker is told so that a container is a node, and how much it may use."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SlipwayError
from . import computer, docker
from .docker import CLUSTER, OWNER

if TYPE_CHECKING:
    from .plan import LabPlan, MachinePlan

# Linux' capabilities by number.
CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"),
    *(
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
    ),
    *("SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE"),
    *("SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP"),
    *("MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF"),
    "CHECKPOINT_RESTORE",
)
# Docker before 23 stops at a name that is younger than its own list.
YOUNG = {"PERFMON", "BPF", "CHECKPOINT_RESTORE"}
YOUNG_SINCE = 23

# The folder that all nodes share, where they mount it.
SHARED = "/mnt/shared"


@dataclass(frozen=True)
class Host:
    """What this computer and its Docker can do."""

    bounding: int
    server: str
    cpus: int
    limits_memory: bool
    limits_cpus: bool
    resolvers: tuple[str, ...] = ()
    modules: bool = False


def this_host() -> Host:
    """Find out what this computer and its Docker can do."""
    info = json.loads(docker.run("info", "--format", "{{json .}}"))
    if info.get("ServerErrors"):
        raise SlipwayError("docker-silent", f"Docker does not answer ({info['ServerErrors'][0]}); run `make setup`.")
    status = Path("/proc/1/status").read_text(encoding="ascii")
    return Host(
        bounding=int(status.split("CapBnd:")[1].split()[0], 16),
        server=info["ServerVersion"],
        cpus=info["NCPU"],
        limits_memory=info["MemoryLimit"],
        limits_cpus=info["CpuCfsQuota"],
        resolvers=tuple(computer.name_servers()),
        modules=Path("/lib/modules").is_dir(),
    )


def container_name(plan: LabPlan, machine: str) -> str:
    """Return the name of a machine at the provider."""
    return f"{plan['cluster']}-{machine}"


def shared_volume(plan: LabPlan) -> str:
    """Return the name of the volume that all nodes mount at ``SHARED``."""
    return f"{plan['cluster']}-shared"


def bundles(plan: LabPlan) -> Path:
    """Return the folder that the mirror serves."""
    return Path(plan["cache"]) / "bundles"


def run_arguments(plan: LabPlan, machine: MachinePlan, host: Host, key: str) -> list[str]:
    """Return what Vagrant adds to ``docker run`` for a machine, so that a container is one. It is opened by ``key``.

    Memory is a limit (without swap, as the kubelet counts); CPUs are one only below what the computer has, where they
    cost nothing else.
    """
    name = container_name(plan, machine["name"])
    labels = {CLUSTER: plan["cluster"], OWNER: plan["vagrant"]}
    arguments = [f"--label={key}={value}" for key, value in labels.items()]
    arguments += [f"--cap-add={capability}" for capability in capabilities(host.bounding, host.server)]
    arguments += [
        "--security-opt=seccomp=unconfined",
        "--security-opt=apparmor=unconfined",
        "--security-opt=label=disable",
        "--device-cgroup-rule=a *:* rwm",
        "--cgroupns=private",
        "--stop-signal=SIGRTMIN+3",
        "--tmpfs=/run",
        "--tmpfs=/tmp:exec",
        "--log-opt=max-size=10m",
        "--publish=127.0.0.1::22",
        f"--env=NODE_KEY={key}",
        "--volume=/dev/kmsg:/dev/kmsg",
    ]
    volumes = {f"{name}-var": "/var"}
    if machine["role"] != "mirror":
        volumes[shared_volume(plan)] = SHARED
    for volume, place in volumes.items():
        fields = {"type": "volume", "src": volume, "dst": place}
        arguments.append(mount(fields, [f"volume-label={key}={value}" for key, value in labels.items()]))
    if host.modules:
        arguments.append("--volume=/lib/modules:/lib/modules:ro")
    if machine["role"] == "mirror":
        served = {"type": "bind", "src": str(bundles(plan)), "dst": "/srv/slipway/bundles"}
        arguments.append(mount(served, ["readonly"]))
    if host.resolvers:
        arguments.append(f"--env=NODE_RESOLVERS={' '.join(host.resolvers)}")
    if host.limits_memory:
        arguments += [f"--memory={machine['memory']}m", f"--memory-swap={machine['memory']}m"]
    if host.limits_cpus and machine["cpus"] < host.cpus:
        arguments.append(f"--cpus={machine['cpus']}")
    return arguments


def mount(fields: dict[str, str], more: Iterable[str] = ()) -> str:
    """Write a ``--mount`` argument, whose value is a line of CSV."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([*(f"{key}={value}" for key, value in fields.items()), *more])
    return f"--mount={line.getvalue()}"


def capabilities(bounding: int, server: str) -> list[str]:
    """Return the capabilities to give: those in ``bounding`` that a Docker of version ``server`` knows."""
    major = int(match[0]) if (match := re.match(r"\d+", server)) else YOUNG_SINCE
    known = (name for number, name in enumerate(CAPABILITIES) if bounding >> number & 1)
    return [name for name in known if major >= YOUNG_SINCE or name not in YOUNG]
