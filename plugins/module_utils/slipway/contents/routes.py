"""Read routes: where they lead, and which Services they lead to that are nowhere. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..cluster.objects import identity
from . import gateway_api, walk

Object = dict[str, Any]
# Namespace and name of a Service.
Place = tuple[str, str]


@dataclass(frozen=True)
class Lead:
    """A destination: ``by`` which route, to which port (None: that of the Service), and of which subset."""

    by: str
    host: str
    port: int | None = None
    subset: str = ""


def destinations(item: Mapping[str, Any]) -> list[str]:
    """List the hosts that a VirtualService leads to."""
    return list(dict.fromkeys(lead.host for lead in leads(item)))


def leads(item: Mapping[str, Any]) -> Iterator[Lead]:
    """Give the destinations of a VirtualService, mirrors too."""
    by = str(item.get("of") or identity(dict(item)))
    for found in _destinations(walk.inner(item.get("spec"))):
        port = walk.number(walk.inner(found.get("port")).get("number")) or None
        yield Lead(by, str(found.get("host", "")), port, str(found.get("subset") or ""))


def _destinations(spec: Mapping[str, Any]) -> Iterator[Object]:
    for rule in (rule for kind in ("http", "tls", "tcp") for rule in walk.each(spec.get(kind))):
        routes = [one.get("destination") for one in walk.each(rule.get("route"))]
        mirrors = [rule.get("mirror"), *(one.get("destination") for one in walk.each(rule.get("mirrors")))]
        yield from (walk.inner(found) for found in (*routes, *mirrors) if found)


def missing(objects: list[Object], there: Container[Place], domain: str) -> dict[Place, list[Lead]]:
    """Give the Services that routes lead to and that neither objects nor the cluster (``there``) have."""
    own = set(map(walk.place, walk.of(objects, "Service")))
    entries = {
        host for item in walk.of(objects, "ServiceEntry") for host in walk.inner(item.get("spec")).get("hosts") or []
    }
    made: dict[Place, list[Lead]] = {}
    for item in walk.of([*objects, *gateway_api.as_routes(objects, (), domain)], "VirtualService"):
        for lead in leads(item):
            place = walk.service_of(lead.host, walk.space(item), domain)
            if place is not None and lead.host not in entries and place not in own and place not in there:
                made.setdefault(place, []).append(lead)
    return made
