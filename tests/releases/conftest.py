"""One cluster with monitoring, the releases' images and a mail sink; taken away at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.checkout import Standing
from tests.support.releases import DOCUMENTED, HELLO, Stage, made

# As shipped: with the 2 GiB of the other labs, five releases and a proof's clients are too much for a worker.
WORKERS = {"count": 2, "cpus": 2, "memory": 6144}
PARTS = dict.fromkeys(("metallb", "istio", "storage", "metrics_server", "monitoring"), True)


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    """A cluster made from nothing, or the one of the checkout that SLIPWAY_TEST_CLUSTER names, which stays."""
    if standing := os.environ.get("SLIPWAY_TEST_CLUSTER"):
        checkout = Standing(Path(standing).resolve())
        yield Stage(checkout, yaml.safe_load(checkout.page.read_text()))
        return
    with made("releases", cluster_parts=PARTS, cluster_workers=WORKERS, cluster_gateway_api=True) as there:
        yield there


@pytest.fixture
def empty(stage: Stage) -> Stage:
    """The cluster without any release."""
    stage.take_away([*DOCUMENTED, HELLO])
    return stage
