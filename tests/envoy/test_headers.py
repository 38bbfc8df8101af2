"""What a plan says of headers and other origins, in the artifact's own Envoy, as istiod hands it on to a gateway."""

from __future__ import annotations

import http.client
import http.server
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from slipway.release.planner import plan
from slipway.release.spec import load

from tests.support.envoy import free, inert, listener, running
from tests.support.release import Object, one, page
from tests.support.release_changes import changed

CORS = "type.googleapis.com/envoy.extensions.filters.http.cors.v3"
FILTER = "envoy.filters.http.cors"
APP, STRANGER = "https://app.example.org", "https://stranger.invalid"
TOKENS = 3
PREFLIGHT = {"access-control-request-method": "PUT"}


class Service(http.server.BaseHTTPRequestHandler):
    """Answers with headers of its own, and says which requests it got."""

    seen: list[tuple[str, dict[str, str]]]

    def do_GET(self) -> None:
        self.seen.append((self.command, {name.lower(): value for name, value in self.headers.items()}))
        self.send_response(200)
        for name, value in (("x-powered-by", "test"), ("x-frame-options", "ALLOW"), ("set-cookie", "own=1")):
            self.send_header(name, value)
        self.send_header("content-length", "0")
        self.end_headers()

    do_OPTIONS = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def _changes(given: Object) -> Object:
    """istiod's TranslateHeadersOperations."""
    made: Object = {}
    for side, change in given.items():
        for how, action in (("set", "OVERWRITE_IF_EXISTS_OR_ADD"), ("add", "APPEND_IF_EXISTS_OR_ADD")):
            for name, value in change.get(how, {}).items():
                one_change = {"header": {"key": name, "value": value}, "append_action": action}
                made.setdefault(f"{side}_headers_to_add", []).append(one_change)
        if "remove" in change:
            made[f"{side}_headers_to_remove"] = change["remove"]
    return made


def _route(rule: Object) -> Object:
    """istiod's translateRoute, as far as headers and other origins go."""
    match: Object = {"prefix": "/"}
    (matched,) = rule["match"]
    if "headers" in matched:
        regex = matched["headers"]["cookie"]["regex"]
        match["headers"] = [{"name": "cookie", "string_match": {"safe_regex": {"regex": regex}}}]
    parts = [
        {"name": to["destination"]["subset"], "weight": to.get("weight", 100), **_changes(to.get("headers", {}))}
        for to in rule["route"]
    ]
    cors = rule["corsPolicy"]
    policy = {
        "@type": f"{CORS}.CorsPolicy",
        "allow_origin_string_match": [
            {"exact": each["exact"]} if "exact" in each else {"safe_regex": {"regex": each["regex"]}}
            for each in cors["allowOrigins"]
        ],
        "allow_methods": ",".join(cors["allowMethods"]),
        "allow_headers": ",".join(cors["allowHeaders"]),
        "max_age": cors["maxAge"].rstrip("s"),
        "allow_credentials": cors["allowCredentials"],
        "forward_not_matching_preflights": cors["unmatchedPreflights"] != "IGNORE",
        "filter_enabled": {"default_value": {"numerator": 100}},
    }
    made = {"match": match, "route": {"weighted_clusters": {"clusters": parts}}, **_changes(rule.get("headers", {}))}
    return {**made, "typed_per_filter_config": {FILTER: policy}}


@pytest.fixture(scope="module")
def gateway(envoy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a gateway with the rules of a page."""
    folder = tmp_path_factory.mktemp("envoy")
    headers = {
        "request": {"set": {"x-from": "gateway 100%"}, "remove": ["x-debug"]},
        "response": {"set": {"x-frame-options": "DENY"}, "add": {"vary": "Origin"}, "remove": ["x-powered-by"]},
    }
    cors = {"origins": [APP, "https://*.example.net"], "methods": ["GET", "PUT"], "credentials": True}
    values = changed(
        ("routes", {"/": {"to": "front", "headers": headers, "cors": cors}}),
        ("version_header", "x-served-by-version"),
        ("limits", {"per_client": f"{TOKENS}/day"}),
    )
    made = plan(load(page(folder, values)))
    rules = one(made, "VirtualService", "shop-entry")["spec"]["http"]
    (patch, *_) = one(made, "EnvoyFilter", "shop-rate-limit")["spec"]["configPatches"]
    Service.seen = []
    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    address = {"socket_address": {"address": "127.0.0.1", "port_value": service.server_address[1]}}
    clusters = [
        {"name": version, "type": "STATIC", "load_assignment": {
            "cluster_name": version, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        }}
        for version in ("v1", "v2")
    ]  # fmt: skip
    port = free()
    # istiod puts cors before the filter that role istio adds.
    filters = [{"name": FILTER, "typed_config": {"@type": f"{CORS}.Cors"}}, inert()]
    host = {"routes": [_route(rule) for rule in rules], **patch["patch"]["value"]}
    with running(envoy, tmp_path_factory.mktemp("run"), [listener(port, filters, host)], clusters):
        yield port
    service.shutdown()
    service.server_close()


def ask(port: int, client: int, method: str = "GET", **headers: str) -> tuple[int, http.client.HTTPMessage]:
    source = (f"127.78.0.{client}", 0)
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5, source_address=source)) as connection:
        connection.request(method, "/", headers={name.replace("_", "-"): text for name, text in headers.items()})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers


def test_an_answer_has_the_headers_of_its_path_its_version_and_all_cookies(gateway: int) -> None:
    status, headers = ask(gateway, 1, x_debug="1")
    assert status == 200
    version = headers["x-served-by-version"]
    assert headers.get_all("x-frame-options") == ["DENY"]
    assert "Origin" in headers["vary"]
    assert headers["x-powered-by"] is None
    cookies = [line.partition(";")[0] for line in headers.get_all("set-cookie") or []]
    assert sorted(cookies) == sorted(["own=1", f"shop-version={version}"])
    _, got = Service.seen[-1]
    assert got["x-from"] == "gateway 100%"
    assert "x-debug" not in got


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_client_sees_the_version_that_it_is_bound_to(gateway: int, version: str) -> None:
    _, headers = ask(gateway, 2 if version == "v1" else 3, cookie=f"shop-version={version}")
    assert headers.get_all("x-served-by-version") == [version]


@pytest.mark.parametrize("origin", [APP, "https://a.b.example.net"])
def test_a_preflight_is_answered_by_the_gateway_and_counts_in_no_limit(gateway: int, origin: str) -> None:
    before = len(Service.seen)
    for _ in range(2 * TOKENS):
        status, headers = ask(gateway, 4, "OPTIONS", origin=origin, **PREFLIGHT)
        assert status == 200
        assert headers["access-control-allow-origin"] == origin
        assert headers["access-control-allow-methods"] == "GET,PUT"
        assert headers["access-control-allow-credentials"] == "true"
        assert headers["access-control-max-age"] == "600"
    assert len(Service.seen) == before


@pytest.mark.parametrize("origin", [STRANGER, "https://example.net", f"{APP}.evil"])
def test_a_stranger_is_not_let_in_and_does_not_reach_the_service(gateway: int, origin: str) -> None:
    before = len(Service.seen)
    _, headers = ask(gateway, 5, "OPTIONS", origin=origin, **PREFLIGHT)
    assert headers["access-control-allow-origin"] is None
    assert len(Service.seen) == before


def test_a_browser_may_read_an_answer_and_also_that_there_were_too_many_requests(gateway: int) -> None:
    seen: list[Any] = [ask(gateway, 6, origin=APP) for _ in range(TOKENS + 1)]
    assert [status for status, _ in seen] == [200] * TOKENS + [429]
    assert {headers["access-control-allow-origin"] for _, headers in seen} == {APP}
    # What the gateway answers itself has the headers of the path, too.
    assert seen[-1][1]["x-frame-options"] == "DENY"
