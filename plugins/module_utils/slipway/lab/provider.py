"""What stands around Vagrant: checks before machines are made, and what Docker needs for container nodes.

``python -m slipway.lab.provider prepare`` reads the machine plan (``slipway.lab.plan``) on stdin, refuses what cannot
work before anything is made, sees to the node image and the network, and prints for each machine the arguments of
``docker run``.
Containers, volumes and networks are ours by a label that names Vagrant's records: nothing else is ever removed.
"""

from __future__ import annotations

import argparse
import csv
import io
import ipaddress
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SlipwayError
from ..page.founding import FILE as FOUNDED
from ..paths import ROOT
from .image import Progress, docker, ensure_node_image
from .leftovers import sizes_differ

if TYPE_CHECKING:
    from .plan import MachinePlan, Plan

CLUSTER = "io.slipway.cluster"
OWNER = "io.slipway.vagrant"
LABELS = "\t".join(f'{{{{.Label "{label}"}}}}' for label in (CLUSTER, OWNER))

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
# What the processes of a container hold, as it sees that itself.
MEMORY_STAT = "/sys/fs/cgroup/memory.stat"

# Where a free network is looked for, in this order, and how many of them are tried in each place.
OWN_USE = ("192.168.56.0/21", "192.168.0.0/16", "172.24.0.0/13", "10.0.0.0/8")
MOST_LOOKED_AT = 1024

# The folder that all nodes share, where they mount it.
SHARED = "/mnt/shared"

# Seconds to wait for an address of ours to answer somebody else's SSH; nothing there is what we hope for.
ANSWER_SECONDS = 0.5


@dataclass(frozen=True)
class Thing:
    """A container, volume or network of Docker; ``cluster`` and ``owner`` are our labels, empty on those of others."""

    name: str
    cluster: str
    owner: str
    id: str = ""
    subnets: tuple[str, ...] = ()
    attached: int = 0


@dataclass
class Seen:
    """What there is before machines are made. ``records``: machine name to the id that Vagrant wrote down."""

    records: dict[str, str] = field(default_factory=dict)
    containers: dict[str, Thing] = field(default_factory=dict)
    volumes: dict[str, Thing] = field(default_factory=dict)
    networks: dict[str, Thing] = field(default_factory=dict)
    # Networks that this computer reaches by itself: interface or route, and its network.
    interfaces: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Findings:
    """``refusals`` are messages for the user; the rest are names of what a killed run of ours left half made."""

    refusals: list[str] = field(default_factory=list)
    containers: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)


# --- judging, without touching anything ---------------------------------------------------------------------


def container_name(plan: Plan, machine: str) -> str:
    """Return the name of a machine at the provider."""
    return f"{plan['cluster']}-{machine}"


def shared_volume(plan: Plan) -> str:
    """Return the name of the volume that all nodes mount at ``SHARED``."""
    return f"{plan['cluster']}-shared"


def judge(plan: Plan, seen: Seen) -> Findings:
    """Compare the plan with what there is: what stands in the way, and what may be cleared away."""
    findings = Findings()
    for machine in plan["machines"]:
        _judge_machine(plan, machine["name"], seen, findings)
    _judge_shared_volume(plan, seen, findings)
    _judge_network(plan, seen, findings)
    return findings


def _judge_machine(plan: Plan, machine: str, seen: Seen, findings: Findings) -> None:
    name = container_name(plan, machine)
    volume = f"{name}-var"
    container = seen.containers.get(name)
    record = seen.records.get(machine, "")
    if container is not None and container.id != record:
        if container.owner == plan["vagrant"] and record == "preparing":
            # A run was killed after Docker had made it and before Vagrant wrote down which it is.
            findings.containers.append(name)
            findings.volumes += [volume] if volume in seen.volumes else []
        else:
            findings.refusals.append(f"The container {name} exists already. {whose(plan, container)}")
    elif container is None and volume in seen.volumes:
        if seen.volumes[volume].owner == plan["vagrant"]:
            findings.volumes.append(volume)
        else:
            findings.refusals.append(f"The volume {volume} exists already. {whose(plan, seen.volumes[volume])}")


def _judge_shared_volume(plan: Plan, seen: Seen, findings: Findings) -> None:
    volume = seen.volumes.get(shared_volume(plan))
    if volume is None:
        return
    if volume.owner != plan["vagrant"]:
        findings.refusals.append(f"The volume {volume.name} exists already. {whose(plan, volume)}")
    elif not any(container.owner == plan["vagrant"] for container in seen.containers.values()):
        # No machine is left that could have written to it: a new cluster starts with an empty folder.
        findings.volumes.append(volume.name)


def _judge_network(plan: Plan, seen: Seen, findings: Findings) -> None:
    wanted = plan["network"]
    own = seen.networks.get(wanted["name"])
    if own is not None and own.owner != plan["vagrant"]:
        findings.refusals.append(f"The Docker network {own.name} exists already. {whose(plan, own)}")
        return
    if own is not None and own.subnets == (wanted["cidr"],):
        return
    if own is not None:
        if own.attached:
            findings.refusals.append(
                f"The machines stand in the network {', '.join(own.subnets)}, and cluster_node_cidr is now "
                f"{wanted['cidr']}: run `make down` first, or set it back."
            )
            return
        findings.networks.append(own.name)
    used = _used(plan, seen)
    for network in seen.networks.values():
        for subnet in network.subnets:
            if network is not own and overlap(subnet, wanted["cidr"]):
                owner = f"of the cluster {network.cluster} ({network.owner})" if network.owner else "of somebody else"
                findings.refusals.append(
                    taken(wanted["cidr"], f"the Docker network {network.name} {owner}", subnet, used)
                )
    bridged = {subnet for network in seen.networks.values() for subnet in network.subnets}
    for name, subnet in seen.interfaces:
        if subnet not in bridged and overlap(subnet, wanted["cidr"]):
            findings.refusals.append(taken(wanted["cidr"], name, subnet, used))


def _used(plan: Plan, seen: Seen) -> list[str]:
    """List the networks that others have: on this computer, and on the page."""
    bridged = [subnet for network in seen.networks.values() for subnet in network.subnets]
    return [*bridged, *(subnet for _, subnet in seen.interfaces), *plan["network"]["apart"]]


def whose(plan: Plan, thing: Thing) -> str:
    """Say whose a thing with a name of ours is, and what to do about it."""
    if thing.owner == plan["vagrant"]:
        return "An earlier run of this checkout left it and Vagrant no longer knows it: `make down` removes it."
    if not thing.owner:
        return f"It is not Slipway's: remove it, or set another cluster_name than {plan['cluster']!r}."
    if Path(thing.owner).exists():
        return (
            f"It belongs to the cluster {thing.cluster!r} whose records are in {thing.owner}: run `make down` "
            f"there, or set another cluster_name and cluster_node_cidr here."
        )
    return (
        f"It belongs to a cluster {thing.cluster!r} whose records ({thing.owner}) are gone: remove all of it with\n"
        f"  .venv/bin/python -m slipway.lab.provider remove --cluster {thing.cluster}"
    )


def taken(cidr: str, name: str, subnet: str, used: Iterable[str]) -> str:
    """Say that the node network is not free; ``used`` are all networks that others have, here and on the page."""
    return (
        f"cluster_node_cidr {cidr} is taken: {name} has {subnet}. Set one that is free, such as "
        f"{free_network(cidr, used)}, with cluster_metallb_addresses and the address of cluster_gateway inside it."
    )


def free_network(cidr: str, used: Iterable[str]) -> str:
    """Propose a network of the same size that overlaps none in use: the next one, else one of those for own use."""
    network = ipaddress.IPv4Network(cidr)
    others = [cidr, *used]
    for place in map(ipaddress.IPv4Network, (cidr, *OWN_USE)):
        inside = next((own for own in map(ipaddress.IPv4Network, OWN_USE) if place.subnet_of(own)), None)
        if inside is None or network.prefixlen < inside.prefixlen:
            continue
        size = network.num_addresses
        first = int(place.network_address) // size * size
        for start in range(first, int(inside.broadcast_address), size)[:MOST_LOOKED_AT]:
            found = ipaddress.IPv4Network((start, network.prefixlen))
            if not any(overlap(str(found), other) for other in others):
                return str(found)
    return "another one"


def overlap(one: str, other: str) -> bool:
    """Tell whether two IPv4 networks share addresses; an IPv6 one never does."""
    first, second = ipaddress.ip_network(one, strict=False), ipaddress.ip_network(other, strict=False)
    return first.version == second.version and first.overlaps(second)


def capabilities(bounding: int, server: str) -> list[str]:
    """Return the capabilities to give: those in ``bounding`` that a Docker of version ``server`` knows."""
    major = int(match[0]) if (match := re.match(r"\d+", server)) else YOUNG_SINCE
    known = (name for number, name in enumerate(CAPABILITIES) if bounding >> number & 1)
    return [name for name in known if major >= YOUNG_SINCE or name not in YOUNG]


def nameservers(*texts: str) -> list[str]:
    """Return the name servers in the first resolv.conf with some that a container can reach; none: keep Docker's."""
    for text in texts:
        found = re.findall(r"^nameserver\s+(\d+\.\d+\.\d+\.\d+)\s*$", text, re.MULTILINE)
        if reachable := [address for address in found if not ipaddress.ip_address(address).is_loopback]:
            return reachable
    return []


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


def run_arguments(plan: Plan, machine: MachinePlan, host: Host, key: str) -> list[str]:
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


def bundles(plan: Plan) -> Path:
    """Return the folder that the mirror serves."""
    return Path(plan["cache"]) / "bundles"


# --- looking ------------------------------------------------------------------------------------------------


def look(plan: Plan) -> Seen:
    """Find out what there is that bears on the plan."""
    seen = Seen(records=records(Path(plan["vagrant"]), plan["provider"]), interfaces=list(interfaces(plan["provider"])))
    if plan["provider"] == "docker":
        seen.containers = {thing.name: thing for thing in containers()}
        seen.volumes = {thing.name: thing for thing in volumes()}
        seen.networks = {thing.name: thing for thing in networks()}
    return seen


def records(vagrant: Path, provider: str) -> dict[str, str]:
    """Read what Vagrant wrote down: machine name to id."""
    files = vagrant.glob(f"machines/*/{provider}/id")
    return {file.parts[-3]: file.read_text(encoding="utf-8").strip() for file in files}


def containers(*filters: str) -> Iterator[Thing]:
    """List containers, stopped ones too."""
    listed = docker("ps", "--all", "--no-trunc", *filters, "--format", f"{{{{.Names}}}}\t{{{{.ID}}}}\t{LABELS}")
    for line in listed.splitlines():
        name, found, cluster, owner = line.split("\t")
        yield Thing(name, cluster, owner, id=found)


def volumes(*filters: str) -> Iterator[Thing]:
    """List named volumes."""
    for line in docker("volume", "ls", *filters, "--format", f"{{{{.Name}}}}\t{LABELS}").splitlines():
        name, cluster, owner = line.split("\t")
        yield Thing(name, cluster, owner)


def networks(*filters: str) -> Iterator[Thing]:
    """List networks with their subnets, and how many containers (stopped ones too) are in each of ours."""
    ids = docker("network", "ls", *filters, "--quiet").split()
    for network in json.loads(docker("network", "inspect", *ids)) if ids else []:
        labels = network["Labels"] or {}
        owner = labels.get(OWNER, "")
        subnets = (config.get("Subnet") for config in network["IPAM"]["Config"] or ())
        yield Thing(
            network["Name"],
            labels.get(CLUSTER, ""),
            owner,
            subnets=tuple(subnet for subnet in subnets if subnet),
            attached=len(list(containers(f"--filter=network={network['Id']}"))) if owner else 0,
        )


def interfaces(provider: str) -> Iterator[tuple[str, str]]:
    """List what this computer reaches without its default route: (interface, network)."""
    # What a provider made for its machines is its own to judge.
    own = {"virtualbox": "vboxnet", "libvirt": "virbr"}.get(provider, "\0")
    for line in _lines("ip", "-4", "-o", "route", "show", "table", "main"):
        words = line.split()
        target = words[1] if words[0] in ("unreachable", "blackhole", "prohibit") else words[0]
        if target == "default" or "dev" not in words:
            continue
        device = words[words.index("dev") + 1]
        if not device.startswith(own):
            yield f"the network interface {device}", target if "/" in target else f"{target}/32"


def _lines(*command: str) -> list[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    except OSError:
        return []


def answering(plan: Plan, seen: Seen) -> list[str]:
    """Return refusals for addresses of machines that are not made yet, and at which some SSH server answers."""
    proposal = free_network(plan["network"]["cidr"], _used(plan, seen))
    new = [machine for machine in plan["machines"] if machine["name"] not in seen.records]
    with ThreadPoolExecutor(max_workers=max(len(new), 1)) as pool:
        answers = list(pool.map(lambda machine: _answers(machine["address"]), new))
    return [
        f"{machine['address']}, the address for {machine['name']}, answers already: a machine that is not of this "
        f"cluster has it. Shut that one down, or set another cluster_node_cidr, such as {proposal}."
        for machine, answer in zip(new, answers, strict=True)
        if answer
    ]


def _answers(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=ANSWER_SECONDS) as connection:
            # Some networks accept every connection: only a greeting shows that there is somebody.
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def docker_is_there() -> bool:
    """Tell whether Docker answers."""
    try:
        return not json.loads(docker("info", "--format", "{{json .}}")).get("ServerErrors")
    except SlipwayError:
        return False


def this_host() -> Host:
    """Find out what this computer and its Docker can do."""
    info = json.loads(docker("info", "--format", "{{json .}}"))
    if info.get("ServerErrors"):
        raise SlipwayError(f"Docker does not answer ({info['ServerErrors'][0]}); run `make setup`.")
    status = Path("/proc/1/status").read_text(encoding="ascii")
    return Host(
        bounding=int(status.split("CapBnd:")[1].split()[0], 16),
        server=info["ServerVersion"],
        cpus=info["NCPU"],
        limits_memory=info["MemoryLimit"],
        limits_cpus=info["CpuCfsQuota"],
        resolvers=tuple(nameservers(*map(_text, ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")))),
        modules=Path("/lib/modules").is_dir(),
    )


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


# --- acting -------------------------------------------------------------------------------------------------


def prepare(plan: Plan, root: Path, progress: Progress) -> dict[str, list[str]]:
    """Make all that machines need before Vagrant makes them; return the arguments of ``docker run`` per machine."""
    seen = look(plan)
    findings = judge(plan, seen)
    if plan["network"]["name"] not in seen.networks:
        findings.refusals += answering(plan, seen)
    if findings.refusals:
        raise SlipwayError("\n".join(findings.refusals))
    if plan["provider"] != "docker":
        for sentence in resize(plan):
            progress(sentence)
        return {}
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
    return {machine["name"]: run_arguments(plan, machine, host, key) for machine in plan["machines"]}


def connect(plan: Plan, seen: Seen) -> None:
    """Give machines their address that run without: Vagrant was killed between starting them and that."""
    running = set(docker("ps", "--no-trunc", "--quiet").split())
    inside = set(_running_in(plan["network"]["name"]))
    for machine in plan["machines"]:
        found = seen.records.get(machine["name"], "")
        if found in running - inside:
            docker("network", "connect", f"--ip={machine['address']}", plan["network"]["name"], found)


def _running_in(network: str) -> list[str]:
    return docker("ps", "--no-trunc", "--quiet", f"--filter=network={network}").split()


def make_key(vagrant: Path) -> str:
    """Return the public key that container nodes take in place of Vagrant's well-known one; make it when there is none.

    In Vagrant's own way a machine that a kill caught half-way keeps the well-known key.
    """
    key = vagrant / "key"
    if not key.exists():
        vagrant.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=vagrant) as work:
            # A kind that Vagrant's own SSH client reads everywhere.
            command = ["ssh-keygen", "-q", "-t", "ecdsa", "-m", "PEM", "-N", "", "-C", "slipway", "-f", f"{work}/key"]
            subprocess.run(command, check=True)
            Path(work, "key.pub").replace(vagrant / "key.pub")
            Path(work, "key").replace(key)
    return (vagrant / "key.pub").read_text(encoding="ascii").strip()


def make_network(plan: Plan) -> None:
    """Make the node network."""
    wanted = plan["network"]
    labels = [f"--label={CLUSTER}={plan['cluster']}", f"--label={OWNER}={plan['vagrant']}"]
    addresses = [f"--subnet={wanted['cidr']}", f"--gateway={wanted['gateway']}"]
    docker("network", "create", *addresses, *labels, wanted["name"])


def clear(gone: Iterable[str], empty: Iterable[str], unused: Iterable[str], progress: Progress) -> None:
    """Remove containers (with what Docker keeps for them), volumes and networks by name, in this order."""
    removals: list[tuple[str, str, list[str]]] = [
        *(("container", name, ["--force", "--volumes"]) for name in gone),
        *(("volume", name, ["--force"]) for name in empty),
        *(("network", name, []) for name in unused),
    ]
    for what, name, options in removals:
        progress(f"removing the {what} {name}")
        docker(what, "rm", *options, name)


def remove(label: str, progress: Progress) -> None:
    """Remove every container, volume and network with ``label`` (key=value)."""
    chosen = f"--filter=label={label}"
    gone = [thing.name for thing in containers(chosen)]
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(lambda name: clear([name], [], [], progress), gone))
    clear(
        [],
        [thing.name for thing in volumes(chosen)],
        [thing.name for thing in networks(chosen)],
        progress,
    )


def remove_cluster(plan: Plan, progress: Progress) -> None:
    """Remove all that Docker holds of this cluster, known to Vagrant or forgotten, and Vagrant's records of it."""
    remove(f"{OWNER}={plan['vagrant']}", progress)
    for record in Path(plan["vagrant"]).glob("machines/*/docker"):
        shutil.rmtree(record)


def missing(plan: Plan) -> list[str]:
    """Return the machines of the plan that do not run in its network."""
    known = records(Path(plan["vagrant"]), plan["provider"])
    if plan["provider"] == "docker":
        running = set(_running_in(plan["network"]["name"])) if known else set()
        return [machine["name"] for machine in plan["machines"] if known.get(machine["name"]) not in running]
    names = [machine["name"] for machine in plan["machines"]]
    if not names or not set(names) <= set(known):
        return [name for name in names if name not in known]
    rows = [line.split(",") for line in _lines("vagrant", "status", "--machine-readable")]
    running = {row[1] for row in rows if row[2:4] == ["state", "running"]}
    return [name for name in names if name not in running]


# --- sizes of machines that were made with others -------------------------------------------------------------

# Docker counts CPUs in these.
NANO = 10**9
# Of what is in use below a new limit so much has to be free: the kernel ends programs of a machine that is too small.
HEADROOM = 1.1


def sizes(plan: Plan) -> dict[str, dict[str, int]]:
    """Find out what machines have: ``memory`` in MiB and ``cpus`` by their name; 0 where there is no telling."""
    known = records(Path(plan["vagrant"]), plan["provider"])
    names = {known[machine["name"]]: machine["name"] for machine in plan["machines"] if machine["name"] in known}
    if not names:
        return {}
    if plan["provider"] == "docker":
        lines = _lines(
            "docker", "inspect", "--format", "{{.Id}} {{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}", *names
        )
        rows = [line.split() for line in lines if len(line.split()) == 3]
        return {names[row[0]]: {"memory": int(row[1]) >> 20, "cpus": int(row[2]) // NANO} for row in rows}
    read = {"virtualbox": _virtualbox_size, "libvirt": _libvirt_size}[plan["provider"]]
    return {name: read(identity) for identity, name in names.items()}


def _virtualbox_size(identity: str) -> dict[str, int]:
    text = "\n".join(_lines("VBoxManage", "showvminfo", identity, "--machinereadable"))
    return {key: _number(rf"^{key}=(\d+)$", text) for key in ("memory", "cpus")}


def _libvirt_size(identity: str) -> dict[str, int]:
    text = "\n".join(_lines("virsh", "--connect", "qemu:///system", "dominfo", identity))
    return {"memory": _number(r"^Max memory:\s+(\d+) KiB", text) >> 10, "cpus": _number(r"^CPU\(s\):\s+(\d+)", text)}


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text, re.MULTILINE)
    return int(found.group(1)) if found else 0


def wrong_sizes(plan: Plan) -> dict[str, list[str]]:
    """Say which machines are of another size than the page wants, in a sentence for memory and one for CPUs."""
    found = sizes(plan)
    wrong = {}
    for machine in plan["machines"]:
        has, wanted = found.get(machine["name"], {}), {"memory": machine["memory"], "cpus": machine["cpus"]}
        if has and plan["provider"] == "docker":
            host = this_host()
            # A container may use all CPUs that there are where it was given no fewer.
            has = {"memory": has["memory"] * host.limits_memory, "cpus": (has["cpus"] or host.cpus) * host.limits_cpus}
            wanted["cpus"] = min(machine["cpus"], host.cpus)
        if said := sizes_differ(machine["name"], wanted, has):
            wrong[machine["name"]] = said
    return wrong


def resize(plan: Plan) -> list[str]:
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


def _resized(plan: Plan, machine: MachinePlan, sentence: str) -> str:
    """Give a container node one limit, and say so; one of memory below what is in use stays."""
    name, container, memory = machine["name"], container_name(plan, machine["name"]), machine["memory"]
    if not sentence.startswith("memory"):
        docker("update", f"--cpus={min(machine['cpus'], this_host().cpus)}", container)
        return f"{sentence}: it has that now"
    used = _number(r"^anon (\d+)$", "\n".join(_lines("docker", "exec", container, "cat", MEMORY_STAT))) >> 20
    if used * HEADROOM > memory:
        return f"{sentence}, but {used} MiB are in use there: take pods off {name} first (kubectl drain {name})"
    docker("update", f"--memory={memory}m", f"--memory-swap={memory}m", container)
    return f"{sentence}: it has that now"


def fallen(plan: Plan) -> list[str]:
    """Return what containers of the plan said last that were started and have ended by themselves."""
    mine, ended = f"--filter=label={OWNER}={plan['vagrant']}", "--filter=status=exited"
    names = docker("ps", "--all", mine, ended, "--format", "{{.Names}}").split()
    lines = []
    for machine in plan["machines"]:
        name = container_name(plan, machine["name"])
        if name in names:
            code = docker("inspect", "--format", "{{.State.ExitCode}}", name).strip()
            # A program that has no terminal says on stderr why it ends.
            said = subprocess.run(["docker", "logs", "--tail=5", name], capture_output=True, text=True, check=False)
            words = " / ".join(filter(None, map(str.strip, (said.stdout + said.stderr).splitlines())))
            lines.append(f"{machine['name']} has ended with {code} (docker logs {name}): {words or 'it said nothing'}")
    return lines


def stop_docker(state: Path, progress: Progress) -> None:
    """Stop the Docker that scripts/setup started, unless a container of somebody else's still runs in it."""
    note = state / "dockerd.pid"
    pid = note.read_text(encoding="ascii").strip() if note.exists() else ""
    if _is_dockerd(pid):
        if names := docker("ps", "--format", "{{.Names}}").split():
            progress(f"Docker keeps running for {', '.join(names)}")
            return
        progress("stopping Docker, which `make setup` started")
        if os.geteuid() == 0:
            os.kill(int(pid), signal.SIGTERM)
        else:
            complaint = as_root(["sh", "-c", f"kill {int(pid)}"])
            if complaint and _is_dockerd(pid):
                raise SlipwayError(
                    f"Docker (process {pid}), which `make setup` started, cannot be stopped: {complaint}. "
                    f"Stop it yourself, then run this again: sudo sh -c 'kill {int(pid)}'"
                )
        for _ in range(150):
            if not _is_dockerd(pid):
                break
            time.sleep(0.1)
        else:
            raise SlipwayError(f"Docker (process {pid}) did not stop within 15 s.")
    note.unlink(missing_ok=True)


def as_root(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """Run a command with root's rights; return what it complains of, empty when it went well."""
    # Inside Ansible there is no terminal that sudo could ask for a password on.
    sudo = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    try:
        ended = subprocess.run([*sudo, *command], capture_output=True, text=True, check=False, env=environment)
    except FileNotFoundError as exc:
        return f"{exc.filename} is not installed"
    return "" if ended.returncode == 0 else ended.stderr.strip() or f"exit code {ended.returncode}"


def _is_dockerd(pid: str) -> bool:
    """Tell whether the process lives and is Docker's; one that nobody buried has no command line any more."""
    return bool(pid) and "dockerd" in _text(f"/proc/{pid}/cmdline")


def sweep(plan: Plan, progress: Progress) -> None:
    """Remove the volumes and the network that no machine of ours uses any more, after ``vagrant destroy``."""
    mine = f"--filter=label={OWNER}={plan['vagrant']}"
    left = list(containers(mine))
    kept = {f"{thing.name}-var" for thing in left} | ({shared_volume(plan)} if left else set())
    empty = [thing.name for thing in volumes(mine) if thing.name not in kept]
    unused = [thing.name for thing in networks(mine) if not thing.attached]
    clear([], empty, unused, progress)


def forget_founding(plan: Plan) -> None:
    """Take away what is kept of a cluster's founding once none of its controllers is left."""
    known = records(Path(plan["vagrant"]), plan["provider"])
    if not any(machine["name"] in known for machine in plan["machines"] if machine["role"] == "controller"):
        Path(plan["state"], FOUNDED).unlink(missing_ok=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the verbs; 1 and a message on stderr when something stands in the way."""
    parser = argparse.ArgumentParser(prog="slipway.lab.provider", description=(__doc__ or "").partition("\n")[0])
    verbs = ["prepare", "missing", "resize", "fallen", "sweep", "remove", "stop-docker"]
    parser.add_argument("verb", choices=verbs, help="all but `remove --cluster` read the machine plan on stdin")
    parser.add_argument("--cluster", help="with remove: the cluster of this name, whoever made it; else the plan's own")
    options = parser.parse_args(argv)

    def progress(line: str) -> None:
        print(f"slipway: {line}", file=sys.stderr, flush=True)

    try:
        if options.verb == "remove" and options.cluster:
            remove(f"{CLUSTER}={options.cluster}", progress)
            return 0
        plan: Plan = json.load(sys.stdin)
        if options.verb == "prepare":
            print(json.dumps(prepare(plan, ROOT, progress)))
        elif options.verb == "missing":
            print(json.dumps({"missing": missing(plan), "sizes": wrong_sizes(plan)}))
        elif options.verb == "resize":
            print("\n".join(resize(plan)))
        elif options.verb == "fallen":
            print("\n".join(fallen(plan) if plan["provider"] == "docker" else []))
        elif plan["provider"] == "docker":
            _verbs_of_docker(options.verb, plan, progress)
        if options.verb == "sweep":
            forget_founding(plan)
    except SlipwayError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


def _verbs_of_docker(verb: str, plan: Plan, progress: Progress) -> None:
    if verb == "stop-docker":
        stop_docker(Path(plan["state"]), progress)
    elif not docker_is_there():
        progress("Docker does not run here, so there is nothing of this cluster to remove from it")
    elif verb == "remove":
        remove_cluster(plan, progress)
    else:
        sweep(plan, progress)


if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C.UTF-8")
    raise SystemExit(main())
