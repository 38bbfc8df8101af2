"""Dashboards of a release, for Grafana: panels that need no query, and those of its page."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from . import series
from .alerts import Scope
from .dashboard_keys import Dashboard, DashboardVariable, Panel
from .panels import EMPTY
from .render import render

__all__ = ["EMPTY", "document", "panel", "panels", "title", "variables"]
_NO_ERROR = "no request is answered with an error"


def title(release: str, name: str, declared: Dashboard) -> str:
    """Give the title of a dashboard."""
    return declared.title or f"{release}: {name}"


def document(scope: Scope, name: str, declared: Dashboard) -> str:
    """Write a dashboard as the JSON that Grafana reads."""
    shape = scope.naming.shape
    release = shape.release
    versions = list(dict.fromkeys(v for service in shape.services.values() for v in service.versions))
    (made,) = render(
        "dashboard",
        uid=_uid(f"{shape.namespace}-{release.name}-{name}"),
        title=title(release.name, name, declared),
        tags=["slipway", release.name],
        versions=list(dict.fromkeys([*versions, *map(shape.label, versions)])),
        variables=[_variable(name, given) for name, given in declared.variables.items()],
        panels=list(panels(scope, declared)),
    )
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def _uid(name: str) -> str:
    """Give a name as Grafana takes it, which is 40 letters at most: a long one ends in what no other has."""
    if len(name) <= 40:
        return name
    return f"{name[:31]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def panels(scope: Scope, declared: Dashboard) -> Iterator[dict[str, Any]]:
    """Yield the panels: ``title``, ``type``, ``query`` (PromQL), ``unit``, ``legend``, ``description``."""
    for wanted in declared.shows:
        yield from {"traffic": _traffic, "versions": _versions, "limits": _limits}[wanted](scope)
    yield from map(_own, declared.panels)


# Sorts of panels as a page calls them, by what Grafana calls them.
_SORTS = {"lines": "timeseries", "bar": "bargauge", "pie": "piechart"}
_LAST = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
_OPTIONS: dict[str, dict[str, Any]] = {
    "stat": {**_LAST, "colorMode": "value", "graphMode": "area", "textMode": "auto"},
    "gauge": {**_LAST, "showThresholdLabels": False, "showThresholdMarkers": True},
    "bar": {**_LAST, "orientation": "horizontal", "displayMode": "gradient"},
    "pie": {**_LAST, "pieType": "pie", "legend": {"displayMode": "table", "placement": "right", "values": ["percent"]}},
    "table": {"showHeader": True},
    "heatmap": {"calculate": False, "legend": {"show": True}},
}


def _own(given: Panel) -> dict[str, Any]:
    """Describe a panel of the page as the template takes it."""
    if given.text is not None:
        return {"title": given.title, "type": "text", "description": "", "content": given.text}
    sort = given.type or "lines"
    made = panel(given.title, given.query or "", given.unit, given.legend)
    made["type"] = _SORTS.get(sort, sort)
    if sort in _OPTIONS:
        made["options"] = _OPTIONS[sort]
        # What shows one value for each line asks for it once.
        made["asks"] = {"format": sort if sort in ("table", "heatmap") else "time_series"}
        made["asks"] |= {"range": True} if sort == "heatmap" else {"instant": True, "range": False}
    if given.thresholds:
        steps = sorted(given.thresholds.items(), key=lambda step: step[1])
        made["thresholds"] = {
            "mode": "absolute",
            "steps": [{"color": "green", "value": None}, *({"color": color, "value": at} for color, at in steps)],
        }
    return made


def variables(declared: Dashboard) -> dict[str, dict[str, Any]]:
    """Give the variables of a dashboard by name, that of the versions too."""
    made = {name: _variable(name, given) for name, given in declared.variables.items()}
    return {"version": {"type": "custom", "query": ".*"}, **made}


def _variable(name: str, given: DashboardVariable) -> dict[str, Any]:
    if given.values:
        first = {"text": given.values[0], "value": given.values[0], "selected": True}
        return {"name": name, "type": "custom", "query": ",".join(given.values), "current": first, "hide": 0}
    text = f"label_values({given.metric}, {given.label})"
    return {
        "name": name,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "definition": text,
        "query": {"query": text, "refId": "StandardVariableQuery"},
        "current": {"text": "All", "value": "$__all", "selected": True},
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "refresh": 2,
        "sort": 1,
        "hide": 0,
    }


def panel(title: str, query: str, unit: str, legend: str, empty: str = "") -> dict[str, Any]:
    """Describe a panel as the template takes it: ``unit`` is Grafana's name, ``empty`` completes "Empty while …"."""
    said = f"{EMPTY}{empty}." if empty else ""
    made = {"title": title, "type": "timeseries", "query": query, "unit": unit, "legend": legend, "description": said}
    return {**made, "asks": {"range": True}}


def _all(scope: Scope, **more: str) -> str:
    """Select every request to the release's services, copies too, of the versions chosen on the dashboard."""
    shape = scope.naming.shape
    services = "|".join(scope.naming.of("service", service) for service in shape.services)
    labels = {"namespace": f'="{shape.namespace}"', "service": f'=~"{services}"', "version": '=~"($version)?"', **more}
    return "{" + ",".join(f"{name}{value}" for name, value in labels.items()) + "}"


def _traffic(scope: Scope) -> Iterator[dict[str, Any]]:
    rate, buckets = series.REQUESTS_1M.name, series.LATENCY_BUCKETS_5M.name
    every, bad = _all(scope), _all(scope, code='=~"5.."')
    yield panel("Requests at the hosts", f"sum by (code) ({rate}{scope.requests()})", "reqps", "{{code}}")
    yield panel("Requests by service", f"sum by (service) ({rate}{every})", "reqps", "{{service}}")
    share = f"sum by (service) ({rate}{bad}) / sum by (service) ({rate}{every})"
    yield panel("Share of errors by service", share, "percentunit", "{{service}}", _NO_ERROR)
    slow = f"histogram_quantile(0.95, sum by (service, le) ({buckets}{every}))"
    yield panel("95 of 100 are faster than", slow, "ms", "{{service}}")


def _versions(scope: Scope) -> Iterator[dict[str, Any]]:
    rate, buckets = series.REQUESTS_1M.name, series.LATENCY_BUCKETS_5M.name
    entry, every, bad = scope.requests(), _all(scope), _all(scope, code='=~"5.."')
    share = f"sum by (version) ({rate}{entry}) / ignoring (version) group_left () sum({rate}{entry})"
    yield panel("Share of each version at the hosts", share, "percentunit", "{{version}}")
    yield panel("Requests by version", f"sum by (service, version) ({rate}{every})", "reqps", "{{service}} {{version}}")
    errors = f"sum by (service, version) ({rate}{bad}) / sum by (service, version) ({rate}{every})"
    yield panel("Share of errors by version", errors, "percentunit", "{{service}} {{version}}", _NO_ERROR)
    slow = f"histogram_quantile(0.95, sum by (service, version, le) ({buckets}{every}))"
    yield panel("95 of 100 are faster than, by version", slow, "ms", "{{service}} {{version}}")
    calls = f"sum by (source, source_version, service, version) ({rate}{every})"
    yield panel("Who calls whom", calls, "reqps", "{{source}} {{source_version}} → {{service}} {{version}}")


def _limits(scope: Scope) -> Iterator[dict[str, Any]]:
    refused = f'sum({series.LIMITED_1M.name}{{limiter="{scope.limiter}"}}) * 60'
    yield panel("Requests refused by limits, in a minute", refused, "short", "refused", "no limit refuses a request")
