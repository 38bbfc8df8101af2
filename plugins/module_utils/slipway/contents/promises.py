"""Claims that follow from what was understood of contents. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..release import panels
from . import walk

Json = dict[str, Any]
# Kinds that say how requests go, or who may ask, and of which a proof understands only a part, or nothing.
LISTED = {
    "AuthorizationPolicy": "who is let in is not asked: it does not name callers of a service of these contents alone",
    "RequestAuthentication": "no request with a token is sent",
    "EnvoyFilter": "what it patches is not understood",
    "Sidecar": "it is configuration alone",
    "ServiceEntry": "nothing outside is asked",
    "Ingress": "requests are sent to the mesh's gateway alone",
    "Telemetry": "it is configuration alone",
    "AlertmanagerConfig": "no alert is made to fire",
    "NetworkPolicy": "no connection is tried that it would refuse",
    "GRPCRoute": "no call of gRPC is made",
    "TCPRoute": "no connection is made",
    "TLSRoute": "no connection is made",
    "HTTPRoute": "its Gateway is none that the mesh's gateway serves",
}


def of_versions(found: Json) -> Iterator[Json]:
    """Claim which versions answer."""
    for route in found["routes"]:
        if len(route["shares"]) > 1:
            shares = ", ".join(f"{share:g} % {version}" for version, share in route["shares"].items())
            yield {"kind": "share", "title": f"{route['path']} is shared {shares}", "route": route}
        elif route["split"]:
            version = next(iter(route["shares"]))
            title = f"{route['path']} shows {version} when nothing else is said"
            yield {"kind": "default", "title": title, "route": route}
        else:
            yield {"kind": "answer", "title": f"{route['path']} is answered by {route['service']}", "route": route}
    for redirect in found["redirects"]:
        title = f"{redirect['path']} sends clients to {redirect['to']} ({redirect['code']})"
        yield {"kind": "redirect", "title": title, "redirect": redirect}
    split = next((route for route in found["routes"] if route["split"]), None)
    if split:
        title = f"pods of {split['service']} get the requests that are theirs"
        by_them = [each for each in found["overrides"] if each["by"] != "cookie" or found["sticky"]["by"] == "none"]
        yield {"kind": "counted", "title": title, "route": split, "overrides": by_them}
    sticky = found["sticky"]
    if sticky["by"] != "none":
        yield {"kind": "sticky", "title": "clients stay with their version, by cookie", "sticky": sticky}
    for override in found["overrides"]:
        title = f"{override['by']} {override['name']}: {override['value']} shows {override['version']}"
        yield {"kind": "override", "title": title, "override": override}
    if found["chains"]:
        title = "a request meets one version all along its way"
        yield {"kind": "chain", "title": title, "chains": found["chains"]}


def of_monitoring(objects: list[Json]) -> Iterator[Json]:
    """Claim that Prometheus has rules, and can read the queries of dashboards."""
    for item in walk.of(objects, "PrometheusRule"):
        names = [
            str(rule.get("alert") or rule.get("record"))
            for group in (item.get("spec") or {}).get("groups") or []
            for rule in group.get("rules") or []
        ]
        if names:
            title = f"Prometheus has the rules of {walk.name(item)}, and can read them"
            yield {"kind": "rules", "title": title, "item": walk.name(item), "rules": names}
    for item in walk.of(objects, "ConfigMap"):
        if "grafana_dashboard" in (item["metadata"].get("labels") or {}) and item.get("data"):
            queries = list(dict.fromkeys(expressions(item["data"])))
            title = f"the queries of dashboard {walk.name(item)} can be read by Prometheus"
            yield {"kind": "queries", "title": title, "item": walk.name(item), "queries": queries}


def expressions(data: Mapping[str, str]) -> Iterator[str]:
    """Give the queries of dashboards, with the values of their variables; without those whose variable has no value."""
    for key, text in data.items():
        try:
            content = json.loads(text) if key.endswith(".json") else None
        except ValueError:
            continue
        if isinstance(content, dict):
            yield from (asked.query for asked in panels.questions(content) if asked.query)
