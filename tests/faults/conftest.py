"""One clone for all faults, and one cluster for those that it has to survive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from tests.support.checkout import Checkout
from tests.support.lab import rewrite_page
from tests.support.mesh import Echo
from tests.support.survivor import Survivor


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
    """The clone with no machine, and the page that it was made with."""
    clone.make("down").expect()
    assert clone.left() == {}
    clone.page.write_text(clone.settings)
    return clone


@pytest.fixture(scope="session")
def survivor(clone: Checkout) -> Iterator[Survivor]:
    """The clone, from no machines, with a page on which one worker runs Debian 13 and the other one Debian 12."""
    clone.make("down").expect()
    clone.page.write_text(rewrite_page(clone.settings, {"cluster_systems": {"node-2": "debian-13"}}))
    systems = {"node-1": "Debian GNU/Linux 12 (bookworm)", "node-2": "Debian GNU/Linux 13 (trixie)"}
    yield Survivor(clone, yaml.safe_load(clone.page.read_text()), systems)
    clone.make("down").expect()
    clone.page.write_text(clone.settings)


@pytest.fixture(scope="session")
def standing(survivor: Survivor) -> Survivor:
    """Its cluster: what tests/faults/test_unreachable.py has left, or made here where that has not run."""
    if not survivor.checkout.kube.config.is_file():
        survivor.checkout.make("up").expect()
    return survivor


@pytest.fixture(scope="module")
def cluster(standing: Survivor) -> Checkout:
    """The checkout of that cluster."""
    return standing.checkout


@pytest.fixture(scope="module")
def echo(standing: Survivor) -> Echo:
    """What answers requests in it; each file makes it anew."""
    return standing.echo()
