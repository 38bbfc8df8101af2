"""Dashboards asked as Grafana asks them: every query of every panel, at a live Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from slipway.parts.dashboards import LABEL, questions

from .kube import Kube
from .monitoring import Monitoring

# What Grafana 12 reads of a dashboard (schemaVersion 39), as far as ours have it. It says nothing of what it does not
# know.
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["uid", "title", "schemaVersion", "panels", "templating", "time"],
    "properties": {
        "uid": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,40}$"},
        "title": {"type": "string", "minLength": 1},
        "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        "timezone": {"enum": ["browser", "utc", ""]},
        "editable": {"type": "boolean"},
        "graphTooltip": {"enum": [0, 1, 2]},
        "schemaVersion": {"const": 39},
        "refresh": {"type": "string", "pattern": "^[0-9]+[smh]$"},
        "time": {
            "type": "object",
            "additionalProperties": False,
            "required": ["from", "to"],
            "properties": {"from": {"type": "string"}, "to": {"const": "now"}},
        },
        "timepicker": {"type": "object"},
        "annotations": {"type": "object"},
        "links": {"type": "array"},
        "templating": {
            "type": "object",
            "required": ["list"],
            "properties": {
                "list": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name", "type", "query"],
                        "properties": {
                            "name": {"type": "string", "pattern": "^[a-z_]+$"},
                            "type": {"enum": ["datasource", "custom"]},
                            "query": {"type": "string"},
                            "hide": {"enum": [0, 1, 2]},
                            "multi": {"type": "boolean"},
                            "includeAll": {"type": "boolean"},
                        },
                    },
                }
            },
        },
        "panels": {"type": "array", "minItems": 1, "items": {"$ref": "#/definitions/panel"}},
    },
    "definitions": {
        "source": {
            "type": "object",
            "additionalProperties": False,
            "required": ["type", "uid"],
            "properties": {"type": {"const": "prometheus"}, "uid": {"const": "${datasource}"}},
        },
        "panel": {
            "type": "object",
            "additionalProperties": False,
            "required": ["id", "type", "title", "datasource", "gridPos", "targets", "fieldConfig", "options"],
            "properties": {
                "id": {"type": "integer", "minimum": 1},
                "type": {"const": "timeseries"},
                "title": {"type": "string", "minLength": 1},
                "description": {"type": "string", "minLength": 1},
                "datasource": {"$ref": "#/definitions/source"},
                "gridPos": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["h", "w", "x", "y"],
                    "properties": {
                        "h": {"type": "integer", "minimum": 1},
                        "w": {"type": "integer", "minimum": 1, "maximum": 24},
                        "x": {"type": "integer", "minimum": 0, "maximum": 23},
                        "y": {"type": "integer", "minimum": 0},
                    },
                },
                "targets": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["refId", "datasource", "expr"],
                        "properties": {
                            "refId": {"type": "string", "pattern": "^[A-Z]$"},
                            "datasource": {"$ref": "#/definitions/source"},
                            "expr": {"type": "string", "minLength": 1},
                            "legendFormat": {"type": "string"},
                            "range": {"type": "boolean"},
                        },
                    },
                },
                "fieldConfig": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["defaults", "overrides"],
                    "properties": {
                        "defaults": {
                            "type": "object",
                            "required": ["unit"],
                            "properties": {
                                # Names that Grafana knows; another one is shown as text behind each number.
                                "unit": {
                                    "enum": ["short", "percentunit", "bytes", "Bps", "reqps", "s", "ms", "d", "none"]
                                },
                            },
                        },
                        "overrides": {"type": "array"},
                    },
                },
                "options": {"type": "object"},
            },
        },
    },
}


def held(kube: Kube) -> dict[str, dict[str, Any]]:
    """Every dashboard of the cluster that Grafana's sidecar would find, by namespace/name/key."""
    found = kube("get", "configmaps", "--all-namespaces", f"--selector={LABEL}=1")["items"]
    return {
        f"{one['metadata']['namespace']}/{one['metadata']['name']}/{key}": json.loads(text)
        for one in found
        for key, text in one["data"].items()
    }


def faults(monitoring: Monitoring, dashboards: Mapping[str, Mapping[str, Any]], well: Iterable[str] = ()) -> list[str]:
    """Ask every query; each panel that is refused, and each that has nothing to show and should, is a line.

    ``well`` are titles of panels that may be empty here for a reason of the test's own.
    """
    found = []
    excused = set(well)
    for name, dashboard in dashboards.items():
        for title, query, may_be_empty in questions(dashboard):
            try:
                samples = monitoring.query(query)
            except AssertionError as exc:
                found.append(f"{name}: {title}: Prometheus refuses {query}: {exc}")
                continue
            if not samples and not may_be_empty and title not in excused:
                found.append(f"{name}: {title}: nothing to show for {query}")
    return found
