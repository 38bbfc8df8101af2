"""What holds at every moment while a release whose users come by HTTPRoutes changes, or changes to them and back."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slipway.cluster.objects import identity
from slipway.release import backends
from slipway.release.transition import _Transition, due, refusals, transition

from tests.support.moments import Change, Page, change, planned, released
from tests.support.pairs import CANARY, ONE, PAIRS, of, shop
from tests.unit.test_release_transition import pages, possible

Pair = tuple[Page, Page]


def by_routes(page: Page) -> Page:
    """The same page, with HTTPRoutes."""
    made = {**copy.deepcopy(page), "output": "gateway-api", "sticky": "none"}
    made.get("names", {}).pop("gateway", None)
    return made


def by_istio(page: Page) -> Page:
    return {**copy.deepcopy(page), "sticky": "none"}


WAYS: dict[str, Callable[[Pair], Pair]] = {
    "stays": lambda pair: (by_routes(pair[0]), by_routes(pair[1])),
    "to": lambda pair: (by_istio(pair[0]), by_routes(pair[1])),
    "back": lambda pair: (by_routes(pair[0]), by_istio(pair[1])),
}
# Those of all pairs in which the routes of users matter most.
KILLED = ("first canary", "last canary goes", "a port changes", "a promotion moves labels", "a shadow becomes a canary")


def named(names: Any) -> list[str]:
    return [f"{way}: {name}" for way in WAYS for name in names]


def pair_of(text: str) -> Pair:
    way, name = text.split(": ", 1)
    return WAYS[way](PAIRS[name])


def walked(pair: Pair, folder: Path) -> Change:
    made = change(folder, *pair)
    made.walk()
    return made


@pytest.mark.parametrize("name", named(PAIRS))
def test_nothing_is_lost_on_the_way_and_it_ends_where_a_first_release_would(tmp_path: Path, name: str) -> None:
    pair = pair_of(name)
    made = change(tmp_path, *pair)
    there = made.walk()
    assert made.wrong == []
    assert there.objects.keys() == {*made.after.keep}
    again = change(tmp_path, *pair, cluster=there)
    assert due(again.stages, lambda item: there.objects.get(identity(item)) != item, busy=True) == {}


@pytest.mark.parametrize("name", named(KILLED))
def test_a_run_that_was_killed_anywhere_goes_on_or_back_without_a_loss(tmp_path: Path, name: str) -> None:
    pair = pair_of(name)
    for until in range(1, len(change(tmp_path, *pair).stages)):
        left = change(tmp_path, *pair).walk(until=until)
        for pages_of in (pair, (pair[1], pair[0])):
            made = change(tmp_path, *pages_of, cluster=left.copy())
            there = made.walk()
            assert made.wrong == [], f"killed after {until} stages"
            assert there.objects.keys() == {*made.after.keep}


def lost(pair: Pair, folder: Path, killed: int) -> list[str]:
    """Give what goes wrong between two pages, and again after a run that was killed."""
    made = change(folder, *pair)
    there = made.walk()
    assert there.objects.keys() == {*made.after.keep}
    again = change(folder, *pair, cluster=change(folder, *pair).walk(until=killed))
    again.walk()
    return [*made.wrong, *again.wrong]


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(pages(), pages(), st.sampled_from(list(WAYS)), st.integers(1, 13))
def test_no_more_is_lost_between_any_two_pages_than_with_istio(
    before: Page, after: Page, way: str, killed: int
) -> None:
    pair = WAYS[way]((before, after))
    with tempfile.TemporaryDirectory() as folder:
        if possible(*pair, Path(folder)) is None:
            return
        wrong = lost(pair, Path(folder), killed)
        known = lost((by_istio(before), by_istio(after)), Path(folder), killed) if wrong else []
        assert [each for each in wrong if each not in known] == []


# Each way in which a guard may be lost, and a pair of pages on which that is noticed.
LOST: dict[str, tuple[str, Any, str]] = {
    "Services of versions go by labels that move": (
        "by_name",
        lambda _, labels: labels,
        "stays: a promotion moves labels",
    ),
    "Services of versions that go find other pods": (
        "renamed_backends",
        lambda _: iter(()),
        "stays: a promotion moves the names of objects",
    ),
    "nobody sees users that come by HTTPRoutes": (
        "users",
        lambda *_: set(),
        "stays: a canary becomes a shadow",
    ),
    "copies to what answers users go on": (
        "without_new_copies",
        lambda _, item: item,
        "stays: a canary becomes a shadow",
    ),
}


@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
def test_what_a_lost_guard_costs_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: tuple[str, Any, str]
) -> None:
    what, instead, name = lost
    monkeypatch.setattr(_Transition, what, instead)
    assert walked(pair_of(name), tmp_path).wrong


def stages(folder: Path, before: Page, after: Page) -> dict[str, dict[str, Any]]:
    """Give what is due between two pages, by the stage."""
    start, _ = released(folder, before)
    made = transition(planned(folder, after, start), start.objects.values())
    return due(made, lambda item: start.objects.get(identity(item)) != item, busy=True)


def routes_of(stage: dict[str, Any], what: str) -> list[str]:
    kinds = ("Gateway", "VirtualService", backends.KIND)
    return sorted(identity(item) for item in stage[what] if item["kind"] in kinds)


def test_old_routes_go_when_every_proxy_has_the_new_ones(tmp_path: Path) -> None:
    istio, routes = ["Gateway/shop/shop", "VirtualService/shop/shop-entry"], ["HTTPRoute/shop/shop-entry"]
    there = stages(tmp_path, by_istio(ONE), by_routes(ONE))
    assert (routes_of(there["users"], "apply"), routes_of(there["users"], "remove")) == (routes, [])
    assert (routes_of(there["leave"], "remove"), there["leave"]["settle"]) == (istio, True)
    back = stages(tmp_path, by_routes(ONE), by_istio(ONE))
    assert (routes_of(back["users"], "apply"), routes_of(back["users"], "remove")) == (istio, [])
    assert (routes_of(back["leave"], "remove"), back["leave"]["settle"]) == (routes, True)


def test_a_run_killed_between_both_still_waits_for_every_proxy(tmp_path: Path) -> None:
    pair = by_istio(ONE), by_routes(ONE)
    first = change(tmp_path, *pair)
    left = first.walk(until=[stage.name for stage in first.stages].index("users") + 1)
    again = change(tmp_path, *pair, cluster=left)
    found = due(again.stages, lambda item: left.objects.get(identity(item)) != item, busy=True)
    assert next(iter(found)) == "leave"
    assert found["leave"]["settle"] is True


def test_https_for_every_host_is_not_taken_from_the_gateway_that_keeps_it(tmp_path: Path) -> None:
    page = {**ONE, "hosts": ["*"], "gateway": {"tls": {}}}
    start, _ = released(tmp_path, by_routes(page))
    (fault,) = refusals(planned(tmp_path, by_istio(page), start), start.objects.values())
    assert (fault.id, fault.key, fault.works) == (
        "output-cannot-change",
        ("output",),
        "output: gateway-api, or hosts with their names",
    )
    named = {**page, "hosts": ["shop.local"]}
    assert refusals(planned(tmp_path, by_istio(named), start), start.objects.values()) == []


def test_new_weights_are_one_stage(tmp_path: Path) -> None:
    page = shop(web=of("v1", "v2"), **CANARY)
    there = stages(tmp_path, by_routes(page), by_routes({**page, "weights": {"v1": 50, "v2": 50}}))
    assert list(there) == ["users"]
    assert routes_of(there["users"], "apply") == ["HTTPRoute/shop/shop-entry"]


def test_copies_begin_last_and_end_before_their_version_answers_users(tmp_path: Path) -> None:
    pair = tuple(map(by_routes, PAIRS["first shadow"]))
    there = stages(tmp_path, *pair)
    assert "users" not in there
    assert [one["type"] for one in there["copies"]["apply"][0]["spec"]["rules"][0]["filters"]] == ["RequestMirror"]
    there = stages(tmp_path, *map(by_routes, PAIRS["a shadow becomes a canary"]))
    assert "filters" not in there["pin"]["apply"][0]["spec"]["rules"][0]
