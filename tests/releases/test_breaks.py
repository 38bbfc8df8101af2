"""What is broken by hand on a release that runs makes its proof fail, and is named; put right, it passes again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from slipway.prove.planner import KINDS

from tests.support.breaks import BREAKS, Break, broken
from tests.support.releases import Stage

PAGES = tuple(dict.fromkeys(each.release for each in BREAKS))


@pytest.fixture(scope="module", autouse=True)
def released(stage: Stage) -> Iterator[None]:
    """All the pages that are broken, side by side."""
    for page in PAGES:
        stage.release(page, prove="never").expect()
    yield
    stage.take_away(PAGES)


@pytest.mark.parametrize("each", BREAKS, ids=lambda each: each.what)
def test_it_is_named(stage: Stage, each: Break) -> None:
    with broken(stage.kube, each):
        # Of the other claims nothing is asked: they take their time, and are no part of this.
        run = stage.prove(each.release, prove_skip=sorted(set(KINDS) - {each.claim}))
    assert run.status != 0
    failed = [claim for claim in stage.claims(each.page) if claim["state"] == "failed"]
    named = [claim for claim in failed if claim["kind"] == each.claim]
    assert named, [f"{claim['id']}: {claim['seen']}" for claim in failed]
    assert any(each.says in claim["seen"] for claim in named), [claim["seen"] for claim in named]
    assert f"{named[0]['id']}: {named[0]['title']}" in run.output
    assert "look at: " in run.output
    assert "Traceback" not in run.output


@pytest.mark.parametrize("page", PAGES)
def test_put_right_again_it_passes(stage: Stage, page: str) -> None:
    stage.prove(page).expect()
