"""The kinds of objects that a release is made of, and how one object is told from another."""

from __future__ import annotations

from .render import Object

# Everything a release can consist of, in the order in which it is taken away.
KINDS = (
    ("monitoring.coreos.com/v1alpha1", "AlertmanagerConfig"),
    ("monitoring.coreos.com/v1", "Alertmanager"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
    ("networking.istio.io/v1alpha3", "EnvoyFilter"),
    ("networking.istio.io/v1", "VirtualService"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("networking.istio.io/v1", "Gateway"),
    ("networking.istio.io/v1", "DestinationRule"),
    ("networking.istio.io/v1", "ServiceEntry"),
    ("telemetry.istio.io/v1", "Telemetry"),
    ("batch/v1", "CronJob"),
    ("batch/v1", "Job"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("policy/v1", "PodDisruptionBudget"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("networking.istio.io/v1", "Sidecar"),
    ("security.istio.io/v1", "AuthorizationPolicy"),
    ("security.istio.io/v1", "RequestAuthentication"),
    ("security.istio.io/v1", "PeerAuthentication"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "ServiceAccount"),
    ("v1", "Namespace"),
)
# In the way of a second release by the same name in another namespace, where both have objects beside the gateway.
OF_NAMESPACE = "slipway.io/namespace"


def identity(item: Object) -> str:
    """Write ``Kind/namespace/name``; no two objects of a plan have the same."""
    return f"{item['kind']}/{item['metadata'].get('namespace', '')}/{item['metadata']['name']}"
