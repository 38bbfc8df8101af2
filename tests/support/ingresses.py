"""Ingresses for tests, and what becomes of them in a plan."""

from __future__ import annotations

from typing import Any

import yaml
from slipway.contents.ingresses import Entrance
from slipway.contents.plan import Known, Made

from .contents import SHOP, made

Object = dict[str, Any]
NGINX = "nginx.ingress.kubernetes.io/"
AT = Entrance(frozenset({"istio", "nginx"}), "", {80: 10080, 443: 10443}, frozenset({"shop-tls"}))


def ingress(
    name: str = "web",
    *,
    host: str = "shop.local",
    path: str = "/",
    sort: str = "Prefix",
    to: str = "web",
    port: Object | None = None,
    named: str = "nginx",
    tls: str | None = None,
    annotations: dict[str, str] | None = None,
    **spec: Any,
) -> str:
    """Write an Ingress with one path; ``annotations`` are nginx's."""
    backend = {"service": {"name": to, "port": port or {"number": 80}}}
    paths = [{"path": path, "pathType": sort, "backend": backend}]
    rules = [{**({"host": host} if host else {}), "http": {"paths": paths}}]
    of_tls = [{"hosts": [host], **({"secretName": tls} if tls else {})}]
    item = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": name,
            "annotations": {f"{NGINX}{key}": value for key, value in (annotations or {}).items()},
        },
        "spec": {
            **({"ingressClassName": named} if named else {}),
            "rules": rules,
            **({"tls": of_tls} if tls is not None else {}),
            **spec,
        },
    }
    return yaml.safe_dump(item)


def planned(*texts: str, at: Entrance = AT) -> Made:
    """Plan the shop with Ingresses."""
    return made(SHOP, *texts, known=Known(entrance=at))


def of(plan: Made, kind: str) -> list[Object]:
    """Give the objects of a kind, but for the shop's own Gateway."""
    return [item for item in plan.objects if item["kind"] == kind and item["metadata"]["name"] != "shop"]


def routes(*texts: str, at: Entrance = AT) -> list[Object]:
    """Give the rules of the one VirtualService."""
    (item,) = of(planned(*texts, at=at), "VirtualService")
    rules: list[Object] = item["spec"]["http"]
    return rules


def canary(path: str = "/", **annotations: str) -> str:
    """Write the canary of the Ingress, which leads to the back."""
    given = {key.replace("_", "-"): value for key, value in annotations.items()}
    return ingress("web-canary", path=path, to="back", annotations={"canary": "true", **given})
