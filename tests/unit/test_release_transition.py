"""What holds at every moment while a release changes: pairs of pages, and any two that can be made up."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slipway.page.read import SettingsError
from slipway.release.transition import MEANWHILE, _Transition, costs, due, kept_claims, refusals, transition

from tests.support.moments import Change, Page, There, change, planned, released
from tests.support.pairs import CANARY, CHAIN, IMAGE, ONE, PAIRS, of, shop
from tests.support.release import at


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
    from slipway.cluster.objects import identity

    return identity(item)


NAMES: list[dict[str, str]] = [
    {},
    {},
    {"deployment": "{service}-{label}"},
    {"policy": "{service}-{label}"},
    {"virtual_service": "{service}-vs", "entry": "shop-vs", "gateway": "door"},
    {"service_account": "{service}-{label}", "destination_rule": "{service}-dr"},
]


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
        service = of(
            *own, calls=calls, port=draw(st.sampled_from([8080, 9090])), env={"APP": ",".join(calls) or "none"}
        )
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
    made["names"] = draw(st.sampled_from(NAMES))
    return made


def possible(before: Page, after: Page, folder: Path) -> Change | None:
    """Give the way between two pages; None where one of them is refused."""
    try:
        return change(folder, before, after)
    except SettingsError:
        return None


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
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


# Each way in which a fix may be lost, and a pair of pages on which that is noticed.
LOST: dict[str, tuple[str, Any, str]] = {
    "policies are what the page now says at once": (
        "policies",
        lambda self: (self.wanted("AuthorizationPolicy"), [], []),
        "a callee gets its own canary",
    ),
    "policies grow only when old pods are gone": (
        "policies",
        lambda self: ([], self.wanted("AuthorizationPolicy"), []),
        "a call to what is there",
    ),
    "subsets are what the page now says at once": ("grown_rule", lambda _, rule: rule, "last canary goes"),
    "routes for calls are what the page now says at once": (
        "grown_calls",
        lambda _, item, __: item,
        "a version is renamed along a chain",
    ),
    "callers do not wait for what is new": ("waits_for_what_it_calls", lambda *_: False, "another service is called"),
    "what is called goes with its callers": ("depth", lambda *_: 0, "a renamed Deployment, and a call that goes"),
    "copies begin with the routes": ("_copied_last", lambda *_: False, "a canary becomes a shadow"),
    "labels are what the page now says at once": ("moved", lambda *_: False, "a promotion moves labels along a chain"),
    "present Gateways are left at once": ("entries", lambda self: self.wanted_entries(), "objects are renamed"),
}  # fmt: skip


@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
def test_what_a_lost_fix_costs_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: tuple[str, Any, str]
) -> None:
    method, instead, pair = lost
    assert walked(*PAIRS[pair], tmp_path).wrong == []
    monkeypatch.setattr(_Transition, method, instead)
    assert walked(*PAIRS[pair], tmp_path).wrong != []


def test_a_claim_that_the_page_no_longer_names_is_kept_until_it_is_told_to_go(tmp_path: Path) -> None:
    def with_volume(name: str) -> Page:
        return shop(web=of("v1", mounts={name: "/data"}), volumes={name: {"size": "1Gi"}})

    def left(*deleted: str) -> tuple[list[str], list[str]]:
        start, _ = released(tmp_path, with_volume("old"))
        after = planned(tmp_path, with_volume("new"), start)
        stages = transition(after, start.objects.values(), delete_claims=deleted)
        gone = [item["metadata"]["name"] for item in stages[-1].remove if item["kind"] == "PersistentVolumeClaim"]
        return gone, kept_claims(after, start.objects.values(), deleted)

    assert left() == ([], ["old"])
    assert left("other") == ([], ["old"])
    assert left("old") == left("*") == (["old"], [])


@pytest.mark.parametrize(
    ("volume", "key", "was", "fix"),
    [
        ({"size": "1Gi"}, "size", "2Gi", "size: 2Gi"),
        ({"size": "2Gi", "storage_class": "fast"}, "storage_class", "slow", "storage_class: slow"),
        ({"size": "2Gi", "access": "ReadWriteMany"}, "access", "ReadWriteOnce", "access: ReadWriteOnce"),
        ({"size": "3Gi"}, "", "", ""),
    ],
)
def test_what_cannot_be_changed_of_a_claim_is_refused(
    tmp_path: Path, volume: dict[str, str], key: str, was: str, fix: str
) -> None:
    page = shop(web=of("v1", mounts={"data": "/data"}), volumes={"data": {"size": "2Gi"}})
    start, _ = released(tmp_path, page)
    start.objects["PersistentVolumeClaim/shop/data"]["spec"]["storageClassName"] = "slow"
    after = planned(tmp_path, {**page, "volumes": {"data": volume}}, start)
    faults = refusals(after, start.objects.values())
    found = [(fault.id, fault.key[-1], fix in fault.works) for fault in faults]
    assert found == ([("claim-changed", key, True)] if key else [])
    assert all(was in fault.what for fault in faults)


def test_routes_of_an_older_slipway_are_pinned_before_another_version_has_pods(tmp_path: Path) -> None:
    """They led to the Service itself, and whatever was Ready behind it."""
    before = shop(web=of("v1", calls=["api"]), api=of("v1"))
    start, _ = released(tmp_path, before)
    for name in ("DestinationRule/shop/web", "DestinationRule/shop/api", "VirtualService/shop/api"):
        del start.objects[name]
    entry = start.objects["VirtualService/shop/shop-entry"]["spec"]["http"]
    del entry[0]["route"][0]["destination"]["subset"]
    made = change(tmp_path, before, shop(web=of("v1", calls=["api"]), api=of("v2")), start)
    order = [stage.name for stage in made.stages]
    assert order.index("prepare") < order.index("pin") < order.index("workloads")
    pins = {item["metadata"]["name"]: item for item in made.stages[order.index("pin")].apply}
    # The page makes no other version of web, so there is nothing to hold.
    assert pins.keys() == {"api"}
    assert at(pins["api"], "spec/http/*/route/*/destination/subset") == ["v1"]
    grown = {item["metadata"]["name"]: item for item in made.stages[order.index("prepare")].apply}
    assert at(grown["api"], "spec/subsets/*/labels/version") == ["v2", "v1"]
    more = change(tmp_path, before, shop(web=of("v1", "v2", calls=["api"]), api=of("v1"), **CANARY), start)
    (pin,) = [stage for stage in more.stages if stage.name == "pin"]
    (pinned,) = [item for item in pin.apply if item["metadata"]["name"] == "shop-entry"]
    assert at(pinned, "spec/http/*/route/*/destination/subset") == ["v1"]


def test_another_protocol_on_the_same_port_is_said_to_cost_requests(tmp_path: Path) -> None:
    start, _ = released(tmp_path, ONE)
    live = start.objects.values()
    assert costs(planned(tmp_path, shop(web=of("v1", port=9090, protocol="grpc")), start), live) == []
    (said,) = costs(planned(tmp_path, shop(web=of("v1", protocol="grpc")), start), live)
    assert "Service/shop/web speaks grpc on port 8080, where its present pods speak http" in said


def of_before(cluster: There) -> There:
    """Give a cluster as a Slipway has left it whose pods did not say their version by its name."""
    for item in cluster.objects.values():
        if item["kind"] == "Deployment":
            labels = item["spec"]["template"]["metadata"]["labels"]
            for name in ("slipway.io/version", "slipway.io/workload"):
                labels.pop(name)
            item["spec"]["selector"] = {"matchLabels": {"app": labels["app"], "version": labels["version"]}}
    return cluster


def test_labels_that_move_between_pods_without_names_are_refused_with_a_way_out(tmp_path: Path) -> None:
    before, after = PAIRS["a promotion moves labels"]
    start = of_before(released(tmp_path, before)[0])
    (fault,) = refusals(planned(tmp_path, after, start), start.objects.values())
    assert (fault.id, fault.key, "first release this page with the labels as they were" in fault.works) == (
        "labels-moved",
        ("version_labels",),
        True,
    )
    # Which is possible, and keeps the selectors.
    same = planned(tmp_path, before, start)
    assert refusals(same, start.objects.values()) == []
    assert [stage.take_over for stage in transition(same, start.objects.values()) if stage.take_over] == []


def test_what_cannot_be_changed_of_a_deployment_is_taken_over_while_its_pods_serve(tmp_path: Path) -> None:
    before, after = PAIRS["a promotion moves the names of objects"]
    made = change(tmp_path, before, after)
    stages = {stage.name: stage for stage in made.stages}
    assert at(stages["workloads"].take_over, "*/metadata/name") == ["web-stable", "web-canary"]
    assert stages["retire"].orphans
    left = due(made.stages, lambda _: True, busy=True)
    assert (left["retire"]["orphans"], left["retire"]["settle"]) == (True, True)


def test_the_number_of_pods_is_handed_to_the_autoscaler_before_the_page_lets_go_of_it(tmp_path: Path) -> None:
    def pages(**more: Any) -> Page:
        return shop(web=of("v1", **more))

    start, _ = released(tmp_path, pages(replicas=3))
    owned = {"manager": "slipway", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    start.objects["Deployment/shop/web-v1"]["metadata"]["managedFields"] = [owned]
    made = {s.name: s for s in change(tmp_path, pages(), pages(autoscaling={"min": 3, "max": 5}), start).stages}
    (handed,) = made["workloads"].hand_over
    assert (handed["metadata"]["name"], handed["spec"]) == ("web-v1", {"replicas": 3})
    # And back: the autoscaler goes before the page names a number, else it goes on scaling.
    scaled, _ = released(tmp_path, pages(autoscaling={"min": 3, "max": 5}))
    back = {s.name: s for s in change(tmp_path, pages(), pages(replicas=3), scaled).stages}
    assert at(back["workloads"].remove_first, "*/kind") == ["HorizontalPodAutoscaler"]
    assert back["workloads"].hand_over == []


def test_a_first_release_waits_for_nobody_to_learn_anything(tmp_path: Path) -> None:
    after = planned(tmp_path, CHAIN)
    left = due(transition(after, []), lambda _: True, busy=False)
    assert list(left) == ["namespace", "prepare", "workloads", "calls", "users"]
    assert not any(stage["settle"] for stage in left.values())


def test_new_weights_are_one_stage(tmp_path: Path) -> None:
    made = change(tmp_path, CHAIN, {**CHAIN, "weights": {"v1": 50, "v2": 50}})
    left = due(made.stages, lambda item: made.start.objects.get(_name(item)) != item, busy=True)
    assert (list(left), left["users"]["settle"]) == (["users"], False)
