"""Headers of a path, and what browsers on pages of other origins may do, as a VirtualService has them."""

from __future__ import annotations

from typing import Any

from .header_keys import ALL, Cors, HeaderChange
from .routing_keys import Route
from .values import seconds_text


def unformatted(value: str) -> str:
    """Envoy takes % in a header for the beginning of a command."""
    return value.replace("%", "%%")


def of_route(route: Route) -> dict[str, Any]:
    """Give what all rules of a path say of headers and of other origins."""
    sides = {"request": _change(route.headers.request), "response": _change(route.headers.response)}
    changed = {side: change for side, change in sides.items() if change}
    made: dict[str, Any] = {"headers": changed} if changed else {}
    return {**made, "cors": _cors(route.cors), "origins": list(route.cors.origins)} if route.cors else made


def _change(given: HeaderChange) -> dict[str, Any]:
    made: dict[str, Any] = {
        "set": {name: unformatted(value) for name, value in given.set.items()},
        "add": {name: unformatted(value) for name, value in given.add.items()},
        "remove": list(given.remove),
    }
    return {how: what for how, what in made.items() if what}


def _cors(given: Cors) -> dict[str, Any]:
    made: dict[str, Any] = {
        "allowOrigins": [_origin(origin) for origin in given.origins],
        "allowMethods": list(given.methods),
        "allowHeaders": list(given.headers),
        "exposeHeaders": list(given.expose),
        "maxAge": seconds_text(given.max_age),
        "allowCredentials": given.credentials,
        # Else the service answers the preflights of those who may not ask.
        "unmatchedPreflights": "IGNORE",
    }
    return {key: value for key, value in made.items() if value != []}


def _origin(origin: str) -> dict[str, str]:
    if origin == ALL:
        return {"regex": ".*"}
    scheme, wildcard, domain = origin.partition("*.")
    if not wildcard:
        return {"exact": origin}
    return {"regex": rf"{scheme}([a-z0-9-]+\.)+" + domain.replace(".", r"\.")}
