"""Rules of VirtualServices, in the one order of decisions: override, then sticky, then weights.

A rule is a plain map: ``name``, ``match`` (list of HTTPMatchRequest, empty: everything), ``route`` (destinations) or
``refuse`` (a status), ``mirrors``, and what its service says of time-outs, retries and faults; ``rewrite_to``,
``origins`` and ``case`` (its number) are as the page says them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from . import headers, retries
from .bands import Band, bands
from .match_keys import Case
from .model import Service
from .names import Naming
from .routing_keys import Route
from .values import milliseconds, seconds_text, whole

Rule = dict[str, Any]


def fqdn(naming: Naming, service: str, domain: str) -> str:
    """Write the DNS name of a service's Service."""
    return f"{naming.of('service', service)}.{naming.shape.namespace}.svc.{domain}"


def cookie_pattern(name: str, value: str) -> str:
    """Match a Cookie header that has exactly this cookie among others."""
    return rf"^(.*;\s*)?{literal(name)}={literal(value)}(;.*)?$"


def literal(text: str) -> str:
    """Write a text as a regular expression that matches it alone."""
    return re.sub(r"([.^$*+?()\[\]{}|\\])", r"\\\1", text)


def authority(host: str) -> dict[str, str]:
    """Match a host, at any port."""
    return {"regex": rf"(?i){literal(host)}(:\d+)?"}


def set_cookie(naming: Naming, version: str, path: str, route: Route) -> str:
    """Write the Set-Cookie header by which the mesh keeps a client with ``version``, at all paths or at one."""
    shape = naming.shape
    age = milliseconds(shape.release.sticky.max_age) // 1000
    tls = shape.release.gateway.tls
    secure = "; Secure" if tls and tls.redirect else ""
    name = shape.cookie_of(path, route)
    where = "/" if name == shape.cookie else path
    value = f"{name}={shape.cookie_value(version)}; Path={where}; Max-Age={age}; HttpOnly; SameSite=Lax{secure}"
    return headers.unformatted(value)


def expired_cookie(naming: Naming) -> str:
    """Write the Set-Cookie header that takes the mesh's cookie off an answer."""
    shape = naming.shape
    own = any(shape.cookie_of(path, route) != shape.cookie for _, path, route in shape.all_routes())
    # Which of several cookies an answer has is not known here; one that nobody has takes its place.
    name = f"{shape.cookie}-refused" if own else shape.cookie
    return headers.unformatted(f"{name}=; Path=/; Max-Age=0")


@dataclass(frozen=True)
class Rules:
    """Makes the rules of a release. ``domain`` is the cluster's; ``bands``: those that a hash picks from now."""

    naming: Naming
    domain: str
    bands: tuple[Band, ...] = ()

    def entry(self, host: str = "") -> list[Rule]:
        """Make the rules of the hosts, or of one that has its own: path by path, the longest first."""
        shape = self.naming.shape
        routes = shape.host_routes[host] if host else shape.routes
        made = [(path, list(self._path(path, route))) for path, route in routes.items()]
        made += [(path, [self._redirect(path)]) for path in shape.release.redirects]
        made.sort(key=lambda each: -len(each[0].rstrip("/")))
        return list(retries.by_method(rule for _, rules in made for rule in rules))

    def _redirect(self, path: str) -> Rule:
        shape = self.naming.shape
        name = f"{shape.namespace}/{shape.release.name}:{path}:redirect"
        return {
            "name": name,
            "match": _paths(path.rstrip("/") or "/"),
            "redirect": shape.release.redirects[path].of_mesh,
        }

    def _path(self, path: str, route: Route) -> Iterator[Rule]:
        for index, case in enumerate(route.when):
            match = [{**each, **_said(case)} for each in ([{}] if case.path else _paths(path))]
            for rule in self._rules(path, route, case.to or route.to, match, f"when-{index + 1}", case.version):
                yield {**rule, "case": index}
        yield from self._rules(path, route, route.to, _paths(path))

    def _rules(
        self,
        path: str,
        route: Route,
        service: str,
        matched: list[dict[str, Any]],
        case: str = "",
        version: str | None = None,
    ) -> Iterator[Rule]:
        """Make the rules for what is ``matched``; ``version``: the one that all of it gets."""
        shape = self.naming.shape
        new = route.rewrite or ("/" if route.strip else None)
        common = self._common(service) | ({"rewrite": _rewritten(path, new), "rewrite_to": new} if new else {})
        common |= headers.of_route(route)
        name = f"{service}:{path}:{case}:" if case else f"{service}:{path}:"
        if version is not None:
            yield self._rule(f"{name}chosen", matched, [self._shown(service, version)], common)
            return
        versions = shape.versions if shape.minds(service) else []
        for how, chosen, condition in self._conditions(path, route, versions):
            match = [_both(each, condition) for each in matched]
            yield self._rule(f"{name}{how}", match, [self._shown(service, chosen)], common)
        how, destinations = self._undecided(service, path, route, versions)
        yield self._rule(f"{name}{how}", matched, destinations, common)

    def _conditions(self, path: str, route: Route, versions: list[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield how a request can say its version, in the order in which it counts."""
        shape = self.naming.shape
        override, sticky = shape.release.override, shape.release.sticky
        asked = route.override or override
        if not versions:
            return
        for host, version in shape.override_hosts.items():
            yield f"host:{host}", version, {"authority": authority(host)}
        if asked.header:
            for version in versions:
                value = asked.header.match(version).of_mesh
                yield f"header:{version}", version, {"headers": {asked.header.name: value}}
        if asked.cookie:
            for version in versions:
                pattern = cookie_pattern(asked.cookie.name, asked.cookie.values.get(version, version))
                yield f"cookie:{version}", version, {"headers": {"cookie": {"regex": pattern}}}
        if sticky.by == "cookie" and route.sticky is None:
            for version in self.live(versions, route):
                pattern = cookie_pattern(shape.cookie_of(path, route), shape.cookie_value(version))
                yield f"sticky:{version}", version, {"headers": {"cookie": {"regex": pattern}}}

    def live(self, versions: list[str], route: Route | None = None) -> list[str]:
        """Keep the versions that new clients can get, at a path or everywhere."""
        shape = self.naming.shape
        weights = shape.weights_of(route) if route else shape.release.weights
        return [version for version in versions if weights.get(version)]

    def _undecided(
        self, service: str, path: str, route: Route, versions: list[str]
    ) -> tuple[str, list[dict[str, Any]]]:
        """Say where requests go that neither override nor cookie decide."""
        shape = self.naming.shape
        if (route.version and service == route.to) or not versions:
            wanted = route.version if service == route.to else None
            return "default", [self._shown(service, wanted or shape.default(service))]
        sticky = shape.release.sticky
        by_mesh = sticky.by == "cookie" and sticky.set_by == "mesh" and route.sticky is None
        weights = shape.weights_of(route)
        shares = [(version, weights[version]) for version in self.live(versions, route)]
        how = self.undecided(versions)
        destinations = []
        for version, weight in bands(dict(shares), self.bands) if how == "hash" else shares:
            destination = self._shown(service, version)
            if len(shares) > 1:
                destination["weight"] = weight
            if by_mesh:
                # `add`, because `set` would take away the app's own cookies.
                destination["response_add"] = {"Set-Cookie": set_cookie(self.naming, version, path, route)}
            destinations.append(destination)
        return how, destinations

    def undecided(self, versions: list[str]) -> str:
        """Name the last rule of a path.

        The hash goes by this name, and must not find a rule with one destination, which has no weights to hash over.
        """
        return "hash" if self.naming.shape.release.sticky.by == "hash" and len(self.live(versions)) > 1 else "weights"

    def hashed(self) -> list[str]:
        """List the names of the rules in which a hash picks the version."""
        shape = self.naming.shape
        names = [
            (service, f"{service}:{path}:{case}hash")
            for _, path, route in shape.all_routes()
            for service, case, version in _ways(route)
            if shape.minds(service) and version is None and self.undecided(shape.versions) == "hash"
        ]
        return [
            self._name(f"{name}{half}") for service, name in names for half in retries.names(shape.services[service])
        ]

    def mesh(self, service: str) -> list[Rule]:
        """Make the rules for calls from inside the mesh; empty where nobody calls."""
        shape = self.naming.shape
        common = self._common(service)
        refused, shadowed = self._from_shadows(service)
        rules = [*refused, *shadowed]
        followed = shape.follows(service) or service in shape.carriers
        for version in shape.versions if followed else []:
            match = list(self._from_version(service, version))
            if match:
                rules.append(self._rule(f"{service}:{version}", match, [self._to(service, version)], common))
        if shape.is_split(service) and shape.services[service].follows == "weights":
            live = self.live(shape.versions)
            weighted = [self._to(service, version) for version in live]
            for version, destination in zip(live, weighted, strict=True):
                if len(live) > 1:
                    destination["weight"] = shape.release.weights[version]
            rules.append(self._rule(f"{service}:weights", [], weighted, common))
        else:
            to = {**self._to(service, shape.default(service)), "request_set": {}}
            rules.append(self._rule(f"{service}:default", [], [to], common))
        declared = shape.services[service]
        called = shape.callers(service) or declared.callers or shape.release.access == "open"
        return [*self._metrics(service, declared), *retries.by_method(rules)] if called else []

    def _metrics(self, service: str, declared: Service) -> Iterator[Rule]:
        """Keep a port of metrics what it is: rules hold for every port of a service."""
        if declared.metrics and declared.metrics.port not in (None, declared.port):
            port = declared.metrics.port
            to = {**self._to(service, self.naming.shape.default(service)), "port": port, "request_set": {}}
            yield self._rule(f"{service}:metrics", [{"port": port}], [to], {})
        for name, more in declared.ports.items():
            if more.protocol != "tcp":
                number = more.service_port or more.port
                to = {**self._to(service, self.naming.shape.default(service)), "port": number, "request_set": {}}
                # It ends as the port of metrics does: it is for no version, and stays while versions change.
                yield self._rule(f"{service}:port-{name}:metrics", [{"port": number}], [to], {})

    def tcp(self, service: str) -> list[dict[str, Any]]:
        """Make the routes of ports whose protocol the mesh does not know: to one version, and never to a shadow."""
        shape = self.naming.shape
        host, subset = fqdn(self.naming, service, self.domain), shape.default(service)
        return [
            {
                "match": [{"port": port.service_port or port.port}],
                "route": [
                    {
                        "destination": {
                            "host": host,
                            "subset": subset,
                            "port": {"number": port.service_port or port.port},
                        }
                    }
                ],
            }
            for port in shape.services[service].ports.values()
            if port.protocol == "tcp"
        ]

    def _from_version(self, service: str, version: str) -> Iterator[dict[str, Any]]:
        """Yield how calls of a version are known: by the caller's label, or by the header it passes on."""
        shape = self.naming.shape
        header = {shape.release.chain_header: {"exact": shape.chain_value(version)}}
        for caller in shape.callers(service):
            if shape.is_split(caller):
                yield {"sourceLabels": {"app": caller, "version": shape.label(version)}}
            elif shape.is_split(service):
                yield {"sourceLabels": {"app": caller}, "headers": header}

    def _from_shadows(self, service: str) -> tuple[list[Rule], list[Rule]]:
        """Make the rules for calls of shadows: to their own kind, else nowhere."""
        shape = self.naming.shape
        alone, paired = [], []
        for caller, version in shape.shadow_callers(service):
            match = [{"sourceLabels": {"app": caller, "version": shape.label(version)}}]
            if version in shape.services[service].versions:
                to = [self._to(service, version)]
                paired.append(self._rule(f"{service}:shadow:{caller}:{version}", match, to, {}))
            else:
                alone.append(
                    {"name": self._name(f"{service}:shadow:{caller}:{version}"), "match": match, "refuse": 403}
                )
        return alone, paired

    def _to(self, service: str, version: str) -> dict[str, Any]:
        """Write a destination: the version of ``service`` that serves ``version``."""
        shape = self.naming.shape
        versions = shape.services[service].versions
        serving = version if version in versions else shape.serving(service, version)
        stamped = service in shape.carriers and version in shape.versions
        return {
            "host": fqdn(self.naming, service, self.domain),
            "port": shape.services[service].service_port or shape.services[service].port,
            # Without it all that is Ready behind the Service gets requests: a shadow, or a version that is to come.
            "subset": serving,
            "request_set": {shape.release.chain_header: headers.unformatted(shape.chain_value(version))}
            if stamped
            else {},
        }

    def _shown(self, service: str, version: str) -> dict[str, Any]:
        """Write a destination for users, who may see in a header which version it is."""
        header = self.naming.shape.release.version_header
        return {**self._to(service, version), **({"response_set": {header: version}} if header else {})}

    def _common(self, service: str) -> dict[str, Any]:
        """Say what holds for every request to a service: copies, time-outs, retries, faults."""
        declared = self.naming.shape.services[service]
        common: dict[str, Any] = {}
        mirrors = [
            {**self._to(service, version), "percent": whole(percent)}
            for version, percent in self.naming.shape.shadows(service).items()
            if percent
        ]
        if mirrors:
            common["mirrors"] = mirrors
        if declared.timeout:
            common["timeout"] = seconds_text(declared.timeout)
        common |= retries.common(declared)
        if declared.faults:
            common["fault"] = _fault(declared.faults)
        return common

    def _rule(
        self, name: str, match: list[dict[str, Any]], route: list[dict[str, Any]], common: dict[str, Any]
    ) -> Rule:
        return {"name": self._name(name), "match": match, "route": route, **common}

    def _name(self, name: str) -> str:
        """Write the name of a rule, that of its Service first: by it a request is counted that finds no cluster."""
        service, _, rest = name.partition(":")
        shape = self.naming.shape
        return f"{shape.namespace}/{shape.release.name}:{self.naming.of('service', service)}:{rest}"


def _ways(route: Route) -> Iterator[tuple[str, str, str | None]]:
    """Yield where requests of a path go: service, what the names of its rules have, and the version if it is fixed."""
    for index, case in enumerate(route.when):
        yield case.to or route.to, f"when-{index + 1}:", case.version
    yield route.to, "", route.version


def _said(case: Case) -> dict[str, Any]:
    """Match what a case says of requests."""
    made: dict[str, Any] = {"uri": {"regex": case.path.regex}} if case.path else {}
    made |= {"method": {"regex": "|".join(case.methods)}} if case.methods else {}
    made |= {"queryParams": {name: match.of_mesh for name, match in case.query.items()}} if case.query else {}
    return made | ({"headers": {name: match.of_mesh for name, match in case.headers.items()}} if case.headers else {})


def _both(match: dict[str, Any], condition: dict[str, Any]) -> dict[str, Any]:
    """Match what two say, both of which may be about headers."""
    held = {**match.get("headers", {}), **condition.get("headers", {})}
    return {**match, **condition, **({"headers": held} if held else {})}


def _paths(path: str) -> list[dict[str, Any]]:
    """Match a path and what is below it, and not what only begins with the same letters."""
    if path == "/":
        return [{"uri": {"prefix": "/"}}]
    return [{"uri": {"exact": path}}, {"uri": {"prefix": f"{path}/"}}]


def _rewritten(path: str, wanted: str) -> dict[str, str]:
    """Say how a path below ``path`` becomes one below ``wanted``, with the slash between in its place."""
    new = wanted.rstrip("/")
    if path == "/":
        return {"match": "^/(.*)$", "rewrite": rf"{new}/\1"}
    if not new:
        return {"match": f"^{literal(path)}/?(.*)$", "rewrite": r"/\1"}
    return {"match": f"^{literal(path)}(.*)$", "rewrite": rf"{new}\1"}


def _fault(faults: Any) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if faults.delay:
        delay = faults.delay
        made["delay"] = {"fixedDelay": seconds_text(delay.time), "percentage": {"value": whole(delay.share)}}
    if faults.abort:
        abort = faults.abort
        made["abort"] = {"httpStatus": abort.status, "percentage": {"value": whole(abort.share)}}
    return made
