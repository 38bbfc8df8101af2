"""Annotations of ingress-nginx: what each becomes in the mesh, what does nothing, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
from slipway.contents import nginx
from slipway.contents.plan import Made

from tests.support.ingresses import NGINX, canary, ingress, of, planned, routes

Object = dict[str, Any]
GROUPS = "/shop(/|$)(.*)"
ANY = "ImplementationSpecific"


def only(plan: Made, kind: str) -> Object:
    (item,) = of(plan, kind)
    spec: Object = item["spec"]
    return spec


@pytest.mark.parametrize(
    ("path", "target", "asked", "got"),
    [
        (GROUPS, "/$2", "/shop/cart", "/cart"),
        (GROUPS, "/$2", "/shop", "/"),
        (GROUPS, "/$2", "/SHOP/a/b", "/a/b"),
        ("/v1/(.*)$", "/api/$1", "/v1/x", "/api/x"),
        ("/(a|b)/x", "/$1", "/a/x/y", "/a"),
        # Without groups, nginx puts the target in the place of the whole path.
        ("/shop", "/", "/shop/cart", "/"),
        ("/shop", "/new", "/shop", "/new"),
    ],
)
def test_a_path_is_rewritten_as_nginx_does(path: str, target: str, asked: str, got: str) -> None:
    (rule,) = routes(ingress(path=path, sort=ANY, annotations={"rewrite-target": target}))
    rewrite = rule["rewrite"]["uriRegexRewrite"]
    # The mesh writes groups and flags as Python does, but flags may stand anywhere.
    flags = re.IGNORECASE if "(?i)" in rewrite["match"] else 0
    assert re.sub(rewrite["match"].replace("(?i)", ""), rewrite["rewrite"], asked, flags=flags) == got
    for uri in (match["uri"] for match in rule["match"] if "regex" in match["uri"]):
        assert re.fullmatch(uri["regex"], asked)


@pytest.mark.parametrize("asked", ["/shopping", "/else/shop"])
def test_an_expression_takes_no_other_path(asked: str) -> None:
    (rule,) = routes(ingress(path=GROUPS, sort=ANY, annotations={"rewrite-target": "/$2"}))
    assert re.fullmatch(rule["match"][0]["uri"]["regex"], asked) is None


def test_redirects_answer_themselves() -> None:
    (rule,) = routes(ingress(annotations={"permanent-redirect": "https://new.local/x?y=1"}))
    to = {"scheme": "https", "authority": "new.local", "uri": "/x?y=1", "redirectCode": 301}
    assert (rule["redirect"], "route" in rule) == (to, False)
    (rule,) = routes(ingress(annotations={"temporal-redirect": "https://new.local"}))
    assert rule["redirect"]["redirectCode"] == 302
    code = {"permanent-redirect": "https://new.local", "permanent-redirect-code": "308"}
    assert routes(ingress(annotations=code))[0]["redirect"]["redirectCode"] == 308
    first, second = routes(ingress(annotations={"app-root": "/shop"}))
    assert (first["match"], first["redirect"]) == (
        [{"uri": {"exact": "/"}}],
        {"uri": "/shop", "redirectCode": 302},
    )
    assert second["match"] == [{"uri": {"prefix": "/"}}]


def split(text: str) -> list[tuple[Any, list[tuple[str, int | None]]]]:
    """Give of each rule what it asks for, and where it leads."""
    return [
        (
            rule["match"][0].get("headers"),
            [(to["destination"]["host"].partition(".")[0], to.get("weight")) for to in rule["route"]],
        )
        for rule in routes(ingress(), text)
    ]


def test_a_canary_is_led_to_by_header_then_cookie_then_share() -> None:
    always, never = (rf"^(.*;\s*)?try={word}(;.*)?$" for word in ("always", "never"))
    assert split(canary(canary_by_header="x-try", canary_by_cookie="try", canary_weight="10")) == [
        ({"x-try": {"exact": "always"}}, [("back", None)]),
        ({"x-try": {"exact": "never"}}, [("web", None)]),
        ({"cookie": {"regex": always}}, [("back", None)]),
        ({"cookie": {"regex": never}}, [("web", None)]),
        (None, [("web", 90), ("back", 10)]),
    ]


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({"canary_weight": "0"}, [(None, [("web", None)])]),
        ({"canary_weight": "100"}, [(None, [("back", 100)])]),
        ({"canary_weight": "1", "canary_weight_total": "1000"}, [(None, [("web", 999), ("back", 1)])]),
        (
            {"canary_by_header": "x-try", "canary_by_header_value": "yes"},
            [({"x-try": {"exact": "yes"}}, [("back", None)]), (None, [("web", None)])],
        ),
        (
            {"canary_by_header": "x-try", "canary_by_header_pattern": "^beta"},
            [({"x-try": {"regex": ".*(?:^beta).*"}}, [("back", None)]), (None, [("web", None)])],
        ),
    ],
)
def test_shares_and_values_of_a_canary(annotations: dict[str, str], expected: list[Any]) -> None:
    assert split(canary(**annotations)) == expected


def test_a_canary_takes_all_else_from_its_main_ingress_and_one_without_is_told() -> None:
    main = ingress(annotations={"proxy-read-timeout": "5"})
    first, second = routes(main, canary(canary_by_header="x", canary_by_header_value="y", proxy_read_timeout="9"))
    assert (first["timeout"], second["timeout"]) == ("5s", "5s")
    own = {"limit_rps": "1", "whitelist_source_range": "10.0.0.0/8", "server_alias": "b.local"}
    plan = planned(ingress(), canary(canary_weight="10", **own))
    assert (of(plan, "EnvoyFilter"), of(plan, "AuthorizationPolicy")) == ([], [])
    assert len(of(plan, "VirtualService")) == 1
    plan = planned(ingress(path="/a"), canary(canary_weight="10"))
    assert "Ingress/shop/web-canary: is a canary for shop.local/, which no Ingress has" in str(plan.planned.warnings)


def test_a_limit_counts_the_requests_of_each_address_at_its_paths() -> None:
    item = only(planned(ingress(annotations={"limit-rps": "5"})), "EnvoyFilter")
    patch = item["configPatches"][0]
    assert patch["match"]["routeConfiguration"]["vhost"]["name"] == "shop.local:80"
    value = patch["patch"]["value"]["typed_per_filter_config"]["envoy.filters.http.local_ratelimit"]["value"]
    assert value["descriptors"] == [
        {
            "entries": [{"key": "remote_address"}],
            "token_bucket": {"max_tokens": 25, "tokens_per_fill": 1, "fill_interval": "0.2s"},
        }
    ]
    assert value["rate_limits"] == [{"actions": [{"remote_address": {}}]}]
    slow = {"limit-rpm": "30", "limit-burst-multiplier": "1"}
    patches = only(planned(ingress(path="/shop", tls="shop-tls", annotations=slow)), "EnvoyFilter")["configPatches"]
    assert [each["match"]["routeConfiguration"]["vhost"]["name"] for each in patches] == [
        "shop.local:80",
        "shop.local:443",
    ]
    value = patches[0]["patch"]["value"]["typed_per_filter_config"]["envoy.filters.http.local_ratelimit"]["value"]
    (descriptor,) = value["descriptors"]
    assert descriptor["token_bucket"] == {"max_tokens": 30, "tokens_per_fill": 1, "fill_interval": "2s"}
    entries = {each["key"]: each.get("value") for each in descriptor["entries"]}
    assert entries == {"remote_address": None, "generic_key": "web:30/minute", "path": "these"}
    header = value["rate_limits"][0]["actions"][-1]["header_value_match"]["headers"][0]
    expression = header["string_match"]["safe_regex"]["regex"]
    taken = [path for path in ("/shop", "/shop?x", "/shop/y", "/shopping", "/") if re.fullmatch(expression, path)]
    assert taken == ["/shop", "/shop?x", "/shop/y"]


def test_addresses_that_may_not_come_are_refused_at_the_gateway() -> None:
    texts = [
        ingress(path="/admin", annotations={"whitelist-source-range": "10.0.0.0/8, 192.168.56.1/32"}),
        ingress("open", path="/admin/health"),
        ingress("shop", path="/"),
    ]
    plan = planned(*texts)
    (item,) = of(plan, "AuthorizationPolicy")
    assert item["metadata"]["namespace"] == "istio-system"
    assert (item["spec"]["action"], item["spec"]["selector"]) == ("DENY", {"matchLabels": {"istio": "ingressgateway"}})
    operation = {
        "hosts": ["shop.local", "shop.local:*"],
        # Where the gateway's pods listen.
        "ports": ["10080", "10443"],
        # What follows the first two is /admin to nginx, and to many an application.
        "paths": ["/admin", "/admin/*", "//*", "/%2F*", "/%2f*", "/admin%2F*", "/admin%2f*"],
        "notPaths": ["/admin/health", "/admin/health/*"],
    }
    source = {"notRemoteIpBlocks": ["10.0.0.0/8", "192.168.56.1/32"]}
    assert item["spec"]["rules"] == [{"from": [{"source": source}], "to": [{"operation": operation}]}]
    deep = only(planned(ingress(path="/a/b", annotations={"denylist-source-range": "10.0.0.9"})), "AuthorizationPolicy")
    assert deep["rules"][0]["to"][0]["operation"]["paths"] == [
        *("/a/b", "/a/b/*", "//*", "/%2F*", "/%2f*"),
        *("/a//*", "/a/%2F*", "/a/%2f*", "/a%2F*", "/a%2f*", "/a/b%2F*", "/a/b%2f*"),
    ]
    denied = only(planned(ingress(annotations={"denylist-source-range": "10.0.0.9"})), "AuthorizationPolicy")
    assert denied["rules"][0]["from"] == [{"source": {"remoteIpBlocks": ["10.0.0.9"]}}]
    assert denied["rules"][0]["to"][0]["operation"] == {
        "hosts": ["shop.local", "shop.local:*"],
        "ports": ["10080", "10443"],
    }


def test_cors_has_the_defaults_of_nginx_and_is_off_unless_switched_on() -> None:
    (rule,) = routes(ingress(annotations={"enable-cors": "true"}))
    policy = rule["corsPolicy"]
    assert policy["allowOrigins"] == [{"regex": ".*"}]
    assert ("PATCH" in policy["allowMethods"], policy["allowCredentials"], policy["maxAge"]) == (True, True, "1728000s")
    given = {
        "enable-cors": "true",
        "cors-allow-origin": "https://a.local, https://*.b.local:8443",
        "cors-allow-credentials": "false",
        "cors-expose-headers": "x-a",
        "cors-max-age": "60",
    }
    policy = routes(ingress(annotations=given))[0]["corsPolicy"]
    exact, wildcard = policy["allowOrigins"]
    assert exact == {"exact": "https://a.local"}
    origins = ("https://x.b.local:8443", "https://x.y.b.local:8443", "https://b.local:8443", "https://x.b.local")
    assert [bool(re.fullmatch(wildcard["regex"], origin)) for origin in origins] == [True, False, False, False]
    assert (policy["allowCredentials"], policy["exposeHeaders"], policy["maxAge"]) == (False, ["x-a"], "60s")
    assert "corsPolicy" not in routes(ingress(annotations={"cors-max-age": "60"}))[0]


def test_cookies_keep_clients_with_a_pod_unless_the_chart_says_how_itself() -> None:
    given = {"affinity": "cookie", "session-cookie-name": "route", "session-cookie-max-age": "60"}
    # The shop has a DestinationRule of its own, for another Service.
    _, item = of(planned(ingress(to="back", annotations=given)), "DestinationRule")
    rule = item["spec"]
    assert rule["host"] == "back.shop.svc.cluster.local"
    cookie = {"name": "route", "path": "/", "ttl": "60s"}
    assert rule["trafficPolicy"]["loadBalancer"] == {"consistentHash": {"httpCookie": cookie}}
    # One for the Service, whatever number of hosts lead to it.
    twice = [ingress(name, host=f"{name}.local", to="back", annotations=given) for name in ("a", "b")]
    plan = planned(*twice)
    assert [item["metadata"]["name"] for item in of(plan, "DestinationRule")] == ["web", "back-ingress"]
    assert "affinity" not in str(plan.planned.warnings)
    plan = planned(ingress(annotations=given))
    assert [item["metadata"]["name"] for item in of(plan, "DestinationRule")] == ["web"]
    assert "affinity does nothing: a DestinationRule is there for it" in str(plan.planned.warnings)


def test_headers_aliases_and_a_short_wait() -> None:
    given = {"x-forwarded-prefix": "/shop", "upstream-vhost": "in.local", "server-alias": "a.local, b.local"}
    plan = planned(ingress(annotations={**given, "proxy-read-timeout": "30"}))
    made = {item["spec"]["hosts"][0]: item["spec"]["http"] for item in of(plan, "VirtualService")}
    assert list(made) == ["shop.local", "a.local", "b.local"]
    (rule,) = made["b.local"]
    assert rule["headers"]["request"]["set"] == {"X-Forwarded-Prefix": "/shop", "Host": "in.local"}
    assert rule["timeout"] == "30s"
    # nginx waits 60 s if nothing is said; the gateway waits as long as it takes.
    assert "timeout" not in routes(ingress(annotations={"proxy-read-timeout": "3600"}))[0]


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        ({"proxy-body-size": "8m"}, "proxy-body-size is not needed: the gateway has no limit for bodies"),
        ({"configuration-snippet": "x"}, "configuration-snippet is not understood, and does nothing"),
        ({"mirror-target": "x"}, "mirror-target is not understood"),
        ({"auth-type": ""}, ""),
        ({"enable-modsecurity": "false", "enable-access-log": "false"}, ""),
    ],
)
def test_what_does_nothing_is_told_by_name(annotations: dict[str, str], words: str) -> None:
    _, *told = planned(ingress(annotations=annotations)).planned.warnings
    assert (len(told), words in "".join(told)) == (bool(words), True)


@pytest.mark.parametrize(
    ("annotations", "fault", "works"),
    [
        ({"auth-type": "basic", "auth-secret": "users"}, "annotation-refused", "an AuthorizationPolicy"),
        ({"auth-url": "https://x"}, "annotation-refused", "an AuthorizationPolicy"),
        ({"enable-modsecurity": "true"}, "annotation-refused", "an AuthorizationPolicy"),
        ({"canary": "yes"}, "annotation-unreadable", f'{NGINX}canary: "true"'),
        ({"canary": "true", "canary-weight": "ten"}, "annotation-unreadable", f'{NGINX}canary-weight: "10"'),
        ({"canary": "true", "canary-weight": "101"}, "annotation-unreadable", f'{NGINX}canary-weight: "100"'),
        ({"canary-by-header-pattern": "(?!x)"}, "annotation-unreadable", "beta-.*"),
        ({"limit-rps": "-1"}, "annotation-unreadable", f'{NGINX}limit-rps: "10"'),
        ({"proxy-read-timeout": "soon"}, "annotation-unreadable", f'{NGINX}proxy-read-timeout: "30"'),
        ({"whitelist-source-range": "10.0.0.1/8"}, "annotation-unreadable", "192.168.56.0/24"),
        ({"rewrite-target": "shop"}, "annotation-unreadable", f'{NGINX}rewrite-target: "/shop"'),
        ({"rewrite-target": "/$host"}, "annotation-unreadable", "/$2"),
        ({"rewrite-target": "/$1"}, "annotation-unreadable", "path: /shop(/|$)(.*)"),
        ({"permanent-redirect": "https://$host"}, "annotation-unreadable", "https://example.org/new"),
        ({"affinity": "ip"}, "annotation-unreadable", f'{NGINX}affinity: "cookie"'),
        ({"upstream-vhost": "$host"}, "annotation-unreadable", "shop.local"),
    ],
)
def test_what_cannot_be_or_would_open_what_was_closed_is_refused(
    annotations: dict[str, str], fault: str, works: str
) -> None:
    found = planned(ingress(annotations=annotations)).faults
    assert {each.id for each in found} == {fault}
    assert works in found[0].works
    assert found[0].what.startswith("has Ingress/shop/web (shop/templates/all.yaml): ")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (ingress(path="/a(?=b)", annotations={"use-regex": "true"}, sort=ANY), "annotation-unreadable"),
        (ingress(path="/a(", annotations={"use-regex": "true"}, sort=ANY), "annotation-unreadable"),
        (
            ingress(path="/a.*b", sort=ANY, annotations={"use-regex": "true", "whitelist-source-range": "10.0.0.0/8"}),
            "annotation-refused",
        ),
        (ingress(host="", annotations={"whitelist-source-range": "10.0.0.0/8"}), "annotation-refused"),
    ],
)
def test_paths_and_hosts_that_cannot_be_are_refused(text: str, fault: str) -> None:
    assert [each.id for each in planned(text).faults] == [fault]


def test_annotations_of_others_are_nobodys_business() -> None:
    meta = {"name": "web", "annotations": {"cert-manager.io/issuer": "x", f"{NGINX}canary": "true"}}
    assert nginx.said({"metadata": meta}) == {"canary": "true"}
