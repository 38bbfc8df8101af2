"""Alerts of a release: what the short form means in PromQL, over the recorded series."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any

from . import promql, series
from .monitoring_keys import Alert
from .names import Naming
from .values import milliseconds, rate, whole

_SHORT = re.compile(r"\s*(\w+)\s*(>=|<=|>|<)\s*(.+?)\s*")
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)\s*%")
_QUANTILES = {"p50": "0.5", "p75": "0.75", "p90": "0.9", "p95": "0.95", "p99": "0.99"}
_CODES = {"errors": "5..", "5xx": "5..", "refused": "4..", "4xx": "4.."}
_GRPC = ", or a gRPC status that counts as one"
# Each measure with an example, and what it measures.
MEASURES = {
    **{name: (f"{name} > 5%", f"share of the requests that get a 5xx answer{_GRPC}") for name in ("errors", "5xx")},
    **{name: (f"{name} > 50%", f"share of the requests that get a 4xx answer{_GRPC}") for name in ("refused", "4xx")},
    "requests": ("requests > 15/minute", "number of requests in the unit of time, by the mean rate of the last minute"),
    "limited": ("limited > 10/minute", "requests that the rate limits of the release refuse, counted in the same way"),
    **{name: (f"{name} > 500ms", f"time within which {name[1:]} of 100 requests are answered") for name in _QUANTILES},
}
# Series that are there in any cluster with our monitoring, by the beginnings of their names.
_EVERYWHERE = ("up", "ALERTS", "istio_", "envoy_", "container_", "node_", "kube", "kubelet_", "scrape_", "process_")


@dataclass(frozen=True)
class Condition:
    """A short form as read. ``value`` is a share (0 to 1), a number of requests, or milliseconds.

    ``seconds`` is the time in which a number of requests is counted.
    """

    what: str
    compare: str
    value: float
    seconds: int = 1


def condition(text: str) -> Condition:
    """Read ``errors > 5%``, ``requests > 15/minute`` or ``p95 > 500ms``; ``ValueError`` says what is wrong."""
    match = _SHORT.fullmatch(text)
    if match is None:
        raise ValueError("must be a measure, one of > >= < <=, and a value")
    what, compare, value = match.groups()
    if what not in MEASURES:
        near = difflib.get_close_matches(what, MEASURES, n=1)
        raise ValueError(f"knows no measure {what}; " + (f"the nearest one is {near[0]}" if near else _known()))
    if what in _CODES:
        share = _SHARE.fullmatch(value)
        if share is None or float(share[1]) > 100:
            raise ValueError(f"must compare {what} with a share of 0% to 100%")
        return Condition(what, compare, round(float(share[1]) / 100, 8))
    try:
        if what in _QUANTILES:
            return Condition(what, compare, milliseconds(value))
        count, seconds = rate(value)
    except ValueError:
        unit = "a length of time" if what in _QUANTILES else "a number per second, minute, hour or day"
        raise ValueError(f"must compare {what} with {unit}") from None
    return Condition(what, compare, count, seconds)


def _known() -> str:
    return "there are errors, refused, requests, limited and p50 to p99"


def example(text: str) -> str:
    """Give a short form that would work, near to the one given."""
    word = re.match(r"\s*(\w+)", text)
    near = difflib.get_close_matches(word[1], MEASURES, n=1) if word else []
    return MEASURES[near[0]][0] if near else "errors > 5%"


@dataclass(frozen=True)
class Scope:
    """What an alert or a picture looks at: labels of the recorded series."""

    naming: Naming
    gateway: str = "istio-ingressgateway"

    def requests(self, service: str | None = None, version: str | None = None, **more: str) -> str:
        """Select requests: to a service or one of its versions, else what comes in at the hosts. Never copies."""
        shape = self.naming.shape
        services = [service] if service else shape.entries
        called = _any_of([self.naming.of("service", each) for each in services])
        labels = {"namespace": f'="{shape.namespace}"', "service": called}
        if service is None:
            labels["source"] = f'="{self.gateway}"'
        # Series of requests that no subset was named for may have no version.
        if service and version and shape.has_versions(service):
            labels["version"] = _any_of(self._called(version))
        else:
            shadows = [name for each in services for shadow in shape.shadows(each) for name in self._called(shadow)]
            if shadows:
                labels["version"] = '!~"' + "|".join(dict.fromkeys(shadows)) + '"'
        labels.update(more)
        return "{" + ",".join(f"{name}{value}" for name, value in labels.items()) + "}"

    def latency(self, service: str | None = None, version: str | None = None) -> str:
        """Select the time of requests; it is recorded without who asked."""
        text = self.requests(service, version)
        return text.replace(f',source="{self.gateway}"', "")

    def _called(self, version: str) -> list[str]:
        """Envoy tells versions by subset, Istio by label."""
        return list(dict.fromkeys([version, self.naming.shape.label(version)]))

    @property
    def limiter(self) -> str:
        """Name under which the gateway counts what this release's limits refuse."""
        shape = self.naming.shape
        return f"slipway_{shape.namespace}_{shape.release.name}".replace("-", "_")


def _any_of(values: list[str]) -> str:
    return f'="{values[0]}"' if len(values) == 1 else '=~"' + "|".join(values) + '"'


def expression(alert: Alert, scope: Scope) -> str:
    """Write an alert as PromQL."""
    if alert.promql is not None:
        return alert.promql
    found = condition(alert.when or "")
    number = whole(found.value)
    requests = series.REQUESTS_1M.name
    if found.what in _CODES:
        bad = scope.requests(alert.service, alert.version, code=f'=~"{_CODES[found.what]}"')
        every = scope.requests(alert.service, alert.version)
        return f"sum({requests}{bad}) / sum({requests}{every}) {found.compare} {number}"
    if found.what in _QUANTILES:
        chosen = f"{series.LATENCY_BUCKETS_5M.name}{scope.latency(alert.service, alert.version)}"
        return f"histogram_quantile({_QUANTILES[found.what]}, sum by (le) ({chosen})) {found.compare} {number}"
    if found.what == "limited":
        total = f'sum({series.LIMITED_1M.name}{{limiter="{scope.limiter}"}})'
    else:
        total = f"sum({requests}{scope.requests(alert.service, alert.version)})"
    if found.compare.startswith("<"):
        total = f"({total} or vector(0))"
    times = f" * {found.seconds}" if found.seconds > 1 else ""
    return f"{total}{times} {found.compare} {number}"


def unknown_series(expression: str, exported: list[str], scraped: bool) -> str:
    """Name a series of ``expression`` that nobody exports, with the reason; empty when each may be there.

    ``exported`` lists the metrics that the release's services say they have, empty when one does not say;
    ``scraped`` tells whether Prometheus reads any of them.
    """
    recorded = [item.name for item in series.ALL]
    for name in promql.metrics(expression):
        if name in recorded or name.startswith(_EVERYWHERE) or not re.fullmatch(r"[\w:]+", name):
            continue
        if name.startswith("slipway:"):
            near = difflib.get_close_matches(name, recorded, n=1, cutoff=0.3)
            return f"{name} is not recorded" + (f"; the nearest one is {near[0]}" if near else "")
        if not scraped:
            return f"nobody exports {name}: no service of this release has metrics"
        if exported and _family(name) not in map(_family, exported):
            return f"nobody exports {name}; there are {', '.join(exported[:5])}"
    return ""


def _family(name: str) -> str:
    """Give the name that a counter or histogram is known by, without what its series add."""
    return re.sub("_(bucket|sum|count|total)$", "", name)


def wording(name: str, alert: Alert, release: str) -> dict[str, Any]:
    """Say in words what an alert means."""
    about = f"{alert.service} {alert.version or ''}".strip() if alert.service else "the hosts of the release"
    what = alert.summary or f"{release}: {alert.when or name}"
    lasts = "" if alert.lasting == "0s" else f", for {alert.lasting}"
    found = f"{alert.when or alert.promql}{lasts}, at {about}. It is {{{{ $value | humanize }}}} now."
    return {"summary": what, "description": alert.description or found}
