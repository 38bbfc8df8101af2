"""The four documented systems and two more pages side by side.

Each thing that is broken by hand is named by a proof, and put right again all of them pass.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.breaks import BREAKS, Break, is_named
from tests.support.releases import DOCUMENTED, HELLO, SECRETS, Stage

BROKEN = tuple(dict.fromkeys(each.release for each in BREAKS))
PAGES = (*DOCUMENTED, *(page for page in BROKEN if page not in DOCUMENTED))


@pytest.fixture(scope="module", autouse=True)
def released(stage: Stage) -> Iterator[None]:
    """All the pages, side by side."""
    stage.take_away([*DOCUMENTED, HELLO])
    for page in PAGES:
        stage.release(page, prove="never").expect()
    yield
    stage.take_away(PAGES)


@pytest.mark.parametrize("each", BREAKS, ids=lambda each: each.what)
def test_what_is_broken_is_named(stage: Stage, each: Break) -> None:
    is_named(stage, each)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: Path(page).stem)
def test_each_of_them_does_what_its_page_says(stage: Stage, page: str) -> None:
    """Also what was broken before: it has been put right."""
    run = stage.prove(page).expect()
    print(f"{Path(page).stem}: proved beside {len(PAGES) - 1} others in {run.seconds:.0f} s")
    stage.proved(Path(page).stem)


def test_a_second_run_of_all_of_them_changes_nothing(stage: Stage) -> None:
    def versions() -> dict[str, str]:
        kinds = "deployments,services,configmaps,secrets,virtualservices,destinationrules,gateways,envoyfilters"
        found = stage.kube("get", kinds, "--all-namespaces", "--selector=slipway.io/release")["items"]
        return {
            f"{one['kind']}/{one['metadata'].get('namespace')}/{one['metadata']['name']}": json.dumps(
                [one["metadata"].get("generation"), one.get("data"), one["metadata"].get("annotations")]
            )
            for one in found
            if one["kind"] != "Deployment"
        }

    before = versions()
    for page in PAGES:
        run = stage.release(page, prove="changed").expect()
        assert run.total("changed") == 0, page
    assert versions() == before


def test_nothing_that_was_said_holds_a_secret(stage: Stage) -> None:
    logs = [path for path in (stage.checkout.state / "log").glob("*") if path.is_file()]
    assert logs
    texts = {path.name: path.read_text(errors="replace") for path in logs}
    for secret in SECRETS.values():
        assert [name for name, text in texts.items() if secret in text] == []
