"""Limits for classes of requests: what the gateway is told, what is refused, and what a proof asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway import prove
from slipway.prove.given import live, promised
from slipway.release.planner import Plan, plan
from slipway.release.spec import load

from tests.support.pasted import pasted
from tests.support.prove_plan import facts
from tests.support.release import at, one, page, problems
from tests.support.release_changes import changed

FILTER = "envoy.filters.http.local_ratelimit"
PLAN: dict[str, Any] = {
    "header": "X-Plan",
    "values": {"gold": "100/minute", "free": {"rate": "10/minute", "burst": 20}},
    "each": "20/minute",
    "without": "5/minute",
}


def made(folder: Path, by: dict[str, Any]) -> Plan:
    return plan(load(page(folder, changed(("limits", {"by": by})))))


def told(folder: Path, by: dict[str, Any]) -> dict[str, Any]:
    patches = one(made(folder, by), "EnvoyFilter", "shop-rate-limit")["spec"]["configPatches"]
    return dict(at(patches, f"0/patch/value/typed_per_filter_config/{FILTER}/value")[0])


def entries(config: dict[str, Any]) -> list[tuple[tuple[str, str | None], ...]]:
    return [tuple((e["key"], e.get("value")) for e in item["entries"]) for item in config["descriptors"]]


def test_every_bucket_has_a_descriptor_of_its_own_and_as_many_actions_as_entries(tmp_path: Path) -> None:
    config = told(tmp_path, {"plan": {**PLAN, "per": "client", "paths": ["/api/"]}})
    both = (("remote_address", None), ("paths:plan", "these"))
    assert entries(config) == [
        (*both, ("by:plan", "gold")),
        (*both, ("by:plan", "free")),
        (*both, ("without:plan", "named"), ("by:plan", None)),
        (*both, ("without:plan", "none")),
    ]
    assert [len(rate["actions"]) for rate in config["rate_limits"]] == [len(entry) for entry in entries(config)]
    assert [item["token_bucket"]["max_tokens"] for item in config["descriptors"]] == [100, 20, 20, 5]


def test_a_group_of_paths_shares_a_bucket(tmp_path: Path) -> None:
    config = told(tmp_path, {"heavy": {"paths": ["/export", "/report"], "rate": "5/minute"}})
    assert entries(config) == [(("paths:heavy", "these"),)]


@pytest.mark.parametrize(
    ("given", "error_id"),
    [
        ({"header": "x-a"}, "needs-one-of"),
        ({"rate": "1/s"}, "needs-one-of"),
        ({"paths": ["/a"]}, "needs-one-of"),
        ({"header": "x-a", "cookie": "a", "without": "1/s"}, "needs-one-of"),
        ({"header": "x-a", "rate": "1/s"}, "needs-one-of"),
        ({"header": "x-a", "rate": "1/s", "each": "1/s"}, "keys-contradict"),
        ({"paths": ["/a"], "rate": "1/s", "without": "1/s"}, "keys-contradict"),
        ({"cookie": "a", "each": "1/s"}, "keys-contradict"),
        ({"cookie": "a", "values": {"a;b": "1/s"}}, "not-a-cookie"),
        ({"header": "x-a", "values": {"gold.*": "1/s"}}, "regular-expression"),
        ({"header": "x-a", "values": {"gold": "10"}}, "not-a-rate"),
        ({"paths": ["a"], "rate": "1/s"}, "not-a-path"),
    ],
)
def test_a_class_that_counts_nothing_or_cannot_be_told_is_refused(
    tmp_path: Path, given: dict[str, Any], error_id: str
) -> None:
    (found,) = problems(page(tmp_path, changed(("limits", {"by": {"plan": given}}))))
    assert found.id == error_id
    pasted(tmp_path, changed(("limits", {"by": {"plan": given}})), found)


def test_a_proof_says_what_the_class_counts_and_other_claims_stay_below_what_counts_them(tmp_path: Path) -> None:
    by = {"plan": {**PLAN, "per": "client"}, "trial": {"cookie": "t", "values": {"yes": "4/minute"}}}
    held = facts(tmp_path, limits={"by": by})
    asked = prove.plan(held)
    titles = [claim["title"] for claim in asked["claims"] if claim["kind"] == "limit"]
    assert titles == [
        "all paths with header x-plan: gold: 100/minute per client, then 429",
        "all paths with header x-plan: free: 10/minute per client, then 429",
        "all paths with header x-plan: another value: 20/minute per client, then 429",
        "all paths without header x-plan: 5/minute per client, then 429",
        "all paths with cookie t: yes: 4/minute in all, then 429",
    ]
    said = {}
    for claim in asked["claims"]:
        if claim["kind"] == "limit" and claim["state"] == "asked":
            step = next(each for each in asked["experiments"] if each["claim"] == claim["id"])["steps"][0]
            said[claim["title"].partition(":")[0]] = {**step.get("headers", {}), **step.get("cookies", {})}
    assert said["all paths with header x-plan"] == {"x-plan": "prove-{nonce}"}
    assert said["all paths without header x-plan"] == {}
    shares = next(each for each in asked["experiments"] if each["id"].startswith("share"))
    # Four of the five that a client without the header has.
    assert shares["steps"][0]["times"] <= 4


def test_clients_of_a_change_keep_to_what_counts_them_by_the_page_and_by_the_cluster(tmp_path: Path) -> None:
    release = made(tmp_path, {"plan": {**PLAN, "per": "client"}})
    page_says = promised(release.facts).limits
    objects: dict[str, list[Any]] = {}
    for item in release.objects:
        objects.setdefault(item["kind"], []).append(item)
    there = live(release.facts, objects)
    assert there
    assert [limit["bucket"]["max_tokens"] for limit in page_says] == [5]
    assert {limit["bucket"]["max_tokens"] for limit in there.limits} == {5}
