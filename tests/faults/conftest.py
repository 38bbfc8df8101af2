"""One clone for all faults. Each test starts without machines, so that none stands on what another left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.checkout import Checkout


@pytest.fixture(scope="session")
def clone() -> Iterator[Checkout]:
    """A clean clone, set up but without machines; taken away at the end."""
    made = Checkout("faults")
    made.fresh()
    made.make("setup").expect()
    yield made
    made.make("down")
    made.remove()


@pytest.fixture
def bare(clone: Checkout) -> Checkout:
    """The clone with no machine."""
    clone.make("down").expect()
    assert clone.left() == {}
    return clone
