"""What a proxy's counts and configuration say, by its own words."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.prove import envoy

Json = dict[str, Any]
HOST = "back.shop.svc.cluster.local"
STATISTICS = """
# TYPE envoy_cluster_upstream_rq counter
envoy_cluster_upstream_rq{response_code="200",cluster_name="inbound|8080||"} 40
envoy_cluster_upstream_rq{cluster_name="inbound|8080||",response_code="503"} 2
envoy_cluster_upstream_rq{cluster_name="inbound|9090||",response_code="200"} 7
envoy_cluster_upstream_rq_completed{cluster_name="inbound|8080||"} 42
envoy_cluster_upstream_rq{response_code="200",cluster_name="outbound|8080|v1|back.shop.svc.cluster.local"} 99
envoy_cluster_upstream_rq_xx{response_code_class="2",cluster_name="inbound|8080||"} 40
"""


def test_requests_that_came_in_are_counted_once() -> None:
    assert envoy.inbound(STATISTICS) == 49
    assert envoy.inbound(STATISTICS, 8080) == 42
    assert envoy.inbound("") == 0


def test_an_app_counts_its_own_requests() -> None:
    text = 'app_requests_total{route="/sms",outcome="ok"} 3\napp_requests_total{route="/",outcome="ok"} 2.0\n'
    assert envoy.counted(text) == 5
    assert envoy.counted("up 1\n") is None


def rbac(*principals: str) -> Json:
    named = [{"authenticated": {"principal_name": {"exact": f"spiffe://{text}"}}} for text in principals]
    rules = {"policies": {"ns[shop]-policy[back]-rule[0]": {"permissions": [{"any": True}], "principals": named}}}
    http = {"name": "envoy.filters.http.rbac", "typed_config": {"rules": rules}}
    listener = {"name": "virtualInbound", "filter_chains": [{"filters": [{"typed_config": {"http_filters": [http]}}]}]}
    return {"configs": [{"name": "virtualInbound", "active_state": {"listener": listener}}]}


def test_who_may_call_is_read_from_the_rules() -> None:
    found = envoy.principals(rbac("cluster.local/ns/shop/sa/front-v1", "cluster.local/ns/shop/sa/front-v2"))
    assert [text.rpartition("/")[2] for text in found] == ["front-v1", "front-v2"]
    nested = {"principals": [{"and_ids": {"ids": [{"filter_state": {"string_match": {"exact": "x/ns/a/sa/b"}}}]}}]}
    assert envoy.principals({"policies": [nested]}) == ["x/ns/a/sa/b"]
    assert envoy.principals({"configs": []}) == []


def test_a_listener_that_drains_says_nothing_of_who_may_call_now() -> None:
    """Envoy keeps one for 45 s after mutual TLS of its pod was changed."""
    (now,), (before,) = rbac()["configs"], rbac("cluster.local/ns/shop/sa/front-v1")["configs"]
    assert envoy.principals({"configs": [{**now, "draining_state": before["active_state"]}]}) == []
    assert envoy.principals({"configs": [{**before, "draining_state": now["active_state"]}]}) != []


def routes(**action: Any) -> Json:
    weighted = {"weighted_clusters": {"clusters": [{"name": f"outbound|80|v1|{HOST}"}]}, **action}
    other = {"match": {}, "route": {"cluster": "outbound|80||else.shop.svc.cluster.local", "timeout": "0s"}}
    inner = [{"match": {"prefix": "/"}, "route": weighted, **action.pop("filters", {})}, other]
    return {"configs": [{"route_config": {"virtual_hosts": [{"routes": inner}]}}]}


def cluster(name: str, **more: Any) -> Json:
    return {"configs": [{"cluster": {"name": name, "type": "EDS", **more}}]}


TWICE = {"num_retries": 2, "retry_on": "5xx"}
UNSENT = {"num_retries": 2, "retry_on": "connect-failure,refused-stream"}
SAFELY = {"attempts": 2, "reasons": ["5xx"], "methods": ["GET"], "others": ["connect-failure", "refused-stream"]}
LIMITED = "after connect-failure,refused-stream for methods that are not safe to repeat"
UNSAFE = "2 more tries after 5xx for methods that are not safe to repeat"
FAULT = {"typed_per_filter_config": {"envoy.filters.http.fault": {"delay": {"fixed_delay": "2s"}}}}


@pytest.mark.parametrize(
    ("kind", "wanted", "held", "found", "said"),
    [
        ("timeout", "2s", routes(timeout="2s"), True, "a timeout of 2s"),
        ("timeout", "500ms", routes(timeout="0.500s"), True, "a timeout of 0.500s"),
        ("timeout", "9ms", routes(timeout="0.009s"), True, "a timeout of 0.009s"),
        ("timeout", "1d", routes(timeout="86400s"), True, "a timeout of 86400s"),
        ("timeout", "2s", routes(timeout="0s"), False, "a timeout of 0s"),
        ("timeout", "2s", {"configs": []}, False, "no way leads there"),
        ("retries", {"attempts": 2}, routes(retry_policy=TWICE), True, "2 more tries after 5xx"),
        ("retries", {"attempts": 2}, routes(retry_policy={"num_retries": 1}), False, "1 more tries"),
        ("retries", {"attempts": 0}, routes(), True, "0 more tries"),
        ("retries", {**SAFELY, "methods": []}, routes(retry_policy=TWICE), True, "2 more tries after 5xx"),
        ("retries", {**SAFELY, "reasons": ["unavailable"]}, routes(retry_policy=TWICE), False, UNSAFE),
        ("retries", SAFELY, routes(retry_policy=TWICE), False, UNSAFE),
        ("retries", SAFELY, routes(retry_policy=UNSENT), True, f"2 more tries {LIMITED}"),
        ("retries", {**SAFELY, "others": []}, routes(), True, "0 more tries for methods that are not safe to repeat"),
        ("retries", {**SAFELY, "others": []}, routes(retry_policy=UNSENT), False, f"2 more tries {LIMITED}"),
        ("faults", {"delay": {"share": 5}}, routes(filters=FAULT), True, "delays"),
        ("faults", {"delay": {}, "abort": {"share": 5}}, routes(filters=FAULT), False, "aborts are not made"),
    ],
)  # fmt: skip
def test_a_policy_is_held_against_the_routes(kind: str, wanted: Any, held: Json, found: bool, said: str) -> None:
    ways = envoy.routes_to(held, HOST)
    assert all(each["match"] for each in ways)
    assert envoy.policy(kind, wanted, ways, []) == {"found": found, "detail": said}


@pytest.mark.parametrize(("others", "found"), [(UNSENT, True), (TWICE, False), (None, False)])
def test_each_method_has_its_own_retries_and_shadows_have_none(others: Json | None, found: bool) -> None:
    by_method = {"prefix": "/", "headers": [{"name": ":method", "string_match": {"safe_regex": {"regex": "GET"}}}]}
    to = {"cluster": f"outbound|80|v1|{HOST}"}
    ways: list[Json] = [
        {"match": by_method, "route": {**to, "retry_policy": TWICE}, "name": "shop/shop:back:/:weights:again"},
        {"match": {"prefix": "/"}, "route": {**to, **({"retry_policy": others} if others else {})}},
        {"match": {"prefix": "/"}, "route": to, "name": "shop/shop:back:shadow:front:v3"},
    ]
    assert envoy.policy("retries", SAFELY, ways, [])["found"] == found


@pytest.mark.parametrize(
    ("held", "found", "said"),
    [
        (cluster(f"outbound|80|v1|{HOST}", outlier_detection={"consecutive_5xx": 5}), True, "after 5 errors"),
        (cluster(f"outbound|80|v1|{HOST}", outlier_detection={"consecutive_5xx": 9}), False, "after 9 errors"),
        (cluster(f"outbound|80|v1|{HOST}"), False, "no pod is ever taken out"),
        (cluster("outbound|80||else.shop.svc.cluster.local"), False, "no way leads there"),
        (cluster("inbound|80||"), False, "no way leads there"),
    ],
)
def test_circuit_breaking_is_read_from_the_clusters(held: Json, found: bool, said: str) -> None:
    seen = envoy.policy("circuit-breaking", {"errors": 5}, [], envoy.clusters_of(held, HOST))
    assert seen["found"] == found
    assert said in seen["detail"]


@pytest.mark.parametrize(
    ("text", "expected"), [("2s", 2), ("0.500s", 0.5), ("500ms", 0.5), ("1m", 60), ("1d", 86400), ("none", None)]
)
def test_lengths_of_time_are_read(text: str, expected: float | None) -> None:
    assert envoy.seconds(text) == expected
