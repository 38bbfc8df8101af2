"""What a proof asks of Ingresses and of routes that lead to a Service for each version."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.contents import claims
from slipway.contents.keys import Contents
from slipway.contents.plan import Known
from slipway.contents.told import World
from slipway.prove import planner

from tests.support.contents import made
from tests.support.ingresses import AT, canary, ingress

Json = dict[str, Any]
GATEWAY = {"istio": "ingressgateway", "app": "istio-ingressgateway"}
WORLD = World(asked=True, ports={80: 10080, 443: 10443}, gateway_labels=GATEWAY)
PODS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {containers: [{name: web, image: "example.org/web:1"}]}
---
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec: {selector: {app: NAME}, ports: [{name: http, port: 80}]}
"""
WEB, BACK = (PODS.replace("NAME", name) for name in ("web", "back"))


def facts(*texts: str) -> Json:
    page = Contents.model_validate({"name": "shop", "chart": {"path": "./helm"}})
    return claims.facts(page, made(*texts, known=Known(entrance=AT)), WORLD)


def states(found: Json, **circumstances: Any) -> dict[str, str]:
    return {claim["kind"]: claim["state"] for claim in planner.plan(found, circumstances)["claims"]}


def listed(found: Json) -> str:
    return "\n".join(f"{claim['title']}: {claim['why']}" for claim in found["claims"] if claim["kind"] == "listed")


def test_an_ingress_that_stays_is_asked_at_its_host_and_path() -> None:
    found = facts(WEB, ingress(path="/shop"))
    assert (found["hosts"], found["ports"]) == (["shop.local"], [80])
    assert [(route["path"], route["service"]) for route in found["routes"]] == [("/shop", "web")]
    assert [claim["kind"] for claim in found["claims"]] == ["answer"]
    assert states(found, tells=False) == {"answer": "asked"}


def test_an_ingress_of_a_class_that_nobody_serves_is_listed() -> None:
    found = facts(WEB, ingress(named="other"))
    assert found["routes"] == []
    assert "Ingress/shop/web is applied as it is: requests are sent to the mesh's gateway alone" in listed(found)


def test_one_that_is_sent_to_https_is_asked_there() -> None:
    found = facts(WEB, ingress(tls="shop-tls"))
    assert (found["ports"], found["redirect"]) == ([443], True)
    planned = planner.plan(found, {"tells": False})
    steps = [step for each in planned["experiments"] for step in each["steps"]]
    assert {(step["port"], step["tls"]) for step in steps} == {(443, True)}
    assert facts(WEB, ingress(tls="shop-tls", annotations={"ssl-redirect": "false"}))["ports"] == [80]


def test_a_canary_of_nginx_is_a_version_with_its_share_and_its_header() -> None:
    found = facts(WEB, BACK, ingress(path="/a"), canary(canary_by_header="x-try", canary_weight="10", path="/a"))
    assert found["routes"][0]["shares"] == {"web": 90, "back": 10}
    assert found["weights"] == {"web": 90, "back": 10}
    assert found["overrides"] == [
        {"by": "header", "name": "x-try", "value": "always", "version": "back"},
        {"by": "header", "name": "x-try", "value": "never", "version": "web"},
    ]
    assert {name: own["deployment"] for name, own in found["services"]["web"]["versions"].items()} == {
        "web": "web",
        "back": "back",
    }
    assert [claim["kind"] for claim in found["claims"]] == ["share", "counted", "override", "override"]
    assert states(found, tells=True)["share"] == "asked"
    assert states(found, tells=False)["counted"] == "asked"


def test_versions_have_the_names_of_their_labels_where_these_differ() -> None:
    first, second = (
        text.replace("labels: {app: ", f"labels: {{version: v{n}, app: ") for n, text in ((1, WEB), (2, BACK))
    )
    found = facts(first, second, ingress(), canary(canary_by_header="x-try", canary_by_header_value="yes"))
    assert found["routes"][0]["shares"] == {"v1": 100}
    assert found["overrides"] == [{"by": "header", "name": "x-try", "value": "yes", "version": "v2"}]


def test_a_limit_of_an_ingress_is_one_claim_at_all_its_ports() -> None:
    found = facts(WEB, ingress(tls="shop-tls", annotations={"limit-rpm": "6", "limit-burst-multiplier": "1"}))
    (limit,) = found["limits"]
    assert (limit["per"], limit["bucket"]["max_tokens"]) == ("client", 6)
    assert [claim["kind"] for claim in found["claims"]].count("limit") == 1


def test_redirects_are_claimed_and_a_path_that_redirects_is_not_asked_for_its_service() -> None:
    texts = [
        ingress(annotations={"app-root": "/start"}),
        ingress("old", path="/old", annotations={"permanent-redirect": "https://new.local/x"}),
    ]
    found = facts(WEB, *texts, ingress("api", path="/api"))
    assert found["redirects"] == [
        {"path": "/", "code": 302, "to": "/start"},
        {"path": "/old", "code": 301, "to": "https://new.local/x"},
    ]
    assert [route["path"] for route in found["routes"]] == ["/api"]
    assert "VirtualService/shop/web-shop-local is applied as it is: what is below / is not asked" in listed(found)
    assert [claim["kind"] for claim in found["claims"]].count("redirect") == 2
    assert states(found, tells=False)["redirect"] == "asked"
    alone = facts(WEB, ingress(annotations={"app-root": "/start"}))
    assert states(alone, tells=False) == {"redirect": "asked", "listed": "configured"}


BROKEN = [
    ("rules: None", ingress(annotations={"rewrite-target": "/"}).replace("rules:\n", "rules:\nunused:\n")),
    ("path: nothing", ingress(annotations={"use-regex": "true"}).replace("path: /", "path:")),
    ("port: a text", ingress(port={"number": "zz"}, annotations={"use-regex": "true"})),
    ("tls: nothing", ingress(tls="x").replace("tls:\n  - hosts:\n    - shop.local\n    secretName: x", "tls: [null]")),
    ("backend: nothing", ingress(annotations={"use-regex": "true"}).replace("service:", "unheard:")),
]


@pytest.mark.parametrize("text", [text for _, text in BROKEN], ids=[name for name, _ in BROKEN])
def test_what_the_api_server_will_refuse_is_left_to_it(text: str) -> None:
    """A plan is made before the API server is asked, so it has to bear what that would never take."""
    assert facts(WEB, text)["release"] == "shop"
