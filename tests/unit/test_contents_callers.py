"""AuthorizationPolicies of a chart: which of them give a claim, and which are only listed."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.contents import claims
from slipway.contents.keys import Contents
from slipway.contents.told import World
from slipway.prove import planner, verdicts

from tests.support.contents import ROUTES, SHOP, made

Json = dict[str, Any]
WORLD = World(asked=True, ports={80: 8080}, gateway_labels={"istio": "ingressgateway"})
ACCOUNTS = SHOP.replace(
    'containers: [{name: web, image: "example.org/web',
    'serviceAccountName: web, containers: [{name: web, image: "example.org/web',
)
WEB = "cluster.local/ns/shop/sa/web"


def policy(
    rule: str, selector: str = "selector: {matchLabels: {app: back}}, ", more: str = "", name: str = "back"
) -> str:
    return f"""
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}}}
spec: {{{selector}{more}rules: [{rule}]}}
"""


def named(*principals: str) -> str:
    return f"{{from: [{{source: {{principals: [{', '.join(principals)}]}}}}]}}"


def facts(*texts: str) -> Json:
    page = Contents.model_validate({"name": "shop", "chart": {"path": "./helm"}})
    return claims.facts(page, made(ACCOUNTS, ROUTES, *texts), WORLD)


def is_listed(found: Json) -> bool:
    return any("AuthorizationPolicy" in each["title"] for each in found["claims"] if each["kind"] == "listed")


WEBS = [{"service": "web", "version": "stable"}, {"service": "web", "version": "canary"}]


@pytest.mark.parametrize(
    ("text", "row"),
    [
        (policy(named(WEB)), {"gateway": False, "callers": WEBS, "accounts": ["web"]}),
        (policy(named(WEB), more="action: ALLOW, "), {"gateway": False, "callers": WEBS, "accounts": ["web"]}),
        (
            policy(named("cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account")),
            {"gateway": True, "callers": [], "accounts": ["istio-ingressgateway-service-account"]},
        ),
        (
            policy("{from: [{source: {namespaces: [shop, istio-system]}}]}"),
            {"gateway": True, "callers": [], "accounts": []},
        ),
        # It may be let in for a part alone: a stranger is refused all the same.
        (
            policy(named(WEB).removesuffix("}") + ", to: [{operation: {methods: [GET]}}]}"),
            {"gateway": False, "callers": WEBS, "accounts": ["web"]},
        ),
        (policy(named('"*/ns/shop/sa/web"')), {"gateway": False, "callers": WEBS, "accounts": []}),
    ],
)
def test_a_policy_that_names_callers_is_a_claim(text: str, row: Json) -> None:
    found = facts(text)
    assert found["access"] == [{"service": "back", "version": "back", **row}]
    assert not is_listed(found)


MESH = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: back}
spec: {hosts: [back], http: [{match: [{uri: {prefix: /a}}], route: [{destination: {host: back}}]}]}
"""
OPEN = policy("{to: [{operation: {methods: [GET]}}]}", name="other")


@pytest.mark.parametrize(
    "texts",
    [
        (policy(named('"*"')),),
        (policy(named('"cluster.local/*"')),),
        (policy(named("cluster.local/ns/slipway-prove-shop/sa/client")),),
        (policy("{from: [{source: {namespaces: ['*']}}]}"),),
        (policy("{from: [{source: {notPrincipals: [" + WEB + "]}}]}"),),
        (policy("{from: [{source: {ipBlocks: [10.0.0.0/8]}}]}"),),
        (policy("{}"),),
        (policy(""),),
        (policy(named(WEB), more="action: DENY, "),),
        (policy(named(WEB), selector="targetRefs: [{kind: Service, name: back, group: ''}], "),),
        (policy(named(WEB), selector="selector: {matchLabels: {app: nobody}}, "),),
        # Another one lets everybody in, or a request for anything does not come there.
        (policy(named(WEB)), OPEN),
        (policy(named(WEB)), MESH),
    ],
)
def test_what_a_stranger_may_pass_is_listed(texts: tuple[str, ...]) -> None:
    found = facts(*texts)
    assert found["access"] == []
    assert is_listed(found)


def test_a_service_that_does_not_speak_http_is_listed() -> None:
    page = Contents.model_validate({"name": "shop", "chart": {"path": "./helm"}})
    port = "selector: {app: back}, ports: [{name: http"
    plan = made(ACCOUNTS.replace(port, port.replace("http", "tcp-db")), ROUTES, policy(named(WEB)))
    assert claims.facts(page, plan, WORLD)["access"] == []


def test_all_versions_of_a_service_have_to_be_closed() -> None:
    one = policy(named(WEB), selector="selector: {matchLabels: {app: web, version: v1}}, ")
    assert facts(one)["access"] == []
    every = facts(policy(named(WEB), selector=""))["access"]
    assert [(row["service"], row["version"]) for row in every] == [
        ("web", "stable"),
        ("web", "canary"),
        ("back", "back"),
    ]


@pytest.mark.parametrize(
    ("status", "principals", "state"),
    [
        (403, [f"spiffe://{WEB}"], "passed"),
        (200, [f"spiffe://{WEB}"], "failed"),
        (403, [f"spiffe://{WEB}x"], "failed"),
        (403, [], "failed"),
    ],
)
def test_a_stranger_has_to_be_refused_and_the_callers_be_named(status: int, principals: list[str], state: str) -> None:
    planned = planner.plan(facts(policy(named(WEB))), {"tells": True})
    claim = next(each for each in planned["claims"] if each["kind"] == "access")
    (pod,) = (each for each in planned["experiments"] if each["claim"] == claim["id"])
    assert (pod["by"], pod["steps"][0]["host"]) == ("stranger-web-stable", "back.shop.svc.cluster.local")
    answers = {pod["id"]: {"answers": [{"status": status, "client": 0, "step": 0}] * 6}}
    reads = {claim["reads"][0]: {"principals": principals}}
    report = verdicts.judge(planned, {"experiments": answers, "reads": reads})
    assert next(each for each in report.verdicts if each.kind == "access").state == state


def test_of_namespaces_no_account_is_looked_for() -> None:
    planned = planner.plan(facts(policy("{from: [{source: {namespaces: [shop]}}]}")), {"tells": True})
    claim = next(each for each in planned["claims"] if each["kind"] == "access")
    assert (claim["state"], claim["reads"]) == ("asked", [])
