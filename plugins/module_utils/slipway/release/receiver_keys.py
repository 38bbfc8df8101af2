"""The keys of who is told about alerts beside mail: Slack, Discord, Teams, PagerDuty, webhooks."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, model_validator

from ..page.form import Map, WrongError, setting
from .keys import LABEL_RULE, Label, Variable
from .values import Duration

Severity = Literal["info", "warning", "critical"]
KINDS = ("slack", "discord", "teams", "pagerduty", "webhook")


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[a-z0-9.-]+(:\d{1,5})?(/[\w.~!$&'()*+,;=:@%/?-]*)?", text):
        raise WrongError(
            "not-a-url", "must be http(s)://host, with a path if there is one", "https://hooks.example.org/alerts"
        )
    if re.search(r"hooks\.slack\.com|discord(app)?\.com/api/webhooks|[?&](token|key|sig)=|webhook\.office\.com", text):
        what = "holds a secret, and this page is committed"
        raise WrongError("secret-on-page", what, "https://hooks.example.org/alerts")
    return text


class SecretKey(Map):
    """A value in a Secret."""

    secret: Label = setting(..., "Name of an entry of secrets.", example="smtp", rule=LABEL_RULE, names="Secret")
    key: Variable = setting(..., "Key in it.", example="password", rule="must be the key of a Secret")


class Receiver(Map):
    """Somebody who is told about alerts: one of slack, discord, teams, pagerduty, webhook and url."""

    slack: SecretKey | None = setting(
        None, "Slack: Secret with the URL of an incoming webhook.", example={"secret": "hooks", "key": "SLACK"}
    )
    channel: str | None = setting(
        None,
        "Channel of Slack. By default the one of the webhook.",
        example="#shop",
        pattern=r"^[#@][\w.-]{1,80}$",
        rule="must begin with # or @",
    )
    discord: SecretKey | None = setting(
        None, "Discord: Secret with the URL of a webhook.", example={"secret": "hooks", "key": "DISCORD"}
    )
    teams: SecretKey | None = setting(
        None, "Microsoft Teams: Secret with the URL of a workflow.", example={"secret": "hooks", "key": "TEAMS"}
    )
    pagerduty: SecretKey | None = setting(
        None, "PagerDuty: Secret with an integration key (Events API v2).", example={"secret": "hooks", "key": "PAGER"}
    )
    webhook: SecretKey | None = setting(
        None, "Any program: Secret with the URL that gets the JSON of Alertmanager.",
        example={"secret": "hooks", "key": "OWN"},
    )  # fmt: skip
    url: Annotated[str, AfterValidator(_url)] | None = setting(
        None,
        "URL of a webhook that is no secret; with pagerduty: the address of its API.",
        example="http://bot.chat.svc:8080/alerts",
    )
    severities: list[Severity] = setting([], "Only alerts of these severities. By default all.", example=["critical"])
    repeat: Duration = setting("4h", "Time until it is told again, if the alert still fires.", example="4h")
    resolved: bool = setting(True, "Tell also that the alert is over?", example=False)

    @model_validator(mode="after")
    def _one_way(self) -> Receiver:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) > 1 or (not given and self.url is None):
            raise WrongError("needs-one-of", f"must have one of {', '.join(KINDS)} and url")
        if self.url and given and given != ["pagerduty"]:
            raise WrongError("keys-contradict", f"has a url beside {given[0]}, whose URL is in its Secret")
        if self.channel and given != ["slack"]:
            raise WrongError("keys-contradict", "has a channel, which only slack has")
        return self

    @property
    def kind(self) -> str:
        """Name the sort of receiver."""
        return next((kind for kind in KINDS if getattr(self, kind) is not None), "webhook")

    @property
    def key(self) -> SecretKey | None:
        """Give where its secret is."""
        found: SecretKey | None = getattr(self, self.kind)
        return found
