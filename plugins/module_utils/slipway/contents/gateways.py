"""Find the Gateways of contents that are at the cluster's gateway, and where it answers for a host. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..release.judge import answers_for
from . import walk
from .told import World

Object = dict[str, Any]
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


def places(gateways: Iterable[Mapping[str, Any]], host: str, world: World) -> list[Object]:
    """Say where the gateway answers for a host: ``port``, and ``tls``. Ports that only redirect do not count.

    Those with TLS are given only where no other is.
    """
    found = {
        _number(server): not _is_plain(server)
        for server in _servers(gateways)
        if _covers(server, host) and _answers(server) and (not world.ports or _number(server) in world.ports)
    }
    secure = all(found.values())
    return [{"port": port, "tls": tls} for port, tls in sorted(found.items()) if tls is secure]


def asks_for_certificates(gateways: Iterable[Mapping[str, Any]], host: str) -> bool:
    """Tell whether the gateway answers for a host only clients that have a certificate, or not by itself."""
    own = [one for one in _servers(gateways) if _covers(one, host)]
    return any(not _is_plain(server) for server in own) and not any(map(_answers, own))


def _servers(gateways: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    return (server for item in gateways for server in (item.get("spec") or {}).get("servers") or [])


def _covers(server: Mapping[str, Any], host: str) -> bool:
    """Tell whether a server is for a host; its own may have a namespace before them."""
    return any(answers_for(str(each).rpartition("/")[2], host) for each in server.get("hosts") or [])


def _answers(server: Mapping[str, Any]) -> bool:
    """Tell whether a server answers requests of any client: it neither sends them on, nor asks for a certificate."""
    tls = server.get("tls") or {}
    if _is_plain(server):
        return not tls.get("httpsRedirect")
    return _protocol(server) == "HTTPS" and str(tls.get("mode") or "SIMPLE") in ("SIMPLE", "OPTIONAL_MUTUAL")


def _number(server: Mapping[str, Any]) -> int:
    return int((server.get("port") or {}).get("number") or 0)


def _is_plain(server: Mapping[str, Any]) -> bool:
    return _protocol(server) in _PLAIN


def _protocol(server: Mapping[str, Any]) -> str:
    return str((server.get("port") or {}).get("protocol", "")).upper()
