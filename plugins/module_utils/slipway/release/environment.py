"""What the planner has to know of the cluster. Everything has a default, so that a plan needs no cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

_TOOLS = {
    "prometheus": "prometheus.monitoring:9090",
    "alertmanager": "alertmanager.monitoring:9093",
    "grafana": "grafana.monitoring:80",
    "kiali": "kiali.istio-system:20001",
    "headlamp": "headlamp.headlamp:80",
    "tracing": "zipkin.tracing:9411",
}


# What nobody publishes has names that begin so.
OWN_REGISTRY = "slipway.local/"


@dataclass(frozen=True)
class Environment:
    """The cluster as far as a release depends on it; ``None`` or empty where nobody has asked."""

    cluster_domain: str = "cluster.local"
    # SPIFFE trust domain of the mesh; Istio takes cluster.local for whatever its own is.
    trust_domain: str = "cluster.local"
    gateway_namespace: str = "istio-system"
    # ServiceAccount and label app of the gateway's pods, as the charts of Istio name them.
    gateway_account: str = "istio-ingressgateway-service-account"
    gateway_app: str = "istio-ingressgateway"
    # Ports that the gateway listens on; empty: not known.
    gateway_ports: tuple[int, ...] = ()
    # Listeners by port of the Gateway that HTTPRoutes attach to; empty: there is none. None: nobody has asked.
    listeners: Mapping[int, str] | None = None
    # Gateway pods: each counts limits for itself.
    gateway_replicas: int = 1
    # Who scrapes, as namespace/serviceaccount in the mesh.
    scraper: str = "monitoring/prometheus"
    # Who sees to a release's own Alertmanager, as namespace/serviceaccount.
    operator: str = "monitoring/prometheus-operator"
    # Are there Prometheus' kinds in this cluster?
    monitoring: bool = True
    # Where tools answer, service.namespace:port; and those that this cluster does not have.
    tools: Mapping[str, str] = field(default_factory=lambda: dict(_TOOLS))
    missing_tools: frozenset[str] = frozenset()
    alertmanager_image: str = "quay.io/prometheus/alertmanager:v0.31.1"
    # Image with a shell, for making folders on nodes.
    helper_image: str = "docker.io/library/busybox:1.35.0"
    # Images that the cluster's mirror has, as name:tag and name@digest; those of OWN_REGISTRY are nowhere else.
    images: frozenset[str] | None = None
    # Namespaces that are somebody else's: used, and never labelled or deleted.
    foreign_namespaces: frozenset[str] = frozenset(
        ("default", "kube-system", "kube-public", "kube-node-lease", "istio-system", "monitoring", "metallb-system")
    )
    # Pod Security level of the release's namespace by mode (enforce, warn, audit), where that is somebody else's.
    pod_security: Mapping[str, str] = field(default_factory=dict)
    # Hosts that other releases answer on, and objects (kind/namespace/name) that are theirs: each with whose it is; and
    # which objects hold a host.
    hosts_taken: Mapping[str, str] = field(default_factory=dict)
    host_holders: Mapping[str, list[str]] = field(default_factory=dict)
    objects_taken: Mapping[str, str] = field(default_factory=dict)
    # Hosts outside that other releases of the namespace name, each with whose it is.
    outside_named: Mapping[str, str] = field(default_factory=dict)
    # Revision of each Secret of the release, which changes with its content; pods that use one are made anew then.
    secret_revisions: Mapping[str, str] = field(default_factory=dict)
    # Secrets and ServiceAccounts in the release's namespace, and StorageClasses of the cluster.
    secrets: frozenset[str] | None = None
    accounts: frozenset[str] | None = None
    storage_classes: frozenset[str] | None = None
    # Provisioners of the StorageClasses, by name; which class is the default; nodes that take pods of applications.
    provisioners: Mapping[str, str] = field(default_factory=dict)
    default_class: str = ""
    workers: int = 0
    # Claims in the release's namespace: name → {"access": [mode, …], "class": …}.
    claims: Mapping[str, Mapping[str, Any]] | None = None
    # TLS certificates beside the gateway: name of the Secret → names that it is for; and those that whoever applies the
    # release can have renewed, with more names.
    certificates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    renewable: frozenset[str] = frozenset()
    # Ports of the release's Services as they are now: name of the Service → {number: name}.
    ports: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    # Deployments of the release as they are now: name → {"version": …, "selector": {…}}.
    deployments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    # Bands of the hash that picks a version, as they are now: version and per cent, in their order.
    bands: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Environment:
        """Make one of plain values, such as a module gets; unknown keys are a ``TypeError``."""
        kinds = {item.name: item.type for item in fields(cls)}
        made: dict[str, Any] = {}
        for name, value in values.items():
            kind = str(kinds.get(name, ""))
            if kind.startswith("frozenset") and value is not None:
                made[name] = frozenset(value)
            elif kind.startswith("tuple"):
                made[name] = tuple(value)
            else:
                made[name] = value
        if "tools" in made:
            made["tools"] = {**_TOOLS, **made["tools"]}
        return cls(**made)

    def tool(self, name: str, declared: str | None = None) -> str:
        """Say where a tool answers, as ``service.namespace:port``. ``declared``: what the page says of it."""
        return declared or self.tools.get(name) or f"{name}.monitoring:80"

    def principal(self, namespace: str, account: str) -> str:
        """Write who a pod is in the mesh, as access rules name it."""
        return f"{self.trust_domain}/ns/{namespace}/sa/{account}"
