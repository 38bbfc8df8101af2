"""With ``output: gateway-api`` users come by HTTPRoutes that do the same, and what cannot be said is refused."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slipway.page.read import SettingsError
from slipway.prove.given import live, promised
from slipway.release import http_routes
from slipway.release.environment import Environment
from slipway.release.judge import Found, environment, hosts
from slipway.release.planner import Plan, plan
from slipway.release.spec import load

from tests.support import http_routes as gateway
from tests.support.release import Object, ask, at, names, one, page, problems
from tests.support.release_changes import GONE, IMAGE, Changes, changed

BY_ROUTES: Changes = [("output", "gateway-api"), ("sticky", "none")]
LISTENERS = {80: "http-80", 443: "https-443", 8080: "http-8080"}
SHADOW = ("services.front.versions.v3", {"image": IMAGE, "shadow": "2.5%"})


def planned(folder: Path, *changes: tuple[str, Any], known: Environment | None = None) -> Plan:
    return plan(load(page(folder, changed(*BY_ROUTES, *changes))), known)


def rules(made: Plan, name: str = "shop-entry") -> list[Object]:
    found: list[Object] = one(made, "HTTPRoute", name)["spec"]["rules"]
    return found


# What it becomes.


def test_users_come_by_an_http_route_and_nothing_of_istio_is_left_for_them(tmp_path: Path) -> None:
    made = planned(tmp_path)
    assert [item["kind"] for item in made.objects if item["kind"] in ("Gateway", "EnvoyFilter")] == []
    route = one(made, "HTTPRoute", "shop-entry")
    assert route["spec"] == {
        "parentRefs": [{"namespace": "istio-system", "name": "slipway", "sectionName": "http-80"}],
        "hostnames": ["shop.local"],
        "rules": [
            {
                "name": "front.shop.slipway-1",
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [
                    {"name": "front--v1", "port": 8080, "weight": 90},
                    {"name": "front--v2", "port": 8080, "weight": 10},
                ],
            }
        ],
    }
    assert names(made, "Service") == {"front", "front--v1", "front--v2", "back"}
    # Calls stay as they are: the version of a caller is known to Istio alone.
    assert names(made, "VirtualService") == names(made, "DestinationRule") == {"back"}


def test_a_service_of_a_version_finds_the_pods_of_that_version_and_no_monitor_reads_it(tmp_path: Path) -> None:
    made = planned(tmp_path, SHADOW, ("version_labels", {"v1": "stable"}))
    assert one(made, "Service", "front--v1")["spec"]["selector"] == {
        "app": "front",
        "version": "stable",
        "slipway.io/release": "shop",
    }
    assert names(made, "Service") >= {"front--v3"}
    assert "slipway.io/service" not in one(made, "Service", "front--v1")["metadata"]["labels"]


def test_everything_that_a_path_says_has_its_filter(tmp_path: Path) -> None:
    changes = {"set": {"x-a": "100%"}, "add": {"vary": "a"}, "remove": ["x-b"]}
    route = {"to": "front", "strip": True, "headers": {"request": {"set": {"x-c": "1"}}, "response": changes}}
    cors = {"origins": ["https://a.example.org", "https://*.b.example.org"], "credentials": True, "max_age": "1h"}
    more = [("routes", {"/": "front", "/api": {**route, "cors": cors}}), ("services.front.timeout", "90.5s")]
    first = rules(planned(tmp_path, *more, SHADOW, ("version_header", "x-served")))[0]
    assert first["timeouts"] == {"request": "1m30s500ms"}
    assert first["filters"] == [
        {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-c", "value": "1"}]}},
        {
            "type": "ResponseHeaderModifier",
            "responseHeaderModifier": {
                "set": [{"name": "x-a", "value": "100%%"}],
                "add": [{"name": "vary", "value": "a"}],
                "remove": ["x-b"],
            },
        },
        {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}},
        {
            "type": "CORS",
            "cors": {
                "allowOrigins": ["https://a.example.org", "https://*.b.example.org"],
                "allowMethods": ["GET", "HEAD", "POST"],
                "allowHeaders": ["content-type"],
                "maxAge": 3600,
                "allowCredentials": True,
            },
        },
        {
            "type": "RequestMirror",
            "requestMirror": {
                "backendRef": {"name": "front--v3", "port": 8080},
                "fraction": {"numerator": 1, "denominator": 40},
            },
        },
    ]
    change = {"set": [{"name": "x-served", "value": "v1"}]}
    shown = {"type": "ResponseHeaderModifier", "responseHeaderModifier": change}
    assert first["backendRefs"][0]["filters"] == [shown]


def test_a_service_with_one_version_gets_the_version_to_pass_on_in_a_header(tmp_path: Path) -> None:
    middle = ("services.middle", {"calls": ["back"], "versions": {"v1": IMAGE}})
    made = planned(tmp_path, middle, ("routes", {"/": "middle", "/front": "front"}))
    last = rules(made)[-1]
    assert [(to["name"], to["weight"]) for to in last["backendRefs"]] == [("middle--v1", 90), ("middle--v1", 10)]
    stamps = at(last, "backendRefs/*/filters/*/requestHeaderModifier/set/*")
    assert stamps == [{"name": "x-version", "value": version} for version in ("v1", "v2")]


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("/new", {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/new"}, "statusCode": 301}),
        ({"to": "https://a.example", "code": 308}, {"scheme": "https", "hostname": "a.example", "statusCode": 308}),
        (
            "http://a.example:8080/x",
            {
                "scheme": "http",
                "hostname": "a.example",
                "port": 8080,
                "path": {"type": "ReplaceFullPath", "replaceFullPath": "/x"},
                "statusCode": 301,
            },
        ),
    ],
)
def test_a_redirect_names_what_the_page_names(tmp_path: Path, to: Any, expected: Object) -> None:
    first = rules(planned(tmp_path, ("redirects", {"/old": to})))[0]
    assert first["filters"] == [{"type": "RequestRedirect", "requestRedirect": expected}]
    assert "backendRefs" not in first


def test_a_rule_that_replaces_a_path_has_one_match_as_the_api_server_asks(tmp_path: Path) -> None:
    case = {"methods": ["POST", "PUT"], "version": "v2"}
    found = rules(planned(tmp_path, ("routes", {"/api": {"to": "front", "rewrite": "/v1", "when": [case]}})))
    assert [[match.get("method") for match in rule["matches"]] for rule in found] == [["POST"], ["PUT"], [None]]


def test_a_host_that_shows_a_version_and_one_with_paths_of_its_own_have_routes_of_their_own(tmp_path: Path) -> None:
    header = {"hosts": {"canary": "v2"}, "header": "x-version"}
    made = planned(tmp_path, ("override", header), ("entries", {"admin.shop.local": "back"}))
    found = {name: one(made, "HTTPRoute", name)["spec"]["hostnames"] for name in names(made, "HTTPRoute")}
    assert found == {
        "shop-entry": ["shop.local"],
        "shop-entry-canary-shop-local": ["canary.shop.local"],
        "shop-entry-admin-shop-local": ["admin.shop.local"],
    }
    shown = rules(made, "shop-entry-canary-shop-local")
    assert at(shown, "*/backendRefs/*/name") == ["front--v2"]


def test_tls_is_that_of_the_gateway_and_http_only_leads_there(tmp_path: Path) -> None:
    tls = [("gateway", {"ports": [80, 8080], "tls": {"redirect": True}})]
    made = planned(tmp_path, *tls, ("entries", {"admin.local": "back"}), known=Environment(listeners=LISTENERS))
    assert at(one(made, "HTTPRoute", "shop-entry"), "spec/parentRefs/*/sectionName") == ["https-443"]
    led = one(made, "HTTPRoute", "shop-entry-https")["spec"]
    assert at(led, "parentRefs/*/sectionName") == ["http-80", "http-8080"]
    assert led["hostnames"] == ["shop.local", "admin.local"]
    assert at(led, "rules/*/filters/*/requestRedirect") == [{"scheme": "https", "statusCode": 301}]
    both = planned(tmp_path, ("gateway", {"tls": {}}))
    assert at(one(both, "HTTPRoute", "shop-entry"), "spec/parentRefs/*/sectionName") == ["http-80", "https-443"]


def test_every_host_is_a_route_without_hosts(tmp_path: Path) -> None:
    assert "hostnames" not in one(planned(tmp_path, ("hosts", ["*"])), "HTTPRoute", "shop-entry")["spec"]


@pytest.mark.parametrize(
    "more",
    [{"retries": {"attempts": 2}}, {"fault": {}}, {"refuse": 403}, {"something": "new"}],
    ids=lambda more: next(iter(more)),
)
def test_a_field_that_no_http_route_has_is_never_left_out_in_silence(more: Object) -> None:
    rule = {"name": "a", "match": [{"uri": {"prefix": "/"}}], "route": [], **more}
    with pytest.raises(ValueError, match=f"cannot say {next(iter(more))}"):
        http_routes.written([rule], "shop")


# That it is the same.

HOSTS = ["shop.local", "canary.shop.local", "admin.local"]


@st.composite
def routings(draw: st.DrawFn) -> Changes:
    """What a page may say of users that an HTTPRoute can say, too, or that is refused."""
    asked: Any = {
        "methods": st.lists(st.sampled_from(["GET", "POST", "PUT"]), min_size=1, max_size=2, unique=True),
        "query": st.sampled_from([{"beta": "1"}, {"a": "1", "b": "2"}]),
        "headers": st.sampled_from([{"x-user": {"prefix": "b."}}, {"x-beta": "v2"}, {"x-user": "b.1", "x-y": "1"}]),
    }
    elsewhere: Any = {"to": st.sampled_from(["front", "back", "middle"])}
    case = st.fixed_dictionaries(elsewhere, optional=asked).filter(lambda one: len(one) > 1)
    case |= st.fixed_dictionaries({"version": st.just("v2")}, optional=asked).filter(lambda one: len(one) > 1)
    more: Any = {"when": st.lists(case, max_size=2), "strip": st.booleans()}
    front: Any = {"to": st.just("front")}
    route = st.fixed_dictionaries({"to": st.sampled_from(["back", "middle"])}, optional={"strip": st.booleans()})
    weighed: Any = {**front, "weights": st.just({"v1": 50, "v2": 50})}
    route |= st.fixed_dictionaries(weighed, optional=more)
    route |= st.fixed_dictionaries(front, optional={**more, "version": st.just("v2")})
    paths = st.dictionaries(st.sampled_from(["/", "/a", "/a/b", "/ab"]), route, min_size=1, max_size=3)
    # With one version, so that a header carries the version past it.
    middle = {"calls": ["back"], "versions": {"v1": IMAGE}}
    changes: Changes = [("services.middle", middle), ("services.front.calls", ["middle"]), ("routes", draw(paths))]
    override: Object = {}
    if draw(st.booleans()):
        override["hosts"] = {"canary": "v2"}
    if draw(st.booleans()):
        override["header"] = draw(st.sampled_from(["x-beta", {"name": "x-beta", "values": {"v2": {"prefix": "v2-"}}}]))
    if draw(st.booleans()):
        override["cookie"] = "use"
    changes.append(("override", override))
    if draw(st.booleans()):
        changes.append(("redirects", {"/old": "/a"}))
    if draw(st.booleans()):
        changes.append(("entries", {"admin.local": {"routes": draw(paths)}}))
    if draw(st.booleans()):
        changes.append(SHADOW)
    return changes


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(routings(), st.data())
def test_every_request_goes_where_it_goes_with_istio(changes: Changes, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            ours = planned(Path(folder), *changes)
        except SettingsError:
            return
        theirs = plan(load(page(Path(folder), changed(("sticky", "none"), *changes))))
    assert ours.facts["claims"] == theirs.facts["claims"]
    known = [host for host in HOSTS if any(host in hosts(item) for item in theirs.objects)]
    for host in known:
        for _ in range(6):
            path = data.draw(st.sampled_from(["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/abc", "/old/x", "/else"]))
            path += data.draw(st.sampled_from(["", "", "?beta=1", "?a=1&b=2", "?a=1"]))
            headers = data.draw(
                st.dictionaries(
                    st.sampled_from(["x-user", "x-beta", "x-y", "cookie"]),
                    st.sampled_from(["v1", "v2", "v2-7", "b.1", "b-1", "1", "use=v1", "a=b; use=v2"]),
                    max_size=3,
                )
            )
            headers["method"] = data.draw(st.sampled_from(["GET", "POST", "PUT", "DELETE"]))
            expected = ask(theirs, f"{host}{path}", **headers)
            found = gateway.asked(ours.objects, host, path, headers)
            assert (found.status, found.shares, found.copies, found.stamps) == (
                expected.status, expected.shares, expected.copies, expected.stamps,
            ), f"{host}{path} {headers}"  # fmt: skip


def test_a_proof_claims_the_same_and_knows_where_routes_lead(tmp_path: Path) -> None:
    more = [("version_header", "x-served"), ("services.back.retries", 2), SHADOW]
    ours = planned(tmp_path, *more)
    theirs = plan(load(page(tmp_path, changed(("sticky", "none"), *more))))
    assert ours.facts["claims"] == theirs.facts["claims"]
    assert {claim["kind"] for claim in ours.facts["claims"]} >= {"share", "chain", "shadow", "retries"}
    domain = "shop.svc.cluster.local"
    assert ours.facts["services"]["front"]["routed"] == [f"front--{v}.{domain}" for v in ("v1", "v2", "v3")]
    assert "routed" not in theirs.facts["services"]["front"]


@pytest.mark.parametrize("more", [[], [("gateway", {"tls": {"redirect": True}})]], ids=["http", "https"])
def test_a_stream_beside_a_change_reads_of_the_cluster_what_the_page_promises(tmp_path: Path, more: Changes) -> None:
    made = planned(tmp_path, ("weights", {"v1": 100, "v2": 0}), *more)
    objects: dict[str, list[Object]] = {}
    for item in made.objects:
        objects.setdefault(item["kind"], []).append(item)
    now, wanted = live(made.facts, objects), promised(made.facts)
    assert now is not None
    assert (now.hosts, now.ports, now.entries) == (wanted.hosts, wanted.ports, wanted.entries)
    assert wanted.calls <= now.calls


# What is refused.

REPEATS = {"regex": "(a{0,50}){0,50}b", "example": "b"}
COMMENTED = {"regex": "(?i:a)(?#b)", "example": "a"}
REFUSED: dict[str, tuple[Changes, str]] = {
    "sticky sessions, by default": ([("sticky", GONE)], "sticky"),
    "a cookie of the app": ([("sticky", {"cookie": "c", "set_by": "app"})], "sticky"),
    "a hash": ([("sticky", {"hash": {"header": "x-user"}})], "sticky"),
    "a limit for each client": ([("limits", {"per_client": "10/minute"})], "limits.per_client"),
    "a limit for all": ([("limits", {"total": "10/minute"})], "limits.total"),
    "limits by class": ([("limits", {"by": {"p": {"header": "x-plan", "each": "1/minute"}}})], "limits.by"),
    "a limit of a path": (
        [("routes", {"/": {"to": "front", "limits": {"total": "1/second"}}})],
        "routes./.limits.total",
    ),
    "retries": ([("services.front.retries", 2)], "services.front.retries"),
    "circuit breaking": ([("services.front.circuit_breaking", {})], "services.front.circuit_breaking"),
    "load balancing": ([("services.front.load_balancing", "random")], "services.front.load_balancing"),
    "faults": ([("services.front.faults", {"abort": {"status": 500, "share": "1%"}})], "services.front.faults"),
    "tools": ([("tools", {"grafana": "grafana"})], "tools.grafana"),
    "another gateway": ([("gateway", {"use": "a/b"})], "gateway.use"),
    "other pods of a gateway": ([("gateway", {"selector": {"a": "b"}})], "gateway.selector"),
    "a certificate of its own": ([("gateway", {"tls": {"secret": "own"}})], "gateway.tls.secret"),
    "a port for https": ([("gateway", {"ports": [80, 8443]})], "gateway.ports[1]"),
    "the name of a Gateway": ([("names", {"gateway": "door"})], "names.gateway"),
    "every host and another": ([("hosts", ["*", "shop.local"])], "hosts[0]"),
    "a path behind all paths": ([("routes", {"/": {"to": "front", "rewrite": "/x"}})], "routes./.rewrite"),
    "a pattern of a path": (
        [("routes", {"/": {"to": "front", "when": [{"path": {"regex": "/a", "example": "/a"}, "version": "v2"}]}})],
        "routes./.when[0].path",
    ),
    "a case that an override would come before": (
        [
            ("override", {"header": "x-version"}),
            ("routes", {"/": {"to": "front", "when": [{"query": {"b": "1"}, "version": "v2"}]}}),
        ],
        "routes./.when[0]",
    ),
    "such a case at a host of its own": (
        [
            ("override", {"header": "x-version"}),
            ("entries", {"a.local": {"routes": {"/": {"to": "front", "when": [{"query": {"b": "1"}, "to": "back"}]}}}}),
        ],
        "entries.a.local.routes./.when[0]",
    ),
    "parts of seconds": (
        [("routes", {"/": {"to": "front", "cors": {"origins": "*", "max_age": "1500ms"}}})],
        "routes./.cors.max_age",
    ),
    "all origins and one": (
        [("routes", {"/": {"to": "front", "cors": ["*", "https://a.example"]}})],
        "routes./.cors.origins",
    ),
    "more headers than fit": (
        [("routes", {"/": {"to": "front", "headers": {"request": {"remove": [f"x-{n}" for n in range(17)]}}}})],
        "routes./.headers.request.remove",
    ),
    "more rules than fit": ([("routes", {f"/p{n}": "front" for n in range(17)})], "routes"),
    "more hosts than fit": ([("hosts", [f"h{n}.local" for n in range(17)])], "hosts"),
    "more hosts than lead to https": (
        [
            ("hosts", [f"h{n}.local" for n in range(9)]),
            ("entries", {f"e{n}.local": "back" for n in range(8)}),
            ("gateway", {"tls": {"redirect": True}}),
        ],
        "gateway.tls.redirect",
    ),
    "an expression that not every reader knows": (
        [("override", {"header": {"name": "x-u", "values": {"v2": {"regex": "a(?#b)", "example": "a"}}}})],
        "override.header.values.v2",
    ),
    "such an expression in a case": (
        [
            (
                "routes",
                {"/": {"to": "front", "when": [{"query": {"b": {"regex": r"a\Z", "example": "a"}}, "to": "back"}]}},
            )
        ],
        "routes./.when[0].query.b",
    ),
    "an expression that repeats too often": (
        [("routes", {"/": {"to": "front", "when": [{"headers": {"b": REPEATS}, "to": "back"}]}})],
        "routes./.when[0].headers.b",
    ),
    "an expression of a path's own override": (
        [("routes", {"/": {"to": "front", "override": {"header": {"name": "x-u", "values": {"v2": COMMENTED}}}}})],
        "routes./.override.header.values.v2",
    ),
    "two hyphens in a version": (
        [
            ("weights", {"v1": 90, "v--2": 10}),
            ("services.front.versions", {"v1": IMAGE, "v--2": IMAGE}),
            ("services.back.versions", {"v1": IMAGE, "v--2": IMAGE}),
        ],
        "services.front.versions.v--2",
    ),
    "two hyphens in a Service": ([("services.front.names", {"service": "a--b"})], "services.front.names.service"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_an_http_route_cannot_say_is_refused_by_its_key(tmp_path: Path, case: tuple[Changes, str]) -> None:
    changes, key = case
    found = problems(page(tmp_path, changed(*BY_ROUTES, *changes)))
    assert [(each.id, each.key) for each in found] == [("output-cannot-say", key)]
    assert found[0].works.endswith("or output: istio")
    assert problems(page(tmp_path, changed(("sticky", "none"), *changes))) == []


OF_CALLS = {
    "retries": 2,
    "circuit_breaking": {},
    "load_balancing": "random",
    "faults": {"abort": {"status": 500, "share": "1%"}},
    "timeout": "1s",
}


@pytest.mark.parametrize("regex", ["beta-[0-9]+", "(?i)a(b|c)?d{2,3}", r"(?:a\.b\d)*", r"[\w.-]+@x\.org"])
def test_a_simple_expression_is_taken_as_it_is(tmp_path: Path, regex: str) -> None:
    sample = {"beta-[0-9]+": "beta-7", "(?i)a(b|c)?d{2,3}": "abdd"}.get(regex, "a.b1" if "(?:" in regex else "a@x.org")
    value = {"regex": regex, "example": sample}
    made = planned(tmp_path, ("override", {"header": {"name": "x-user", "values": {"v2": value}}}))
    assert {"name": "x-user", "type": "RegularExpression", "value": regex} in at(rules(made), "*/matches/*/headers/*")


@pytest.mark.parametrize("key", OF_CALLS)
def test_calls_between_services_lose_nothing(tmp_path: Path, key: str) -> None:
    change = (f"services.back.{key}", OF_CALLS[key])
    ours = planned(tmp_path, change)
    theirs = plan(load(page(tmp_path, changed(("sticky", "none"), change))))
    for kind in ("VirtualService", "DestinationRule"):
        assert one(ours, kind, "back") == one(theirs, kind, "back")


def test_one_version_needs_no_stickiness(tmp_path: Path) -> None:
    only = {"versions": {"v1": IMAGE}}
    changes: Changes = [("output", "gateway-api"), ("weights", GONE), ("services", {"front": only})]
    made = plan(load(page(tmp_path, changed(*changes))))
    assert at(one(made, "HTTPRoute", "shop-entry"), "spec/rules/*/backendRefs/*/name") == ["front--v1"]
    assert names(made, "VirtualService") == names(made, "DestinationRule") == set()


@pytest.mark.parametrize("listeners", [{}, {443: "https-443"}], ids=["without the Gateway API", "without the port"])
def test_a_cluster_without_it_is_refused_with_the_key_that_helps(tmp_path: Path, listeners: dict[int, str]) -> None:
    with pytest.raises(SettingsError) as refused:
        planned(tmp_path, known=Environment(listeners=listeners))
    (problem,) = refused.value.problems
    assert (problem.id, problem.key) == ("no-gateway-api", "output")
    assert problem.works.startswith("cluster_gateway_api: true")


def test_a_look_knows_the_listeners_and_the_hosts_of_others(tmp_path: Path) -> None:
    assert environment(Found("shop", "shop")).listeners == {}
    listeners = [{"name": "http-80", "port": 80, "protocol": "HTTP"}, {"name": "https-443", "port": 443}]
    route = one(planned(tmp_path), "HTTPRoute", "shop-entry")
    elsewhere = {
        **route,
        "metadata": {**route["metadata"], "name": "x"},
        "spec": {"parentRefs": [{"name": "waypoint"}]},
    }
    found = Found("b", "b", applied=[route, elsewhere], gateway_of_routes={"spec": {"listeners": listeners}})
    assert environment(found).listeners == {80: "http-80", 443: "https-443"}
    assert environment(found).hosts_taken == {"shop.local": "shop/shop"}
