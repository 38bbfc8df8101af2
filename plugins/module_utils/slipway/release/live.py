"""What the objects of a release say of versions, users and routes, live ones and planned ones. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from . import backends
from .render import Object
from .retries import AGAIN
from .workload import VERSION

# What has pods that answer.
WORKLOADS = ("Deployment", "StatefulSet")


def told_by_name(labels: dict[str, str], version: str) -> dict[str, str]:
    """Give labels that tell pods by the name of their version in place of the label "version"."""
    return {**{key: value for key, value in labels.items() if key != "version"}, VERSION: version}


def has_users(live: Iterable[Object]) -> bool:
    """Tell whether the release has routes for users on the cluster."""
    return any(item["kind"] in ("VirtualService", backends.KIND) and not in_mesh(item) for item in live)


def versions_by_label(live: Iterable[Object]) -> dict[str, str]:
    """Give the names of versions by their label, as the subsets of DestinationRules say them."""
    return {
        subset["labels"]["version"]: subset["name"]
        for rule in live
        if rule["kind"] == "DestinationRule"
        for subset in rule["spec"].get("subsets") or []
        if "version" in (subset.get("labels") or {})
    }


def last_of(rule: Mapping[str, Any]) -> str:
    """Give the last part of a rule's name: a version, or how one is found."""
    return str(rule.get("name", "")).removesuffix(AGAIN).rpartition(":")[2]


def labels_of(item: Mapping[str, Any]) -> dict[str, str]:
    """Give the labels of a workload's pods."""
    return dict(item["spec"]["template"]["metadata"].get("labels") or {})


def in_mesh(item: Mapping[str, Any]) -> bool:
    """Tell whether a route is for calls inside the mesh alone."""
    return item["kind"] == "VirtualService" and (item["spec"].get("gateways") or ["mesh"]) == ["mesh"]


def answers(item: Mapping[str, Any]) -> bool:
    """Tell whether a Deployment has pods that are Ready; one that says nothing of them has."""
    return "status" not in item or bool(item["status"].get("availableReplicas"))


def by_names(rule: Object, name: Callable[[str, str], str]) -> None:
    """Tell callers by the name of their version, where ``name`` knows one for their label."""
    for match in rule.get("match") or []:
        labels = match.get("sourceLabels") or {}
        found = name(labels.get("app", ""), labels["version"]) if "version" in labels else ""
        if found:
            match["sourceLabels"] = {**{k: v for k, v in labels.items() if k != "version"}, VERSION: found}


def applied(item: Object, spec: Object) -> Object:
    """Give an object as it is applied, with another spec."""
    metadata = {key: item["metadata"][key] for key in ("name", "namespace", "labels") if key in item["metadata"]}
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": metadata, "spec": spec}
