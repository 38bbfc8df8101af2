"""Killed with -9 in one phase after the other, a plain make up ends well, with one and the same cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.checkout import Checkout
from tests.support.kube import ready
from tests.support.lab import rewrite_page, shipped
from tests.support.releases import SMS

# Play of site.yml, and the seconds from its start to the kill: its longest step runs then for the first time.
PLAYS = [
    ("Machines", 4.0),
    ("Artifacts", 0.2),
    ("Mirror", 2.0),
    ("Nodes", 2.5),
    ("Control plane", 1.5),
    ("Control plane", 8.0),
    ("Pod network", 0.8),
    ("Workers", 1.5),
    ("Tools", 1.0),
    ("Storage", 0.5),
    ("Mesh", 3.0),
    ("Load balancer", 4.0),
    ("Monitoring", 3.0),
    ("Monitoring", 10.0),
    ("Ready", 0.5),
    ("Release", 4.0),
    ("Release", 25.0),
]


@pytest.fixture(scope="module")
def killed(clone: Checkout) -> Iterator[Checkout]:
    """The clone, from no machines, with all that the shipped page has on; one run after the other is killed in it."""
    clone.make("down").expect()
    # With nodes that are baked, most of these moments would be over before they begin.
    settings = {**shipped("cluster_parts", "cluster_releases"), "cluster_baked": False}
    clone.page.write_text(rewrite_page(clone.settings, settings))
    yield clone
    clone.make("down").expect()
    clone.page.write_text(clone.settings)


@pytest.mark.parametrize(("play", "after"), PLAYS, ids=str)
def test_the_next_run_goes_on_from_there(killed: Checkout, play: str, after: float) -> None:
    """It gets to the place of its own kill, and everything made before stays."""
    before = identity(killed)
    killed.kill_in(play, after=after)
    assert before in ("", identity(killed)), "this run made another cluster"


def test_a_plain_make_up_ends_it_all(killed: Checkout) -> None:
    before = identity(killed)
    assert killed.make("up").expect().total("failed") == 0
    assert {node["metadata"]["name"]: ready(node) for node in killed.kube.nodes()} == {
        "ctrl": True,
        "node-1": True,
        "node-2": True,
    }
    assert before == identity(killed), "this run made another cluster"
    claims = json.loads((killed.state / f"report/{SMS}/report.json").read_text())["claims"]
    assert [claim["id"] for claim in claims if claim["state"] == "failed"] == []
    assert killed.make("up").expect().total("changed") == 0


def identity(checkout: Checkout) -> str:
    """What tells one cluster from another; empty when there is none, or none that can be asked yet."""
    if not checkout.kube.config.is_file():
        return ""
    try:
        namespace = checkout.kube("get", "namespace", "kube-system")
    except AssertionError:
        return ""
    return str(namespace["metadata"]["uid"])
