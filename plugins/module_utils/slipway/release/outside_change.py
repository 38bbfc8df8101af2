"""In which order hosts outside, what may leave, and tokens change, so that old and new pods have what they call. Pure.

What is let through grows before new pods are there, and shrinks after old ones are gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..cluster.objects import identity
from .between import Between
from .planner import Plan
from .render import Object


def sorted_out(change: Between) -> tuple[list[Object], list[Object], list[Object]]:
    """Sort objects: applied before new pods, after old ones are gone, and taken away before new ones."""
    now: list[Object] = []
    later: list[Object] = []
    for item in change.steps.get("outside", []):
        live = change.live.get(identity(item))
        if live is not None or not _shuts(item) or not _is_about_pods(item, change.pods):
            now.append(item if live is None else grown(item, live))
        later.append(item)
    gone = [
        item
        for name, item in change.live.items()
        if name not in change.final and (item["kind"] == "Sidecar" or is_denial(item))
    ]
    return now, later, gone


def is_denial(item: Mapping[str, Any]) -> bool:
    """Tell whether an object refuses what it names: tokens that are missing."""
    return bool(item["kind"] == "AuthorizationPolicy" and item["spec"].get("action") == "DENY")


def _shuts(item: Object) -> bool:
    """Tell whether less is let through once an object is there."""
    return item["kind"] == "Sidecar" or is_denial(item)


def _is_about_pods(item: Object, pods: Iterable[Mapping[str, str]]) -> bool:
    labels = (item["spec"].get("selector") or {}).get("matchLabels") or {}
    return any(labels.get("app", one.get("app")) == one.get("app") for one in pods)


def grown(item: Object, live: Object) -> Object:
    """Give an object that lets through what is let through now, too."""
    spec, before = dict(item["spec"]), live["spec"]
    kind = item["kind"]
    if kind == "ServiceEntry":
        spec["ports"] = _joined(spec["ports"], before.get("ports"), lambda port: port["number"])
        if "addresses" in spec:
            spec["addresses"] = _joined(spec["addresses"], before.get("addresses"), lambda address: address)
    elif kind == "DestinationRule":
        own = spec["trafficPolicy"]["portLevelSettings"]
        held = (before.get("trafficPolicy") or {}).get("portLevelSettings")
        spec["trafficPolicy"] = {"portLevelSettings": _joined(own, held, lambda one: one["port"]["number"])}
    elif kind == "VirtualService":
        numbers = {match.get("port") for rule in spec["http"] for match in rule.get("match") or [{}]}
        more = [
            rule
            for rule in before.get("http") or []
            if not numbers & {match.get("port") for match in rule.get("match") or [{}]}
        ]
        spec["http"] = [*spec["http"], *more]
    elif kind == "Sidecar":
        own, held = spec["egress"][0]["hosts"], (before.get("egress") or [{}])[0].get("hosts")
        spec["egress"] = [{"hosts": _joined(own, held, lambda host: host)}]
    elif kind == "RequestAuthentication":
        spec["jwtRules"] = _joined(spec["jwtRules"], before.get("jwtRules"), lambda rule: rule)
    elif is_denial(item):
        spec["rules"] = [_milder(spec["rules"][0], (before.get("rules") or [{}])[0])]
    return {**item, "spec": spec}


def _milder(rule: Object, before: Object) -> Object:
    """Give a rule that refuses only what both do."""
    made = dict(rule)
    free = [(one.get("to") or [{}])[0].get("operation", {}).get("notPaths") for one in (rule, before)]
    if any(free):
        made["to"] = [{"operation": {"notPaths": _joined(free[0] or [], free[1], str)}}]
    issuers = [(one.get("when") or [{}])[0].get("notValues") for one in (rule, before)]
    made["when"] = [{**rule["when"][0], "notValues": _joined(issuers[0] or [], issuers[1], str)}]
    return made


def _joined(own: list[Any], held: list[Any] | None, key: Any) -> list[Any]:
    """Give what is wanted, then what is there and does not go by the same key."""
    # A list: whole objects are compared too, in whatever order the API server gives their keys.
    known = [key(each) for each in own]
    return [*own, *(each for each in held or [] if key(each) not in known)]


def costs(planned: Plan, there: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say which changes lose calls of present pods all the same."""
    known = {host for item in there.values() if item["kind"] == "ServiceEntry" for host in item["spec"]["hosts"]}
    return [
        f"{item['spec']['host']} gets authorities of its own: calls by present pods fail, which lack them"
        for item in planned.objects
        if item["kind"] == "DestinationRule" and item["spec"]["host"] in known
        if _trusts(item) - _trusts(there.get(identity(item)))
    ]


def _trusts(rule: Mapping[str, Any] | None) -> set[str]:
    """Give the files of authorities that a DestinationRule names."""
    levels = ((rule or {"spec": {}})["spec"].get("trafficPolicy") or {}).get("portLevelSettings") or []
    return {level["tls"]["caCertificates"] for level in levels if (level.get("tls") or {}).get("caCertificates")}
