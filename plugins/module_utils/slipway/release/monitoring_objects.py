"""Objects of monitoring: what is read, alerts, mail, dashboards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from . import alerts, dashboards, panels, receivers, workload
from .maker import Maker
from .monitoring_keys import Metrics
from .render import Object
from .values import prometheus_time


def monitoring(maker: Maker) -> Iterator[Object]:
    """Make all of it; nothing where the cluster has no monitoring."""
    if not maker.environment.monitoring:
        return
    release = maker.shape.release
    yield from _monitors(maker)
    if release.alerts:
        rules = [_alert(maker, name) for name in release.alerts]
        yield from maker.make("prometheus-rule", maker.naming.of("rules"), group=maker.group, alerts=rules)
    own = release.alertmanager
    # The cluster's Alertmanager leaves what has this label to the one that it names.
    mailed_by = {"slipway.io/alertmanager": own.name} if own else {}
    if release.mail or release.receivers:
        mail = None
        if release.mail:
            mail = {**release.mail.model_dump(), "repeat": prometheus_time(release.mail.repeat)}
            mail["sender"] = release.mail.sender or release.mail.to[0]
        values: dict[str, Any] = {
            "release": release.name,
            "mail": mail,
            "routes": [],
            "receivers": receivers.objects(release),
        }
        if not receivers.is_simple(release):
            values["routes"] = receivers.routes(release)
        labels = {**maker.labels, **mailed_by}
        yield from maker.make("alertmanager-config", maker.naming.of("mail"), labels=labels, **values)
    if own:
        image = maker.environment.alertmanager_image
        values = {"image": image, "version": image.rpartition(":")[2], "replicas": own.replicas}
        service_labels = {**maker.labels, "slipway.io/alertmanager": own.name}
        config = {"config_selector": {**maker.selector, **mailed_by}, "service_labels": service_labels}
        namespace, _, account = maker.environment.operator.partition("/")
        operator = {"namespace": namespace, "account": account}
        yield from maker.make("alertmanager-rights", own.name, operator=operator)
        yield from maker.make("alertmanager", own.name, **values, **config)
    yield from _dashboards(maker)


def _monitors(maker: Maker) -> Iterator[Object]:
    """Make ServiceMonitors; services that name the same one, and are read alike, share it."""
    groups: dict[str, list[str]] = {}
    for service, declared in maker.shape.services.items():
        if declared.metrics:
            groups.setdefault(maker.naming.of("monitor", service), []).append(service)
    for name, services in groups.items():
        declared = maker.shape.services[services[0]]
        metrics = declared.metrics or Metrics()
        yield from maker.make(
            "service-monitor",
            name,
            labels={**metrics.labels, **maker.labels},
            services=services,
            selector=maker.selector,
            ports=list(dict.fromkeys(_port_of_metrics(maker, service) for service in services)),
            path=metrics.path,
            interval=prometheus_time(metrics.interval),
        )


def _port_of_metrics(maker: Maker, service: str) -> str:
    known = maker.environment.ports.get(maker.naming.of("service", service))
    declared = maker.shape.services[service]
    listed = workload.ports(declared, known)
    own = declared.metrics is not None and declared.metrics.port not in (None, declared.port)
    return str(listed[-1 if own else 0]["name"])


def _alert(maker: Maker, name: str) -> dict[str, Any]:
    release = maker.shape.release
    alert = release.alerts[name]
    about = {"service": alert.service, "version": alert.version}
    return {
        "name": name,
        "expr": alerts.expression(alert, maker.scope),
        "for": prometheus_time(alert.lasting),
        "labels": {
            **alert.labels,
            "severity": alert.severity,
            "release": release.name,
            # Mail is routed by namespace, which a sum takes away.
            "namespace": maker.namespace,
            # Only that one gets it, and the cluster's does not mail it.
            **({"alertmanager": release.alertmanager.name} if release.alertmanager else {}),
            **{key: value for key, value in about.items() if value},
        },
        "annotations": alerts.wording(name, alert, release.name),
    }


def documents(maker: Maker) -> dict[str, dict[str, str]]:
    """Give the dashboards by the ConfigMap that holds them, and by its key; none where there is no monitoring."""
    maps: dict[str, dict[str, str]] = {}
    for name, declared in maker.shape.release.dashboards.items() if maker.environment.monitoring else ():
        holder = maps.setdefault(maker.naming.of("dashboards", dashboard=name), {})
        if declared.is_read:
            holder |= maker.files.get(name, {})
        else:
            # Grafana's sidecar shows nothing whose key ends otherwise.
            holder[f"{name}.json"] = dashboards.document(maker.scope, name, declared)
    return {holder: data for holder, data in maps.items() if data}


def _dashboards(maker: Maker) -> Iterator[Object]:
    for holder, data in documents(maker).items():
        labels = {**maker.labels, "grafana_dashboard": "1"}
        yield from maker.make("config-map", holder, labels=labels, data=data)


def shown(maker: Maker) -> list[dict[str, Any]]:
    """Say of each dashboard what its panels ask."""
    found = []
    for data in documents(maker).values():
        for key, text in data.items():
            held = json.loads(text)
            asked = [question.as_dict() for question in panels.questions(held)]
            found.append({"name": key.removesuffix(".json"), "title": held["title"], "panels": asked})
    return found
