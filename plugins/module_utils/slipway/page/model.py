"""The settings of a cluster: the model of the page ``group_vars/all/cluster.yml``.

A key is added in one place: a field of ``Settings`` (or of the map it belongs to) with its default, description, unit,
example and limits, and a line on the page. The JSON schema, the messages and the test that page and model agree follow.
What concerns more than one key is in ``checks.py``; ``examine.py`` holds a page against both.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from ..node.networks import special
from ..paths import ROOT
from .backup_keys import WHEN, Backup
from .form import Form, Map, WrongError, setting

PAGE = ROOT / "group_vars" / "all" / "cluster.yml"
PREFIX = "cluster_"

# Ansible's own, and the groups of the inventory: a host of that name is another one, or none.
_TAKEN = ("localhost", "all", "ungrouped", "controllers", "workers", "mirror", "nodes")
# The length of the largest network that is free for everybody's own use.
LARGEST = 8
# As many nodes as Kubernetes is made for.
MOST_NODES = 5000

Provider = Literal["auto", "virtualbox", "libvirt", "docker", "hosts"]
Role = Literal["controller", "worker", "mirror"]
Architecture = Literal["auto", "amd64", "arm64"]
System = Literal["debian-12", "debian-13", "ubuntu-24.04"]

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DNS_NAME = rf"{_LABEL}(\.{_LABEL})*"


class _UnclearError(WrongError):
    """Addresses that Python reads and that are refused all the same; the message says why."""


def _network(text: str) -> str:
    try:
        ipaddress.IPv4Network(text)
    except ValueError as exc:
        try:
            meant = ipaddress.IPv4Network(text, strict=False)
        except ValueError:
            raise WrongError("not-a-network", "must be an IPv4 network in CIDR form") from exc
        raise WrongError("host-bits-set", f"has bits set beyond its length; that network is {meant}") from exc
    if ipaddress.IPv4Network(text).prefixlen < LARGEST and "/" in text:
        raise WrongError("network-too-large", f"must be no larger than /{LARGEST}, the size of 10.0.0.0/{LARGEST}")
    if "/" not in text:
        raise WrongError("not-a-network", "must say how large the network is, as in 192.168.56.0/24")
    return _ordinary(_with_a_length(text))


def _ordinary(text: str) -> str:
    if means := special(text):
        raise WrongError("special-address", f"has addresses that no machine can have: they are {means}")
    return text


def _with_a_length(text: str) -> str:
    # Python also takes a mask or no length at all, which neither kubeadm nor MetalLB can read.
    if not re.fullmatch(r"[0-9.]+/[0-9]{1,2}", text):
        meant = ipaddress.IPv4Network(text)
        raise _UnclearError("not-a-network", f"must be written with the length of its prefix, as in {meant}")
    return text


def _address(text: str) -> str:
    try:
        ipaddress.IPv4Address(text)
    except ValueError as exc:
        raise WrongError("not-an-address", "must be an IPv4 address") from exc
    return _ordinary(text)


def _optional_address(text: str) -> str:
    return _address(text) if text else text


def address_range(text: str) -> tuple[ipaddress.IPv4Address, ipaddress.IPv4Address]:
    """Read ``first-last`` or a CIDR as its first and last address; ``ValueError`` when it is neither."""
    first, dash, last = (part.strip() for part in text.partition("-"))
    if not dash:
        network = ipaddress.IPv4Network(_with_a_length(first))
        return network[0], network[-1]
    start, end = ipaddress.IPv4Address(first), ipaddress.IPv4Address(last)
    if start > end:
        raise _UnclearError("not-a-range", f"starts at {start}, which comes after its end {end}")
    return start, end


def _range(text: str) -> str:
    try:
        address_range(text)
    except _UnclearError:
        raise
    except ValueError as exc:
        raise WrongError("not-a-range", "must be a range first-last of IPv4 addresses, or an IPv4 network") from exc
    return text


def _free_name(text: str) -> str:
    if text in _TAKEN:
        what = "is a name that Ansible, or a group of its inventory, has already"
        raise WrongError("reserved-name", what, f"{text}-1")
    return text


def _no_number(value: Any) -> Any:
    # 1 is equal to true, and would pass for it.
    if isinstance(value, int) and not isinstance(value, bool):
        raise WrongError("not-one-of", "must be one of auto, true, false")
    return value


def _audit(value: Any) -> Any:
    # YAML reads a plain `off` as false.
    if value is False:
        return "off"
    if not isinstance(value, str) or not re.fullmatch(r"off|metadata|[^\s{}][^{}]*\.ya?ml", value):
        raise WrongError("not-one-of", "must be one of off, metadata, or the name of a YAML file")
    return value


_NAME = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_KEY = rf"({_DNS_NAME}/)?{_NAME}"
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
# The kubelet writes these itself, and a run would not be of one mind with it.
_OF_THE_KUBELET = ("kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch")


def _label(text: str) -> str:
    if not re.fullmatch(_KEY, text):
        raise WrongError("wrong-form", "must be the key of a label, as in disk or example.org/disk")
    if text in _OF_THE_KUBELET:
        raise WrongError("reserved-name", "is a label that the kubelet writes")
    return text


NetworkText = Annotated[str, AfterValidator(_network)]
AddressText = Annotated[str, AfterValidator(_address)]
OptionalAddressText = Annotated[str, AfterValidator(_optional_address)]
RangeText = Annotated[str, AfterValidator(_range)]
ReleasePage = Annotated[str, Field(pattern=r"^[^\s{}][^{}]*\.ya?ml$")]
ProxyException = Annotated[str, Field(pattern=r"^[^\s,{}]+$")]


class Controllers(Map):
    """The machines of the control plane."""

    count: int = setting(
        ..., "How many controllers: 1 or an odd number.", unit="machines", example=1, ge=1, le=MOST_NODES
    )
    cpus: int = setting(
        ..., "CPUs of each; kubeadm refuses a controller with fewer than 2.", unit="CPUs", example=2, ge=2
    )
    memory: int = setting(
        ..., "Memory of each; kubeadm refuses a controller with less than 1700.", unit="MiB", example=4096, ge=1700
    )


class Workers(Map):
    """The machines that run what is released."""

    count: int = setting(..., "How many workers.", unit="machines", example=2, ge=0, le=MOST_NODES)
    cpus: int = setting(..., "CPUs of each.", unit="CPUs", example=2, ge=1)
    memory: int = setting(
        ..., "Memory of each; below 700 kubelet and containerd have no room.", unit="MiB", example=6144, ge=700
    )


class Node(Map):
    """What one node has otherwise than the others."""

    labels: dict[
        Annotated[str, AfterValidator(_label)],
        Annotated[str, Field(pattern=rf"^({_NAME})?$")],
    ] = setting({}, "Labels of the node.", example={"disk": "ssd"}, rule="must be the value of a label")
    taints: list[Annotated[str, Field(pattern=rf"^{_KEY}(={_NAME})?:({'|'.join(EFFECTS)})$")]] = setting(
        [],
        "Taints of the node, as kubectl writes them: key=value:effect. The effect is NoSchedule, PreferNoSchedule or "
        "NoExecute.",
        example=["gpu=true:NoSchedule"],
        rule="must be key=value:effect with one of the effects NoSchedule, PreferNoSchedule, NoExecute",
    )
    cpus: int = setting(
        0, "CPUs of a machine that is made; 0: as the others of its role.", unit="CPUs", example=4, ge=0
    )
    memory: int = setting(
        0, "Memory of a machine that is made; 0: as the others of its role.", unit="MiB", example=8192, ge=0
    )


class Host(Map):
    """A machine that exists already (provider ``hosts``)."""

    name: Annotated[str, AfterValidator(_free_name)] = setting(
        ...,
        "Name of the host and of its node.",
        example="node-1",
        pattern=rf"^{_LABEL}$",
        max_length=63,
        rule="must be lower-case letters, digits and hyphens, at most 63 of them",
    )
    address: AddressText = setting(
        ..., "Its address on the node network (cluster_node_cidr); SSH goes there too.", example="192.168.56.101"
    )
    role: Role = setting(..., "What it becomes: controller, worker or mirror.", example="worker")
    user: str = setting(
        "",
        "SSH user with sudo rights; empty: what ssh or -u says.",
        example="debian",
        pattern=r"^([A-Za-z_][\w.-]*)?$",
        rule="must be the name of a user",
    )
    port: int = setting(22, "SSH port.", unit="port number", example=22, ge=1, le=65535)
    key: str = setting(
        "",
        "Private SSH key file on your machine (absolute, ~/… or from the checkout); empty: ssh's own choice.",
        example="~/.ssh/id_ed25519",
    )
    architecture: Architecture = setting(
        "auto", "Architecture of its processor; auto: the one of cluster_architecture.", example="arm64"
    )


class Proxy(Map):
    """How machines and this computer reach the internet."""

    http: str = setting(
        ...,
        "Proxy for http:// addresses; empty: none.",
        example="http://proxy.example.org:3128",
        pattern=r"^(https?://[^\s/{}]+/?)?$",
        rule="must be the URL of a proxy, or empty",
    )
    https: str = setting(
        ...,
        "Proxy for https:// addresses; empty: none.",
        example="http://proxy.example.org:3128",
        pattern=r"^(https?://[^\s/{}]+/?)?$",
        rule="must be the URL of a proxy, or empty",
    )
    no_proxy: list[ProxyException] = setting(
        ..., "Names, domains and networks reached without it; those of the cluster are added.", example=["example.org"]
    )


class Parts(Map):
    """What is installed on top of Kubernetes and its pod network."""

    metallb: bool = setting(..., "Addresses for Services of type LoadBalancer (MetalLB).", example=True)
    istio: bool = setting(..., "Service mesh with a gateway (Istio); needs metallb.", example=True)
    storage: bool = setting(
        ..., "A default StorageClass on the nodes' own disks, and the shared folder /mnt/shared.", example=True
    )
    metrics_server: bool = setting(
        ..., "What kubectl top and HorizontalPodAutoscalers read (metrics-server).", example=True
    )
    monitoring: bool = setting(..., "Prometheus, Alertmanager, and what they watch; about 500 MiB.", example=True)
    grafana: bool = setting(
        False, "Grafana with dashboards of the cluster, the mesh and the releases; needs monitoring.", example=False
    )
    kiali: bool = setting(False, "Kiali, the mesh as a graph; needs istio and monitoring.", example=False)
    headlamp: bool = setting(False, "Headlamp, the cluster's objects in a browser.", example=False)
    tracing: bool = setting(
        False, "Zipkin, and traces of a share of the requests through the mesh; needs istio.", example=False
    )


class Gateway(Map):
    """The mesh's door to the outside."""

    address: OptionalAddressText = setting(
        ..., "Its address, one of cluster_metallb_addresses; empty: one that MetalLB picks.", example="192.168.56.92"
    )
    ports: list[Annotated[int, Field(ge=1, le=65535)]] = setting(
        ..., "Ports it answers on; 443 is the one for TLS.", example=[80, 443, 8080], min_length=1
    )


class Settings(Map):
    """Settings of a Slipway cluster (group_vars/all/cluster.yml)."""

    cluster_name: str = setting(
        "slipway",
        "Name of the cluster; machines, networks and volumes carry it, so two clusters live side by side.",
        example="slipway",
        pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$",
        max_length=32,
        rule="must start with a letter and have only lower-case letters, digits and hyphens, at most 32",
    )
    cluster_provider: Provider = setting(
        "auto",
        "Where the machines come from. auto: VirtualBox, else libvirt, else docker. hosts: those of cluster_hosts.",
        example="auto",
    )
    cluster_controllers: Controllers = setting(
        Controllers(count=1, cpus=2, memory=4096),
        "The control plane.",
        example={"count": 1, "cpus": 2, "memory": 4096},
    )
    cluster_workers: Workers = setting(
        Workers(count=2, cpus=2, memory=6144), "The workers.", example={"count": 2, "cpus": 2, "memory": 6144}
    )
    cluster_hosts: list[Host] = setting(
        [],
        "Machines that exist already, for provider hosts.",
        example=[{"name": "ctrl", "address": "192.168.56.100", "role": "controller", "user": "debian"}],
        max_length=MOST_NODES,
    )
    cluster_architecture: Architecture = setting(
        "auto",
        "Architecture of the machines' processors. auto: that of this computer, which machines that are made here "
        "always have.",
        example="auto",
    )
    cluster_node_cidr: NetworkText = setting(
        "192.168.56.0/24",
        "Network of the nodes. Made machines: mirror at .10; ctrl at .100, ctrl-2 at .12, ctrl-3 at .13 and so on; "
        "node-1 at .101, node-2 at .102 and so on.",
        example="192.168.56.0/24",
    )
    cluster_pod_cidr: NetworkText = setting(
        "10.244.0.0/16", "Network of the pods; each node takes a /24 of it.", example="10.244.0.0/16"
    )
    cluster_service_cidr: NetworkText = setting("10.96.0.0/12", "Network of the Services.", example="10.96.0.0/12")
    cluster_dns_domain: str = setting(
        "cluster.local",
        "DNS domain inside the cluster.",
        example="cluster.local",
        pattern=rf"^{_DNS_NAME}$",
        max_length=253,
        rule="must be a DNS name in lower case, each part with at most 63 characters, 253 together",
    )
    cluster_parts: Parts = setting(
        Parts(metallb=True, istio=True, storage=True, metrics_server=True, monitoring=True),
        "What is installed on top of Kubernetes.",
        example={"metallb": True, "istio": True, "storage": True, "metrics_server": True, "monitoring": True},
    )
    cluster_metallb_addresses: list[RangeText] = setting(
        ["192.168.56.90-192.168.56.99"],
        "Addresses for Services of type LoadBalancer, each a first-last range or a network, inside cluster_node_cidr; "
        "empty: ten that are free, .90 to .99 where they are.",
        example=["192.168.56.90-192.168.56.99"],
    )
    cluster_gateway: Gateway = setting(
        Gateway(address="192.168.56.92", ports=[80, 443, 8080]),
        "The gateway of the mesh.",
        example={"address": "192.168.56.92", "ports": [80, 443, 8080]},
    )
    cluster_ingress_classes: list[Annotated[str, Field(pattern=rf"^{_DNS_NAME}$", max_length=253)]] = setting(
        ["istio"],
        "IngressClasses that the gateway serves, at ports 80 and 443.",
        example=["istio", "nginx"],
        rule="must be the name of an IngressClass: lower-case letters, digits, hyphens and dots",
    )
    cluster_ingress_default: str = setting(
        "",
        "One of cluster_ingress_classes, for Ingresses that name none; empty: such Ingresses are not served.",
        example="istio",
        pattern=rf"^({_DNS_NAME})?$",
        max_length=253,
        rule="must be one of cluster_ingress_classes, or empty",
    )
    cluster_gateway_api: bool = setting(
        False,
        "The Gateway API: its CustomResourceDefinitions, and a Gateway (istio-system/slipway) that HTTPRoutes of any "
        "namespace may name, at the ports of the mesh's gateway; needs istio.",
        example=True,
    )
    cluster_mtls: Literal["permissive", "strict"] = setting(
        "permissive",
        "Traffic between pods of the mesh. permissive: encrypted where both ends can; strict: else refused.",
        example="permissive",
    )
    cluster_releases: list[ReleasePage] = setting(
        [],
        "Pages of releases that a run ends with, in this order: files of the checkout, or absolute paths. "
        "The images of the example application come with the bundle when one of them needs them.",
        example=["releases/sms-checker.yml"],
        rule="must be the page of a release",
    )
    cluster_api_endpoint: str = setting(
        "",
        "host[:port] that reaches all controllers; empty with one controller: its own address.",
        example="192.168.56.50:6443",
        pattern=rf"^({_DNS_NAME}(:[1-9][0-9]{{0,4}})?)?$",
        rule="must be a host name or IPv4 address, with or without :port, or empty; parts have at most 63 characters",
    )
    cluster_kubernetes_version: str = setting(
        "1.37.2",
        "Kubernetes release, in quotes.",
        example="1.37.2",
        pattern=r"^[1-9][0-9]*\.[0-9]+\.[0-9]+$",
        rule="must be a full release number in quotes",
    )
    cluster_upgrade_batch: int = setting(
        1,
        "How many workers `make upgrade` upgrades at a time; they are drained one after the other.",
        example=1,
        unit="workers",
        ge=1,
    )
    cluster_artifacts_from: Literal["auto", "upstream", "source"] = setting(
        "auto",
        "Where programs and images come from. upstream: their publishers; source: built from source on this machine; "
        "auto: upstream, and built from source what cannot be reached.",
        example="auto",
    )
    cluster_accept_unverified: bool = setting(
        False,
        "Take an upstream file that has no known checksum, and remember its sum in artifacts/lock.yml.",
        example=False,
    )
    cluster_mirror: Annotated[Literal["auto", True, False], BeforeValidator(_no_number)] = setting(
        "auto",
        "Give the nodes programs and images from a mirror. auto: with docker, else when upstream cannot be reached.",
        example="auto",
    )
    cluster_box: str = setting(
        "auto",
        "Vagrant box of the VMs (virtualbox, libvirt). built: made here from Debian packages (make box); auto: "
        "bento/ubuntu-24.04, and built where that cannot be reached.",
        example="bento/ubuntu-24.04",
        pattern=r"^[^\s{}]+$",
        rule="must be the name of a Vagrant box",
    )
    cluster_baked: Annotated[Literal["auto", True, False], BeforeValidator(_no_number)] = setting(
        "auto",
        "Make machines with what roles would install on each of them. auto: container nodes, where it can be done, and "
        "boxes of `make box`; true: these, or stop; false: never.",
        example=False,
    )
    cluster_vagrant_folder: bool = setting(
        False, "Whether machines that Vagrant makes have this checkout at /vagrant.", example=False
    )
    cluster_systems: dict[str, System] = setting(
        {},
        "Systems of machines by their names, where they are not Debian 12: of containers, and of VMs of a box that is "
        "built.",
        example={"node-2": "debian-13"},
    )
    cluster_nodes: dict[str, Node] = setting(
        {},
        "What single nodes have otherwise than the others, by their names: labels, taints, and the size of a machine "
        "that is made. Labels and taints that are taken off the page are taken off the node.",
        example={"node-2": {"labels": {"disk": "ssd"}, "taints": ["gpu=true:NoSchedule"], "memory": 8192}},
    )
    cluster_backup: Backup = setting(
        Backup(),
        "Backups of the cluster by make backup: where they go, who can read them, and how many are kept.",
        example={
            "folder": "~/slipway-backups",
            "recipients": ["age1ncvql6ns2hv3kg2cdkymdrd4p7ntr2txpdwh0g5vmq94autxp4xsydmktc"],
            "keep": 14,
        },
    )
    cluster_renew_certificates: str = setting(
        "",
        "When controllers renew certificates that end within 90 days by themselves. Empty: never.",
        example="",
        **WHEN,
    )
    cluster_audit: Annotated[Literal[False] | str, BeforeValidator(_audit)] = setting(
        "metadata",
        "What the API servers write into their audit log. off: nothing; metadata: who did what to which object, never "
        "what is in it; or a file on your machine with a policy of your own.",
        example="metadata",
    )
    cluster_proxy: Proxy = setting(
        Proxy(http="", https="", no_proxy=[]),
        "Proxy to the internet.",
        example={"http": "http://proxy.example.org:3128", "https": "http://proxy.example.org:3128", "no_proxy": []},
    )
    cluster_ssh_keys: list[str] = setting(
        [],
        "Public SSH keys to register on every node: each the key itself or its file on your machine.",
        example=["~/.ssh/id_ed25519.pub"],
    )

    def as_values(self) -> dict[str, Any]:
        """Give the settings as plain values, keys in the order of the page."""
        return self.model_dump(mode="json")


FORM = Form(
    Settings, prefix=PREFIX, home="a file of its own in group_vars/all/", defaults=lambda: Settings().as_values()
)
works = FORM.works
field_at = FORM.field_at
