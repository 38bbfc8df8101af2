"""Users of a release notice nothing of its changes: the quickest of tests/transitions, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.changing import Place, placed
from tests.support.checkout import Checkout
from tests.support.releases import Stage
from tests.support.transitions import PLAIN, Row

ROWS = {row.name: row for row in PLAIN}
# The page that one ends with is the page that the next begins with.
FIRST, CALLEE = ROWS["first-canary-of-entry"], ROWS["callee-gets-v2"]
AWAY = ROWS["last-canary-away"]


@pytest.fixture(scope="module")
def place(checkout: Checkout, page: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A release on the cluster of the end-to-end tests, with one version."""
    with placed(Stage(checkout, page), FIRST, tmp_path_factory.mktemp("changes")) as there:
        yield there


@pytest.mark.parametrize("row", [FIRST, CALLEE, AWAY], ids=lambda row: row.name)
def test_nothing_is_lost(place: Place, row: Row) -> None:
    place.loaded()
    with place.changing():
        run = place.apply(row.after)
    assert place.faults(row) == []
    assert run.expect().total("changed") > 0
