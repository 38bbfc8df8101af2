"""A release of three services in a row, each in two versions, as tests of routes change it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slipway.release.planner import Plan, plan
from slipway.release.spec import load

from .release import page


def made(folder: Path, **values: Any) -> Plan:
    """Plan a release of three services with two versions each, changed by ``values``."""
    image = "example.org/app:1.0"
    services: dict[str, Any] = {
        "front": {"calls": ["back"], "versions": {"v1": image, "v2": image}},
        "back": {"calls": ["model"], "versions": {"v1": image, "v2": image}},
        "model": {"versions": {"v1": image, "v2": image}},
    }
    services |= values.pop("services", {})
    base = {"name": "shop", "hosts": ["shop.local"], "weights": {"v1": 90, "v2": 10}, "services": services}
    return plan(load(page(folder, {**base, **values})))
