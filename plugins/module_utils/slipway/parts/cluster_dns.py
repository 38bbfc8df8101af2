"""Where cluster DNS runs. kubeadm's CoreDNS has two pods, and both start on the first node that is Ready.

Nobody moves them later. Without that node, nothing in the cluster finds a name until Kubernetes makes the pods anew
elsewhere: five minutes. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..cluster.eviction import takes_pods
from ..cluster.holdups import condition
from .pod_network import is_dns

Json = Mapping[str, Any]

# What kubeadm's CoreDNS tolerates.
TOLERATED = ("node-role.kubernetes.io/control-plane", "CriticalAddonsOnly")


def to_move(pods: Iterable[Json], nodes: Iterable[Json]) -> list[dict[str, Any]]:
    """Give the pod of cluster DNS that is to be made anew on another node: one, if all run on one and another takes it.

    It is one that is not Ready, if there is such a one, else the youngest.
    """
    found = [pod for pod in pods if is_dns(pod) and not pod["metadata"].get("deletionTimestamp")]
    places = {str((pod.get("spec") or {}).get("nodeName") or "") for pod in found}
    others = [node for node in nodes if node["metadata"]["name"] not in places and takes_pods(node, TOLERATED)]
    if len(found) < 2 or len(places) > 1 or "" in places or not others:
        return []

    def less_needed(pod: Json) -> tuple[bool, str]:
        return condition(pod, "Ready").get("status") != "True", pod["metadata"].get("creationTimestamp", "")

    metadata = max(found, key=less_needed)["metadata"]
    named = {key: metadata[key] for key in ("name", "namespace")}
    return [{"apiVersion": "v1", "kind": "Pod", "metadata": named}]
