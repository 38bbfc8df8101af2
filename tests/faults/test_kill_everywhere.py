"""Killed with -9 in any phase, a plain make up ends well, with one and the same cluster."""

from __future__ import annotations

import pytest

from tests.support.checkout import Checkout
from tests.support.kube import ready

# Play of site.yml, and how many seconds into it the kill comes: while its longest step is at work.
PHASES = [
    ("Machines", 4.0),
    ("Artifacts", 0.2),
    ("Mirror", 2.0),
    ("Nodes", 2.5),
    ("Control plane", 1.5),
    ("Control plane", 8.0),
    ("Pod network", 0.8),
    ("Workers", 1.5),
    ("Tools", 1.0),
    ("Ready", 0.5),
]


@pytest.mark.parametrize(("play", "after"), PHASES)
def test_a_plain_make_up_ends_well(bare: Checkout, play: str, after: float) -> None:
    bare.kill_in(play, after=after)
    cluster = identity(bare)
    assert bare.make("up").expect().total("failed") == 0
    assert {node["metadata"]["name"]: ready(node) for node in bare.kube.nodes()} == {
        "ctrl": True,
        "node-1": True,
        "node-2": True,
    }
    assert cluster in ("", identity(bare)), "the second run made another cluster"


def identity(checkout: Checkout) -> str:
    """What tells one cluster from another; empty when there is none, or none that can be asked yet."""
    if not checkout.kube.config.is_file():
        return ""
    try:
        namespace = checkout.kube("get", "namespace", "kube-system")
    except AssertionError:
        return ""
    return str(namespace["metadata"]["uid"])
