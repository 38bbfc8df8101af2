"""Where cluster DNS runs. kubeadm's CoreDNS has two pods, and both start on the first node that is Ready.

Nobody moves them later. Without that node, nothing in the cluster finds a name until Kubernetes makes the pods anew
elsewhere: five minutes. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Json = Mapping[str, Any]

NAMESPACE, LABEL = "kube-system", ("k8s-app", "kube-dns")
# What kubeadm's CoreDNS tolerates.
TOLERATED = ("node-role.kubernetes.io/control-plane", "CriticalAddonsOnly")


def to_move(pods: Iterable[Json], nodes: Iterable[Json]) -> list[dict[str, Any]]:
    """Give the pod of cluster DNS that is to be made anew on another node: one, if all run on one and another takes it.

    It is one that is not Ready, if there is such a one, else the youngest.
    """
    found = [pod for pod in pods if _is_dns(pod)]
    places = {str((pod.get("spec") or {}).get("nodeName") or "") for pod in found}
    others = [node for node in nodes if node["metadata"]["name"] not in places and _takes(node)]
    if len(found) < 2 or len(places) > 1 or "" in places or not others:
        return []
    moved = max(found, key=lambda pod: (not _is(pod, "Ready"), pod["metadata"].get("creationTimestamp", "")))
    name = moved["metadata"]["name"]
    return [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}}]


def _is_dns(pod: Json) -> bool:
    metadata = pod["metadata"]
    key, value = LABEL
    own = (metadata.get("labels") or {}).get(key) == value
    return own and metadata.get("namespace") == NAMESPACE and not metadata.get("deletionTimestamp")


def _takes(node: Json) -> bool:
    spec = node.get("spec") or {}
    taints = [taint for taint in spec.get("taints") or [] if taint.get("effect") != "PreferNoSchedule"]
    return (
        _is(node, "Ready") and not spec.get("unschedulable") and all(taint.get("key") in TOLERATED for taint in taints)
    )


def _is(item: Json, condition: str) -> bool:
    conditions = (item.get("status") or {}).get("conditions") or []
    return any(each.get("type") == condition and each.get("status") == "True" for each in conditions)
