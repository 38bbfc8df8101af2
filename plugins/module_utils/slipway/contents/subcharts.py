"""Subcharts that bring what the cluster has already: found by their names, and switched off. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# Name of a chart → what it brings, the part of the cluster that has it, and where its Services are here by what their
# names end with in the chart.
DUPLICATES: dict[str, tuple[str, str]] = {
    "kube-prometheus-stack": ("Prometheus, its operator, Alertmanager and Grafana", "monitoring"),
    "prometheus-operator": ("Prometheus and its operator", "monitoring"),
    "prometheus": ("Prometheus", "monitoring"),
    "alertmanager": ("Alertmanager", "monitoring"),
    "grafana": ("Grafana", "grafana"),
    "kube-state-metrics": ("kube-state-metrics", "monitoring"),
    "prometheus-node-exporter": ("the exporter of nodes", "monitoring"),
    "metrics-server": ("the Metrics API", "metrics_server"),
    "metallb": ("load balancer addresses", "metallb"),
    "base": ("the definitions of the mesh", "istio"),
    "istiod": ("the mesh", "istio"),
    "kiali-server": ("Kiali", "kiali"),
    "local-path-provisioner": ("storage", "storage"),
}
# What a chart's own Services of these are called at their end, and the cluster's Service.
HERE: tuple[tuple[str, str], ...] = (
    ("-kube-prometheus-stack-prometheus", "prometheus.monitoring:9090"),
    ("-kube-prometheus-prometheus", "prometheus.monitoring:9090"),
    ("-kube-p-prometheus", "prometheus.monitoring:9090"),
    ("-prometheus-server", "prometheus.monitoring:9090"),
    ("prometheus-operated", "prometheus.monitoring:9090"),
    ("-prometheus", "prometheus.monitoring:9090"),
    ("-kube-prometheus-stack-alertmanager", "alertmanager.monitoring:9093"),
    ("-kube-prometheus-alertmanager", "alertmanager.monitoring:9093"),
    ("-kube-p-alertmanager", "alertmanager.monitoring:9093"),
    ("alertmanager-operated", "alertmanager.monitoring:9093"),
    ("-alertmanager", "alertmanager.monitoring:9093"),
    ("-grafana", "grafana.monitoring:80"),
)


@dataclass(frozen=True)
class Subchart:
    """A dependency of ``Chart.yaml`` that the cluster makes needless.

    ``name``: as the chart calls it (its alias, if it has one). ``condition``: the values that switch it, one after the
    other until one is there; empty: none does.
    """

    name: str
    chart: str
    condition: tuple[str, ...] = ()

    @property
    def brings(self) -> str:
        """Say what is there already."""
        return DUPLICATES[self.chart][0]


def duplicates(about: Mapping[str, Any], keep: Iterable[str] = ()) -> list[Subchart]:
    """Find the dependencies of a ``Chart.yaml`` that bring what the cluster has; without those that stay."""
    found = []
    for declared in about.get("dependencies") or []:
        chart = str(declared.get("name", ""))
        name = str(declared.get("alias") or chart)
        if chart in DUPLICATES and not {chart, name} & set(keep):
            condition = tuple(part.strip() for part in str(declared.get("condition") or "").split(",") if part.strip())
            found.append(Subchart(name, chart, condition))
    return found


def is_off(subchart: Subchart, values: Mapping[str, Any]) -> bool:
    """Tell whether the values switch a subchart off themselves."""
    for path in subchart.condition:
        value = at(values, path)
        if isinstance(value, bool):
            return not value
    return False


def at(values: Any, path: str) -> Any:
    """Give the value at a dotted path; None: there is none."""
    for part in path.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def instead(service: str) -> str:
    """Say which Service of the cluster has what a Service of such a subchart would have; empty: none is known."""
    return next((here for ending, here in HERE if service.endswith(ending)), "")
