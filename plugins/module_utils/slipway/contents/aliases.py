"""Make other names of what the cluster has, where routes expect it under the name that a chart gives it. Pure.

A Service of type ExternalName is another name of its target to the mesh: the gateway and sidecars ask the target
itself, at the port that the route names, with mutual TLS where the target has it, and with the client's Host header.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..release.render import render
from . import routes, subcharts
from .routes import Lead, Place

Object = dict[str, Any]


@dataclass(frozen=True)
class Alias:
    """A Service that is nowhere, what leads to it, and where the cluster has that: a Service, and its port."""

    place: Place
    leads: list[Lead]
    here: Place
    port: int

    @property
    def told(self) -> Iterator[str]:
        """Say what is made, and which routes it is no help to."""
        space, name = self.place
        here = f"{self.here[1]}.{self.here[0]}:{self.port}"
        what = f"leads to Service {space}/{name}, which is nowhere; here that is {here}"
        if good := dict.fromkeys(lead.by for lead in self.leads if not self.why(lead)):
            yield f"{', '.join(good)} {what}: Service/{space}/{name} is made, another name of it"
        works = f"destination: {{host: {name}, port: {{number: {self.port}}}}}"
        for lead in self.leads:
            if why := self.why(lead):
                yield f"{lead.by} {what}, and {why}: requests for it are answered 503; {works} would work"

    def why(self, lead: Lead) -> str:
        """Say why a route gets no answer by it; empty: it does."""
        if lead.subset:
            return f"it has no subset {lead.subset}"
        return f"it has no port {lead.port}" if lead.port not in (None, self.port) else ""


def find(objects: list[Object], there: Collection[Place], spaces: Collection[str], domain: str) -> list[Alias]:
    """Find the Services to make. ``there``: those of others. ``spaces``: where one may be made."""
    made = []
    for place, leads in routes.missing(objects, there, domain).items():
        host, _, port = subcharts.instead(place[1]).partition(":")
        name, _, space = host.partition(".")
        if host and place[0] in spaces and (space, name) in there:
            made.append(Alias(place, leads, (space, name), int(port)))
    return made


def objects(found: Iterable[Alias], labels: Mapping[str, str], domain: str) -> Iterator[Object]:
    """Make the Services."""
    for alias in found:
        host = f"{alias.here[1]}.{alias.here[0]}.svc.{domain}"
        named = {"name": alias.place[1], "namespace": alias.place[0], "labels": dict(labels)}
        yield from render("alias", **named, host=host, port=alias.port)
