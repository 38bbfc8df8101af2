"""Names of a release's objects: one convention, and what its page says instead."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..page.form import Fault
from ..page.read import Key
from . import backends
from .jwt_paths import Tokens
from .shape import Shape
from .values import LABEL

PATTERNS = {
    "deployment": "{service}-{version}",
    "service_account": "{service}-{version}",
    "config": "{service}-{version}",
    "version_service": "{service}-{version}",
    "policy": "{service}-{version}",
    "service": "{service}",
    "pods": "{service}-pods",
    "virtual_service": "{service}",
    "destination_rule": "{service}",
    "monitor": "{service}",
    "gateway": "{release}",
    "entry": "{release}-entry",
    "tool": "{release}-{tool}",
    "rate_limit": "{unique}-rate-limit",
    "hash": "{unique}-hash",
    "rules": "{release}",
    "mail": "{release}",
    "dashboards": "{release}-dashboards",
    "mtls": "{release}",
    "tracing": "{release}",
    "outside": "{release}-{host}",
    "authorities": "{release}-authorities",
    "egress": "{release}",
    "jwt": "{service}-jwt",
}
LONGEST = 63
# A StatefulSet's pods have its name with a number, and a label with its name and a hash.
LONGEST_OF_KIND = {"StatefulSet": 52}
_SERVICE = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_ANY = re.compile(LABEL)


@dataclass(frozen=True)
class Naming:
    """Gives each object its name, and the key of the page that decided it."""

    shape: Shape

    def of(self, kind: str, service: str = "", version: str = "", **more: str) -> str:
        """Give the name of the object that ``kind`` stands for (a key of ``PATTERNS``)."""
        return self.found(kind, service, version, **more)[0]

    def found(self, kind: str, service: str = "", version: str = "", **more: str) -> tuple[str, Key]:
        """Give the name, and the key that it comes from."""
        release = self.shape.release
        pattern, key = self._pattern(kind, service, version)
        namespace = self.shape.namespace
        unique = release.name if namespace in ("default", release.name) else f"{release.name}-{namespace}"
        values = {
            "release": release.name,
            "namespace": namespace,
            "unique": unique,
            **({"service": service} if service else {}),
            **({"version": version, "label": self.shape.label(version)} if version else {}),
            **more,
        }
        return re.sub(r"\{([a-z]+)\}", lambda match: values.get(match[1], match[0]), pattern), key

    def _pattern(self, kind: str, service: str, version: str) -> tuple[str, Key]:
        release = self.shape.release
        if kind == "service_account" and (own := self.existing_account(service, version)):
            return own, ("services", service, "service_account")
        if version:
            own = getattr(release.services[service].versions[version].names, kind)
            if own:
                return own, ("services", service, "versions", version, "names", kind)
        if service:
            own = getattr(release.services[service].names, kind)
            if own:
                return own, ("services", service, "names", kind)
        own = getattr(release.names, kind)
        if own:
            return own, ("names", kind)
        here: Key = ("services", service, "versions", version) if version else ("services", service)
        return PATTERNS[kind], here if service else ("name",)

    def existing_account(self, service: str, version: str) -> str:
        """Give the ServiceAccount that a version uses as it is; empty: it has one of its own."""
        declared = self.shape.services[service]
        return declared.versions[version].service_account or declared.service_account or ""

    def all(self) -> Iterator[tuple[str, str, str, Key]]:
        """Yield kind of object, kind of name, name and deciding key of every object that may be made."""
        shape = self.shape
        configs: dict[str, dict[str, str]] = {}
        for service, declared in shape.services.items():
            yield "Service", "service", *self.found("service", service)
            yield "VirtualService", "virtual_service", *self.found("virtual_service", service)
            yield "DestinationRule", "destination_rule", *self.found("destination_rule", service)
            if declared.metrics:
                yield "ServiceMonitor", "monitor", *self.found("monitor", service)
            if declared.stateful:
                yield "Service", "pods", *self.found("pods", service)
            for version in declared.versions:
                kind = "StatefulSet" if declared.stateful else "Deployment"
                yield kind, "deployment", *self.found("deployment", service, version)
                if not self.existing_account(service, version):
                    yield "ServiceAccount", "service_account", *self.found("service_account", service, version)
                yield "AuthorizationPolicy", "policy", *self.found("policy", service, version)
                if declared.service_per_version:
                    yield "Service", "version_service", *self.found("version_service", service, version)
                if shape.has_backends(service):
                    yield "Service", "service", self.backend(service, version), ("services", service)
                data = {**declared.config, **declared.versions[version].config}
                name, key = self.found("config", service, version)
                # One ConfigMap for several is fine while they agree.
                if data and (configs.setdefault(name, data) is data or data != configs[name]):
                    yield "ConfigMap", "config", name, key
        yield from self._entries()
        yield "EnvoyFilter", "rate_limit", *self.found("rate_limit")
        yield "EnvoyFilter", "hash", *self.found("hash")
        yield "PrometheusRule", "rules", *self.found("rules")
        yield "AlertmanagerConfig", "mail", *self.found("mail")
        yield "PeerAuthentication", "mtls", *self.found("mtls")
        yield "Telemetry", "tracing", *self.found("tracing")
        yield from self._outside()
        yield from self._tools_and_dashboards()

    def _entries(self) -> Iterator[tuple[str, str, str, Key]]:
        shape = self.shape
        kind = "HTTPRoute" if shape.by_http_routes else "VirtualService"
        yield kind, "entry", *self.found("entry")
        for host in shape.host_routes:
            yield kind, "entry", self.entry(host), ("entries", host)
        if not shape.by_http_routes:
            yield "Gateway", "gateway", *self.found("gateway")
            return
        for name in shape.release.override.hosts:
            yield kind, "entry", self.entry(shape.host(name)), ("override", "hosts", name)
        tls = shape.release.gateway.tls
        if tls and tls.redirect:
            yield kind, "entry", self.entry("https"), ("gateway", "tls", "redirect")

    def _outside(self) -> Iterator[tuple[str, str, str, Key]]:
        release = self.shape.release
        for host, given in release.outside.items():
            name, key = self.outside(host), ("outside", host)
            yield "ServiceEntry", "outside", name, key
            if given.tls == "mesh":
                yield "DestinationRule", "outside", name, key
            if given.timeout or given.retries:
                yield "VirtualService", "outside", name, key
        if any(given.ca for given in release.outside.values()):
            yield "ConfigMap", "authorities", *self.found("authorities")
        if release.egress == "named":
            yield "Sidecar", "egress", *self.found("egress")
        for service in Tokens(self.shape).services:
            yield "RequestAuthentication", "jwt", *self.found("jwt", service)
            yield "AuthorizationPolicy", "jwt", *self.found("jwt", service)

    def _tools_and_dashboards(self) -> Iterator[tuple[str, str, str, Key]]:
        shape = self.shape
        for tool, declared in shape.release.tools.items():
            yield "VirtualService", "tool", *self.tool(tool)
            if declared.alias:
                yield "Service", "alias", declared.alias, ("tools", tool, "alias")
        for name in {self.of("dashboards", dashboard=dashboard) for dashboard in shape.release.dashboards}:
            yield "ConfigMap", "dashboards", name, self.found("dashboards")[1]
        if shape.release.alertmanager:
            yield "Service", "alertmanager", shape.release.alertmanager.name, ("alertmanager",)

    def backend(self, service: str, version: str) -> str:
        """Give the name of the Service of one version that HTTPRoutes lead to."""
        return backends.backend(self.of("service", service), version)

    def entry(self, host: str) -> str:
        """Give the name of the route of a host that has routes of its own."""
        return _shortened(f"{self.of('entry')}-{_slug(host)}")

    def outside(self, host: str) -> str:
        """Give the name of what makes a host outside known."""
        return _shortened(self.of("outside", host=_slug(host)))

    def tool(self, tool: str) -> tuple[str, Key]:
        """Give the name of a tool's VirtualService, and the key that it comes from."""
        own = self.shape.release.tools[tool].name
        return (own, ("tools", tool, "name")) if own else self.found("tool", tool=tool)


def faults(naming: Naming) -> Iterator[Fault]:
    """Find names that Kubernetes would not take, and those that two objects of one kind would have."""
    seen: dict[tuple[str, str], Key] = {}
    for kind, what, name, key in naming.all():
        if "{" in name or "}" in name:
            yield Fault(
                "unknown-placeholder",
                key,
                f"has a placeholder that {what} does not have",
                f'{what}: "{PATTERNS[what]}"',
            )
        elif len(name) > (longest := LONGEST_OF_KIND.get(kind, LONGEST)):
            shorter = f"a name that is {len(name) - longest} letters shorter, or {what} in names"
            yield Fault(
                "name-too-long", key, f"makes {kind} {name}, and Kubernetes takes at most {longest} letters", shorter
            )
        elif not (_SERVICE if kind == "Service" else _ANY).fullmatch(name):
            yield Fault(
                "wrong-name", key, f"makes {kind} {name!r}, which is no name for one", f"{what}: {_repaired(name)}"
            )
        elif (kind, name) in seen and kind != "ServiceMonitor":
            other = ".".join(map(str, seen[kind, name]))
            pattern = PATTERNS.get(what, name)
            yield Fault(
                "duplicate-object", key, f"makes {kind} {name}, which {other} makes too", f'{what}: "{pattern}-2"'
            )
        seen.setdefault((kind, name), key)


def _slug(host: str) -> str:
    return host.replace("*", "any").replace(".", "-")


def _shortened(name: str) -> str:
    short = hashlib.sha256(name.encode()).hexdigest()[:8]
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 9].rstrip('-')}-{short}"


def _repaired(name: str) -> str:
    return "a" + name.strip("-") if name.strip("-") else "app"
