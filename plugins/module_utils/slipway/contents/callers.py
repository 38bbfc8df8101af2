"""Read AuthorizationPolicies: who may call a service, where a client of the mesh that nobody names is refused. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..cluster.objects import identity
from . import services, walk
from .services import Service, Version

Object = dict[str, Any]
# Policies of this namespace without a selector are for the whole mesh.
_ROOT = "istio-system"
# Namespaces of a proof's own clients begin with it.
_PROOF = "slipway-prove"
_NAMED = re.compile(r"/ns/([^/*]+)/")
_NO_HTTP = ("https", "mongo", "mysql", "redis", "tcp", "tls", "udp")


class Callers:
    """The policies among ``objects``, for the Services of a namespace. ``told``: what is said of these as a promise."""

    def __init__(self, objects: list[Object], namespace: str, domain: str, told: Mapping[str, Any]) -> None:
        self.objects, self.namespace, self.domain, self.told = objects, namespace, domain, told
        # Policies of which something is asked.
        self.asked: set[str] = set()
        allow = (item for item in walk.of(objects, "AuthorizationPolicy") if _action(item) == "ALLOW")
        self.policies = [item for item in allow if walk.space(item) in (namespace, _ROOT)]

    def rows(self, found: Mapping[str, Service]) -> list[Object]:
        """Give a row for each version that refuses whom no policy names, as ``release/access.py`` gives it."""
        made = []
        for name, service in found.items():
            own = {version: self.of(each) for version, each in service.versions.items()}
            # Any of its pods may answer: one that is open spoils it for all.
            if not all(policies and all(map(_closed, policies)) for policies in own.values()) or not self.leads(
                service
            ):
                continue
            for version, policies in own.items():
                self.asked |= set(map(identity, policies))
                made.append(self.row(name, version, [source for item in policies for source in _sources(item)]))
        return made

    def row(self, service: str, version: str, sources: list[Object]) -> Object:
        """Say of a version who is named: callers that are known, and all accounts, each as a principal ends."""
        principals = [str(name) for source in sources for name in source.get("principals") or []]
        accounts = list(
            dict.fromkeys(name.rpartition("/")[2] for name in principals if "/sa/" in name and "*" not in name)
        )
        callers = [
            {"service": name, "version": other}
            for name, told in self.told.items()
            for other, about in told["versions"].items()
            if any(name.endswith(f"/ns/{self.namespace}/sa/{about['account']}") for name in principals)
        ]
        spaces = [str(space) for source in sources for space in source.get("namespaces") or []]
        gateway = _ROOT in spaces or any(f"/ns/{_ROOT}/" in name for name in principals)
        return {"service": service, "version": version, "gateway": gateway, "callers": callers, "accounts": accounts}

    def of(self, version: Version) -> list[Object]:
        """Give the policies that let callers of a version's pods in."""
        found = []
        for item in self.policies:
            spec = walk.inner(item.get("spec"))
            wanted = walk.inner(walk.inner(spec.get("selector")).get("matchLabels"))
            at_gateways = spec.get("targetRef") or spec.get("targetRefs")
            if not at_gateways and wanted.items() <= version.labels.items() and (wanted or not spec.get("selector")):
                found.append(item)
        return found

    def leads(self, service: Service) -> bool:
        """Tell whether any request of a client in the mesh comes to a Service's pods, as HTTP."""
        port = next(iter(walk.each(walk.inner(service.item.get("spec")).get("ports"))), {})
        spoken = str(port.get("appProtocol") or port.get("name") or "").partition("-")[0].lower()
        place = (self.namespace, service.name)
        rules = [
            walk.each(walk.inner(item.get("spec")).get("http"))
            for item in walk.of(self.objects, "VirtualService")
            if services.of_mesh(item)
            and any(
                walk.service_of(str(host), walk.space(item), self.domain) == place
                for host in walk.inner(item.get("spec")).get("hosts") or []
            )
        ]
        return spoken not in _NO_HTTP and all(any(map(_plain, each)) for each in rules)


def _action(item: Mapping[str, Any]) -> str:
    return str(walk.inner(item.get("spec")).get("action") or "ALLOW")


def _plain(rule: Mapping[str, Any]) -> bool:
    """Tell whether a rule of routes is for all requests, and only leads somewhere."""
    return bool(rule.get("route")) and not rule.get("match") and not rule.get("fault")


def _sources(policy: Mapping[str, Any]) -> Iterator[Object]:
    for rule in walk.each(walk.inner(policy.get("spec")).get("rules")):
        yield from (walk.inner(one.get("source")) for one in walk.each(rule.get("from")))


def _closed(policy: Mapping[str, Any]) -> bool:
    """Tell whether each rule of a policy names its callers, and none of them is a stranger's."""
    rules = walk.each(walk.inner(policy.get("spec")).get("rules"))
    return bool(rules) and all(rule.get("from") for rule in rules) and all(map(_names, _sources(policy)))


def _names(source: Mapping[str, Any]) -> bool:
    """Tell whether a source is closed to an account of a proof's namespace: one of its fields is enough for that."""
    principals = [_NAMED.search(str(name)) for name in source.get("principals") or []]
    spaces = [str(name) for name in source.get("namespaces") or []]
    by_account = bool(principals) and all(found and not found[1].startswith(_PROOF) for found in principals)
    return by_account or (bool(spaces) and not any("*" in name or name.startswith(_PROOF) for name in spaces))
