"""Checks of what paths say of their own: weights, ways to ask for a version, cases, redirects; and of hosts with *."""

from __future__ import annotations

from collections.abc import Iterator

from ..page.form import Fault
from ..page.read import Key, flow
from .form import near
from .routing_keys import Route
from .shape import Shape


def places(shape: Shape) -> Iterator[tuple[Key, str, Route]]:
    """Yield each path as its page writes it, with its key and its route; without routes on the page, none."""
    release = shape.release
    for path, route in release.routes.items():
        yield ("routes", path), path, route
    for host, entry in release.entries.items():
        for path, route in entry.routes.items():
            yield ("entries", host, "routes", path), path, route


def entries_lead_somewhere(shape: Shape) -> Iterator[Fault]:
    """Refuse hosts whose service does not exist."""
    for host, entry in shape.release.entries.items():
        if entry.to is not None and entry.to not in shape.services:
            fix = f"{host}: {near(entry.to, shape.services)}"
            yield Fault("unknown-service", ("entries", host, "to"), "is no service of this release", fix)
    for path, redirect in shape.release.redirects.items():
        tidy = path.rstrip("/") or "/"
        taken = next((each for each in shape.release.routes if (each.rstrip("/") or "/") == tidy), None)
        if taken:
            what = f"is a path of routes too, which leads to {shape.release.routes[taken].to}"
            yield Fault("duplicate-value", ("redirects", path), what, f"redirects: {{{tidy}-old: {redirect.to}}}")
        elif redirect.to.startswith("/") and f"{redirect.to.rstrip('/')}/".startswith(f"{tidy.rstrip('/')}/"):
            what = f"sends clients to {redirect.to}, which is below it: they would go in circles"
            to = redirect.to if tidy == "/" else f"/new{tidy}"
            # A redirect is for what is below its path, too.
            fix = f"/old: {to}" if not to.startswith("/old") else f"/from: {to}"
            if tidy != "/":
                fix = f"{path}: {to}" if not to.startswith(f"{tidy}/") else f"{path}: /other{tidy}"
            yield Fault("redirect-circle", ("redirects", path), what, fix)


def weights_of_paths_fit(shape: Shape) -> Iterator[Fault]:
    """Refuse weights of a path that are not 100 together, are of other versions, or that nothing decides by."""
    release = shape.release
    for key, _, route in places(shape):
        if route.weights:
            yield from _weights(shape, (*key, "weights"), route)
        if (route.sticky or route.override) and not shape.versions:
            name = "sticky" if route.sticky else "override"
            yield Fault("keys-contradict", (*key, name), "is about versions, and there is one only", f"no {name} here")
        if route.override and route.override.cookie and route.override.cookie.name == shape.cookie:
            what = "is the cookie of sticky too, so old clients would stay with versions that are withdrawn"
            fix = f"cookie: {release.name}-use"
            yield Fault("duplicate-value", (*key, "override", "cookie"), what, fix)
        if route.strip and route.rewrite:
            yield Fault(
                "keys-contradict", (*key, "strip"), "is rewrite: /, and there is another rewrite", "one of the two"
            )


def _weights(shape: Shape, key: Key, route: Route) -> Iterator[Fault]:
    known = shape.versions
    fair = _fair(known) if known else {}
    if not known:
        fix = "weights of the release, with two versions"
        yield Fault("keys-contradict", key, "splits requests, and the release has no weights", fix)
        return
    for version in route.weights:
        if version not in known:
            fix = f"{near(version, known)}: {route.weights[version]}"
            yield Fault("unknown-version", (*key, version), "is not in the weights of the release", fix)
    if sum(route.weights.values()) != 100:
        what = f"are {sum(route.weights.values())} together, and must be 100"
        yield Fault("weights-sum", key, what, f"weights: {flow(fair)}")
    if route.version:
        yield Fault("keys-contradict", key, "decide among versions, and version names one", "one of the two")
    if not shape.minds(route.to):
        fix = f"another version of {route.to}, or no weights here"
        yield Fault("keys-contradict", key, f"split requests, and {route.to} has one version only", fix)
    if shape.release.sticky.by == "hash":
        fix = "sticky: cookie, or no weights here"
        yield Fault("keys-contradict", key, "are of one path, and a hash picks one version for all paths", fix)


def _fair(versions: list[str]) -> dict[str, int]:
    share = 100 // len(versions)
    return {
        version: share + (100 - share * len(versions) if index == 0 else 0) for index, version in enumerate(versions)
    }


def cases_lead_somewhere(shape: Shape) -> Iterator[Fault]:
    """Refuse cases that lead to what does not exist, and those that an earlier one leaves nothing."""
    for key, path, route in places(shape):
        seen: list[tuple[object, ...]] = []
        for index, case in enumerate(route.when):
            at: Key = (*key, "when", index)
            service = case.to or route.to
            if service not in shape.services:
                what, fix = "is no service of this release", f"to: {near(service, shape.services)}"
                yield Fault("unknown-service", (*at, "to"), what, fix)
                continue
            users = shape.users(service)
            if case.version and case.version not in users:
                what, fix = f"is no version of {service} that answers users", f"version: {near(case.version, users)}"
                yield Fault("unknown-version", (*at, "version"), what, fix)
            tidy = path.rstrip("/")
            if case.path and tidy and not f"{case.path.example}/".startswith(f"{tidy}/"):
                what = f"has the example {case.path.example}, which is not below {path}"
                yield Fault("case-beside-path", (*at, "path"), what, f"the case at /, or an example below {path}")
            said = (sorted(case.methods), flow(case.model_dump(include={"query", "headers", "path"})))
            if said in seen:
                what = f"is about the same requests as case {seen.index(said) + 1} before it, which takes them all"
                yield Fault("duplicate-value", at, what, "one of the two")
            seen.append(said)


def websockets_last(shape: Shape) -> Iterator[Fault]:
    """Refuse WebSocket at services that know no upgrade, and warn of time-outs, which end its connections."""
    for key, _, route in places(shape):
        declared = shape.services.get(route.to)
        if not route.websocket or declared is None:
            continue
        if declared.protocol != "http":
            what = f"needs an upgrade, and {route.to} speaks {declared.protocol}, which has none"
            fix = "no websocket here, or another service, with protocol: http"
            yield Fault("keys-contradict", (*key, "websocket"), what, fix)
        elif declared.timeout:
            what = f"leads to {route.to}, whose timeout {declared.timeout} ends each connection"
            fix = f"no timeout at services.{route.to}, or another service"
            yield Fault("websocket-timeout", (*key, "websocket"), what, fix, warning=True)


def wildcards_are_known(shape: Shape) -> Iterator[Fault]:
    """Refuse names that a wildcard cannot complete, and warn of TLS for every name."""
    release = shape.release
    if release.gateway.tls and "*" in (*release.hosts, *release.entries):
        where: Key = ("hosts", release.hosts.index("*")) if "*" in release.hosts else ("entries", "*")
        what = "is every host, and a certificate is for certain ones: browsers take only these"
        yield Fault("certificate-not-for-all", where, what, "hosts with their names, or *.example.org", warning=True)
    if release.hosts[0] == "*" and len(release.hosts) == 1:
        for key, name in [
            *((("override", "hosts", name), name) for name in release.override.hosts),
            *((("tools", name, "host"), tool.host) for name, tool in release.tools.items()),
        ]:
            if "." not in name:
                what = "has no dot, and there is no host that completes it: hosts has * only"
                yield Fault("host-without-dot", key, what, f"{name}.{release.name}.local")
