"""The way past limits for all clients together: what it lays over them, and that it goes whatever happens."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from slipway.errors import SlipwayError
from slipway.prove import past
from slipway.prove.look import total_limits
from slipway.release.planner import plan
from slipway.release.spec import load

from tests.support.errors import refused
from tests.support.release import one, page

Json = dict[str, Any]


def limiter(folder: Path, **limits: str) -> tuple[Json, Json]:
    """A release's EnvoyFilter, and its facts."""
    values = {"name": "shop", "hosts": ["shop.local"], "limits": limits}
    made = plan(load(page(folder, {**values, "services": {"web": {"versions": {"v1": "example.org/web:1"}}}})))
    return one(made, "EnvoyFilter", "shop-rate-limit"), made.facts


class Applying:
    """What an API server would hold."""

    def __init__(self) -> None:
        self.held: dict[str, Json] = {}
        self.refuse = ""

    def apply(self, objects: Iterable[Json]) -> list[Any]:
        done = []
        for item in objects:
            if item["kind"] == self.refuse:
                raise SlipwayError("refused-by-api", f"no {item['kind']}")
            live = copy.deepcopy({**item, "metadata": {**item["metadata"], "uid": "u-1"}})
            self.held[item["kind"]] = live
            done.append(SimpleNamespace(live=live))
        return done

    def remove(self, objects: Iterable[Json]) -> None:
        for item in objects:
            self.held.pop(item["kind"], None)


def way(folder: Path, applying: Applying, *, deaf: bool = False) -> past.Past:
    clock = iter(range(10_000))

    def known(text: str) -> list[bool]:
        return [not deaf and text in str(applying.held.get("EnvoyFilter")), True and text in str(applying.held)]

    made: Any = past.Past(applying, limiter(folder, total="20/minute")[0], known)  # type: ignore[arg-type]
    made.now, made.sleep = (lambda: float(next(clock))), (lambda _: None)
    found: past.Past = made
    return found


def test_only_limits_for_all_are_passed_by_and_only_with_the_value(tmp_path: Path) -> None:
    held, _ = limiter(tmp_path, per_client="10/minute", total="20/minute")
    before = copy.deepcopy(held)
    laid = past.overlay(held, "value", {"name": "j", "uid": "u"})
    assert held == before
    assert laid["spec"]["priority"] > 0
    assert laid["metadata"]["ownerReferences"][0]["uid"] == "u"
    for old, new in zip(held["spec"]["configPatches"], laid["spec"]["configPatches"], strict=True):
        assert (old["match"], old["applyTo"]) == (new["match"], new["applyTo"])
        was, now = (
            next(iter(each["patch"]["value"]["typed_per_filter_config"].values()))["value"] for each in (old, new)
        )
        assert was["rate_limits"][0] == now["rate_limits"][0]
        assert was["descriptors"][0] == now["descriptors"][0]
        (condition,) = now["rate_limits"][1]["actions"][len(was["rate_limits"][1]["actions"]) :]
        assert condition["header_value_match"]["expect_match"] is False
        assert now["descriptors"][1]["token_bucket"] == was["descriptors"][1]["token_bucket"]


def test_it_is_there_between_its_beginning_and_its_end(tmp_path: Path) -> None:
    applying = Applying()
    made = way(tmp_path, applying)
    value = made.open()
    assert len(value) == 32
    assert value in str(applying.held["EnvoyFilter"])
    assert value not in repr(made)
    job = applying.held["Job"]["spec"]
    assert (job["parallelism"], job["ttlSecondsAfterFinished"]) == (0, 0)
    assert job["activeDeadlineSeconds"] > 900
    made.close()
    assert applying.held == {}
    assert made.open() != value


@pytest.mark.parametrize("refuse", ["Job", "EnvoyFilter"])
def test_what_cannot_be_made_whole_leaves_nothing(tmp_path: Path, refuse: str) -> None:
    applying = Applying()
    applying.refuse = refuse
    with refused(f"refused-by-api: no {refuse}"):
        way(tmp_path, applying).open()
    assert applying.held == {}


def test_a_gateway_that_does_not_learn_of_it_is_told_and_it_goes(tmp_path: Path) -> None:
    applying = Applying()
    with refused("gateway-not-ready"):
        way(tmp_path, applying, deaf=True).open()
    assert applying.held == {}


def test_it_is_found_where_a_release_limits_all_together(tmp_path: Path) -> None:
    held, facts = limiter(tmp_path, total="20/minute")
    other = {**held, "metadata": {**held["metadata"], "labels": {}}}
    assert total_limits(facts, [other, held]) is held
    assert total_limits(facts, [other]) is None
    held, facts = limiter(tmp_path, per_client="20/minute")
    assert total_limits(facts, [held]) is None
