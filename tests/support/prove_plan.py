"""A shop of two services, what a proof of it asks, and the verdict on answers that a test makes up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slipway import prove
from slipway.release.planner import plan as planned
from slipway.release.spec import load

from .release import page

Json = dict[str, Any]
IMAGE = "example.org/app:1"
ABORT = {"abort": {"status": 503, "share": "5%"}}
GRAFANA = {"grafana": {"host": "grafana"}}
VERSIONS = {"v1": IMAGE, "v2": IMAGE}
PARKED = {"versions": {"v1": IMAGE, "v2": {"image": IMAGE, "replicas": 0}}}
TRIES = {"attempts": 2, "reasons": ["5xx"], "methods": "all"}
# What is known of an app that obeys the test header.
SPEAKING = {"test_header": True, "roles": {"front": "frontend", "back": "model"}}


def facts(folder: Path, **values: Any) -> Json:
    """What a plan says of a shop with a front that calls a back, changed by ``values``."""
    services: Json = {"front": {"calls": ["back"], "versions": VERSIONS}, "back": {"versions": VERSIONS}}
    for name, more in values.pop("services", {}).items():
        services[name] = {**services.get(name, {}), **more}
    base = {"name": "shop", "hosts": ["shop.local"], "weights": {"v1": 90, "v2": 10}, "services": services}
    return planned(load(page(folder, {**base, **values}))).facts


def claim(plan: Json, kind: str) -> Json:
    """The first claim of that kind."""
    found: Json = next(each for each in plan["claims"] if each["kind"] == kind)
    return found


def asked(plan: Json, kind: str) -> list[Json]:
    """What is asked for that claim."""
    return [item for item in plan["experiments"] if item["claim"] == claim(plan, kind)["id"]]


def verdict(plan: Json, kind: str, answers: Json | list[Json], reads: Json | None = None) -> prove.Verdict:
    """Judge one kind, with every request of it answered alike, or as listed."""
    seen = {}
    for item in asked(plan, kind):
        count = item["clients"] * sum(step["times"] for step in item["steps"])
        given = answers if isinstance(answers, list) else [answers] * count
        seen[item["id"]] = {"answers": [{"client": 0, "step": 0, "at": 0.0, "ms": 1.0, **one} for one in given]}
    report = prove.judge(plan, {"experiments": seen, "reads": reads or {}})
    return next(each for each in report.verdicts if each.kind == kind)
