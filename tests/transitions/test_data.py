"""No data goes unless somebody says so: not with a new name, not with the release."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.changing import Place, placed, source_of_model
from tests.support.kube import eventually
from tests.support.releases import Stage
from tests.support.transitions import RENAMED_VOLUME


@pytest.fixture
def place(stage: Stage, tmp_path: Path) -> Iterator[Place]:
    with placed(stage, RENAMED_VOLUME, tmp_path) as there:
        yield there


def claims(place: Place) -> dict[str, str]:
    """The release's claims that have a volume, and which."""
    found = place.kube("get", "persistentvolumeclaims", place.where)["items"]
    return {
        item["metadata"]["name"]: item["spec"]["volumeName"]
        for item in found
        if item["status"]["phase"] == "Bound" and "deletionTimestamp" not in item["metadata"]
    }


def test_a_renamed_volume_leaves_the_old_one_with_its_data(place: Place) -> None:
    before = claims(place)
    with place.changing():
        run = place.apply(RENAMED_VOLUME.after)
    assert place.faults(RENAMED_VOLUME) == []
    assert run.expect().total("changed") > 0
    assert claims(place).items() > before.items()
    # Back to the old one, whose model is found where it was left.
    place.apply(RENAMED_VOLUME.before).expect()
    place.kube.text("rollout", "status", "deployment/api-v1", place.where, "--timeout=60s", timeout=70)
    assert source_of_model(place) == "cache"
    assert claims(place).items() > before.items()


def test_a_claim_goes_when_it_is_named(place: Place) -> None:
    place.apply(RENAMED_VOLUME.after).expect()
    assert set(claims(place)) == {"data", "store"}
    place.apply(RENAMED_VOLUME.after, release_delete_claims=["data"]).expect()
    eventually(lambda: set(claims(place)) == {"store"}, seconds=30, what="the claim that was named is gone")


def test_claims_stay_when_the_release_goes(place: Place) -> None:
    before = claims(place)
    place.apply(RENAMED_VOLUME.before, release_state="absent").expect()
    assert claims(place) == before
