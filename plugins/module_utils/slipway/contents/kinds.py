"""The kinds of objects that charts are made of: in which order they come and go, and which are of no namespace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..release.objects import KINDS as OF_RELEASES

Object = dict[str, Any]

# What releases of services are not made of, in the order in which it is taken away.
MORE = (
    ("monitoring.coreos.com/v1", "PodMonitor"),
    ("monitoring.coreos.com/v1", "Prometheus"),
    ("networking.k8s.io/v1", "Ingress"),
    ("networking.k8s.io/v1", "IngressClass"),
    ("networking.istio.io/v1", "ServiceEntry"),
    ("networking.istio.io/v1", "Sidecar"),
    ("security.istio.io/v1", "RequestAuthentication"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("batch/v1", "CronJob"),
    ("batch/v1", "Job"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("v1", "Pod"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("v1", "ResourceQuota"),
    ("v1", "LimitRange"),
)
# Kinds of the API and of the mesh that are of no namespace; of all others the cluster is asked.
OF_NO_NAMESPACE = (
    "Namespace",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "PersistentVolume",
    "StorageClass",
    "PriorityClass",
    "IngressClass",
    "RuntimeClass",
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
    "APIService",
)
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
PODS = (*WORKLOADS, "Job", "CronJob", "Pod", "ReplicaSet")
ROUTES = ("VirtualService", "Gateway", "EnvoyFilter", "Ingress", "HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute")
MONITORING = (
    "ServiceMonitor",
    "PodMonitor",
    "Probe",
    "PrometheusRule",
    "AlertmanagerConfig",
    "Alertmanager",
    "Prometheus",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
)
# What is never taken away with a release: others may have made objects of it, which would go with it.
KEPT = ("CustomResourceDefinition",)


def listed(more: Iterable[tuple[str, str]] = ()) -> tuple[tuple[str, str], ...]:
    """Give the kinds to look for, with ``more`` that an earlier run has applied; each kind of a group once."""
    made: dict[tuple[str, str], tuple[str, str]] = {}
    for version, kind in (*OF_RELEASES, *MORE, *more):
        made.setdefault((group(version), kind), (version, kind))
    # Kinds of releases have their own order; what makes pods and rules comes before what these need.
    order = [(group(version), kind) for version, kind in (*MORE, *OF_RELEASES)]
    known = [made[key] for key in order if key in made]
    return (*(each for key, each in made.items() if key not in order), *dict.fromkeys(known))


def group(version: str) -> str:
    """Give the group of an API version; empty: the core's."""
    return version.rpartition("/")[0]


def scopes(items: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], bool]:
    """Say of the kinds that objects define themselves whether they are of a namespace."""
    return {
        (str(item["spec"].get("group", "")), str((item["spec"].get("names") or {}).get("kind", ""))): (
            item["spec"].get("scope") != "Cluster"
        )
        for item in items
        if item["kind"] == "CustomResourceDefinition"
    }
