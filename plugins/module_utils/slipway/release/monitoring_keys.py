"""The keys of metrics, alerts, mail and dashboards."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ..page.form import Map, WrongError, setting
from .keys import LABEL_RULE, Label, Short, Variable, Version
from .receiver_keys import SecretKey, Severity
from .values import LABEL, Duration, Mailboxes, Text, UrlPath, Wait, written_text

# Filled in by Prometheus; a text that it cannot read keeps all rules of the release from being loaded.
_FILLED = re.compile(r"\s*\$(value|labels\.[a-zA-Z_][a-zA-Z0-9_]*)(\s*\|\s*humanize(1024|Percentage|Duration)?)?\s*")
# Labels that a release sets itself: its mail goes by them.
_OWN = ("alertname", "alertmanager", "namespace", "release", "service", "severity", "version")


def _text(text: str) -> str:
    rest = re.sub(r"\{\{(.*?)\}\}", lambda found: "" if _FILLED.fullmatch(found[1]) else "{{", text)
    if "{{" in rest or "}}" in rest:
        what = "has a template that is none of {{ $value }}, {{ $value | humanize }} and {{ $labels.name }}"
        raise WrongError("alert-template", what, re.sub(r"\{\{.*?(\}\}|$)|\}\}", "{{ $value }}", text))
    return text


def _label(name: str) -> str:
    if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_]*", name) or name in _OWN:
        raise WrongError("wrong-name", f"must be letters, digits and underscores, and none of {', '.join(_OWN)}")
    return name


AlertText = Annotated[str, AfterValidator(_text), BeforeValidator(written_text)]
AlertLabel = Annotated[str, AfterValidator(_label)]
MetricName = Annotated[str, Field(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")]
Mailbox = Annotated[str, Field(pattern=r"^[^\s@<>,]+@[^\s@<>,]+$", max_length=254)]


class Metrics(Short):
    """Where Prometheus reads a service's metrics."""

    short = "path"

    path: UrlPath = setting("/metrics", "Path of the metrics.", example="/metrics")
    port: int | None = setting(
        None,
        "Port of the metrics. By default the port of the service.",
        unit="port number",
        example=9090,
        ge=1,
        le=65535,
    )
    interval: Duration = setting("15s", "Time between two scrapes.", example="15s")
    labels: dict[Variable, Text] = setting(
        {},
        "Labels of the ServiceMonitor, for a Prometheus that selects by label.",
        example={"release": "myprom"},
        rule="must be the name of a label",
    )
    exports: list[MetricName] = setting(
        [], "Names of its metrics. If there is a list, an alert on another metric is refused.", example=["app_up"]
    )


class Alert(Short):
    """When somebody has to know."""

    short = "when"

    when: str | None = setting(
        None,
        "A measure (errors, refused, limited, requests, p50 to p99) above or below a value.",
        example="errors > 5%",
    )
    promql: str | None = setting(
        None, "The condition in PromQL, instead of when.", example="sum(rate(app_requests_total[1m])) > 5"
    )
    lasting: Wait = setting(
        "5m",
        "How long the condition must hold before the alert fires. 0s: it fires at once.",
        example="5m",
        alias="for",
    )
    service: Label | None = setting(
        None, "A service, with calls from inside the mesh. By default the requests at the hosts.", example="model",
        rule=LABEL_RULE,
    )  # fmt: skip
    version: Version | None = setting(None, "One of its versions.", example="v2", rule=LABEL_RULE)
    severity: Literal["info", "warning", "critical"] = setting(
        "warning", "Severity: info, warning or critical.", example="warning"
    )
    summary: str | None = setting(None, "What the mail says.", example="Users see errors")
    description: AlertText | None = setting(
        None,
        "What the mail says in detail, instead of the condition and its value. {{ $value }}, {{ $value | humanize }} "
        "and {{ $labels.name }} are filled in.",
        example="{{ $value | humanizePercentage }} of the answers are errors",
    )
    labels: dict[AlertLabel, AlertText] = setting(
        {},
        "More labels of the alert, for routes of Alertmanager.",
        example={"team": "shop"},
        rule="must be letters, digits and underscores",
    )

    @model_validator(mode="after")
    def _one_rule(self) -> Alert:
        if (self.when is None) == (self.promql is None):
            raise WrongError("needs-one-of", "must have either when or promql")
        return self


class Mail(Map):
    """Mail for the release's alerts."""

    to: Mailboxes = setting(..., "Receivers.", example="team@example.org", rule="must be a mail address")
    sender: Mailbox | None = setting(
        None,
        "Sender. By default the first of to.",
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
    user: str | None = setting(None, "User name at the server.", example="alerts@example.org", min_length=1)
    password: SecretKey | None = setting(
        None, "Secret with the password.", example={"secret": "smtp", "key": "password"}
    )
    tls: bool = setting(True, "Require TLS at the server?", example=True)
    severities: list[Severity] = setting([], "Only alerts of these severities. By default all.", example=["critical"])
    repeat: Duration = setting("4h", "Time until the mail is sent again, if the alert still fires.", example="4h")


class OwnAlertmanager(Short):
    """An Alertmanager of the release's own."""

    short = "name"

    name: Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$", max_length=40)] = setting(
        ..., "Its name.", example="email-alert", rule="must be at most 40 lower-case letters, digits and hyphens"
    )
    replicas: int = setting(1, "Pods.", unit="pods", example=1, ge=1, le=5)
