"""One node is added to a cluster of a hundred: the work is that of one node, and old workers are only looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import Checkout
from tests.support.replay import add_a_node, recorded


@pytest.fixture(scope="module")
def facts(checkout: Checkout) -> dict[str, Any]:
    return recorded(checkout)


@pytest.mark.parametrize("workers", [3, 100])
def test_a_node_is_added(checkout: Checkout, facts: dict[str, Any], tmp_path: Path, workers: int) -> None:
    add_a_node(checkout, facts, tmp_path, workers)
