"""The contract of a pod network: what it gives to a node and to the cluster, and what others have to know of it.

Runs on the nodes, too (stdlib only). Playbooks read the network in use as ``slipway_pod_network``. What else a second
network takes stands in docs/explanation/architecture.md.
"""

from __future__ import annotations

from typing import TypedDict


class PodNetwork(TypedDict):
    """One network. Everything else in this tree reads its names from here."""

    role: str
    """In ``roles``: ``tasks/node.yml`` puts it on a node, ``tasks/main.yml`` into the cluster."""
    part: str
    """Of artifacts/catalog.yml: its images, and the files that its nodes get."""
    title: str
    """What people call it."""
    namespace: str
    """Of its pods."""
    modules: list[str]
    """Kernel modules that a node loads for it, beside those that every node has."""
    sysctls: dict[str, int]
    """Kernel parameters that it needs on a node."""
    port: str
    """By which the packets of pods travel between nodes, as ``number/protocol``."""
    carrier: str
    """What they travel in."""
    overhead: int
    """Bytes of each packet that this takes."""
    link: str
    """The network interface that it makes on a node, and by which a node reaches the pods of others."""
    devices: str
    """All of its interfaces on a node, as a regular expression."""
    left: list[str]
    """Interfaces that ``kubeadm reset`` leaves."""
    chains: list[str]
    """How the names of its chains of iptables begin."""
    tables: list[str]
    """Its tables of nftables, each with its family."""
    lease_file: str
    """On the node, below its root: names the share of the pod network that the node has."""
    lease_key: str
    """The line ``key=network`` in it."""
    cni_file: str
    """The CNI configuration of a node, which it writes."""
    process: str
    """What runs on a node, and announces the node when it starts."""
    address: str
    """Annotation of a Node: the address to which other nodes send what is for its pods."""
    address_set: str
    """Annotation of a Node by which somebody sets another address on purpose."""
    announced: str
    """Annotation of a Node that is there once it was announced."""


NETWORKS: dict[str, PodNetwork] = {
    "flannel": {
        "role": "flannel",
        "part": "flannel",
        "title": "Flannel",
        "namespace": "kube-flannel",
        "modules": ["vxlan"],
        "sysctls": {"net.ipv4.ip_forward": 1, "net.bridge.bridge-nf-call-iptables": 1},
        "port": "8472/udp",
        "carrier": "VXLAN",
        "overhead": 50,
        "link": "flannel.1",
        "devices": r"cni\d*|flannel[.\d-].*",
        "left": ["cni0", "flannel.1"],
        "chains": ["FLANNEL-"],
        "tables": ["ip flannel-ipv4", "ip6 flannel-ipv6"],
        "lease_file": "run/flannel/subnet.env",
        "lease_key": "FLANNEL_SUBNET",
        "cni_file": "10-flannel.conflist",
        "process": "flanneld",
        "address": "flannel.alpha.coreos.com/public-ip",
        "address_set": "flannel.alpha.coreos.com/public-ip-overwrite",
        "announced": "flannel.alpha.coreos.com/backend-data",
    }
}
USED = NETWORKS["flannel"]


def reset(network: PodNetwork = USED) -> str:
    """Give the commands that take a node out of its cluster, on that machine, with what the network has left there."""
    return "; ".join(["sudo kubeadm reset --force", *(f"sudo ip link delete {link}" for link in network["left"])])
