"""A clone with three controllers and a worker, for what hardens a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from slipway.page.model import Parts

from tests.support.checkout import Checkout


@pytest.fixture(scope="session")
def clone() -> Iterator[Checkout]:
    """A clean clone, from no machines, with only the cluster itself."""
    made = Checkout("cis")
    values: dict[str, Any] = {
        "cluster_controllers": {"count": 3, "cpus": 2, "memory": 2048},
        "cluster_workers": {"count": 1, "cpus": 2, "memory": 1024},
        "cluster_parts": dict.fromkeys(Parts.model_fields, False),
        "cluster_gateway": {"address": "", "ports": [80]},
        "cluster_releases": [],
    }
    made.fresh(**values)
    made.make("setup").expect()
    yield made
    made.make("down")
    made.remove()
