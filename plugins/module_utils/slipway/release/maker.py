"""What the objects of a release are made with: its names, its labels, and the cluster that it is for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import alerts
from .access import Access
from .environment import Environment
from .model import Service
from .names import Naming
from .objects import OF_NAMESPACE
from .render import Object, render
from .routing import Rules
from .shape import Shape


@dataclass(frozen=True)
class Maker:
    """A release and its cluster, and what all objects made of them have."""

    naming: Naming
    environment: Environment
    # Dashboards that are in files: by their name on the page, key of the ConfigMap → text.
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def shape(self) -> Shape:
        """The release seen as versions and calls."""
        return self.naming.shape

    @property
    def namespace(self) -> str:
        """Namespace of everything but what is beside the gateway."""
        return self.shape.namespace

    @property
    def rules(self) -> Rules:
        """The rules of its routes."""
        return Rules(self.naming, self.environment.cluster_domain, self.environment.bands)

    @property
    def access(self) -> Access:
        """Who may call whom."""
        return Access(self.naming, self.environment)

    @property
    def scope(self) -> alerts.Scope:
        """What alerts and pictures look at."""
        return alerts.Scope(self.naming, self.environment.gateway_app)

    @property
    def selector(self) -> dict[str, str]:
        """Labels of everything of this release, and nothing else."""
        return {"slipway.io/release": self.shape.release.name, OF_NAMESPACE: self.namespace}

    @property
    def labels(self) -> dict[str, str]:
        """Labels of each object."""
        return {"app.kubernetes.io/managed-by": "slipway", **self.selector}

    def make(self, template: str, name: str, **values: Any) -> list[Object]:
        """Render a template with what all objects have."""
        given = {"namespace": self.namespace, "labels": self.labels, **values}
        return render(template, name=name, **given)

    @property
    def group(self) -> str:
        """Whose the objects are: ``namespace/release``."""
        return f"{self.namespace}/{self.shape.release.name}"

    def versions(self) -> Iterator[tuple[str, Service, str]]:
        """Give each version: service, what is declared of it, version."""
        for service, declared in self.shape.services.items():
            for version in declared.versions:
                yield service, declared, version

    def tool(self, tool: str) -> tuple[str, int]:
        """Find where a tool answers: full host name and port."""
        host, _, port = self.environment.tool(tool, self.shape.release.tools[tool].service).partition(":")
        return f"{host}.svc.{self.environment.cluster_domain}", int(port)

    def hosts(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Give all hosts that the release answers on, each with its key on the page."""
        release = self.shape.release
        yield from ((("hosts", index), host) for index, host in enumerate(release.hosts))
        yield from ((("override", "hosts", host), self.shape.host(host)) for host in release.override.hosts)
        yield from ((("entries", host), host) for host in self.shape.host_routes)
        yield from ((("tools", tool, "host"), host) for tool, host in self.shape.tool_hosts.items())
