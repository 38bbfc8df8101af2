"""One node is added to clusters of up to three hundred: no step grows faster than the cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import Checkout
from tests.support.figures import figure
from tests.support.releases import Stage, made
from tests.support.replay import add_a_node, recorded

from .test_nodes import PARTS, WORKERS

SIZES = (3, 30, 100, 300)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with made("hundreds", mail=False, cluster_parts=PARTS, cluster_workers={**WORKERS, "count": 1}) as there:
        yield there


def test_the_time_grows_no_faster_than_the_cluster(stage: Stage, tmp_path: Path) -> None:
    """Start and end of a run take the same time with any number of machines, so they are left out."""
    checkout: Checkout = stage.checkout
    facts: dict[str, Any] = recorded(checkout)
    seconds: dict[int, float] = {}
    for workers in SIZES:
        folder = tmp_path / str(workers)
        folder.mkdir()
        seconds[workers] = add_a_node(checkout, facts, folder, workers)
        figure(f"playbooks/add-nodes.yml beside {workers} workers, answers replayed", seconds[workers])
    first = SIZES[0]
    shares = {workers: (seconds[workers] - seconds[first]) / (workers - first) for workers in SIZES[1:]}
    print(f"seconds for each worker more: {', '.join(f'{share:.2f}' for share in shares.values())}")
    # A worker of 300 costs no more than one of 100, but for the noise of the machine.
    assert shares[300] <= 2 * max(shares[100], 0.02)
