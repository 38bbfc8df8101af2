"""Checks of metrics, alerts, mail and dashboards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..page.form import Fault
from ..page.read import Key, flow
from . import alerts, dashboards, panels, promql
from .form import near, works
from .model import Service
from .monitoring_keys import Metrics
from .names import Naming
from .shape import Shape
from .storage_checks import key_is_there, no_secret


def monitors_agree(shape: Shape) -> Iterator[Fault]:
    """Refuse services that share a ServiceMonitor and are read in different ways."""
    naming = Naming(shape)
    first: dict[str, str] = {}
    read = {
        service: _read(declared.metrics, declared) for service, declared in shape.services.items() if declared.metrics
    }
    for service, how in read.items():
        name, key = naming.found("monitor", service)
        other = first.setdefault(name, service)
        if read[other] != how:
            what = f"makes ServiceMonitor {name} for {other} too, whose path, port or interval is another"
            # One pattern for all has to make another name of each.
            apart = f"{shape.release.names.monitor}-{{service}}" if key == ("names", "monitor") else f"{name}-{service}"
            yield Fault("monitor-differs", key, what, f"monitor: {flow(apart)}")


def _read(metrics: Metrics, service: Service) -> tuple[object, ...]:
    """Say how a service's metrics are read; the port by the name it has in a Service."""
    of_its_own = metrics.port not in (None, service.port)
    return (metrics.path, metrics.interval, metrics.labels, "http-metrics" if of_its_own else service.protocol)


def alerts_can_fire(shape: Shape) -> Iterator[Fault]:
    """Refuse alerts about what does not exist."""
    release = shape.release
    scraped, exported = _exported(shape)
    for name, alert in release.alerts.items():
        key: Key = ("alerts", name)
        if alert.service is not None and alert.service not in shape.services:
            yield Fault(
                "unknown-service", (*key, "service"), "is no service", f"service: {near(alert.service, shape.services)}"
            )
            continue
        if alert.version is not None:
            yield from _alert_version(shape, key, alert)
        try:
            if alert.when is not None:
                alerts.condition(alert.when)
            elif reason := alerts.unknown_series(str(alert.promql), exported, scraped):
                yield Fault("unknown-series", (*key, "promql"), reason, "when: errors > 5%")
        except promql.PromqlError as exc:
            yield Fault("promql-syntax", (*key, "promql"), f"is not PromQL: {exc}", f"promql: {_rate(shape)} > 5")
        except ValueError as exc:
            yield Fault("alert-condition", (*key, "when"), str(exc), f"when: {alerts.example(str(alert.when))}")


def panels_ask(shape: Shape) -> Iterator[Fault]:
    """Refuse pictures of what does not exist."""
    scraped, exported = _exported(shape)
    for dashboard, declared in shape.release.dashboards.items():
        for index, panel in enumerate(declared.panels):
            where: Key = ("dashboards", dashboard, "panels", index, "query")
            query, unknown = panels.filled(panel.query or "", dashboards.variables(declared))
            if unknown:
                fix = f"variables: {{{unknown}: [1m, 5m]}} at the dashboard"
                yield Fault("unknown-placeholder", where, f"uses ${unknown}, which is no variable of it", fix)
                continue
            error_id = "unknown-series"
            try:
                reason = alerts.unknown_series(query, exported, scraped) if query else ""
            except promql.PromqlError as exc:
                error_id, reason = "promql-syntax", f"is not PromQL: {exc}"
            if reason:
                yield Fault(error_id, where, reason, f"query: {_rate(shape)}")


def _exported(shape: Shape) -> tuple[bool, list[str]]:
    """Tell whether metrics are read of any service, and which there are; none where one does not say."""
    scraped = [service.metrics for service in shape.services.values() if service.metrics]
    silent = any(not metrics.exports for metrics in scraped)
    return bool(scraped), [] if silent else [name for metrics in scraped for name in metrics.exports]


def _rate(shape: Shape) -> str:
    """Write a query that this release has series for: of its own metrics where it has some."""
    scraped = [service.metrics for service in shape.services.values() if service.metrics]
    named = [name for metrics in scraped for name in metrics.exports if name.endswith("_total")]
    if named or any(not metrics.exports for metrics in scraped):
        return f"sum(rate({(named or ['app_requests_total'])[0]}[1m]))"
    return f'sum(slipway:requests:rate1m{{namespace="{shape.namespace}"}})'


def _alert_version(shape: Shape, key: Key, alert: Any) -> Iterator[Fault]:
    if alert.service is None:
        having = [service for service, declared in shape.services.items() if alert.version in declared.versions]
        fix = f"service: {(having or list(shape.services))[0]}"
        yield Fault("needs-key", (*key, "version"), "belongs to a service, and none is named", fix)
    elif alert.version not in shape.services[alert.service].versions:
        fix = f"version: {near(alert.version, shape.services[alert.service].versions)}"
        yield Fault("unknown-version", (*key, "version"), f"is no version of {alert.service}", fix)


def mail_can_go(shape: Shape) -> Iterator[Fault]:
    """Refuse mail that cannot be sent, and warn of mail that nothing would send."""
    release = shape.release
    mail = release.mail
    if release.alertmanager and not mail and not release.receivers:
        what = "would send nothing: there is neither mail nor a receiver"
        yield Fault(
            "needs-key",
            ("alertmanager",),
            what,
            "mail: {to: team@example.org, server: smtp.example.org:587}",
        )
    if mail and not release.alerts:
        what = "has nothing to tell: there are no alerts"
        yield Fault("needs-key", ("mail",), what, "alerts: {Errors: errors > 5%}", warning=True)
    if not mail:
        return
    if mail.password:
        if mail.password.secret not in release.secrets:
            yield no_secret(("mail", "password", "secret"), mail.password.secret, release)
        else:
            yield from key_is_there(("mail", "password", "key"), mail.password.secret, mail.password.key, release)
    if (mail.user is None) != (mail.password is None):
        missing = "password" if mail.user else "user"
        yield Fault(
            "needs-key", ("mail", missing), "is missing: a server asks for both or none", works(("mail", missing))
        )
