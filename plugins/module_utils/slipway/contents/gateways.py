"""Find the Gateways of contents that are at the cluster's gateway, and the ports that clients ask. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from . import walk
from .told import World

Object = dict[str, Any]
HTTPS = 443
_PLAIN = ("HTTP", "HTTP2", "GRPC")


def at_the_gateway(objects: Iterable[Object], world: World) -> dict[str, Object]:
    """Give the Gateways whose selector the gateway's pods have, by namespace and name."""
    own = dict(world.gateway_labels) or {"istio": "ingressgateway"}
    return {
        f"{walk.space(item)}/{walk.name(item)}": item
        for item in walk.of(objects, "Gateway")
        if item["apiVersion"].startswith("networking.istio.io/")
        and ((item.get("spec") or {}).get("selector") or {}).items() <= own.items()
    }


def ports(gateways: Iterable[Mapping[str, Any]], world: World) -> list[int]:
    """Give the ports for plain HTTP, of those that the gateway has."""
    found = {_number(server) for server in _servers(gateways) if _is_plain(server)}
    return sorted(number for number in found if not world.ports or number in world.ports)


def redirect(gateways: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether all that is asked without TLS is sent to port 443."""
    servers = list(_servers(gateways))
    plain = [server for server in servers if _is_plain(server)]
    secure = any(_number(server) == HTTPS and not _is_plain(server) for server in servers)
    return secure and bool(plain) and all((server.get("tls") or {}).get("httpsRedirect") for server in plain)


def _servers(gateways: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    return (server for item in gateways for server in (item.get("spec") or {}).get("servers") or [])


def _number(server: Mapping[str, Any]) -> int:
    return int((server.get("port") or {}).get("number") or 0)


def _is_plain(server: Mapping[str, Any]) -> bool:
    return str((server.get("port") or {}).get("protocol", "")).upper() in _PLAIN
