"""One cluster for all transitions, or the one that SLIPWAY_TEST_CLUSTER names: a checkout whose ``make up`` has run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.checkout import Standing
from tests.support.releases import Stage, made

STANDING = "SLIPWAY_TEST_CLUSTER"
WORKERS = {"count": 2, "cpus": 2, "memory": 4096}
PARTS = dict.fromkeys(("metallb", "istio", "storage", "metrics_server", "monitoring"), True)


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    """A cluster made from nothing, or one that stands."""
    if folder := os.environ.get(STANDING):
        standing = Standing(Path(folder).resolve())
        yield Stage(standing, yaml.safe_load(standing.page.read_text()))
        return
    with made("transitions", mail=False, cluster_parts=PARTS, cluster_workers=WORKERS) as there:
        yield there
