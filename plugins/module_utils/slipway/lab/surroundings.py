"""What the checks of the settings need to know of the computer that they are used on."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import partial
from ipaddress import IPv4Network as Network
from pathlib import Path
from typing import Any

import yaml

from ..artifacts import versions
from ..artifacts.cache import default_root, folder_size
from ..node.architecture import of_this_computer
from ..node.kubeapi import Api, ApiError
from ..node.networks import Claim, claims, of_name_servers
from ..node.state import resolve
from ..page.computer_rules import OF_PROVIDERS, VIRTUALBOX_CONF
from ..page.founding import Founding, kept
from ..page.model import Settings
from ..page.rules import Surroundings
from ..paths import ROOT
from . import computer
from .computer import free_space
from .decide import decide_mirror, decide_provider
from .vagrant import records, vagrant_folder

# Of what Docker takes its networks unless its daemon.json says otherwise.
POOLS = ("172.17.0.0/16", "172.18.0.0/15", "172.20.0.0/14", "172.24.0.0/14", "172.28.0.0/14", "192.168.0.0/16")


def look_around(settings: Settings, *, state: Path, root: Path = ROOT) -> Surroundings:
    """Find out what the checks need to know of this computer."""
    existing = records(vagrant_folder(state, root))
    provider = decide_provider(settings, existing)
    cache = default_root()
    total, available = memory()
    running, known = running_kubernetes(state / "kubeconfig"), kept(state)
    if running:
        known = Founding(founded(state / "kubeconfig"), controllers(state / "kubeconfig"))
    elif provider != "hosts" and existing.keys().isdisjoint(known.controllers):
        # Its controllers are gone, and the cluster with them.
        known = Founding()
    return Surroundings(
        root=root,
        provider=provider,
        architecture=of_this_computer(),
        with_mirror=decide_mirror(settings, provider, existing, state),
        existing=frozenset(existing),
        memory_available=available,
        memory_total=total,
        cache=cache,
        cache_free=free_space(cache),
        cache_filled=any(cache.glob("bundles/*/bundle.json")),
        cache_used=partial(folder_size, cache),
        virtualbox_networks=virtualbox_networks(Path(VIRTUALBOX_CONF)),
        kubernetes_releases=kubernetes_releases(root / "artifacts"),
        kubernetes_running=running,
        founded=known.values,
        controllers=known.controllers,
        claimed=partial(claimed, provider),
        resolve=resolve,
    )


def memory(file: Path = Path("/proc/meminfo")) -> tuple[int | None, int | None]:
    """Read total and available memory in MiB; None where the system does not say."""
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except OSError:
        return None, None
    sizes = {name: int(rest.split()[0]) // 1024 for name, _, rest in (line.partition(":") for line in lines) if rest}
    return sizes.get("MemTotal"), sizes.get("MemAvailable")


def virtualbox_networks(file: Path) -> tuple[str, ...]:
    """Read which host-only networks VirtualBox allows; empty: not known, so nothing is refused."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ("192.168.56.0/21",)
    except (OSError, ValueError):
        return ()
    words = [word for line in text.splitlines() if line.lstrip().startswith("*") for word in line.split()]
    networks = []
    for word in words:
        try:
            networks.append(str(Network(word, strict=False)))
        except ValueError:
            continue
    return tuple(networks)


def claimed(provider: str) -> list[Claim]:
    """List the networks that this computer has and reaches, those that its Docker may take, and its name servers."""
    found: list[Claim] = [*claims(*(_json("ip", "-json", what) or [] for what in ("address", "route")))]
    if provider == "docker" and shutil.which("docker"):
        # Where nobody has set them, Docker does not name them.
        pools = _json("docker", "info", "--format", "{{json .DefaultAddressPools}}") or [
            {"Base": text} for text in POOLS
        ]
        found += [
            {"network": pool["Base"], "what": "Docker takes networks of it", "route": False}
            for pool in pools
            if ":" not in pool["Base"]
        ]
    own = OF_PROVIDERS.get(provider, {})
    found += [{"network": network, "what": what, "route": False} for network, what in own.items()]
    return [*found, *of_name_servers(computer.name_servers())]


def _json(*command: str) -> Any:
    """Run a program and read what it prints; None where it is not there, or has nothing to say."""
    try:
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def kubernetes_releases(artifacts: Path) -> tuple[str, ...]:
    """Read the releases of Kubernetes that the catalog knows, oldest first; empty: not known."""
    return tuple(sorted(map(str, _entry(artifacts / "catalog.yml", "kubernetes")), key=versions.order))


def running_kubernetes(kubeconfig: Path) -> str:
    """Ask the cluster that an earlier run made which release it runs; empty: there is none, or it does not answer."""
    return str(_answer(kubeconfig, "/version").get("gitVersion", "")).removeprefix("v")


def founded(kubeconfig: Path) -> dict[str, str]:
    """Ask the cluster that an earlier run made what it was founded with, by the names of the settings.

    It is what kubeadm keeps (ConfigMap kubeadm-config in kube-system); empty: there is none, or it does not answer.
    """
    answer = _answer(kubeconfig, "/api/v1/namespaces/kube-system/configmaps/kubeadm-config")
    try:
        kept = yaml.safe_load(answer["data"]["ClusterConfiguration"])
        networks = kept["networking"]
        return {
            "cluster_name": str(kept["clusterName"]),
            "cluster_api_endpoint": str(kept["controlPlaneEndpoint"]),
            "cluster_pod_cidr": str(networks["podSubnet"]),
            "cluster_service_cidr": str(networks["serviceSubnet"]),
            "cluster_dns_domain": str(networks["dnsDomain"]),
        }
    except (yaml.YAMLError, KeyError, TypeError):
        return {}


def controllers(kubeconfig: Path) -> dict[str, str]:
    """Ask the cluster that an earlier run made for the addresses of its controllers, by name; empty: no answer."""
    found = _answer(kubeconfig, "/api/v1/nodes?labelSelector=node-role.kubernetes.io/control-plane")
    return {
        node["metadata"]["name"]: entry["address"]
        for node in found.get("items", [])
        for entry in reversed(node.get("status", {}).get("addresses", []))
        if entry["type"] == "InternalIP" and ":" not in entry["address"]
    }


def _answer(kubeconfig: Path, path: str) -> dict[str, Any]:
    """Ask the cluster of ``kubeconfig``; empty: there is none, or it does not answer."""
    try:
        return Api(kubeconfig.read_text(encoding="utf-8"), timeout=2.0).request("GET", path)[1]
    except (OSError, ValueError, ApiError):
        return {}


def _entry(file: Path, name: str) -> dict[str, Any]:
    """Read one map of a YAML file; empty without it. What is wrong with these files is said by those who use them."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506  both are safe
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    entry = content.get(name) if isinstance(content, dict) else None
    return entry if isinstance(entry, dict) else {}
