"""Read routes of the Gateway API as VirtualServices, so that what asks about these asks about those, too. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..cluster.objects import identity
from . import walk

Object = dict[str, Any]
GROUP = "gateway.networking.k8s.io"
CLASS = "istio"
# The Gateway of role istio, and the Service that it names.
HOME = ("istio-system", "slipway")
_SERVICE = "istio-ingressgateway"
ROUTES = ("HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute")
_MATCHES = {"Exact": "exact", "RegularExpression": "regex"}


def is_of(item: Mapping[str, Any]) -> bool:
    """Tell whether an object is of the Gateway API."""
    return str(item["apiVersion"]).startswith(f"{GROUP}/")


def gateways(objects: Iterable[Object]) -> list[Object]:
    """Give the Gateways of the Gateway API."""
    return [item for item in walk.of(objects, "Gateway") if is_of(item)]


def parents(item: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name the Gateways that a route is for, by namespace and name."""
    return [
        (str(one.get("namespace") or walk.space(item)), str(one.get("name", "")))
        for one in walk.each(walk.inner(item.get("spec")).get("parentRefs"))
        if one.get("kind", "Gateway") == "Gateway"
    ]


def has_an_address_of_its_own(gateway: Mapping[str, Any]) -> bool:
    """Tell whether istiod makes a gateway for it, beside the one that is there."""
    addresses = walk.each(walk.inner(gateway.get("spec")).get("addresses"))
    return len(addresses) < 2 and not any(one.get("type") == "Hostname" for one in addresses)


def at_the_gateway(gateway: Mapping[str, Any]) -> bool:
    """Tell whether a Gateway is served by the mesh's gateway."""
    spec = walk.inner(gateway.get("spec"))
    names = [str(one.get("value", "")) for one in walk.each(spec.get("addresses")) if one.get("type") == "Hostname"]
    return spec.get("gatewayClassName") == CLASS and any(
        walk.service_of(name.partition(".svc")[0], walk.space(gateway)) == (HOME[0], _SERVICE) for name in names
    )


def as_routes(objects: list[Object], ports: Iterable[int], domain: str) -> list[Object]:
    """Write HTTPRoutes at the mesh's gateway as VirtualServices, and their Gateways as those of Istio.

    ``of`` names what each is in truth. ``ports``: those that role istio's own Gateway has.
    """
    own = {walk.place(item): item for item in gateways(objects) if at_the_gateway(item)}
    made: dict[tuple[str, str], Object] = {}
    routes = []
    for item in walk.of(objects, "HTTPRoute"):
        places = [place for place in parents(item) if place in own or place == HOME]
        for place in places:
            made.setdefault(place, _gateway(place, own.get(place), ports))
        if places:
            routes.append(as_route(item, places, domain))
    return [*made.values(), *routes]


def _gateway(place: tuple[str, str], item: Mapping[str, Any] | None, ports: Iterable[int]) -> Object:
    listeners = walk.each(walk.inner((item or {}).get("spec")).get("listeners"))
    if item is None:
        listeners = [{"port": port, "protocol": "HTTPS" if port in (443, 8443) else "HTTP"} for port in ports]
    servers = [
        {
            "port": {"number": walk.number(one.get("port")), "protocol": str(one.get("protocol", ""))},
            "hosts": [str(one.get("hostname") or "*")],
        }
        for one in listeners
    ]
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "of": f"Gateway/{place[0]}/{place[1]}",
        "metadata": {"namespace": place[0], "name": place[1]},
        "spec": {"selector": {"istio": "ingressgateway"}, "servers": servers},
    }


def as_route(item: Object, places: Iterable[tuple[str, str]], domain: str) -> Object:
    """Write an HTTPRoute as a VirtualService at these Gateways."""
    spec = walk.inner(item.get("spec"))
    ordered = [
        (match, rule) for rule in walk.each(spec.get("rules")) for match in walk.each(rule.get("matches")) or [{}]
    ]
    ordered.sort(key=lambda one: _place(one[0]))
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "of": identity(item),
        "metadata": {"namespace": walk.space(item), "name": walk.name(item)},
        "spec": {
            "hosts": [str(host) for host in spec.get("hostnames") or ["*"]],
            "gateways": [f"{space}/{name}" for space, name in places],
            "http": [{"match": list(_matched(match)), **_led(rule, item, domain)} for match, rule in ordered],
        },
    }


def _place(match: Mapping[str, Any]) -> tuple[Any, ...]:
    """Sort matches as the Gateway API does: paths alone, longer ones, a method, more headers, more parameters."""
    path = walk.inner(match.get("path"))
    return (
        path.get("type") != "Exact",
        -len(str(path.get("value") or "/")),
        not match.get("method"),
        -len(match.get("headers") or []),
        -len(match.get("queryParams") or []),
    )


def _matched(match: Mapping[str, Any]) -> Iterator[Object]:
    asked: Object = {}
    headers = {str(one.get("name")): _value(one) for one in walk.each(match.get("headers"))}
    params = {str(one.get("name")): _value(one) for one in walk.each(match.get("queryParams"))}
    asked |= {"headers": headers} if headers else {}
    asked |= {"queryParams": params} if params else {}
    asked |= {"method": {"exact": match["method"]}} if match.get("method") else {}
    path = walk.inner(match.get("path"))
    value, sort = str(path.get("value") or "/"), path.get("type") or "PathPrefix"
    if sort in _MATCHES:
        yield {"uri": {_MATCHES[sort]: value}, **asked}
        return
    value = value.rstrip("/")
    yield {"uri": {"exact": value}, **asked} if value else {"uri": {"prefix": "/"}, **asked}
    if value:
        yield {"uri": {"prefix": f"{value}/"}, **asked}


def _value(one: Mapping[str, Any]) -> Object:
    return {_MATCHES.get(str(one.get("type") or "Exact"), "regex"): str(one.get("value", ""))}


def _led(rule: Mapping[str, Any], item: Object, domain: str) -> Object:
    """Say where a rule leads, and what it does beside it."""
    filters = {str(one.get("type")): one for one in walk.each(rule.get("filters"))}
    made: Object = {"route": [_to(one, item, domain) for one in walk.each(rule.get("backendRefs"))]}
    if "RequestRedirect" in filters:
        made["redirect"] = walk.inner(filters["RequestRedirect"].get("requestRedirect")) or {"uri": "/"}
    if "URLRewrite" in filters:
        made["rewrite"] = walk.inner(filters["URLRewrite"].get("urlRewrite"))
    if "CORS" in filters:
        made["corsPolicy"] = walk.inner(filters["CORS"].get("cors"))
    if {"RequestHeaderModifier", "ResponseHeaderModifier"} & set(filters):
        made["headers"] = _changed(filters)
    timeout = walk.inner(rule.get("timeouts")).get("request")
    made |= {"timeout": timeout} if timeout else {}
    mirrors = [walk.inner(one.get("requestMirror")) for one in walk.each(rule.get("filters"))]
    made |= {"mirrors": [_mirror(one, item, domain) for one in mirrors if one]} if any(mirrors) else {}
    return made


def _to(one: Mapping[str, Any], item: Object, domain: str) -> Object:
    changed = _changed({str(each.get("type")): each for each in walk.each(one.get("filters"))})
    return {
        "destination": _destination(one, item, domain),
        "weight": 1 if one.get("weight") is None else walk.number(one["weight"]),
        **({"headers": changed} if changed else {}),
    }


def _changed(filters: Mapping[str, Object]) -> Object:
    """Say which headers filters set and add, of requests and of answers."""
    made: Object = {}
    for side in ("request", "response"):
        given = walk.inner(filters.get(f"{side.title()}HeaderModifier"))
        change = walk.inner(given.get(f"{side}HeaderModifier"))
        for how in ("set", "add"):
            values = {str(one.get("name")): str(one.get("value")) for one in walk.each(change.get(how))}
            if values:
                made.setdefault(side, {})[how] = values
    return made


def _mirror(one: Mapping[str, Any], item: Object, domain: str) -> Object:
    fraction, percent = walk.inner(one.get("fraction")), float(walk.number(one.get("percent", 100)))
    if fraction:
        whole = walk.number(fraction.get("denominator")) or 100
        percent = 100 * walk.number(fraction.get("numerator")) / whole
    to = _destination(walk.inner(one.get("backendRef")), item, domain)
    return {"destination": to, "percentage": {"value": percent}}


def _destination(one: Mapping[str, Any], item: Object, domain: str) -> Object:
    space = one.get("namespace") or walk.space(item)
    port = {"port": {"number": walk.number(one["port"])}} if one.get("port") else {}
    return {"host": f"{one.get('name', '')}.{space}.svc.{domain}", **port}
