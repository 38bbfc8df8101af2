"""The keys of rate limits: for all, for a path, and for classes of requests."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from ..page.form import Map, WrongError, setting
from .keys import LABEL_RULE, Label, Short
from .values import CookieName, HeaderName, HeaderValue, Rate, UrlPath, is_cookie_value

ClassValue = HeaderValue


class Limit(Short):
    """A rate of requests, and how many may come at once."""

    short = "rate"

    rate: Rate = setting(
        ...,
        "Requests per s, m, h or d (sec, second, min, minute, hour, day). The token bucket fills at this rate: 10/day "
        "is 10 requests at once and then one every 2.4 hours, not 10 in each calendar day.",
        example="10/minute",
    )
    burst: int | None = setting(
        None,
        "Size of the token bucket: requests that may come at once. By default it is the number in rate: 10 for 10/day.",
        unit="requests",
        example=20,
        ge=1,
        le=10**6,
    )


class PathLimits(Map):
    """Limits of one path."""

    per_client: Limit | None = setting(None, "Rate limit for each client address.", example="10/minute")
    total: Limit | None = setting(None, "Rate limit for all clients together.", example="100/second")


class LimitClass(Map):
    """A limit for a class of requests: by the value of a header or cookie, or by paths that count together."""

    header: HeaderName | None = setting(None, "Header whose value decides.", example="x-api-key")
    cookie: CookieName | None = setting(None, "Cookie whose value decides.", example="plan")
    paths: list[UrlPath] = setting(
        [], "Only requests for these paths, and what is below them, are counted. By default all.", example=["/export"]
    )
    values: dict[ClassValue, Limit] = setting(
        {}, "Rate limit for each of these values.", example={"gold": "100/minute", "free": "10/minute"},
        rule="must be a value that a header can have",
    )  # fmt: skip
    each: Limit | None = setting(
        None, "Rate limit for each other value of the header: every value has a bucket.", example="20/minute"
    )
    without: Limit | None = setting(
        None,
        "Rate limit for requests without this header or cookie. By default this class does not count them.",
        example="5/minute",
    )
    rate: Limit | None = setting(
        None, "Rate limit for the paths together, if there is neither header nor cookie.", example="10/minute"
    )
    per: Literal["all", "client"] = setting(
        "all", "all: one bucket; client: a bucket for each client address.", example="client"
    )

    @model_validator(mode="after")
    def _one_class(self) -> LimitClass:
        named = self.header is not None or self.cookie is not None
        if self.header is not None and self.cookie is not None:
            raise WrongError("needs-one-of", "must have one of header and cookie")
        if not named and not (self.paths and self.rate):
            raise WrongError("needs-one-of", "must have a header, or a cookie, or paths with a rate")
        if named and not (self.values or self.each or self.without):
            raise WrongError("needs-one-of", "must have values, each or without: what is counted?")
        if named and self.rate:
            raise WrongError("keys-contradict", "has a rate, which is for paths; with a header or cookie write each")
        if not named and (self.values or self.each or self.without):
            raise WrongError("keys-contradict", "has values, each or without, and neither header nor cookie")
        wrong = next((value for value in self.values if self.cookie and not is_cookie_value(value)), None)
        if wrong is not None:
            raise WrongError("not-a-cookie", f"has the value {wrong!r}, which no cookie has without quotes")
        if self.cookie and self.each:
            what = "has each, which works for a header only: the gateway sees all cookies as one text; name the values"
            raise WrongError("keys-contradict", what)
        return self


class Limits(PathLimits):
    """Limits of the release's hosts. What is above is answered 429 by the gateway."""

    clients: int = setting(
        10000,
        "Number of client addresses to remember. If there are more, the address that has been silent for the longest "
        "time is forgotten first.",
        unit="addresses",
        example=10000,
        ge=1,
        le=10**6,
    )
    by: dict[Label, LimitClass] = setting(
        {},
        "More limits, by a header's or cookie's value, or for groups of paths. They come on top of the others.",
        example={"plan": {"header": "x-plan", "values": {"gold": "100/minute"}, "without": "5/minute"}},
        rule=LABEL_RULE,
    )
