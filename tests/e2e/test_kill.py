"""A run that was killed half-way is finished by the next one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from slipway.page.model import Parts

from tests.support.checkout import Checkout
from tests.support.kube import ready
from tests.support.lab import rewrite_page


@pytest.fixture
def emptied(checkout: Checkout) -> Iterator[Checkout]:
    """The clone without machines, as ``make down`` has left it; or a new one, where that has not run."""
    if not checkout.page.exists():
        checkout.fresh()
    checkout.make("down").expect()
    # What comes after Kubernetes is no part of this; the kills of make test-long have it.
    nothing_more = {"cluster_parts": dict.fromkeys(Parts.model_fields, False), "cluster_releases": []}
    checkout.page.write_text(rewrite_page(checkout.page.read_text(), nothing_more))
    yield checkout
    checkout.make("down")


def test_a_plain_make_up_finishes_what_was_killed_in_kubeadm(emptied: Checkout) -> None:
    emptied.kill_in("Control plane", after=5)
    assert emptied.make("up").expect().total("failed") == 0
    assert [ready(node) for node in emptied.kube.nodes()] == [True, True, True]
    assert emptied.make("up").expect().total("changed") == 0
