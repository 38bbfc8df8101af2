"""Checks of pages with ``output: gateway-api``: what the standard channel of the Gateway API (1.6) cannot say of users.

Of services that the gateway does not lead to nothing is lost: calls inside the mesh are routed as with ``istio``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

from ..mesh.manifests import TLS_PORTS
from ..page.form import Fault
from ..page.read import Key
from . import backends, http_routes
from .certificate import GATEWAY_TLS
from .header_keys import ALL, HeaderChange
from .match_keys import Match
from .names import Naming
from .route_checks import places
from .routing import Rules
from .routing_keys import Gateway, Route
from .shape import Shape
from .values import milliseconds

_ID = "output-cannot-say"
_ISTIO = "output: istio"
# Keys of a service that become fields of a VirtualService or a DestinationRule, and of no HTTPRoute.
_OF_SERVICES = {
    "retries": "are not in the Gateway API's standard channel",
    "circuit_breaking": "is not in the Gateway API",
    "load_balancing": "is not in the Gateway API",
    "faults": "are not in the Gateway API",
}
_MOST_CHANGES = 16
# Characters, classes and groups: no other escapes, and nothing after (? but what all readers know.
_PLAIN = re.compile(r"(\(\?i\))?([^\\(]|\\[dDwWsSbB]|\\[^a-zA-Z0-9]|\((?!\?)|\(\?:)*")
_MOST_REPEATS = 1000


def output_says_it(shape: Shape) -> Iterator[Fault]:
    """Refuse by name what an HTTPRoute has no field for, and then what would lie otherwise in it."""
    if not shape.by_http_routes:
        return
    faults = [*_release(shape), *_gateway(shape), *_services(shape), *_paths(shape), *_names(shape)]
    yield from faults or _rules(shape)


def _fault(key: Key, what: str, works: str) -> Fault:
    return Fault(_ID, key, what, f"{works}, or {_ISTIO}")


def _release(shape: Shape) -> Iterator[Fault]:
    release = shape.release
    if shape.versions and release.sticky.by != "none":
        what = "keeps clients with their version, which is not in the Gateway API's standard channel"
        yield _fault(("sticky",), what, "sticky: none")
    for name in ("per_client", "total", "by"):
        if getattr(release.limits, name):
            yield _fault(("limits", name), "is a rate limit, which is not in the Gateway API", f"no {name}")
    if release.override.header:
        yield from _patterns(("override", "header", "values"), release.override.header.values)
    for tool in release.tools:
        what = "leads to a Service in another namespace, which has to allow that (ReferenceGrant)"
        yield _fault(("tools", tool), what, "a page of its own for the tools")
    if len(release.hosts) > 1 and ALL in release.hosts:
        what = "is every host, and an HTTPRoute for every host names no others"
        yield _fault(("hosts", release.hosts.index(ALL)), what, f'hosts: ["{ALL}"]')


def _gateway(shape: Shape) -> Iterator[Fault]:
    gateway, shared = shape.release.gateway, "/".join(backends.GATEWAY)
    what = f"is about a Gateway of Istio, and routes attach to the Gateway {shared} of the Gateway API"
    for name in ("selector", "use"):
        if getattr(gateway, name) != getattr(Gateway(), name):
            yield _fault(("gateway", name), what, f"no {name}")
    if gateway.tls and gateway.tls.secret != GATEWAY_TLS:
        what = f"is another certificate than that of port {backends.HTTPS} of the Gateway {shared}"
        yield _fault(("gateway", "tls", "secret"), what, "tls: {}, which takes the gateway's certificate")
    for index, port in enumerate(gateway.ports):
        if port in TLS_PORTS:
            what = f"is a port for https of the Gateway {shared}"
            yield _fault(("gateway", "ports", index), what, "ports: [80]")


def _services(shape: Shape) -> Iterator[Fault]:
    for service in shape.entries:
        for name, what in _OF_SERVICES.items():
            if getattr(shape.services[service], name) is not None:
                why = f"{what}, and the gateway leads to {service}"
                yield _fault(("services", service, name), why, f"no {name} here")


def _paths(shape: Shape) -> Iterator[Fault]:
    for key, path, route in places(shape):
        for name in ("per_client", "total"):
            if getattr(route.limits, name):
                what = "is a rate limit, which is not in the Gateway API"
                yield _fault((*key, "limits", name), what, f"no {name}")
        if path == "/" and route.rewrite not in (None, "/"):
            what = f"is of the path /, of which Istio would make {route.rewrite}page from /page"
            yield _fault((*key, "rewrite"), what, "a longer path with this rewrite")
        for index, case in enumerate(route.when):
            at = (*key, "when", index)
            if case.path:
                what = "is a pattern, and Istio tries it after all paths that are written out"
                yield _fault((*at, "path"), what, "a path in routes")
            yield from _patterns((*at, "query"), case.query)
            yield from _patterns((*at, "headers"), case.headers)
        if route.override and route.override.header:
            yield from _patterns((*key, "override", "header", "values"), route.override.header.values)
        yield from _headers(key, route)


def _patterns(key: Key, named: Mapping[str, Match]) -> Iterator[Fault]:
    """Refuse expressions that the mesh might not read: of an HTTPRoute nobody checks them before they are in use."""
    for name, match in named.items():
        if match.regex and not _is_plain(match.regex):
            what = "is an expression that the API server does not check in an HTTPRoute, and it is not a simple one"
            works = "text, prefix, or a regex of characters, classes, (?:…), | and counts up to 1000"
            yield _fault((*key, name), what, works)


def _is_plain(pattern: str) -> bool:
    """Tell whether an expression has only what every reader of them has, RE2 too."""
    counts = [int(number) for number in re.findall(r"\d+", "".join(re.findall(r"\{([\d,]*)\}", pattern)))]
    return bool(_PLAIN.fullmatch(pattern)) and math.prod(filter(None, counts)) <= _MOST_REPEATS


def _headers(key: Key, route: Route) -> Iterator[Fault]:
    sides: dict[str, HeaderChange] = {"request": route.headers.request, "response": route.headers.response}
    for side, change in sides.items():
        for name in ("set", "add", "remove"):
            if len(getattr(change, name)) > _MOST_CHANGES:
                what = f"has more than {_MOST_CHANGES} headers, and an HTTPRoute takes no more"
                yield _fault((*key, "headers", side, name), what, "fewer headers")
    if route.cors is None:
        return
    if milliseconds(route.cors.max_age) % 1000:
        what = "is no whole number of seconds, as an HTTPRoute has it"
        yield _fault((*key, "cors", "max_age"), what, "max_age: 10m")
    for name in ("origins", "headers"):
        listed = getattr(route.cors, name)
        if ALL in listed and len(listed) > 1:
            yield _fault((*key, "cors", name), f"has {ALL} beside others", f'{name}: ["{ALL}"]')


def _names(shape: Shape) -> Iterator[Fault]:
    naming, two = Naming(shape), backends.BETWEEN
    if shape.release.names.gateway:
        yield _fault(("names", "gateway"), "names a Gateway, and the release makes none", "no gateway in names")
    for service in shape.entries:
        name, key = naming.found("service", service)
        what = f"has {two}, which divides service and version in the name of a Service"
        if two in name:
            yield _fault(key, what, "a name without two hyphens in a row")
        for version in shape.services[service].versions:
            if two in version:
                yield _fault(("services", service, "versions", version), what, "a version without two hyphens in a row")


def _rules(shape: Shape) -> Iterator[Fault]:
    known = {(str(key[1]) if len(key) > 2 else "", path.rstrip("/") or "/"): key for key, path, _ in places(shape)}
    for host, hosts, rules in http_routes.sets(Rules(Naming(shape), "cluster.local")):
        above: Key = ("entries", host) if host in shape.host_routes else ("routes",)
        for first, later in http_routes.misplaced(rules):
            path = http_routes.path_of(first)
            at = known.get((host if host in shape.host_routes else "", path), above)
            case = first.get("case")
            what = (
                f"comes before {later['name'].rpartition(':')[2]} on the page, and after it in the Gateway API, which "
                "tries methods first, then headers, then query parameters: what fits both would go elsewhere"
            )
            yield _fault(at if case is None else (*at, "when", case), what, "methods, or more headers, in its place")
            return
        count = len(http_routes.written(rules, shape.namespace))
        if count > http_routes.MOST_RULES:
            what = f"make {count} rules for {hosts[0]}, and an HTTPRoute has {http_routes.MOST_RULES} at most"
            yield _fault(above, what, "fewer paths, cases or overrides")
        if len(hosts) > http_routes.MOST_HOSTS:
            what = f"are {len(hosts)}, and an HTTPRoute has {http_routes.MOST_HOSTS} at most"
            yield _fault(("hosts",), what, "a wildcard: *.example.org")
    tls, count = shape.release.gateway.tls, len(shape.hosts) + len(shape.host_routes)
    if tls and tls.redirect and count > http_routes.MOST_HOSTS:
        what = f"is for {count} hosts, and one HTTPRoute does it for all, with {http_routes.MOST_HOSTS} at most"
        yield _fault(("gateway", "tls", "redirect"), what, "fewer hosts")
