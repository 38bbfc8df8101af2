"""The keys of metrics, alerts, mail and dashboards."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..page.form import Map, setting
from .keys import LABEL_RULE, Label, Short, Variable, Version
from .values import LABEL, Duration, Mailboxes, Text, UrlPath

MetricName = Annotated[str, Field(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")]
Mailbox = Annotated[str, Field(pattern=r"^[^\s@<>,]+@[^\s@<>,]+$", max_length=254)]


class Metrics(Short):
    """Where Prometheus reads a service's metrics."""

    short = "path"

    path: UrlPath = setting("/metrics", "Path.", example="/metrics")
    port: int | None = setting(
        None, "Port; without it the service's.", unit="port number", example=9090, ge=1, le=65535
    )
    interval: Duration = setting("15s", "Time between two readings.", example="15s")
    labels: dict[Variable, Text] = setting(
        {},
        "Labels of the ServiceMonitor, for a Prometheus that asks for some.",
        example={"release": "myprom"},
        rule="must be the name of a label",
    )
    exports: list[MetricName] = setting(
        [], "Names of its metrics. When they are listed, an alert on another one is refused.", example=["app_up"]
    )


class Alert(Short):
    """When somebody has to know."""

    short = "when"

    when: str | None = setting(
        None,
        "errors, refused, limited, requests or p50 to p99, above or below a value.",
        example="errors > 5%",
    )
    promql: str | None = setting(None, "The same in PromQL.", example="sum(rate(app_requests_total[1m])) > 5")
    lasting: Duration = setting("5m", "How long before it fires.", example="5m", alias="for")
    service: Label | None = setting(
        None, "A service, calls from inside included; without it what comes in at the hosts.", example="model",
        rule=LABEL_RULE,
    )  # fmt: skip
    version: Version | None = setting(None, "One of its versions.", example="v2", rule=LABEL_RULE)
    severity: Literal["info", "warning", "critical"] = setting("warning", "How bad it is.", example="warning")
    summary: str | None = setting(None, "What the mail says.", example="Users see errors")

    @model_validator(mode="after")
    def _one_rule(self) -> Alert:
        if (self.when is None) == (self.promql is None):
            raise ValueError("must have either when or promql")
        return self


class SecretKey(Map):
    """A value in a Secret."""

    secret: Label = setting(..., "Name of an entry of secrets.", example="smtp", rule=LABEL_RULE, names="Secret")
    key: Variable = setting(..., "Key in it.", example="password", rule="must be the key of a Secret")


class Mail(Map):
    """Mail for the release's alerts."""

    to: Mailboxes = setting(..., "Who gets it.", example="team@example.org", rule="must be a mail address")
    sender: Mailbox | None = setting(
        None,
        "Who it is from; without it the first of to.",
        example="alerts@example.org",
        rule="must be a mail address",
        alias="from",
    )
    server: str = setting(
        ...,
        "SMTP server with its port.",
        example="smtp.example.org:587",
        pattern=rf"^{LABEL}(\.{LABEL})*:[1-9][0-9]{{0,4}}$",
        rule="must be host:port",
    )
    user: str | None = setting(None, "User there.", example="alerts@example.org", min_length=1)
    password: SecretKey | None = setting(None, "Where the password is.", example={"secret": "smtp", "key": "password"})
    tls: bool = setting(True, "Refuse a server without TLS?", example=True)
    repeat: Duration = setting("4h", "Time until mail of an alert that goes on is sent again.", example="4h")


class OwnAlertmanager(Short):
    """An Alertmanager of the release's own."""

    short = "name"

    name: Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$", max_length=40)] = setting(
        ..., "Its name.", example="email-alert", rule="must be at most 40 lower-case letters, digits and hyphens"
    )
    replicas: int = setting(1, "Pods.", unit="pods", example=1, ge=1, le=5)


class Panel(Map):
    """A picture on a dashboard."""

    title: str = setting(..., "What it is called.", example="Cache hits", min_length=1, max_length=100)
    query: str = setting(
        ..., "What it shows, in PromQL.", example="sum by (version) (rate(app_cache_lookups_total[1m]))"
    )
    unit: str = setting(
        "short", "Grafana's name of the unit.", example="reqps", pattern=r"^\w+$", rule="must be a word"
    )
    legend: str = setting("", "Legend of a line, with labels as {{version}}.", example="{{version}}")


class Dashboard(Map):
    """A dashboard for Grafana."""

    title: str | None = setting(None, "What it is called.", example="SMS checker: operation", max_length=100)
    shows: list[Literal["traffic", "versions", "limits"]] = setting(
        [], "Panels that need no query.", example=["traffic", "versions"]
    )
    panels: list[Panel] = setting(
        [], "More panels.", example=[{"title": "Cache", "query": "sum(rate(app_cache_lookups_total[1m]))"}]
    )

    @model_validator(mode="after")
    def _something(self) -> Dashboard:
        if not self.shows and not self.panels:
            raise ValueError("must have something to show: shows, panels, or both")
        return self
