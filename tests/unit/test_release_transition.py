"""What holds at every moment while a release changes: pairs of pages, and any two that can be made up."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slipway.page import SettingsError
from slipway.release.transition import MEANWHILE, due, kept_claims, refusals, transition

from tests.support.release import at
from tests.support.transitions import Change, Cluster, Page, change, planned, released

IMAGE = "example.org/app:1.0"


def shop(**services: Any) -> Page:
    """A page of services; ``weights`` and other keys of the page are told from services by what they hold."""
    keys = {key: services.pop(key) for key in list(services) if key not in ("web", "api", "model", "old_api", "new_api")}
    made = {name.replace("_", "-"): value for name, value in services.items()}
    return {"name": "shop", "hosts": ["shop.local"], "dashboards": {}, "services": made, **keys}


def of(*versions: str, **more: Any) -> dict[str, Any]:
    shadows = more.pop("shadows", {})
    listed: dict[str, Any] = dict.fromkeys(versions, IMAGE)
    listed |= {version: {"image": IMAGE, "shadow": share} for version, share in shadows.items()}
    return {"versions": listed, **more}


ONE = shop(web=of("v1"))
CANARY = {"weights": {"v1": 90, "v2": 10}}
CHAIN = shop(web=of("v1", "v2", calls=["api"]), api=of("v1"), **CANARY)
LABELS = {"v1": "stable", "v2": "canary"}
MOVED = {"v2": "stable", "v3": "canary"}

# What was seen to go wrong on live clusters, and its kin.
PAIRS: dict[str, tuple[Page, Page]] = {
    "a version that nobody is to get": (ONE, shop(web=of("v1", "v2"), weights={"v1": 100, "v2": 0})),
    "first canary": (ONE, shop(web=of("v1", "v2"), **CANARY)),
    "last canary goes": (shop(web=of("v1", "v2"), **CANARY), ONE),
    "the canary stays alone": (shop(web=of("v1", "v2"), **CANARY), shop(web=of("v2"))),
    "first shadow": (ONE, shop(web=of("v1", shadows={"v2": "100%"}))),
    "last shadow goes": (shop(web=of("v1", shadows={"v2": "100%"})), ONE),
    "a version is renamed": (ONE, shop(web=of("a"))),
    "a callee gets its own canary": (CHAIN, shop(web=of("v1", "v2", calls=["api"]), api=of("v1", "v2"), **CANARY)),
    "a callee loses its canary": (shop(web=of("v1", "v2", calls=["api"]), api=of("v1", "v2"), **CANARY), CHAIN),
    "a first canary of a whole chain": (
        shop(web=of("v1", calls=["api"]), api=of("v1", calls=["model"]), model=of("v1")),
        shop(web=of("v1", "v2", calls=["api"]), api=of("v1", "v2", calls=["model"]), model=of("v1", "v2"), **CANARY),
    ),
    "another service is called": (
        shop(web=of("v1", calls=["old-api"]), old_api=of("v1")),
        shop(web=of("v1", calls=["new-api"], env={"API": "new-api"}), new_api=of("v1")),
    ),
    "a new service is called": (ONE, shop(web=of("v1", calls=["api"], env={"API": "api"}), api=of("v1"))),
    "a port changes": (ONE, shop(web=of("v1", port=9090))),
    "a port changes behind a fixed one": (
        shop(web=of("v1", port=8080, service_port=80)),
        shop(web=of("v1", port=9090, service_port=80)),
    ),
    "a promotion moves labels": (
        shop(web=of("v1", "v2"), version_labels=LABELS, **CANARY),
        shop(web=of("v2", "v3"), version_labels=MOVED, weights={"v2": 90, "v3": 10}),
    ),
    "a promotion moves labels along a chain": (
        shop(web=of("v1", "v2", calls=["api"]), api=of("v1", "v2"), version_labels=LABELS, **CANARY),
        shop(web=of("v2", "v3", calls=["api"]), api=of("v2", "v3"), version_labels=MOVED, weights={"v2": 90, "v3": 10}),
    ),
    "a promotion moves the names of objects": (
        shop(web=of("v1", "v2"), version_labels=LABELS, names={"deployment": "{service}-{label}"}, **CANARY),
        shop(
            web=of("v2", "v3"),
            version_labels=MOVED,
            names={"deployment": "{service}-{label}"},
            weights={"v2": 90, "v3": 10},
        ),
    ),
    "a shadow becomes a canary": (
        shop(web=of("v1", calls=["api"], shadows={"v2": "100%"}), api=of("v1")),
        shop(web=of("v1", "v2", calls=["api"]), api=of("v1"), **CANARY),
    ),
    "a canary becomes a shadow": (
        shop(web=of("v1", "v2", calls=["api"]), api=of("v1"), **CANARY),
        shop(web=of("v1", calls=["api"], shadows={"v2": "100%"}), api=of("v1")),
    ),
    "access is closed": (shop(web=of("v1", calls=["api"]), api=of("v1"), access="open"),
                         shop(web=of("v1", calls=["api"]), api=of("v1"))),
    "access is opened, for a new call": (
        shop(web=of("v1"), api=of("v1")),
        shop(web=of("v1", calls=["api"], env={"API": "api"}), api=of("v1"), access="open"),
    ),
    "objects are renamed": (
        CHAIN,
        {
            **CHAIN,
            "names": {
                "deployment": "{service}-{version}-x",
                "service_account": "{service}-{version}-x",
                "policy": "{service}-{version}-x",
                "entry": "other-entry",
                "virtual_service": "{service}-x",
                "destination_rule": "{service}-x",
                "gateway": "other",
            },
        },
    ),
    "accounts change with versions": (
        CHAIN,
        shop(web=of("v1", "v2", calls=["api"]), api=of("v1"), names={"service_account": "{service}-{version}-2"}, **CANARY),
    ),
}  # fmt: skip


def walked(before: Page, after: Page, folder: Path) -> Change:
    made = change(folder, before, after)
    made.walk()
    return made


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_nothing_is_lost_on_the_way(tmp_path: Path, pair: tuple[Page, Page]) -> None:
    assert walked(*pair, tmp_path).wrong == []


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_it_ends_where_a_first_release_of_the_page_would(tmp_path: Path, pair: tuple[Page, Page]) -> None:
    made = change(tmp_path, *pair)
    there = made.walk()
    assert there.objects.keys() == {*made.after.keep}
    assert (there.orphans, {name for name in there.objects if MEANWHILE in name}) == ([], set())
    again = change(tmp_path, *pair, cluster=there)
    assert due(again.stages, lambda item: there.objects.get(_name(item)) != item, busy=True) == {}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_a_run_that_was_killed_anywhere_goes_on_without_a_loss(tmp_path: Path, pair: tuple[Page, Page]) -> None:
    """Or goes back: the same holds for the page before."""
    for until in range(1, len(change(tmp_path, *pair).stages)):
        left = change(tmp_path, *pair).walk(until=until)
        for pages in (pair, (pair[1], pair[0])):
            made = change(tmp_path, *pages, cluster=left.copy())
            there = made.walk()
            assert made.wrong == [], f"killed after {until} stages"
            assert there.objects.keys() == {*made.after.keep}


def _name(item: dict[str, Any]) -> str:
    from slipway.release import identity

    return identity(item)


@st.composite
def pages(draw: st.DrawFn) -> Page:
    """Any page of up to three services that call each other."""
    users = draw(st.sampled_from([["v1"], ["v2"], ["v1", "v2"], ["v2", "v3"], ["v1", "v2", "v3"]]))
    present = draw(st.sampled_from([["web"], ["web", "api"], ["web", "api", "model"], ["web", "model"]]))
    shadow = draw(st.sampled_from(["", "", "v2", "v3", "v4"]))
    shadow = "" if shadow in users else shadow
    services: dict[str, Any] = {}
    for name in present:
        own = users if draw(st.booleans()) else [draw(st.sampled_from(users))]
        others = [other for other in present if present.index(other) > present.index(name)]
        calls = [other for other in others if draw(st.booleans())]
        service = of(*own, calls=calls, port=draw(st.sampled_from([8080, 9090])), env={"APP": ",".join(calls) or "none"})
        if shadow and draw(st.booleans()):
            service["versions"][shadow] = {"image": IMAGE, "shadow": draw(st.sampled_from(["100%", "50%", "0%"]))}
        services[name] = service
    made: Page = {"name": "shop", "hosts": ["shop.local"], "dashboards": {}, "services": services}
    if len(users) > 1:
        first = draw(st.integers(0, 100))
        made["weights"] = dict(zip(users, [first, 100 - first, 0], strict=False))
    if draw(st.booleans()):
        labels = draw(st.permutations(["stable", "canary", "third", "copy"]))
        named = {version for service in services.values() for version in service["versions"]}
        made["version_labels"] = dict(zip(sorted(named), labels, strict=False))
    made["access"] = draw(st.sampled_from(["calls", "calls", "open"]))
    made["sticky"] = draw(st.sampled_from(["cookie", "none", {"hash": {"header": "x-user"}}]))
    made["names"] = draw(st.sampled_from([{}, {}, {"deployment": "{service}-{label}"}, {"policy": "{service}-{label}"},
                                          {"virtual_service": "{service}-vs", "entry": "shop-vs", "gateway": "door"},
                                          {"service_account": "{service}-{label}", "destination_rule": "{service}-dr"}]))  # fmt: skip
    return made


def possible(before: Page, after: Page, folder: Path) -> Change | None:
    """Give the way between two pages; None where one of them is refused."""
    try:
        return change(folder, before, after)
    except SettingsError:
        return None


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(pages(), pages(), st.integers(1, 12))
def test_nothing_is_lost_between_any_two_pages(before: Page, after: Page, killed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = possible(before, after, Path(folder))
        if made is None:
            return
        there = made.walk()
        assert made.wrong == []
        assert there.objects.keys() == {*made.after.keep}
        left = change(Path(folder), before, after).walk(until=killed)
        again = change(Path(folder), before, after, cluster=left)
        again.walk()
        assert again.wrong == []
