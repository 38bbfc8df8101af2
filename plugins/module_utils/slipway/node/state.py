"""What a machine is, read from its own files.

Runs on the nodes (stdlib only). Every function takes text or a path and returns plain data, so that the
tables in tests/unit need no machine.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import os
import re
import socket
import stat
from collections.abc import Iterable, Mapping
from typing import Any

from .networks import claims
from .pod_network import USED

CAP_SYS_RESOURCE = 24
KUBELET_CONF = "etc/kubernetes/kubelet.conf"
RECORD = "var/lib/slipway/kubeadm.json"
# On a Node: the labels and taints that the page has given it.
SETTINGS = "slipway.io/node-settings"
ADMIN = "etc/kubernetes/admin.conf"
SEAL = "etc/kubernetes/encryption/config.yml"
CA = "etc/kubernetes/pki/ca.crt"
# Until it is in place everywhere.
NEXT_CA = "etc/kubernetes/pki/next"
MANIFESTS = "etc/kubernetes/manifests"
API_SERVER = f"{MANIFESTS}/kube-apiserver.yaml"
# On controllers alone, and never moved.
CONTROLLER = "etc/kubernetes/controller-manager.conf"
# What a controller runs as static pods.
PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
PLACED = "var/lib/slipway/artifacts.json"
LEASE = USED["lease_file"]
HOSTS_TEMPLATE = "etc/cloud/templates/hosts.debian.tmpl"
# What keeps a machine's time, by the name of its process (which the kernel cuts at 15 characters).
CLOCKS = ("chronyd", "ntpd", "systemd-timesyn")


def read(path: str) -> str:
    """Return the text of ``path``, or ``""`` when it is absent or not readable."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def os_release(text: str) -> dict[str, str]:
    """Read the ``KEY=value`` lines of os-release(5); keys are lower case, quotes removed."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip().lower(): value.strip().strip("\"'") for key, _, value in pairs}


def has_capability(status: str, bit: int) -> bool:
    """Tell whether ``bit`` is in the bounding set named by ``CapBnd`` in the text of /proc/1/status."""
    found = re.search(r"^CapBnd:\s*([0-9a-fA-F]+)$", status, re.MULTILINE)
    return bool(found and int(found.group(1), 16) >> bit & 1)


def is_container(environ: str, container_file: str) -> bool:
    """Tell whether PID 1 was started in a container (``container=`` in its environment, NUL-separated)."""
    return any(item.startswith("container=") and item != "container=" for item in environ.split("\0")) or bool(
        container_file.strip()
    )


def swap_devices(text: str) -> list[str]:
    """List what /proc/swaps names, its header left out."""
    return [line.split()[0] for line in text.splitlines()[1:] if line.strip()]


def memory_withheld(meminfo: str, *limits: str) -> int:
    """Tell how many MiB of what /proc/meminfo calls the machine's memory are not its own, rounded up.

    ``limits`` are texts of the files with the limit of its control group, in bytes; without one, or where it is
    ``max``, all of it is. A container sees the memory of the machine it runs on there, and so does its kubelet.
    """
    found = re.search(r"^MemTotal:\s*(\d+) kB$", meminfo, re.MULTILINE)
    own = [int(text) for text in limits if text.strip().isdigit()]
    return max(0, -(-(int(found.group(1)) * 1024 - min(own)) // 2**20)) if found and own else 0


def missing_packages(status: str, wanted: Iterable[str]) -> list[str]:
    """Keep the packages of ``wanted`` that the text of /var/lib/dpkg/status does not call installed."""
    installed = set()
    for paragraph in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status", "").endswith(" installed"):
            installed.add(fields.get("Package", ""))
    return [name for name in wanted if name not in installed]


def summed(path: str) -> str:
    """Say of a file, in one text, its permissions, owner, group and SHA-256; empty: there is none to read."""
    try:
        with open(path, "rb") as file:
            info, content = os.fstat(file.fileno()), file.read()
    except OSError:
        return ""
    return f"{stat.S_IMODE(info.st_mode):04o} {info.st_uid} {info.st_gid} {hashlib.sha256(content).hexdigest()}"


def interface_of(addresses: Iterable[Mapping[str, Any]], address: str) -> str:
    """Name the interface that holds ``address`` in the output of ``ip -json address``, ``""`` when none does."""
    for link in addresses:
        if any(info.get("local") == address for info in link.get("addr_info", [])):
            return str(link["ifname"])
    return ""


def network_first(addresses: Iterable[Mapping[str, Any]], address: str) -> str:
    """Return the first address of the network that ``address`` is on (a gateway by custom), ``""`` when unknown."""
    for link in addresses:
        for info in link.get("addr_info", []):
            if info.get("local") == address:
                network = ipaddress.ip_network(f"{address}/{info['prefixlen']}", strict=False)
                return str(network[1]) if network.num_addresses > 2 else address
    return ""


def name_servers(*texts: str) -> list[str]:
    """List the name servers of resolv.conf(5) texts that a pod can use, three at most: IPv4, no loopback."""
    return [server for server in _servers(texts) if _pods_can_use(server)][:3]


def useless_name_servers(*texts: str) -> list[str]:
    """List the name servers of resolv.conf(5) texts where there are some, and none that a pod can use."""
    found = _servers(texts)
    return [] if any(map(_pods_can_use, found)) else found


def _servers(texts: Iterable[str]) -> list[str]:
    lines = [line.split() for text in texts for line in text.splitlines()]
    return list(dict.fromkeys(words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"))


def _pods_can_use(server: str) -> bool:
    # Pods have IPv4 alone; a zone (%eth0) names an interface of the machine, which they do not have.
    try:
        address = ipaddress.IPv4Address(server)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or address.is_multicast)


def resolve(name: str) -> list[str]:
    """Give the IPv4 addresses that this machine finds for ``name``, as it does for every program; empty: none."""
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def ca_sum(pem: str) -> str:
    """Give the sha256 sum of the first certificate in ``pem``, ``""`` when there is none."""
    return next(iter(ca_sums(pem)), "")


def ca_sums(pem: str) -> list[str]:
    """Give the sha256 sum of each certificate in ``pem``."""
    found = re.findall(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----", pem)
    try:
        return [hashlib.sha256(base64.b64decode(one)).hexdigest() for one in found]
    except ValueError:
        return []


def server_version(manifest: str) -> str:
    """Read the release of an API server out of its manifest: the tag of its image, without the leading v."""
    return image_version(manifest, "kube-apiserver")


def image_version(manifest: str, part: str) -> str:
    """Read the tag of a part's image out of its manifest, without the leading v; empty when there is none."""
    found = re.search(rf"image:\s*\S+/{re.escape(part)}:v?([^\s@]+)", manifest)
    return found.group(1) if found else ""


def advertised(manifest: str) -> str:
    """Read the address that an API server is known by out of its manifest, ``""`` when it names none."""
    found = re.search(r"--advertise-address=([^\s\"']+)", manifest)
    return found.group(1) if found else ""


def kubelet_version(record: str) -> str:
    """Read the release of the kubelet out of the record of what was placed on this machine."""
    try:
        return str(json.loads(record)["/usr/local/bin/kubelet#kubelet"]["version"]).removeprefix("v")
    except (ValueError, KeyError, TypeError):
        return ""


def pod_cidr(environment: str) -> str:
    """Read a node's share of the pod network out of its lease, ``key=10.244.1.1/24``; ``""`` when it names none."""
    found = re.search(rf"^{USED['lease_key']}=(\S+)$", environment, re.MULTILINE)
    try:
        return str(ipaddress.ip_network(found.group(1), strict=False)) if found else ""
    except ValueError:
        return ""


def registration(node: Mapping[str, Any] | None, connected: bool, address: str) -> dict[str, bool | None]:
    """Tell whether the cluster has all that a node of it needs.

    ``node`` is the Node object, empty when there is none, None when there is no telling (as are the answers then);
    ``connected`` says that the pod network has run on this machine. ``registered``: the node is there, with what its
    kubelet and the pod network write into it when they start; ``marked``: it is marked as a controller; ``settings``:
    the page has given it labels or taints; ``moved``: the other nodes send what is for its pods to another address than
    ``address``, which is the machine's now.
    """
    if node is None:
        return {"registered": None, "marked": None, "moved": None, "settings": None}
    metadata = node.get("metadata", {})
    labels, annotations = metadata.get("labels", {}), metadata.get("annotations", {})
    reached = not connected or USED["announced"] in annotations
    return {
        "registered": "kubernetes.io/hostname" in labels and reached,
        "marked": "node-role.kubernetes.io/control-plane" in labels,
        "settings": SETTINGS in annotations,
        # Whoever has set another one means it.
        "moved": USED["address_set"] not in annotations and annotations.get(USED["address"], address) != address,
    }


def clock(processes: Iterable[str]) -> str:
    """Name the process that keeps this machine's time, ``""`` when none does."""
    running = set(processes)
    return next((name for name in CLOCKS if name in running), "")


def digest(path: str) -> str:
    """Give the SHA-256 of a file; empty: there is none."""
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return ""


def kubernetes_state(root: str) -> dict[str, Any]:
    """Tell how far this machine is in a cluster.

    ``joined``: a kubelet has its own credentials and the last kubeadm run of ours ended well.
    ``controller``: as ``joined``, and it is a controller, also where an upgrade that was cut off has left it without
    its API server.
    ``interrupted``: a kubeadm run of ours began here and did not end; ``founding``: it was to found the cluster.
    ``foreign``: a kubelet has credentials, and no run of ours gave them to it.
    ``remains``: it is in none, and has what a run that was cut off has left of one, or made of one;
    ``etcd``: there is etcd data; ``sealed``: there is the key that Secrets in it are encrypted with.
    ``node``: the name by which it joined, where that is known;
    ``ca``: the sum of the CA of the cluster that it joined; ``cas``: also that of the other one, while the CA is
    replaced; ``rotating``: it is, and this controller has the new one; ``version``: the release that it runs there,
    that of the API server on a controller, else that of the kubelet; ``kubelet``: that of the kubelet; ``parts``: the
    releases of what a controller runs, by name, empty for one that is not declared; ``pod_cidr``: the network that its
    pods have addresses of; ``address``: the one that the API server here is known by; ``admin``: the sum of the
    administrator's kubeconfig.
    These are empty unless ``joined``.
    """
    text = read(os.path.join(root, RECORD))
    try:
        record = json.loads(text or "{}")
    except ValueError:
        record = {"state": "started"}
    kubelet = os.path.exists(os.path.join(root, KUBELET_CONF))
    interrupted = record.get("state") == "started"
    joined = kubelet and record.get("state") == "done"
    etcd = os.path.isdir(os.path.join(root, "var/lib/etcd/member"))
    manifest = os.path.join(root, API_SERVER)
    controller = joined and (os.path.exists(manifest) or os.path.exists(os.path.join(root, CONTROLLER)))
    trusted = ca_sums(read(os.path.join(root, CA)))
    ca = record.get("ca") or next(iter(trusted), "")
    placed = kubelet_version(read(os.path.join(root, PLACED)))
    version = server_version(read(manifest)) if controller else placed
    parts = {part: image_version(read(os.path.join(root, MANIFESTS, f"{part}.yaml")), part) for part in PARTS}
    return {
        "joined": joined,
        "controller": controller,
        "interrupted": interrupted,
        "founding": interrupted and record.get("action") == "init",
        "foreign": kubelet and not record,
        "remains": not joined and bool(text.strip() or etcd),
        "etcd": etcd,
        "sealed": bool(read(os.path.join(root, SEAL)).strip()),
        "node": str(record.get("node", "")) if joined else "",
        "ca": ca if joined else "",
        "cas": (sorted({*trusted}) if ca in trusted else [ca]) if joined and ca else [],
        "rotating": os.path.isdir(os.path.join(root, NEXT_CA)),
        "version": version if joined else "",
        "kubelet": placed if joined else "",
        "parts": parts if controller else {},
        "pod_cidr": pod_cidr(read(os.path.join(root, LEASE))) if joined else "",
        "address": advertised(read(manifest)) if controller else "",
        "admin": digest(os.path.join(root, ADMIN)) if controller else "",
    }


def describe(
    root: str,
    addresses: Iterable[Mapping[str, Any]],
    address: str,
    packages: Iterable[str],
    routes: Iterable[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Put together all that the roles ask about the machine whose file system starts at ``root``.

    ``addresses`` is the output of ``ip -json address``, ``address`` the machine's own on the node network,
    ``packages`` the Debian packages that a role is going to ask for, ``routes`` the output of ``ip -json route``.
    """

    def text(path: str) -> str:
        return read(os.path.join(root, path))

    def names(path: str) -> list[str]:
        folder = os.path.join(root, path)
        return os.listdir(folder) if os.path.isdir(folder) else []

    release = os_release(text("etc/os-release"))
    links = list(addresses)
    # systemd-resolved keeps the real servers in a file of its own and puts a loopback address into resolv.conf.
    resolvers = (text("etc/resolv.conf"), text("run/systemd/resolve/resolv.conf"))
    return {
        "os": release.get("id", ""),
        "os_version": release.get("version_id", ""),
        "os_codename": release.get("version_codename", ""),
        "os_name": release.get("pretty_name", ""),
        "container": is_container(text("proc/1/environ"), text("run/systemd/container")),
        "cgroup": 2 if os.path.exists(os.path.join(root, "sys/fs/cgroup/cgroup.controllers")) else 1,
        "may_raise_limits": has_capability(text("proc/1/status"), CAP_SYS_RESOURCE),
        "memory_withheld": memory_withheld(
            text("proc/meminfo"), text("sys/fs/cgroup/memory.max"), text("sys/fs/cgroup/memory/memory.limit_in_bytes")
        ),
        "interface": interface_of(links, address),
        "networks": claims(links, routes),
        "nameservers": name_servers(*resolvers) or [network_first(links, address)],
        "nameservers_useless": useless_name_servers(*resolvers),
        "swap": swap_devices(text("proc/swaps")),
        # fstab, partition types and zram all bring swap back by way of this target.
        "swap_masked": os.path.realpath(os.path.join(root, "etc/systemd/system/swap.target")) == "/dev/null",
        # dpkg keeps a file here for every step it began and did not end.
        "dpkg_interrupted": any(name.isdigit() for name in names("var/lib/dpkg/updates")),
        "clock": clock(text(f"proc/{name}/comm").strip() for name in names("proc") if name.isdigit()),
        "hosts_template": f"/{HOSTS_TEMPLATE}" if text(HOSTS_TEMPLATE) else "",
        "packages_missing": missing_packages(text("var/lib/dpkg/status"), packages),
        "kubernetes": kubernetes_state(root),
    }
