"""The keys that say which request gets where: gateway, paths, versions, limits, hosts of tools."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ..page.form import Map, WrongError, setting
from .header_keys import Cors, Headers
from .keys import LABEL_RULE, NAME_RULE, Label, ObjectName, Short, Version
from .limit_keys import PathLimits
from .match_keys import Case, ChoiceValue, Match
from .values import LABEL, CookieName, CookieValue, Duration, HeaderName, Host, Text, UrlPath

_ADDRESS_RULE = "must be service.namespace:port"


class Tls(Map):
    """HTTPS at the gateway."""

    secret: Label = setting(
        "slipway-gateway-tls",
        "Secret with the certificate, in the gateway's namespace.",
        example="slipway-gateway-tls",
        rule=LABEL_RULE,
        names="Secret",
    )
    redirect: bool = setting(False, "Redirect http requests to https?", example=True)


class Gateway(Map):
    """The door in the mesh's gateway."""

    ports: list[Annotated[int, Field(ge=1, le=65535)]] = setting(
        [80], "Ports for http.", example=[80, 8080], min_length=1
    )
    selector: dict[str, Text] = setting(
        {"istio": "ingressgateway"}, "Labels of the gateway's pods.", example={"istio": "ingressgateway"}, min_length=1
    )
    tls: Tls | None = setting(None, "HTTPS on port 443 too. {} takes the certificate of the gateway.", example={})
    use: Annotated[str, Field(pattern=rf"^{LABEL}/{LABEL}$")] | None = setting(
        None,
        "An existing Gateway (namespace/name) instead of a new one for this release.",
        example="istio-system/shared",
        rule="must be namespace/name",
    )


class Choice(Short):
    """A header or cookie by which a client asks for a version."""

    short = "name"

    name: HeaderName = setting(..., "Its name.", example="x-version")
    values: dict[Version, ChoiceValue] = setting(
        {},
        "Value for each version: a text, prefix, or regex with an example. By default the name of the version.",
        example={"v2": "B"},
        rule=LABEL_RULE,
    )

    def match(self, version: str) -> Match:
        """Give how a request asks for a version."""
        return self.values.get(version) or Match(text=version)


class CookieChoice(Short):
    """A cookie by which a client asks for a version."""

    short = "name"

    name: CookieName = setting(..., "Its name.", example="use-version")
    values: dict[Version, CookieValue] = setting(
        {}, "Value for each version. By default the name of the version.", example={"v2": "B"}, rule=LABEL_RULE
    )


class PathOverride(Map):
    """Ways for a client to ask for a version at one path, instead of those of the release."""

    header: Choice | None = setting(None, "A header.", example="x-beta")
    cookie: CookieChoice | None = setting(None, "A cookie.", example="use-beta")


class Route(Short):
    """What a path leads to."""

    short = "to"

    to: Label = setting(..., "The service.", example="frontend", rule=LABEL_RULE)
    version: Version | None = setting(
        None,
        "Version for requests without override and without cookie. By default the weights decide.",
        example="v1",
        rule=LABEL_RULE,
    )
    weights: dict[Version, Annotated[int, Field(ge=0, le=100)]] = setting(
        {},
        "Weights of this path, instead of those of the release. Clients keep their version by a cookie of this path.",
        unit="per cent",
        example={"v1": 50, "v2": 50},
        rule=LABEL_RULE,
    )
    sticky: Literal["none"] | None = setting(
        None, "none: each request of this path is for the weights.", example="none"
    )
    override: PathOverride | None = setting(
        None, "Header and cookie by which clients ask for a version at this path.", example={"header": "x-beta"}
    )
    when: list[Case] = setting(
        [],
        "Requests of this path that go elsewhere, by method, query, headers or a pattern of the path. The first that "
        "fits counts, before overrides and cookies.",
        example=[{"methods": ["POST"], "to": "writer"}],
    )
    rewrite: UrlPath | None = setting(None, "New path of the request.", example="/")
    strip: bool = setting(
        False, "Take this path away before the service gets the request? As rewrite: /.", example=True
    )
    websocket: bool = setting(
        False, "Does the service upgrade requests of this path to WebSocket? A proof then shows it.", example=True
    )
    limits: PathLimits = setting(PathLimits(), "Limits of this path.", example={"total": "100/second"})
    headers: Headers = setting(
        Headers(),
        "Headers that the gateway sets, adds or removes.",
        example={"response": {"set": {"x-frame-options": "DENY"}}},
    )
    cors: Cors | None = setting(
        None,
        "Pages of other origins that may ask this path from a browser. The short form is origins.",
        example="https://app.example.org",
    )


class Entry(Short):
    """A host with routes of its own."""

    short = "to"

    to: Label | None = setting(None, "The service that all its paths lead to.", example="admin", rule=LABEL_RULE)
    routes: dict[UrlPath, Route] = setting(
        {}, "Its paths, each with its service, instead of to.", example={"/": "admin", "/api": "api"}
    )

    @model_validator(mode="after")
    def _one_way(self) -> Entry:
        if (self.to is None) == (not self.routes):
            raise WrongError("needs-one-of", "must have either to or routes")
        return self


class HashKey(Map):
    """What of a request decides where it goes: one of them."""

    header: HeaderName | None = setting(None, "A header that clients send already.", example="x-user-id")
    cookie: CookieName | None = setting(None, "A cookie.", example="session")
    ttl: Duration | None = setting(
        None, "Life of the cookie. With ttl, the mesh sets the cookie if a client has none.", example="1h"
    )
    address: bool = setting(False, "The client's address.", example=True)

    @model_validator(mode="after")
    def _one_key(self) -> HashKey:
        if sum((self.header is not None, self.cookie is not None, self.address)) != 1:
            raise WrongError("needs-one-of", "must have one of header, cookie and address")
        if self.ttl and not self.cookie:
            raise WrongError("keys-contradict", "has a ttl, which only a cookie can have")
        return self


class Sticky(Short):
    """How a client stays with the version it got."""

    short = "by"

    by: Literal["cookie", "hash", "none"] = setting(
        "cookie", "cookie: a cookie carries the version; hash: a hash of what the client sends; none: no stickiness.",
        example="cookie",
    )  # fmt: skip
    cookie: CookieName | None = setting(
        None, "Name of the cookie. By default <release>-version.", example="canary-user"
    )
    set_by: Literal["mesh", "app"] = setting(
        "mesh", "Who sets the cookie: mesh (the gateway) or app (the application).", example="app"
    )
    values: dict[Version, CookieValue] = setting(
        {},
        "Value for each version. By default the name of the version.",
        example={"v1": "false", "v2": "true"},
        rule=LABEL_RULE,
    )
    max_age: Duration = setting("1d", "Life of the cookie that the mesh sets.", example="1d")
    hash: HashKey | None = setting(None, "What is hashed, with by: hash.", example={"header": "x-user-id"})

    @model_validator(mode="before")
    @classmethod
    def _hash_says_it(cls, value: Any) -> Any:
        return {"by": "hash", **value} if isinstance(value, dict) and "hash" in value else value

    @model_validator(mode="after")
    def _fits(self) -> Sticky:
        if (self.by == "hash") != (self.hash is not None):
            raise WrongError("keys-contradict", "must have a hash with by: hash, and only then")
        if self.hash and self.hash.ttl:
            raise WrongError(
                "keys-contradict", "must not have a ttl: a version is picked before the mesh could set a cookie"
            )
        return self


class Override(Map):
    """Ways for a client to ask for a version. They come before stickiness and weights."""

    hosts: dict[Host, Version] = setting(
        {},
        "Hosts, each with its version. A name without a dot is put before the first of hosts.",
        example={"canary": "v2"},
    )
    header: Choice | None = setting(None, "A header.", example="x-version")
    cookie: CookieChoice | None = setting(None, "A cookie.", example="use-version")


class Tool(Short):
    """A host that leads to a tool of the cluster."""

    short = "host"

    host: Host = setting(
        ..., "Host name of the tool. A name without a dot is put before the first of hosts.", example="grafana"
    )
    service: str | None = setting(
        None,
        "Service of the tool. By default the one of this cluster.",
        example="grafana.monitoring:80",
        pattern=rf"^{LABEL}\.{LABEL}:[1-9][0-9]{{0,4}}$",
        rule=_ADDRESS_RULE,
    )
    alias: ObjectName | None = setting(
        None, "Name of a Service in the namespace of the release that leads to the tool.", example="my-grafana",
        rule=NAME_RULE,
    )  # fmt: skip
    name: Label | None = setting(None, "Name of the VirtualService.", example="grafana-vs", rule=LABEL_RULE)
