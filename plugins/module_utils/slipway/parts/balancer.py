"""What role ``metallb`` works out: which addresses it may hand out, its CRDs, and the Services that got none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from ..page.addresses import balancer_addresses
from ..page.form import plain
from ..page.model import Settings

# Reasons of MetalLB's events that say why a Service has no address.
REASONS = ("AllocationFailed", "LoadBalancerFailed")
INT32 = 2**31 - 1


def ranges(values: Mapping[str, Any]) -> list[str]:
    """Give the ranges of ``cluster_metallb_addresses``, or of an empty one those that are free on the node network.

    ``values`` are ``cluster_*`` settings; those that are missing have their default.
    """
    given = {key: value for key, value in plain(values).items() if key in Settings.model_fields}
    return balancer_addresses(Settings.model_validate(given))


def custom_resources(text: str, conversions: Mapping[str, Mapping[str, Any]] | None = None) -> list[dict[str, Any]]:
    """Read the CustomResourceDefinitions among the YAML documents of ``text``, without what a server writes itself.

    ``conversions`` gives ``spec.conversion`` by name: generated definitions have none. A format that cannot hold the
    limits beside it becomes one that can: the API server takes no value at all for such a field since 1.37 (the ASNs of
    a BGPPeer). ``ValueError`` when the text is no YAML, or one of these names is not there.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        documents = list(yaml.load_all(text, Loader=loader))
    except yaml.YAMLError as exc:
        raise ValueError(f"this is no YAML: {exc}") from exc
    found = {
        document["metadata"]["name"]: document
        for document in documents
        if isinstance(document, dict) and document.get("kind") == "CustomResourceDefinition"
    }
    for definition in found.values():
        definition.pop("status", None)
        definition["metadata"].pop("creationTimestamp", None)
        _widen(definition["spec"])
    wanted = conversions or {}
    if missing := sorted(set(wanted) - set(found)):
        raise ValueError(f"no CustomResourceDefinition {', '.join(missing)}, but {', '.join(sorted(found)) or 'none'}")
    for name, conversion in wanted.items():
        found[name]["spec"]["conversion"] = dict(conversion)
    return [found[name] for name in sorted(found)]


def _widen(schema: Any) -> None:
    """Turn ``format: int32`` into int64 wherever a limit is beyond 32 bits."""
    if isinstance(schema, list):
        for item in schema:
            _widen(item)
    elif isinstance(schema, dict):
        limits = [abs(schema[key]) for key in ("minimum", "maximum") if isinstance(schema.get(key), (int, float))]
        if schema.get("format") == "int32" and max(limits, default=0) > INT32:
            schema["format"] = "int64"
        for item in schema.values():
            _widen(item)


def without_address(services: Iterable[Mapping[str, Any]]) -> list[str]:
    """Name the Services (``namespace/name``) that wait for MetalLB to give them an address."""
    return sorted(
        _name(service)
        for service in services
        if service["spec"].get("type") == "LoadBalancer"
        and not service["spec"].get("loadBalancerClass")
        and not service.get("status", {}).get("loadBalancer", {}).get("ingress")
    )


def explained(services: Iterable[Mapping[str, Any]], events: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say of each Service without an address why, in the words of MetalLB's latest event about it."""
    said: dict[str, tuple[str, str]] = {}
    for event in events:
        about = event.get("involvedObject", {})
        if about.get("kind") != "Service" or event.get("reason") not in REASONS:
            continue
        name = f"{about.get('namespace')}/{about.get('name')}"
        when = str(event.get("lastTimestamp") or event.get("eventTime") or "")
        said[name] = max(said.get(name, ("", "")), (when, str(event.get("message", "")).strip()))
    return [
        f"Service {name} has no address: {said[name][1] if name in said else 'MetalLB has not said why'}"
        for name in without_address(services)
    ]


def _name(thing: Mapping[str, Any]) -> str:
    return f"{thing['metadata'].get('namespace', 'default')}/{thing['metadata']['name']}"
