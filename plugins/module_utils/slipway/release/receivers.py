"""Who is told about the alerts of a release, as an AlertmanagerConfig has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..page.form import Fault
from .model import Release
from .monitoring_keys import Mail
from .receiver_keys import Receiver
from .shape import Shape
from .storage_checks import key_is_there, no_secret
from .values import prometheus_time

Object = dict[str, Any]
NOBODY, MAIL = "nobody", "mail"
# What Alertmanager calls them when it counts what it has sent.
INTEGRATIONS = {
    "slack": "slack", "discord": "discord", "teams": "msteamsv2", "pagerduty": "pagerduty", "webhook": "webhook",
}  # fmt: skip
_LISTS = {
    "slack": ("slackConfigs", "apiURL"),
    "discord": ("discordConfigs", "apiURL"),
    "teams": ("msteamsv2Configs", "webhookURL"),
    "pagerduty": ("pagerdutyConfigs", "routingKey"),
    "webhook": ("webhookConfigs", "urlSecret"),
}


def is_simple(release: Release) -> bool:
    """Tell whether there is mail alone, for all alerts."""
    return not release.receivers and bool(release.mail and not release.mail.severities)


def routes(release: Release) -> list[Object]:
    """List who gets which alerts; each alert goes to all that want it."""
    wanted: list[tuple[str, Mail | Receiver]] = [(MAIL, release.mail)] if release.mail else []
    wanted += [(_name(name), receiver) for name, receiver in release.receivers.items()]
    return [
        {
            "receiver": name,
            "continue": True,
            "repeatInterval": prometheus_time(given.repeat),
            **({"matchers": [_severe(given.severities)]} if given.severities else {}),
        }
        for name, given in wanted
    ]


def _severe(severities: list[Any]) -> Object:
    return {"name": "severity", "value": "|".join(severities), "matchType": "=~"}


def _name(name: str) -> str:
    """Keep a receiver apart from those that have their names from here."""
    return f"to-{name}" if name in (NOBODY, MAIL) else name


def objects(release: Release) -> list[Object]:
    """List the receivers beside mail."""
    return [{"name": _name(name), **_config(receiver)} for name, receiver in release.receivers.items()]


def _config(given: Receiver) -> Object:
    where, field = _LISTS[given.kind]
    made: Object = {"sendResolved": given.resolved}
    if given.key:
        made[field] = {"name": given.key.secret, "key": given.key.key}
    if given.url:
        made["url"] = given.url
    if given.channel:
        made["channel"] = given.channel
    if given.kind == "pagerduty":
        made["severity"] = "{{ .CommonLabels.severity }}"
    return {where: [made]}


def told(release: Release, severity: str) -> list[dict[str, str]]:
    """List who beside mail is told about alerts of a severity."""
    return [
        {"name": name, "kind": receiver.kind, "integration": INTEGRATIONS[receiver.kind]}
        for name, receiver in release.receivers.items()
        if not receiver.severities or severity in receiver.severities
    ]


def mailed(release: Release, severity: str) -> bool:
    """Tell whether alerts of a severity are mailed."""
    return release.mail is not None and (not release.mail.severities or severity in release.mail.severities)


def receivers_can_be_told(shape: Shape) -> Iterator[Fault]:
    """Refuse receivers whose Secret is not there, and warn of those that no alert is for."""
    release = shape.release
    for name, receiver in release.receivers.items():
        if receiver.key and receiver.key.secret not in release.secrets:
            yield no_secret(("receivers", name, receiver.kind, "secret"), receiver.key.secret, release)
        elif receiver.key:
            at = ("receivers", name, receiver.kind, "key")
            yield from key_is_there(at, receiver.key.secret, receiver.key.key, release)
    given = [(("receivers", name), receiver.severities) for name, receiver in release.receivers.items()]
    given += [(("mail",), release.mail.severities)] if release.mail else []  # type: ignore[list-item]
    used = {alert.severity for alert in release.alerts.values()}
    for key, severities in given:
        if release.alerts and severities and not used & set(severities):
            what = f"is told of {', '.join(severities)} alone, and there is no such alert"
            fix = f"severities: [{sorted(used)[0]}]"
            yield Fault("nothing-to-tell", (*key, "severities"), what, fix, warning=True)
        elif not release.alerts and key[0] == "receivers":
            what = "has nothing to tell: there are no alerts"
            yield Fault("needs-key", key, what, "alerts: {Errors: errors > 5%}", warning=True)
