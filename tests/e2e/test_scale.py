"""One node is added to clusters of many: the work is that of one node, and no step grows faster than the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import Checkout
from tests.support.replay import CONTROLLERS, NEW, Crowd, recorded

SIZES = (3, 30, 100, 300)
# What a worker that is in the cluster already may be asked. A controller gets to know the new node.
OF_WORKER, OF_CONTROLLER = 3, 16
SECONDS: dict[int, float] = {}


@pytest.fixture(scope="module")
def facts(checkout: Checkout) -> dict[str, Any]:
    return dict(zip(("controller", "worker", "none"), recorded(checkout, ("ctrl", "node-1", "mirror-1")), strict=True))


@pytest.mark.parametrize("workers", SIZES)
def test_a_node_is_added(checkout: Checkout, facts: dict[str, Any], tmp_path: Path, workers: int) -> None:
    done = Crowd(checkout, tmp_path, workers, facts).play("playbooks/add-nodes.yml")
    most = {
        kind: max(sum(modules.values()) for name, modules in done.asked.items() if name.startswith(kind))
        for kind in ("worker", "ctrl")
    }
    print(f"add a node to {workers} workers: {done.run.seconds:.1f} s, tasks of one: {most}")
    assert done.asked[NEW]["kubeadm_node"] == 1
    assert most["worker"] <= OF_WORKER
    assert most["ctrl"] <= OF_CONTROLLER
    assert {done.asked[name]["kubeadm_node"] for name in CONTROLLERS} == {0}
    SECONDS[workers] = done.run.seconds


def test_the_time_grows_no_faster_than_the_cluster() -> None:
    """Start and end of a run take the same time with any number of machines, so they are left out."""
    first, *others = (SECONDS[workers] for workers in SIZES)
    shares = [(seconds - first) / (workers - SIZES[0]) for workers, seconds in zip(SIZES[1:], others, strict=True)]
    print(f"seconds for each worker more: {', '.join(f'{share:.2f}' for share in shares)}")
    # A worker of 300 costs no more than one of 100, but for the noise of the machine.
    assert shares[-1] <= 2 * max(shares[-2], 0.02)
