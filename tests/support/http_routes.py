"""What the Gateway API does with a request, by its own order: not by the one in which a route lists its rules."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable
from typing import Any

from .release import Answer

Object = dict[str, Any]


def asked(items: Iterable[Object], host: str, path: str, headers: dict[str, str], listener: str = "http-80") -> Answer:
    """Say what a listener with these HTTPRoutes does with a request; ``headers`` have the method, too."""
    routes = [item for item in items if item["kind"] == "HTTPRoute"]
    routes = [r for r in routes if any(ref["sectionName"] == listener for ref in r["spec"]["parentRefs"])]
    best = max((_host(r, host) for r in routes), default=0)
    if not best:
        return Answer("", {}, status=404)
    found = [
        (_rank(match), rule)
        for route in routes
        if _host(route, host) == best
        for rule in route["spec"]["rules"]
        for match in rule["matches"]
        if _fits(match, path, headers)
    ]
    # Of those that are as exact the first one.
    return _sent(min(found, key=lambda one: one[0])[1]) if found else Answer("", {}, status=404)


def _host(route: Object, host: str) -> int:
    """Tell how exactly a route is for a host; 0: it is not."""
    named = route["spec"].get("hostnames", ["*"])
    return max((len(n) + (n == host) for n in named if n == host or (n[0] == "*" and host.endswith(n[1:]))), default=0)


def _rank(match: Object) -> tuple[int, bool, int, int]:
    counts = len(match.get("headers", [])), len(match.get("queryParams", []))
    return -len(match["path"]["value"]), "method" not in match, -counts[0], -counts[1]


def _fits(match: Object, path: str, headers: dict[str, str]) -> bool:
    assert match["path"]["type"] == "PathPrefix"
    path, _, query = path.partition("?")
    below = match["path"]["value"].rstrip("/")
    params = dict(urllib.parse.parse_qsl(query))
    return (
        (path == below or path.startswith(f"{below}/"))
        and match.get("method") in (None, headers["method"])
        and all(_is(one, headers.get(one["name"])) for one in match.get("headers", []))
        and all(_is(one, params.get(one["name"])) for one in match.get("queryParams", []))
    )


def _is(one: Object, value: str | None) -> bool:
    if value is None:
        return False
    return value == one["value"] if one["type"] == "Exact" else re.fullmatch(one["value"], value) is not None


def _sent(rule: Object) -> Answer:
    filters = rule.get("filters", [])
    redirects = [one["requestRedirect"]["statusCode"] for one in filters if one["type"] == "RequestRedirect"]
    if redirects:
        return Answer(rule["name"], {}, status=redirects[0])
    shares: dict[str, int] = {}
    stamps: dict[str, int] = {}
    refs = rule["backendRefs"]
    for to in refs:
        share = to["weight"] if len(refs) > 1 else 100
        shares[_named(to)] = shares.get(_named(to), 0) + share
        for one in to.get("filters", []):
            stamps |= {each["value"]: share for each in one.get("requestHeaderModifier", {}).get("set", [])}
    copies = {_named(one["backendRef"]): _percent(one) for one in mirrors(rule)}
    return Answer(rule["name"], shares, (), stamps, copies, services=True)


def mirrors(rule: Object) -> list[Object]:
    """Give where a rule sends copies."""
    return [one["requestMirror"] for one in rule.get("filters", []) if one["type"] == "RequestMirror"]


def _percent(mirror: Object) -> float:
    if "percent" in mirror:
        return float(mirror["percent"])
    return float(100 * mirror["fraction"]["numerator"] / mirror["fraction"]["denominator"])


def _named(to: Object) -> str:
    """Write a destination as ``service:subset``, as other routes have it."""
    return ":".join(to["name"].split("--"))
