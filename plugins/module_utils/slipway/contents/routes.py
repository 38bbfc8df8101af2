"""Read VirtualServices: where they lead. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Object = dict[str, Any]


def destinations(item: Mapping[str, Any]) -> list[str]:
    """List the hosts that a VirtualService leads to."""
    return list(dict.fromkeys(_destinations(item.get("spec") or {})))


def _destinations(spec: Mapping[str, Any]) -> Iterator[str]:
    for kind in ("http", "tls", "tcp"):
        for rule in spec.get(kind) or []:
            for route in rule.get("route") or []:
                yield str((route.get("destination") or {}).get("host", ""))
            for mirror in [rule.get("mirror"), *(each.get("destination") for each in rule.get("mirrors") or [])]:
                if mirror:
                    yield str(mirror.get("host", ""))
