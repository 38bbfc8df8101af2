"""A run that was killed half-way is finished by the next one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from slipway.settings import Parts

from tests.support.checkout import Checkout
from tests.support.kube import ready


@pytest.fixture
def clone() -> Iterator[Checkout]:
    """A clone of its own, taken away afterwards."""
    made = Checkout("kill")
    # What comes after Kubernetes is no part of this; the kills of make test-long have it.
    made.fresh(cluster_parts=dict.fromkeys(Parts.model_fields, False))
    yield made
    made.make("down")
    made.remove()


def test_a_plain_make_up_finishes_what_was_killed_in_kubeadm(clone: Checkout) -> None:
    clone.kill_in("Control plane", after=5)
    assert clone.make("up").expect().total("failed") == 0
    assert [ready(node) for node in clone.kube.nodes()] == [True, True, True]
    assert clone.make("up").expect().total("changed") == 0
