"""Who may call whom: each version of each service has an account of its own, and lets in only those that reach it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .environment import Environment
from .names import Naming

# In callers: everybody without the mesh's proxy.
PLAIN = "plain"


@dataclass(frozen=True)
class Access:
    """The callers of a version, as the mesh knows them."""

    naming: Naming
    environment: Environment

    def accounts(self, service: str, version: str) -> list[tuple[str, str]]:
        """List the callers' versions that reach this one: (service, version)."""
        shape = self.naming.shape
        is_shadow = version in shape.shadows(service)
        found = []
        for caller in shape.callers(service):
            for other in shape.services[caller].versions:
                if other in shape.shadows(caller):
                    reaches = other == version
                elif is_shadow:
                    # A copy comes from whoever sent the original.
                    reaches = shape.shadows(service)[version] > 0
                else:
                    reaches = other == version or not (shape.follows(service) and shape.is_split(caller))
                if reaches:
                    found.append((caller, other))
        return found

    def from_gateway(self, service: str, version: str) -> bool:
        """Tell whether the gateway sends requests, or copies, to this version."""
        shape = self.naming.shape
        return service in shape.entries and shape.shadows(service).get(version, 100.0) > 0

    def principals(self, service: str, version: str) -> list[str]:
        """List who may call a version, as access rules name it."""
        shape, environment = self.naming.shape, self.environment
        found = []
        if self.from_gateway(service, version):
            found.append(environment.principal(environment.gateway_namespace, environment.gateway_account))
        for caller, other in self.accounts(service, version):
            account = self.naming.of("service_account", caller, other)
            found.append(environment.principal(shape.namespace, account))
        for namespace, account in self.named(service):
            if account != "*":
                found.append(environment.principal(namespace, account))
        return list(dict.fromkeys(found))

    def named(self, service: str) -> list[tuple[str, str]]:
        """List who else may call a service: namespace and account."""
        shape = self.naming.shape
        named = (text for text in shape.services[service].callers if text != PLAIN)
        texts = (text.replace("{namespace}", shape.namespace) for text in named)
        return [(namespace, account) for namespace, _, account in (text.partition("/") for text in texts)]

    def namespaces(self, service: str) -> list[str]:
        """List the namespaces of which everybody may call a service."""
        return list(dict.fromkeys(namespace for namespace, account in self.named(service) if account == "*"))

    def plain(self, service: str) -> bool:
        """Tell whether those may call a service who show no identity: nothing else can be told of them."""
        release = self.naming.shape.release
        return release.mtls == "permissive" and (release.access == "open" or PLAIN in release.services[service].callers)

    def table(self) -> list[dict[str, Any]]:
        """List every allowed call, version by version; empty where everybody may call."""
        shape = self.naming.shape
        if shape.release.access == "open":
            return []
        return [
            {
                "service": service,
                "version": version,
                "gateway": self.from_gateway(service, version),
                "callers": [{"service": caller, "version": other} for caller, other in self.accounts(service, version)],
            }
            for service, declared in shape.services.items()
            for version in declared.versions
        ]
