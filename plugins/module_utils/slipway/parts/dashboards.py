"""Dashboards for Grafana: those of the cluster and of its mesh, and whether a dashboard is one that Grafana would show.

Every panel has one query, over series that the role ``monitoring`` keeps or records. A panel that may have nothing to
show says when, in a description that begins with ``Empty while``; all others have data on a cluster that is well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import SlipwayError
from ..release import series
from ..release.dashboards import EMPTY, panel
from ..release.render import render

LABEL = "grafana_dashboard"
SUFFIX = ".json"
# What Grafana puts in for its own variables when it asks: as wide, and as long, as a question about now needs.
_VALUES = {"version": ".*", "__rate_interval": "2m", "__interval": "30s", "__range": "30m"}
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")

Panel = dict[str, Any]


_DISK = 'job="node-exporter", fstype!~"tmpfs|squashfs"'
_CONTAINER = 'job="cadvisor", container!=""'
_DAY = 86400

CLUSTER: tuple[Panel, ...] = (
    panel("Nodes that answer", 'sum(up{job="kubelet"})', "short", "nodes"),
    panel("Targets that are down", "count by (job) (up == 0)", "short", "{{job}}", "every target is up"),
    panel(
        "Alerts that fire",
        'count by (alertname, severity) (ALERTS{alertstate="firing", alertname!="Watchdog"})',
        "short",
        "{{alertname}} ({{severity}})",
        "nothing but the Watchdog fires",
    ),
    panel(
        "Pods that run, by node",
        'max by (node) (kubelet_running_pods{job="kubelet"})',
        "short",
        "{{node}}",
    ),
    panel(
        "Processor in use, by node",
        '1 - avg by (node) (rate(node_cpu_seconds_total{job="node-exporter", mode="idle"}[2m]))',
        "percentunit",
        "{{node}}",
    ),
    panel(
        "Memory in use, by node",
        '1 - node_memory_MemAvailable_bytes{job="node-exporter"} / node_memory_MemTotal_bytes{job="node-exporter"}',
        "percentunit",
        "{{node}}",
    ),
    panel(
        "Disk in use, by node",
        f"max by (node, device) (1 - node_filesystem_avail_bytes{{{_DISK}}} / node_filesystem_size_bytes{{{_DISK}}})",
        "percentunit",
        "{{node}} {{device}}",
    ),
    panel(
        "Network in and out, by node",
        'sum by (node) (rate(node_network_receive_bytes_total{job="node-exporter"}[2m]))'
        ' + sum by (node) (rate(node_network_transmit_bytes_total{job="node-exporter"}[2m]))',
        "Bps",
        "{{node}}",
    ),
    panel(
        "Processor by namespace",
        f"sum by (namespace) (rate(container_cpu_usage_seconds_total{{{_CONTAINER}}}[2m]))",
        "short",
        "{{namespace}}",
    ),
    panel(
        "Memory by namespace",
        f"sum by (namespace) (container_memory_working_set_bytes{{{_CONTAINER}}})",
        "bytes",
        "{{namespace}}",
    ),
    panel(
        "Containers that started again, in 15 minutes",
        f"max by (namespace, pod) (changes(container_start_time_seconds{{{_CONTAINER}}}[15m])) > 0",
        "short",
        "{{namespace}}/{{pod}}",
        "no container starts again",
    ),
    panel(
        "Requests at the API servers",
        'sum by (code) (rate(apiserver_request_total{job="apiserver"}[2m]))',
        "reqps",
        "{{code}}",
    ),
    panel(
        "99 of 100 writes to etcd's log are faster than",
        "histogram_quantile(0.99, sum by (node, le) (rate(etcd_disk_wal_fsync_duration_seconds_bucket[5m])))",
        "s",
        "{{node}}",
    ),
    panel("Size of etcd's data", "max by (node) (etcd_mvcc_db_total_size_in_bytes)", "bytes", "{{node}}"),
    panel(
        "DNS answers",
        'sum by (rcode) (rate(coredns_dns_responses_total{job="kube-dns"}[2m]))',
        "reqps",
        "{{rcode}}",
    ),
    panel(
        "Days until certificates end",
        f"min by (node) ((control_plane_certificate_expiry_timestamp_seconds - time()) / {_DAY})",
        "d",
        "{{node}}",
    ),
    panel("Series in Prometheus", "sum(prometheus_tsdb_head_series)", "short", "series"),
)

_NO_LIMIT = "no limit refuses a request"
_OF = "namespace, service, version"
_NAME = "{{namespace}}/{{service}} {{version}}"

MESH: tuple[Panel, ...] = (
    panel(
        "Requests at the gateways, by class of answer",
        f"sum by (gateway, class) ({series.GATEWAY_REQUESTS_1M.name})",
        "reqps",
        "{{gateway}} {{class}}",
    ),
    panel(
        "Requests by service and version",
        f"sum by ({_OF}) ({series.REQUESTS_1M.name})",
        "reqps",
        _NAME,
    ),
    panel("Share of errors", f"max by ({_OF}) ({series.ERRORS_5M.name})", "percentunit", _NAME),
    panel("Half are faster than", f"max by ({_OF}) ({series.LATENCY_P50_5M.name})", "ms", _NAME),
    panel("95 of 100 are faster than", f"max by ({_OF}) ({series.LATENCY_P95_5M.name})", "ms", _NAME),
    panel("99 of 100 are faster than", f"max by ({_OF}) ({series.LATENCY_P99_5M.name})", "ms", _NAME),
    panel(
        "Who calls whom",
        f"sum by (source, source_version, {_OF}) ({series.REQUESTS_1M.name})",
        "reqps",
        f"{{{{source}}}} {{{{source_version}}}} → {_NAME}",
    ),
    panel(
        "Requests refused by limits, in a minute",
        f"sum by (source, limiter) ({series.LIMITED_1M.name}) * 60",
        "short",
        "{{source}} {{limiter}}",
        _NO_LIMIT,
    ),
    panel(
        "Time-outs",
        'sum by (namespace, service) (rate(envoy_cluster_upstream_rq_timeout{job="monitoring/mesh"}[5m])) > 0',
        "reqps",
        "{{namespace}}/{{service}}",
        "no request times out",
    ),
    panel(
        "Tries after the first",
        'sum by (namespace, service) (rate(envoy_cluster_upstream_rq_retry{job="monitoring/mesh"}[5m])) > 0',
        "reqps",
        "{{namespace}}/{{service}}",
        "no request is tried again",
    ),
    panel(
        "Pods taken out for their errors",
        'sum by (namespace, service) (envoy_cluster_outlier_detection_ejections_active{job="monitoring/mesh"}) > 0',
        "short",
        "{{namespace}}/{{service}}",
        "no pod is taken out",
    ),
    panel("Proxies that istiod tells their configuration", 'sum(pilot_xds{job="istiod"})', "short", "proxies"),
    panel(
        "Configurations that proxies refused",
        'sum(rate(pilot_total_xds_rejects{job="istiod"}[5m])) > 0',
        "short",
        "refused per second",
        "no proxy refuses its configuration",
    ),
    panel(
        "Memory of proxies, the largest of each app",
        'max by (namespace, source) (envoy_server_memory_allocated{job="monitoring/mesh"})',
        "bytes",
        "{{namespace}}/{{source}}",
    ),
)


def document(name: str, title: str, panels: Iterable[Panel]) -> str:
    """Write a dashboard of the cluster as the JSON that Grafana reads; its address there is ``/d/slipway-<name>``."""
    (made,) = render(
        "dashboard",
        uid=f"slipway-{name}",
        title=title,
        tags=["slipway"],
        versions=[],
        variables=[],
        panels=list(panels),
    )
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def shipped(mesh: bool) -> dict[str, str]:
    """Give the dashboards of a cluster, by name; with ``mesh`` that of the mesh, too."""
    made = {"cluster": document("cluster", "Cluster", CLUSTER)}
    return {**made, "mesh": document("mesh", "Mesh", MESH)} if mesh else made


def fault(key: str, text: str) -> str:
    """Say why Grafana would not show what a ConfigMap holds under ``key``; empty when it would."""
    if not key.endswith(SUFFIX):
        return f"its name does not end in {SUFFIX}, so Grafana's sidecar places it and Grafana never reads it"
    try:
        held = json.loads(text)
    except ValueError as exc:
        return f"is not JSON: {exc}"
    if not isinstance(held, dict):
        return f"holds a {type(held).__name__}, and a dashboard is a JSON object with title and panels"
    if isinstance(held.get("dashboard"), dict):
        return "holds the answer of Grafana's API; the dashboard is what stands under its key dashboard"
    if not held.get("title"):
        return "has no title"
    return "" if isinstance(held.get("panels"), list) else "has no list of panels"


def read(paths: Iterable[str]) -> dict[str, str]:
    """Read dashboards from files, by the name of the file. Raises SlipwayError that names all that are none."""
    found: dict[str, str] = {}
    wrong = []
    for path in map(Path, paths):
        try:
            text = path.expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            said = getattr(exc, "strerror", None) or "is not text in UTF-8"
            wrong.append(f"{path}: {said}")
            continue
        why = "has the name of another one" if path.name in found else fault(path.name, text)
        if why:
            wrong.append(f"{path}: {why}")
        found[path.name] = text
    if wrong:
        raise SlipwayError(
            "wrong-dashboard",
            "\n".join([*wrong, "works: files that Grafana exported (Export, as JSON), e.g. disks.json"]),
        )
    return found


def questions(dashboard: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Yield what a dashboard asks Prometheus: the panel's title, the query without variables, and may it be empty?"""
    for held in dashboard["panels"]:
        may = str(held.get("description", "")).startswith(EMPTY)
        for target in held.get("targets", []):
            yield held["title"], _VARIABLE.sub(_put_in, target["expr"]), may


def _put_in(found: re.Match[str]) -> str:
    return _VALUES.get(found[1] or found[2], found[0])
