"""Clones whose CAs are replaced: one with three controllers and a worker, and one with a single controller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from slipway.page.model import Parts

from tests.support.checkout import Checkout


@contextmanager
def _made(name: str, controllers: int) -> Iterator[Checkout]:
    made = Checkout(name)
    values: dict[str, Any] = {
        "cluster_controllers": {"count": controllers, "cpus": 2, "memory": 2048},
        "cluster_workers": {"count": 1, "cpus": 2, "memory": 1024},
        # It is asked by the API server as a proxy, and asks the API and kubelets itself.
        "cluster_parts": {**dict.fromkeys(Parts.model_fields, False), "metrics_server": True},
        "cluster_gateway": {"address": "", "ports": [80]},
        "cluster_releases": [],
    }
    made.fresh(**values)
    made.make("setup").expect()
    made.make("up").expect()
    yield made
    made.make("down")
    made.remove()


@pytest.fixture(scope="module")
def three() -> Iterator[Checkout]:
    with _made("authorities", 3) as made:
        yield made


@pytest.fixture(scope="module")
def one() -> Iterator[Checkout]:
    with _made("authority", 1) as made:
        yield made
