"""What a plan promises of cases, redirects and hosts with routes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .match_keys import Case
from .routing_keys import Route
from .shape import Shape

Facts = dict[str, Any]


def facts(shape: Shape) -> Facts:
    """Give what is promised beside the paths of the release's hosts."""
    return {
        "cases": [fact for path, route in shape.routes.items() for fact in _cases(shape, path, route)],
        "redirects": [
            {"path": path, "code": redirect.code, "to": redirect.to}
            for path, redirect in shape.release.redirects.items()
        ],
        "entries": [
            {
                "host": host,
                "path": path,
                "service": route.to,
                "versions": _versions(shape, route),
                **({"websocket": True} if route.websocket else {}),
            }
            for host, routes in shape.host_routes.items()
            for path, route in routes.items()
        ],
    }


def _versions(shape: Shape, route: Route) -> list[str]:
    """List the versions of its service that new clients of a path may get."""
    if route.version:
        return [route.version]
    weights = shape.weights_of(route)
    live = [version for version in shape.versions if weights.get(version)] if shape.minds(route.to) else []
    return list(dict.fromkeys(shape.serving(route.to, version) for version in live)) or [shape.default(route.to)]


def _cases(shape: Shape, path: str, route: Route) -> Iterator[Facts]:
    for case in route.when:
        service = case.to or route.to
        versions = [case.version] if case.version else _versions(shape, Route(to=service, weights=route.weights))
        yield {
            "path": path,
            "title": said(case),
            "service": service,
            "versions": versions,
            "methods": list(case.methods),
            "query": {name: match.sample for name, match in case.query.items()},
            "headers": {name: match.sample for name, match in case.headers.items()},
            "example": case.path.example if case.path else None,
        }


def said(case: Case) -> str:
    """Say in words which requests a case is about."""
    parts = [", ".join(case.methods)] if case.methods else []
    parts += [f"?{name}={match.text or match.regex}" for name, match in case.query.items()]
    parts += [f"{name}: {match.text or match.regex or f'{match.prefix}…'}" for name, match in case.headers.items()]
    return " and ".join([*parts, *([case.path.regex] if case.path else [])])


def claims(made: Facts) -> Iterator[Facts]:
    """Give the claims about them."""
    for case in made["cases"]:
        where = f"{case['service']} {case['versions'][0]}" if len(case["versions"]) == 1 else case["service"]
        yield {"kind": "case", "title": f"{case['path']} with {case['title']} leads to {where}", "case": case}
    for redirect in made["redirects"]:
        title = f"{redirect['path']} sends clients to {redirect['to']} ({redirect['code']})"
        yield {"kind": "redirect", "title": title, "redirect": redirect}
    for entry in made["entries"]:
        if made["services"][entry["service"]].get("grpc"):
            # No request but a call is answered there.
            continue
        title = f"{entry['host']}{entry['path']} leads to {entry['service']}"
        yield {"kind": "entry", "title": title, "entry": entry}
    yield from _spoken(made)


def _spoken(made: Facts) -> Iterator[Facts]:
    """Give the claims about what is spoken beside plain requests of HTTP."""
    for place in [*made["routes"], *made["entries"]]:
        host = place.get("host", "")
        about = {"route": place["path"], "host": host, "service": place["service"]}
        if place.get("websocket"):
            yield {"kind": "websocket", "title": f"{host}{place['path']} can be upgraded to WebSocket", **about}
        if made["services"][place["service"]].get("grpc"):
            yield {"kind": "grpc", "title": f"{host}{place['path']} leads calls of gRPC to {place['service']}", **about}
