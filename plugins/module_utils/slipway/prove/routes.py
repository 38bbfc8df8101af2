"""The way of a request: which route answers a path, which path to ask for a route, who calls a service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]

TASKS = ("/sms", "/analyze")


def asked_at(route: str, routes: Iterable[str], paths: Mapping[str, str]) -> str:
    """Give the path to ask for one of ``routes``: what ``paths`` names, else a task of the example app below it."""
    if route in paths:
        return paths[route]
    known = list(routes)
    task = next((task for task in TASKS if covering(task, known) == route), None)
    return f"{task}?text=prove+{{nonce}}+{{n}}" if task else route


def covering(path: str, routes: Iterable[str]) -> str:
    """Give the first of ``routes`` that answers a path, empty where none does; a page has the longest first."""
    return next((own for own in routes if own == "/" or f"{path}/".startswith(f"{own}/")), "")


def is_free(jwt: Json, path: str) -> bool:
    """Tell whether a path needs no token. ``jwt``: what the page says of tokens."""
    return bool(covering(path.partition("?")[0], jwt["free"]))


def callers(held: Json, service: str) -> tuple[bool, list[str]]:
    """Say whose proxies call a service: the gateway's, and those of which Deployments. ``held``: facts or a plan."""
    versions = [
        own for caller in held["services"].values() if service in caller["calls"] for own in caller["versions"].values()
    ]
    routed = any(route["service"] == service for route in held["routes"])
    return routed, [own["deployment"] for own in versions if own["sidecar"] and own["replicas"]]
