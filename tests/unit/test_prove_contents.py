"""Claims of charts: what is asked, and which answers, counts and readings pass."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.cluster.access import UnansweredError
from slipway.contents import claims
from slipway.contents.keys import Contents
from slipway.contents.told import World
from slipway.prove import planner, verdicts
from slipway.prove.reads import Reads

from tests.support.contents import ROUTES, SHOP, made

Json = dict[str, Any]
LABELS = {"istio": "ingressgateway"}
EXTRA = """
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: shop}
spec: {groups: [{name: a, rules: [{alert: Busy, expr: vector(1) > 2}]}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: board, labels: {grafana_dashboard: "1"}}
data: {a.json: '{"panels": [{"targets": [{"expr": "up"}, {"expr": "sum("}]}]}'}
"""


def planned(*texts: str, **circumstances: Any) -> Json:
    page = Contents.model_validate({"name": "shop", "chart": {"path": "./helm"}})
    world = World(asked=True, ports={80: 80}, gateway_labels=LABELS)
    return planner.plan(claims.facts(page, made(*texts), world), {"tells": False, **circumstances})


def claim(plan: Json, kind: str) -> Json:
    found: Json = next(each for each in plan["claims"] if each["kind"] == kind)
    return found


def judged(plan: Json, kind: str, experiments: Json, reads: Json) -> tuple[str, str]:
    report = verdicts.judge(plan, {"experiments": experiments, "reads": reads})
    found = next(each for each in report.verdicts if each.kind == kind)
    return found.state, found.seen


def counted(plan: Json, **got: int) -> tuple[str, str]:
    """Answer all that is asked for the claim, and count so many for each version."""
    asked = claim(plan, "counted")
    answers = {
        each["id"]: {"answers": [{"status": 200, "client": n, "step": 0} for n in range(each["clients"])]}
        for each in plan["experiments"]
    }
    reads = {name: {"before": 5, "after": 5 + got[name.split(".")[2]], "source": "proxy"} for name in asked["reads"]}
    return judged(plan, "counted", answers, reads)


def test_an_app_that_does_not_tell_is_counted_and_one_that_does_is_not() -> None:
    plan = planned(SHOP, ROUTES)
    assert claim(plan, "share")["state"] == "configured"
    assert claim(plan, "counted")["state"] == "asked"
    assert {each["stage"] for each in plan["experiments"] if each["claim"].startswith("counted")} == {"copies"}
    assert claim(planned(SHOP, ROUTES, tells=True), "counted")["state"] == "skipped"
    bare = SHOP.replace(
        "labels: {app: web, version: v2}}\n", "labels: {app: web, version: v2, sidecar.istio.io/inject: 'false'}}\n"
    )
    assert claim(planned(bare, ROUTES), "counted")["state"] == "configured"


@pytest.mark.parametrize(
    ("canary", "more", "state", "words"),
    [
        # A tenth of n, and the forty that ask for it.
        (0.10, 40, "passed", "canary got"),
        (0.50, 40, "failed", "stable got"),
        # The header does not lead there.
        (0.10, 0, "failed", "canary got"),
    ],
)
def test_pods_have_to_get_what_is_theirs(canary: float, more: int, state: str, words: str) -> None:
    plan = planned(SHOP, ROUTES)
    count = next(each["clients"] for each in plan["experiments"] if each["id"].startswith("counted"))
    own = round(count * canary)
    found, seen = counted(plan, stable=count - own + (40 - more), canary=own + more)
    assert (found, words in seen) == (state, True), seen


def test_requests_of_others_spoil_the_count_and_that_is_said() -> None:
    found, seen = counted(planned(SHOP, ROUTES), stable=9000, canary=9000)
    assert found == "failed"
    assert "others have used the release" in seen


@pytest.mark.parametrize(("status", "state"), [(200, "passed"), (404, "passed"), (503, "failed"), (0, "failed")])
def test_a_path_of_one_version_has_to_be_answered(status: int, state: str) -> None:
    text = ROUTES.replace("host: web, subset: stable", "host: back").replace("host: web, subset: canary", "host: back")
    plan = planned(SHOP, text)
    (name,) = claim(plan, "answer")["experiments"]
    answer = {"status": status, "client": 0, "step": 0}
    assert judged(plan, "answer", {name: {"answers": [answer] * 3}}, {})[0] == state


@pytest.mark.parametrize(
    ("read", "state", "words"),
    [
        ({"rules": ["Busy"], "errors": []}, "passed", "1 rules are loaded"),
        ({"rules": [], "errors": []}, "failed", "has not loaded Busy"),
        ({"rules": ["Busy"], "errors": ["Busy: many-to-many"]}, "failed", "many-to-many"),
        ({"error": "it could not be looked up"}, "failed", "could not be looked up"),
    ],
)
def test_rules_have_to_be_loaded(read: Json, state: str, words: str) -> None:
    plan = planned(SHOP, ROUTES, EXTRA)
    (name,) = claim(plan, "rules")["reads"]
    found, seen = judged(plan, "rules", {}, {name: read})
    assert (found, words in seen) == (state, True), seen
    assert claim(planned(SHOP, EXTRA, monitoring=False), "rules")["state"] == "skipped"


@pytest.mark.parametrize(
    ("read", "state"),
    [
        ({"asked": 2, "empty": 1, "refused": {}}, "passed"),
        ({"asked": 2, "empty": 0, "refused": {"sum(": "parse error"}}, "failed"),
    ],
)
def test_queries_have_to_be_read(read: Json, state: str) -> None:
    plan = planned(SHOP, ROUTES, EXTRA)
    (name,) = claim(plan, "queries")["reads"]
    assert judged(plan, "queries", {}, {name: read})[0] == state


def test_what_is_not_understood_is_never_passed() -> None:
    text = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}\nspec: {}"
    state, seen = judged(planned(SHOP, ROUTES, text), "listed", {}, {})
    assert state == "configured"
    assert "who is let in is not asked" in seen


class Prometheus:
    """Answers what is asked of Prometheus."""

    def get(self, path: str) -> Any:
        if path.endswith("/rules"):
            file = "/etc/prometheus/rules/shop-shop-0f8fad5b-d9cb-469f-a165-70867728950e.yaml"
            rules = [{"name": "Busy", "lastError": "broken"}]
            other = {"file": "/etc/prometheus/rules/shop-shop-other-1.yaml", "rules": [{"name": "Else"}]}
            return {"data": {"groups": [{"file": file, "rules": rules}, other]}}
        if "sum%28" in path:
            raise UnansweredError("api-refuses", "refused", 400, "parse error")
        return {"data": {"result": []}}


def test_rules_and_queries_are_looked_up_in_prometheus() -> None:
    plan = planned(SHOP, ROUTES, EXTRA)
    reads = Reads(Prometheus(), lambda *_: None, plan)  # type: ignore[arg-type]
    reads.loaded(0)
    assert reads.seen["loaded.shop"] == {"rules": ["Busy"], "errors": ["Busy: broken"]}
    assert reads.seen["queries.board"] == {"asked": 2, "empty": 1, "refused": {"sum(": "parse error"}}
