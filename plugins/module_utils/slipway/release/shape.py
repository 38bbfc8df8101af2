"""What follows from a release's page: who serves which version, who calls whom, where the version has to be carried.

A release has one set of versions, those of ``weights``. A service has either all of them or one, which then serves
every version. Shadows come on top: they serve copies, and each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from .model import Release, Service
from .routing_keys import Route


@dataclass(frozen=True)
class Shape:
    """The release seen as versions and calls."""

    release: Release

    @property
    def services(self) -> dict[str, Service]:
        """All services by name."""
        return self.release.services

    @property
    def namespace(self) -> str:
        """Namespace that everything but the gateway's configuration is in."""
        return self.release.namespace or self.release.name

    @cached_property
    def versions(self) -> list[str]:
        """The versions among which requests are split, in the page's order; empty when there is nothing to split."""
        return list(self.release.weights) if len(self.release.weights) > 1 else []

    def users(self, service: str) -> list[str]:
        """Versions of a service that answer users."""
        return [name for name, version in self.services[service].versions.items() if version.shadow is None]

    def shadows(self, service: str) -> dict[str, float]:
        """Versions of a service that get copies, with their per cent."""
        versions = self.services[service].versions
        return {name: version.shadow for name, version in versions.items() if version.shadow is not None}

    def is_split(self, service: str) -> bool:
        """Tell whether requests to this service have to be told apart by version."""
        return len(self.users(service)) > 1

    def has_versions(self, service: str) -> bool:
        """Tell whether ``service`` has more than one version."""
        return len(self.services[service].versions) > 1

    def serving(self, service: str, version: str) -> str:
        """Give the version of ``service`` that serves requests of the release's ``version``."""
        users = self.users(service)
        return version if version in users else users[0]

    def default(self, service: str) -> str:
        """Give the version for those who come with none: the heaviest."""
        users = self.users(service)
        weights = self.release.weights
        return max(
            (version for version in self.versions if version in users), key=lambda v: weights[v], default=users[0]
        )

    def label(self, version: str) -> str:
        """Give the value of the label ``version`` on a version's pods."""
        return self.release.version_labels.get(version, version)

    @cached_property
    def routes(self) -> dict[str, Route]:
        """Paths, the longest first; without any on the page, all to the first service."""
        return _longest_first(self.release.routes or {"/": Route(to=next(iter(self.services)))})

    @cached_property
    def host_routes(self) -> dict[str, dict[str, Route]]:
        """Paths of the hosts that have their own, the longest first."""
        return {
            host: _longest_first(entry.routes or {"/": Route(to=str(entry.to))})
            for host, entry in self.release.entries.items()
        }

    def all_routes(self) -> Iterator[tuple[tuple[str, ...], str, Route]]:
        """Yield every path of every host: the key that it is below, the path, and its route."""
        yield from ((("routes",), path, route) for path, route in self.routes.items())
        for host, routes in self.host_routes.items():
            above = ("entries", host, "routes") if self.release.entries[host].routes else ("entries", host)
            yield from ((above, path, route) for path, route in routes.items())

    @cached_property
    def entries(self) -> list[str]:
        """Services that the gateway leads to."""
        found = [(route.to, *(case.to for case in route.when if case.to)) for _, _, route in self.all_routes()]
        return list(dict.fromkeys(service for services in found for service in services))

    @property
    def by_http_routes(self) -> bool:
        """Tell whether HTTPRoutes lead users."""
        return self.release.output == "gateway-api"

    def has_backends(self, service: str) -> bool:
        """Tell whether each version of a service has a Service that HTTPRoutes lead to."""
        return self.by_http_routes and service in self.entries

    def callers(self, service: str) -> list[str]:
        """Services that call ``service``."""
        return [name for name, other in self.services.items() if service in other.calls]

    @cached_property
    def carriers(self) -> frozenset[str]:
        """Services with one version, behind which there is a service whose version follows: they have to forward it."""
        found: set[str] = set()
        for service in reversed(self.callees_last()):
            if self.versions and not self.is_split(service):
                called = self.services[service].calls
                if any(other in found or self.follows(other) for other in called):
                    found.add(service)
        return frozenset(found)

    def follows(self, service: str) -> bool:
        """Tell whether the version of ``service`` is that of its caller."""
        return self.is_split(service) and self.services[service].follows == "caller"

    def minds(self, service: str) -> bool:
        """Tell whether requests to this service carry a version: it is split, or has to pass the version on."""
        return self.is_split(service) or service in self.carriers

    def callees_last(self) -> list[str]:
        """List the services so that each comes before those it calls."""
        order: list[str] = []

        def visit(service: str) -> None:
            if service not in order:
                for other in self.services[service].calls:
                    visit(other)
                order.append(service)

        for service in self.services:
            visit(service)
        return order[::-1]

    def cycle(self) -> list[str]:
        """Find services that call each other in a circle; the first one again at the end."""
        done: set[str] = set()

        def visit(service: str, path: tuple[str, ...]) -> list[str]:
            if service in path:
                return [*path[path.index(service) :], service]
            if service in done:
                return []
            for other in self.services[service].calls:
                if found := visit(other, (*path, service)):
                    return found
            done.add(service)
            return []

        return next((found for service in self.services if (found := visit(service, ()))), [])

    def host(self, name: str) -> str:
        """Complete a host without a dot with the first of the release's hosts."""
        first = next((host for host in self.release.hosts if "*" not in host), self.release.hosts[0])
        return name if "." in name or first == "*" else f"{name}.{first.removeprefix('*.')}"

    @cached_property
    def override_hosts(self) -> dict[str, str]:
        """Hosts that show one version, complete."""
        return {self.host(name): version for name, version in self.release.override.hosts.items()}

    @cached_property
    def hosts(self) -> list[str]:
        """Hosts of the application: its own, then those that show one version."""
        return list(dict.fromkeys([*self.release.hosts, *self.override_hosts]))

    @cached_property
    def tool_hosts(self) -> dict[str, str]:
        """Hosts of the tools by the tool's name."""
        return {name: self.host(tool.host) for name, tool in self.release.tools.items()}

    @cached_property
    def cookie(self) -> str:
        """Name of the cookie that keeps clients with their version."""
        return self.release.sticky.cookie or f"{self.release.name}-version"

    def cookie_value(self, version: str) -> str:
        """Value of that cookie for a version."""
        return self.release.sticky.values.get(version, version)

    def chain_value(self, version: str) -> str:
        """Value of the header that carries the version from service to service.

        A client may ask for a version by the same header, so then the values are the same too.
        """
        header = self.release.override.header
        if header and header.name == self.release.chain_header:
            return header.match(version).text or version
        return version

    def weights_of(self, route: Route) -> dict[str, int]:
        """Give the weights that decide at a path."""
        return dict(route.weights or self.release.weights)

    def cookie_of(self, path: str, route: Route) -> str:
        """Name the cookie that keeps clients with their version at a path: one of its own where its weights are."""
        if not route.weights or self.release.sticky.set_by == "app":
            return self.cookie
        return f"{self.cookie}-{re.sub('[^a-zA-Z0-9]+', '-', path).strip('-') or 'root'}"

    def shadow_callers(self, service: str) -> Iterator[tuple[str, str]]:
        """Yield callers' shadow versions: whose calls never reach what answers users."""
        for caller in self.callers(service):
            for version in self.shadows(caller):
                yield caller, version


def _longest_first(routes: Mapping[str, Route]) -> dict[str, Route]:
    tidy = {path.rstrip("/") or "/": route for path, route in routes.items()}
    return {path: tidy[path] for path in sorted(tidy, key=lambda path: (-len(path), path))}
