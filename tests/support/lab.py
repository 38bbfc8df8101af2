"""A lab: machines for tests, with a name and a network that no cluster of a user has.

``python -m tests.support.lab page`` writes the page of molecule's lab, ``… clean`` removes what is left of it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from slipway.page.model import Parts

ROOT = Path(__file__).resolve().parents[2]
MOLECULE_PAGE = ROOT / "molecule/inventory/group_vars/all/cluster.yml"
PREFIX = "slipway-test-"
# The network that the shipped page takes is a user's, always.
CANDIDATES = [ipaddress.IPv4Network(f"192.168.{third}.0/24") for third in range(57, 255)]


class LabError(Exception):
    """A lab cannot be made; the text says why."""


def lab_name(purpose: str, checkout: Path = ROOT) -> str:
    """Name of the lab that ``checkout`` makes for ``purpose``: the same in every run, another in every clone."""
    return f"{PREFIX}{purpose}-{hashlib.sha256(str(checkout.resolve()).encode()).hexdigest()[:6]}"


def run(*command: str) -> str:
    """Output of a program; ``LabError`` with its own words when it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"{' '.join(command[:4])} ended with {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def docker(*arguments: str) -> list[str]:
    """Lines that ``docker`` prints; none where there is no docker to ask."""
    if not shutil.which("docker"):
        return []
    done = subprocess.run(["docker", *arguments], check=False, capture_output=True, text=True)
    return done.stdout.split() if done.returncode == 0 else []


def take_out(archive: tarfile.TarFile, member: str | tarfile.TarInfo, target: Path) -> None:
    """Write a program of an archive to ``target``. Debian 12's Python has no filter for ``extract``."""
    content = archive.extractfile(member)
    assert content is not None
    with target.open("wb") as file:
        shutil.copyfileobj(content, file)
    target.chmod(0o755)


def networks_in_use() -> list[ipaddress.IPv4Network]:
    """Networks of this machine's interfaces, routes and container networks."""
    texts = [
        entry["dst"]
        for entry in json.loads(run("ip", "-json", "-4", "route", "show", "table", "all"))
        if entry["dst"] != "default"
    ]
    names = docker("network", "ls", "--quiet")
    if names:
        texts += docker("network", "inspect", "--format", "{{range .IPAM.Config}}{{.Subnet}} {{end}}", *names)
    return [ipaddress.IPv4Network(text, strict=False) for text in texts if ":" not in text]


def free_network(used: Iterable[ipaddress.IPv4Network], name: str) -> ipaddress.IPv4Network:
    """A candidate that overlaps nothing in ``used``: the first one from a place that follows from ``name``.

    Two labs that look at the same moment look in different places.
    """
    taken = [network for network in used if network.prefixlen]
    start = int(hashlib.sha256(name.encode()).hexdigest(), 16) % len(CANDIDATES)
    for candidate in CANDIDATES[start:] + CANDIDATES[:start]:
        if not any(candidate.overlaps(network) for network in taken):
            return candidate
    raise LabError("no network from 192.168.57.0/24 to 192.168.254.0/24 is free; remove the networks of old labs")


def rewrite_page(text: str, values: dict[str, Any]) -> str:
    """The page with other values: each key keeps its place and its comment; a key that the page lacks is an error."""
    for key, value in values.items():
        pattern = re.compile(rf"^{re.escape(key)}:.*\n(?:[ \t-].*\n)*", re.M)
        if len(pattern.findall(text)) != 1:
            raise LabError(f"the page has no single line for {key}")
        line = f"{key}: {json.dumps(value)}\n"
        text = pattern.sub(lambda _: line, text)  # noqa: B023 - used within this turn of the loop
    return text


def shipped(*keys: str) -> dict[str, Any]:
    """Settings of the shipped page."""
    page = yaml.safe_load((ROOT / "group_vars/all/cluster.yml").read_text())
    return {key: page[key] for key in keys}


def lab_values(name: str, network: ipaddress.IPv4Network, **more: Any) -> dict[str, Any]:
    """What a lab's page says otherwise than the shipped one: small machines in containers, and room for two labs.

    What most tests do not look at is off: monitoring and the release.
    """
    prefix = str(network.network_address).rpartition(".")[0]
    return {
        "cluster_name": name,
        "cluster_provider": "docker",
        "cluster_node_cidr": str(network),
        "cluster_metallb_addresses": [f"{prefix}.90-{prefix}.99"],
        "cluster_gateway": {"address": f"{prefix}.92", "ports": [80, 443, 8080]},
        "cluster_controllers": {"count": 1, "cpus": 2, "memory": 2048},
        "cluster_workers": {"count": 2, "cpus": 2, "memory": 2048},
        "cluster_parts": {**shipped("cluster_parts")["cluster_parts"], "monitoring": False},
        "cluster_releases": [],
        **more,
    }


def write_page(page: Path, name: str, *, source: Path = ROOT / "group_vars/all/cluster.yml", **more: Any) -> None:
    """Write the page of lab ``name`` on a network that is free now."""
    values = lab_values(name, free_network(networks_in_use(), name), **more)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(rewrite_page(source.read_text(), values))


def left_behind(name: str) -> dict[str, list[str]]:
    """What docker still holds of the machines of lab ``name``, by kind."""
    listed = {
        "container": docker("ps", "--all", "--format", "{{.Names}}"),
        "volume": docker("volume", "ls", "--format", "{{.Name}}"),
        "network": docker("network", "ls", "--format", "{{.Name}}"),
    }
    return {
        kind: sorted(item for item in items if item == name or item.startswith(f"{name}-"))
        for kind, items in listed.items()
    }


def clean(name: str) -> None:
    """Remove what docker holds of lab ``name``. Only labs: the name of a user's cluster is refused."""
    if not re.fullmatch(rf"{PREFIX}\w+-[0-9a-f]{{6}}", name):
        raise LabError(f"{name} is not the name of a lab")
    left = left_behind(name)
    if left["container"]:
        run("docker", "rm", "--force", "--volumes", *left["container"])
    for kind in ("volume", "network"):
        for item in left_behind(name)[kind]:
            run("docker", kind, "rm", item)


def main(arguments: list[str]) -> int:
    name = lab_name("molecule")
    match arguments:
        case ["page"]:
            key = ROOT / "molecule/.lab/user_key"
            key.parent.mkdir(parents=True, exist_ok=True)
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "a user of the lab", "-f", str(key))
            keys = [key.with_suffix(".pub").read_text().strip()]
            parts = dict.fromkeys(Parts.model_fields, True)
            # Each role is to do its own work there.
            more: dict[str, Any] = {"cluster_parts": parts, "cluster_gateway_api": True, "cluster_baked": False}
            write_page(MOLECULE_PAGE, name, cluster_ssh_keys=keys, **more)
        case ["clean"]:
            clean(name)
            MOLECULE_PAGE.unlink(missing_ok=True)
            shutil.rmtree(ROOT / "molecule/.lab", ignore_errors=True)
        case _:
            print("usage: python -m tests.support.lab page|clean", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as exc:
        sys.exit(f"lab: {exc}")
