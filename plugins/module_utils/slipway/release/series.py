"""Names of the series that Prometheus records, which alerts and dashboards read and nothing else.

They are the same whether the proxies have Istio's metrics or only Envoy's own statistics. Role ``monitoring`` records
them (``roles/monitoring/files/rules/mesh.yml``); a unit test holds that file and this one together.

Labels, everywhere the same: ``namespace``, ``service`` and ``version`` of what was asked (no ``version`` where a
request was not sent to one), ``source`` and ``source_version`` of who asked (app and version of the caller's pod; the
gateway is ``istio-ingressgateway``), ``code`` (``200``; of a call of gRPC what HTTP has for its status; ``0`` where who
asked left before an answer), ``gateway`` (the gateway's name), ``class`` (``2xx``), ``le`` (milliseconds). A call is
counted where it is sent, by what it got there: what the mesh itself answers counts too (a fault put in, nobody there, a
time-out, a limit), and what was tried again counts once. Copies that a shadow gets are counted as its requests.
"""

from __future__ import annotations

from typing import NamedTuple


class Series(NamedTuple):
    """One recorded series: its name, its labels, its unit, and what it says."""

    name: str
    labels: tuple[str, ...]
    unit: str
    what: str


_ASKED = ("namespace", "service", "version")
_CALL = (*_ASKED, "source", "source_version")

REQUESTS_1M = Series("slipway:requests:rate1m", (*_CALL, "code"), "per second", "requests, mean over 1 minute")
REQUESTS_5M = Series("slipway:requests:rate5m", (*_CALL, "code"), "per second", "requests, mean over 5 minutes")
ERRORS_1M = Series(
    "slipway:errors:ratio1m", _ASKED, "0 to 1", "share of 5xx answers (or gRPC statuses like that) in 1 minute"
)
ERRORS_5M = Series(
    "slipway:errors:ratio5m", _ASKED, "0 to 1", "share of 5xx answers (or gRPC statuses like that) in 5 minutes"
)
LATENCY_BUCKETS_5M = Series(
    "slipway:latency_ms_bucket:rate5m", (*_ASKED, "le"), "per second", "requests that took at most le, for any quantile"
)
LATENCY_P50_5M = Series("slipway:latency_ms:p50_5m", _ASKED, "milliseconds", "half of the requests are faster")
LATENCY_P95_5M = Series("slipway:latency_ms:p95_5m", _ASKED, "milliseconds", "95 of 100 requests are faster")
LATENCY_P99_5M = Series("slipway:latency_ms:p99_5m", _ASKED, "milliseconds", "99 of 100 requests are faster")
GATEWAY_REQUESTS_1M = Series(
    "slipway:gateway_requests:rate1m",
    ("gateway", "class"),
    "per second",
    "all incoming requests, refused or not, over 1 minute",
)
GATEWAY_REQUESTS_5M = Series(
    "slipway:gateway_requests:rate5m",
    ("gateway", "class"),
    "per second",
    "all incoming requests, refused or not, over 5 minutes",
)
LIMITED_1M = Series(
    "slipway:limited:rate1m", ("source", "limiter"), "per second", "requests that a rate limit refused, over 1 minute"
)
LIMITED_5M = Series(
    "slipway:limited:rate5m", ("source", "limiter"), "per second", "requests that a rate limit refused, over 5 minutes"
)

ALL: tuple[Series, ...] = (
    REQUESTS_1M,
    REQUESTS_5M,
    ERRORS_1M,
    ERRORS_5M,
    LATENCY_BUCKETS_5M,
    LATENCY_P50_5M,
    LATENCY_P95_5M,
    LATENCY_P99_5M,
    GATEWAY_REQUESTS_1M,
    GATEWAY_REQUESTS_5M,
    LIMITED_1M,
    LIMITED_5M,
)
