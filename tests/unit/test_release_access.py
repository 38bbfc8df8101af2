"""A release lets in whom its page names, and its policies and Services reach its own pods alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from slipway.cluster.objects import identity
from slipway.release.planner import Plan, plan
from slipway.release.spec import load

from tests.support.full_release import FULL, IMAGE, full_plan, pod
from tests.support.release import at, names, one, page, shipped


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return full_plan(tmp_path_factory.mktemp("full"))


def test_only_those_may_call_whose_calls_name_it(full: Plan) -> None:
    gateway = "cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account"
    web = one(full, "AuthorizationPolicy", "web-v1")["spec"]
    assert web["selector"] == {"matchLabels": {"app": "web", "version": "v1", "slipway.io/release": "full"}}
    assert at(web, "rules/0/from/0/source/principals/*") == [gateway, "cluster.local/ns/batch/sa/report"]
    assert at(web, "rules/0/from/1/source/namespaces/*") == ["tools"]
    scrape = web["rules"][1]
    assert at(scrape, "from/*/source/principals/*") == ["cluster.local/ns/monitoring/sa/prometheus"]
    assert scrape["to"] == [{"operation": {"methods": ["GET"], "paths": ["/metrics"], "ports": ["9090"]}}]
    assert at(one(full, "AuthorizationPolicy", "api-v2"), "spec/rules/0/from/*/source/principals/*") == [
        "cluster.local/ns/full/sa/web-v2"
    ]
    assert at(one(full, "AuthorizationPolicy", "api-v3"), "spec/rules/0/from/*/source/principals/*") == [
        "cluster.local/ns/full/sa/web-v1",
        "cluster.local/ns/full/sa/web-v2",
    ]


def test_a_caller_may_be_of_the_releases_own_namespace_whatever_that_is() -> None:
    for namespace in ("default", "trial"):
        policy = one(shipped("sentiment", namespace=namespace), "AuthorizationPolicy", "sentiment-artifacts-v1")
        assert at(policy, "spec/rules/0/from/*/source/principals/*") == [
            f"cluster.local/ns/{namespace}/sa/sentiment-model-v1"
        ]


def test_whom_nobody_calls_lets_nobody_in(tmp_path: Path) -> None:
    services = {"web": {"versions": {"v1": IMAGE}}, "lone": {"versions": {"v1": IMAGE}}}
    made = plan(load(page(tmp_path, {"name": "a", "hosts": "a.b", "services": services})))
    spec = one(made, "AuthorizationPolicy", "lone-v1")["spec"]
    labels = {"app": "lone", "version": "v1", "slipway.io/release": "a"}
    assert spec == {"selector": {"matchLabels": labels}, "action": "ALLOW"}


def test_plain_callers_get_in_where_the_page_says_so_and_nowhere_else(tmp_path: Path) -> None:
    services = {
        "web": {"calls": ["api"], "versions": {"v1": IMAGE}},
        "api": {"callers": ["legacy/*", "plain"], "versions": {"v1": IMAGE}},
    }
    values = {"name": "a", "hosts": "a.b", "mtls": "permissive", "services": services}
    made = plan(load(page(tmp_path, values)))
    (rule,) = one(made, "AuthorizationPolicy", "api-v1")["spec"]["rules"]
    caller = "cluster.local/ns/a/sa/web-v1"
    sources = [{"principals": [caller]}, {"namespaces": ["legacy"]}, {"notPrincipals": ["*"]}]
    assert [each["source"] for each in rule["from"]] == sources
    assert "notPrincipals" not in str(one(made, "AuthorizationPolicy", "web-v1"))
    assert made.facts["plain"] == ["api"]


def test_an_open_release_has_no_rules_of_access(tmp_path: Path) -> None:
    made = plan(load(page(tmp_path, {**FULL, "access": "open", "mtls": "permissive"})))
    assert names(made, "AuthorizationPolicy") == set()
    assert made.facts["access"] == []
    assert one(made, "PeerAuthentication", "full")["spec"]["mtls"] == {"mode": "PERMISSIVE"}


def test_policies_reach_the_pods_of_this_release_and_no_others(full: Plan) -> None:
    own = {"slipway.io/release": "full"}
    for kind in ("PeerAuthentication", "Telemetry"):
        assert one(full, kind, "full")["spec"]["selector"] == {"matchLabels": own}
    assert one(full, "PeerAuthentication", "full")["spec"]["mtls"] == {"mode": "STRICT"}
    assert one(full, "Telemetry", "full")["spec"]["tracing"] == [{"randomSamplingPercentage": 10}]
    assert own.items() <= pod(full, "web-v1")["metadata"]["labels"].items()


def selected(made: Plan) -> dict[str, dict[str, str]]:
    """What each object says of the pods that it is about, but for Deployments, whose pods have an owner."""
    found = {
        identity(item): at(item, "spec/selector/matchLabels") or at(item, "spec/selector")
        for item in made.objects
        if item["kind"] in ("Service", "AuthorizationPolicy", "PeerAuthentication", "PodDisruptionBudget")
    }
    spread = "spec/template/spec/topologySpreadConstraints/*/labelSelector/matchLabels"
    found |= {f"spread/{identity(item)}": at(item, spread) for item in made.objects}
    return {name: labels for name, several in found.items() for labels in several}


def test_a_service_of_the_same_name_in_another_release_of_the_namespace_is_another(tmp_path: Path) -> None:
    ours = plan(load(page(tmp_path, {**FULL, "namespace": "shared", "alertmanager": None, "tools": {}})))
    others = plan(load(page(tmp_path, {**FULL, "namespace": "shared", "name": "other"})))
    theirs = [pod(others, name)["metadata"]["labels"] for name in names(others, "Deployment")]
    chosen = selected(ours)
    assert {name.partition("/")[0] for name in chosen} == {
        *("Service", "AuthorizationPolicy", "PeerAuthentication", "PodDisruptionBudget", "spread")
    }
    for name, labels in chosen.items():
        assert not any(labels.items() <= pods.items() for pods in theirs), name
        assert any(
            labels.items() <= pod(ours, each)["metadata"]["labels"].items() for each in names(ours, "Deployment")
        )


def test_the_selector_of_a_deployment_has_nothing_that_a_page_may_change(full: Plan) -> None:
    found = one(full, "Deployment", "web-v1")["spec"]["selector"]
    assert found == {"matchLabels": {"app": "web", "slipway.io/version": "v1", "slipway.io/workload": "web-v1"}}
