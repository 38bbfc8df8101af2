"""The settings of a cluster: the model of the page ``group_vars/all/cluster.yml``.

A key is added in one place: a field of ``Settings`` (or of the map it belongs to) with its default, description, unit,
example and limits, and a line on the page. The JSON schema, the messages and the test that page and model agree follow.
What concerns more than one key is in ``checks.py``.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from .page import (
    Key,
    Page,
    Problem,
    SettingsError,
    dotted,
    flow,
    holds_a_secret,
    names_a_secret,
    read_page,
    shown,
    texts,
)

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "group_vars" / "all" / "cluster.yml"
PREFIX = "cluster_"
ELSEWHERE = "(from -e or inventory)"

Provider = Literal["auto", "virtualbox", "libvirt", "docker", "hosts"]
Role = Literal["controller", "worker", "mirror"]

_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_DNS_NAME = rf"{_LABEL}(\.{_LABEL})*"


def setting(default: Any, about: str, *, example: Any, unit: str = "", rule: str = "", **limits: Any) -> Any:
    """Declare a key: ``about`` says what it does, ``unit`` what a number counts, ``rule`` what its pattern means.

    ``default`` is ``...`` for a key that must be written out.
    """
    extra: dict[str, Any] = {name: text for name, text in (("x-unit", unit), ("patternErrorMessage", rule)) if text}
    description = f"{about} Unit: {unit}." if unit else about
    return Field(default, description=description, examples=[example], json_schema_extra=extra, **limits)


def _network(text: str) -> str:
    try:
        ipaddress.IPv4Network(text)
    except ValueError as exc:
        try:
            meant = ipaddress.IPv4Network(text, strict=False)
        except ValueError:
            raise ValueError("must be an IPv4 network in CIDR form") from exc
        raise ValueError(f"has bits set beyond its length; that network is {meant}") from exc
    if "/" not in text:
        raise ValueError("must say how large the network is, as in 192.168.56.0/24")
    return text


def _address(text: str) -> str:
    try:
        ipaddress.IPv4Address(text)
    except ValueError as exc:
        raise ValueError("must be an IPv4 address") from exc
    return text


def _optional_address(text: str) -> str:
    return _address(text) if text else text


def address_range(text: str) -> tuple[ipaddress.IPv4Address, ipaddress.IPv4Address]:
    """Read ``first-last`` or a CIDR as its first and last address; ``ValueError`` when it is neither."""
    first, dash, last = (part.strip() for part in text.partition("-"))
    if not dash:
        network = ipaddress.IPv4Network(first)
        return network[0], network[-1]
    start, end = ipaddress.IPv4Address(first), ipaddress.IPv4Address(last)
    if start > end:
        raise ValueError(f"starts at {start}, which comes after its end {end}")
    return start, end


def _range(text: str) -> str:
    try:
        address_range(text)
    except ipaddress.AddressValueError as exc:
        raise ValueError("must be a range first-last of IPv4 addresses, or an IPv4 network") from exc
    except ValueError as exc:
        if "comes after" in str(exc):
            raise
        raise ValueError("must be a range first-last of IPv4 addresses, or an IPv4 network") from exc
    return text


def _no_number(value: Any) -> Any:
    # 1 is equal to true, and would pass for it.
    if type(value) is int:
        raise ValueError("must be one of auto, true, false")
    return value


NetworkText = Annotated[str, AfterValidator(_network)]
AddressText = Annotated[str, AfterValidator(_address)]
OptionalAddressText = Annotated[str, AfterValidator(_optional_address)]
RangeText = Annotated[str, AfterValidator(_range)]
ProxyException = Annotated[str, Field(pattern=r"^[^\s,{}]+$")]


class _Map(BaseModel):
    """A map of settings: typed as written (no text for a number), and nothing unknown in it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Controllers(_Map):
    """The machines of the control plane."""

    count: int = setting(..., "How many controllers: 1 or an odd number.", unit="machines", example=1, ge=1)
    cpus: int = setting(
        ..., "CPUs of each; kubeadm refuses a controller with fewer than 2.", unit="CPUs", example=2, ge=2
    )
    memory: int = setting(
        ..., "Memory of each; kubeadm refuses a controller with less than 1700.", unit="MiB", example=4096, ge=1700
    )


class Workers(_Map):
    """The machines that run what is released."""

    count: int = setting(..., "How many workers.", unit="machines", example=2, ge=0)
    cpus: int = setting(..., "CPUs of each.", unit="CPUs", example=2, ge=1)
    memory: int = setting(
        ..., "Memory of each; below 700 kubelet and containerd have no room.", unit="MiB", example=6144, ge=700
    )


class Host(_Map):
    """A machine that exists already (provider ``hosts``)."""

    name: str = setting(
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


class Proxy(_Map):
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


class Parts(_Map):
    """What is installed on top of Kubernetes and its pod network."""

    metallb: bool = setting(..., "Addresses for Services of type LoadBalancer (MetalLB).", example=True)
    istio: bool = setting(..., "Service mesh with a gateway (Istio); needs metallb.", example=True)
    storage: bool = setting(
        ..., "A default StorageClass on the nodes' own disks, and the shared folder /mnt/shared.", example=True
    )
    metrics_server: bool = setting(
        ..., "What kubectl top and HorizontalPodAutoscalers read (metrics-server).", example=True
    )


class Gateway(_Map):
    """The mesh's door to the outside."""

    address: OptionalAddressText = setting(
        ..., "Its address, one of cluster_metallb_addresses; empty: one that MetalLB picks.", example="192.168.56.92"
    )
    ports: list[Annotated[int, Field(ge=1, le=65535)]] = setting(
        ..., "Ports it answers on; 443 is the one for TLS.", example=[80, 443, 8080], min_length=1
    )


class Settings(_Map):
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
        rule="must be a DNS name in lower case",
    )
    cluster_parts: Parts = setting(
        Parts(metallb=True, istio=True, storage=True, metrics_server=True),
        "What is installed on top of Kubernetes.",
        example={"metallb": True, "istio": True, "storage": True, "metrics_server": True},
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
    cluster_mtls: Literal["permissive", "strict"] = setting(
        "permissive",
        "Traffic between pods of the mesh. permissive: encrypted where both ends can; strict: else refused.",
        example="permissive",
    )
    cluster_api_endpoint: str = setting(
        "",
        "host[:port] that reaches all controllers; empty with one controller: its own address.",
        example="192.168.56.50:6443",
        pattern=rf"^({_DNS_NAME}(:[1-9][0-9]{{0,4}})?)?$",
        rule="must be a host name or IPv4 address, with or without :port, or empty",
    )
    cluster_kubernetes_version: str = setting(
        "1.37.0",
        "Kubernetes release, in quotes.",
        example="1.37.0",
        pattern=r"^[1-9][0-9]*\.[0-9]+\.[0-9]+$",
        rule="must be a full release number in quotes",
    )
    cluster_artifacts_from: Literal["auto", "upstream", "source"] = setting(
        "auto",
        "Where programs and images come from. upstream: their publishers; source: built from source here; "
        "auto: upstream, and built here what cannot be reached.",
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
        "bento/ubuntu-24.04",
        "Vagrant box of the VMs (virtualbox, libvirt).",
        example="bento/ubuntu-24.04",
        pattern=r"^[^\s{}]+$",
        rule="must be the name of a Vagrant box",
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


@dataclass(frozen=True)
class Fault:
    """What a check found: the key, the rule that is broken, a value that would work.

    ``override`` says the same for -e, where key=value gives nothing but texts.
    """

    key: Key
    what: str
    works: str
    warning: bool = False
    override: str = ""


@dataclass(frozen=True)
class Report:
    """Result of looking at a set of values; ``settings`` is None when a value is wrong in itself."""

    settings: Settings | None
    problems: list[Problem]
    warnings: list[Problem]

    def accepted(self) -> Settings:
        """Give the settings, or raise ``SettingsError`` with every problem."""
        if self.problems or self.settings is None:
            raise SettingsError(self.problems)
        return self.settings


Check = Callable[[Settings, frozenset[str]], Iterator[Fault]]


def examine(
    values: Mapping[str, Any],
    page: Page | None = None,
    *,
    complete: bool = False,
    check: Check | None = None,
) -> Report:
    """Hold ``values`` (the ``cluster_*`` keys) against the model and against ``check``.

    ``page`` tells file and line of the values that are on it; others are said to come from -e or the inventory.
    ``complete``: a key that is missing is a problem (else it has its default). ``check`` gets settings in which every
    wrong key has its default, and the names of those keys, and yields faults.
    """
    given = plain(values)
    faults = list(_secrets(given, page))
    wrong: set[str] = set()
    try:
        settings = Settings.model_validate(given)
    except ValidationError as exc:
        errors = exc.errors(include_url=False)
        faults += [_fault(error["loc"], error) for error in errors]
        wrong = {str(error["loc"][0]) for error in errors}
        settings = Settings.model_validate({key: value for key, value in given.items() if key not in wrong})
    if complete:
        missing = [key for key in Settings.model_fields if key not in given]
        faults += [Fault((key,), "is set nowhere", works((key,))) for key in missing]
    if check:
        faults += check(settings, frozenset(wrong))
    problems = [*(page.problems if page else []), *_placed(faults, False, given, page)]
    problems.sort(key=lambda problem: (problem.line or sys.maxsize, problem.key))
    return Report(None if problems else settings, problems, _placed(faults, True, given, page))


def examine_page(path: Path, *, check: Check | None = None, provider: str | None = None) -> Report:
    """Read the page at ``path`` and examine it; ``provider`` overrules what it says."""
    page = read_page(path)
    return examine(
        page.values if provider is None else {**page.values, "cluster_provider": provider}, page, check=check
    )


def plain(value: Any) -> Any:
    """Copy into builtin types: Ansible's texts and lists are subclasses that carry their origin."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _secrets(values: dict[str, Any], page: Page | None) -> Iterator[Fault]:
    if page is None:
        return
    for key, text in texts(page.values, ()):
        if holds_a_secret(text) and values.get(str(key[0])) == plain(page.values.get(str(key[0]))):
            yield Fault(key, "a secret does not belong on the page, which is committed", _without(key))


def _without(key: Key) -> str:
    if key[0] == "cluster_ssh_keys":
        return "the public half of the key: ~/.ssh/id_ed25519.pub"
    return f"{key[0]} in a vault file: -e @secrets.yml"


def works(key: Key, value: Any = None) -> str:
    """Write a line that would work for ``key``: with ``value``, else with the model's example."""
    if value is None:
        field = field_at(key)
        value = field.examples[0] if field and field.examples else None
    name = next(part for part in reversed(key) if isinstance(part, str))
    return f"{name}: {flow(value)}"


def field_at(key: Key) -> FieldInfo | None:
    """Find the declaration of ``key``; of a list's element that is no map, the declaration of the list."""
    model: type[BaseModel] | None = Settings
    found = None
    for part in key:
        if isinstance(part, int):
            continue
        found = model.model_fields.get(part) if model else None
        model = map_of(found) if found else None
    return found


def map_of(field: FieldInfo) -> type[BaseModel] | None:
    """Find the model of a key that is a map or a list of maps."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _fault(key: Key, error: Any) -> Fault:
    """Say in our own words what pydantic found at ``key``."""
    if error["type"] == "extra_forbidden":
        return _unknown(key)
    field = field_at(key)
    extra = field.json_schema_extra if field and isinstance(field.json_schema_extra, dict) else {}
    context = error.get("ctx", {})
    about = (field.description or "").partition(" Unit: ")[0] if field else ""
    inner = map_of(field) if field else None
    limit = f"{context.get('ge', context.get('le'))} {extra.get('x-unit', '')}".strip()
    value = error["input"]
    sayings = {
        "missing": f"is missing. {about}",
        "int_type": "must be a whole number" + (", without quotes" if isinstance(value, str) else ""),
        "bool_type": "must be true or false" + (", without quotes" if isinstance(value, str) else ""),
        "string_type": "must be a text" + (", in quotes" if isinstance(value, (int, float)) else ""),
        "list_type": "must be a list",
        "model_type": f"must be a map with {', '.join(inner.model_fields) if inner else ''}",
        "literal_error": f"must be one of {', '.join(map(flow, _choices(field)))}",
        "greater_than_equal": f"must be at least {limit}. {about}",
        "less_than_equal": f"must be at most {limit}. {about}",
        "too_short": "must not be empty",
        "string_pattern_mismatch": str(extra.get("patternErrorMessage", "must be one word")),
        "string_too_long": str(extra.get("patternErrorMessage")),
        "value_error": str(context.get("error")),
    }
    what = sayings.get(error["type"], error["msg"])
    if not isinstance(value, str):
        return Fault(key, what, works(key))
    top = str(key[0])
    spelt = _SPELT.get(value)
    if error["type"] == "literal_error" and spelt is not None and spelt in _choices(field):
        return Fault(key, f"{what}, without quotes", works(key, spelt), override=_as_json(top, spelt))
    if error["type"] in ("int_type", "bool_type", "list_type", "model_type"):
        return Fault(key, what, works(key), override=_as_json(top, _example(top)))
    return Fault(key, what, works(key))


_SPELT = {"true": True, "yes": True, "True": True, "false": False, "no": False, "False": False}


def _as_json(key: str, value: Any) -> str:
    return f"-e '{json.dumps({key: value})}'"


def _choices(field: FieldInfo | None) -> tuple[Any, ...]:
    return get_args(field.annotation) if field else ()


def _example(name: str) -> Any:
    """Give the example of a key that is known; ``setting`` sees to it that there is one."""
    return (Settings.model_fields[name].examples or [None])[0]


def _unknown(key: Key) -> Fault:
    """Name the known key that is nearest to an unknown one."""
    *above, name = key
    field = field_at(tuple(above)) if above else None
    model = (map_of(field) if field else None) or Settings
    known = list(model.model_fields)
    short = {item.removeprefix(PREFIX): item for item in known}
    typed = str(name).removeprefix(PREFIX)
    near = difflib.get_close_matches(typed, short, n=1) or [item for item in short if item.startswith(typed)]
    if names_a_secret(name):
        return Fault(key, "is no setting; and a secret does not belong on this page", "a vault file: -e @secrets.yml")
    if near:
        nearest = short[near[0]]
        return Fault(key, f"is no setting; the nearest one is {nearest}", works((*above, nearest)))
    if not above and typed == name:
        return Fault(key, "is no setting, and this page holds nothing else", "a file of its own in group_vars/all/")
    return Fault(key, "is no setting", f"one of {', '.join(known)}")


def _placed(faults: list[Fault], warning: bool, given: dict[str, Any], page: Page | None) -> list[Problem]:
    """Give faults their place and value, each once."""
    return [_problem(fault, given, page) for fault in dict.fromkeys(faults) if fault.warning == warning]


def _problem(fault: Fault, given: dict[str, Any], page: Page | None) -> Problem:
    top = str(fault.key[0])
    defaults = Settings().as_values()
    value: Any = {**defaults, **given}
    for part in fault.key:
        value = _step(value, part)
    hidden = names_a_secret(fault.key[-1]) and value is not _ABSENT
    text = "" if value is _ABSENT else "(not shown)" if hidden else shown(value)
    if page is not None and (top not in given or given[top] == plain({**defaults, **page.values}.get(top))):
        return Problem(page.where(fault.key), dotted(fault.key), text, fault.what, fault.works, page.line(fault.key))
    return Problem(ELSEWHERE, dotted(fault.key), text, fault.what, fault.override or fault.works)


_ABSENT = object()


def _step(value: Any, part: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(str(part), _ABSENT)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return _ABSENT
