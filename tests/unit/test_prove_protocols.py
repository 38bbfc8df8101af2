"""What a proof sees of WebSocket and of gRPC: an upgrade, and the status of a call that nobody can answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from slipway import prove
from slipway.prove.protocol_claims import accepted

from tests.support.prove_plan import IMAGE, Json, asked, claim, facts, verdict

ROUTES = {"/": "front", "/chat": {"to": "front", "websocket": True}}
CALLS = {"calls": {"protocol": "grpc", "versions": {"v1": IMAGE}}}
# To the key of a proof.
ACCEPT = "WwatO14fC7LNFWhNvrdYT2kBt8o="


def planned(folder: Path, environment: Json | None = None, **values: object) -> Json:
    return prove.plan(facts(folder, **{"services": CALLS, **values}), environment)


def test_an_upgrade_is_asked_for_where_the_page_or_the_operator_says(tmp_path: Path) -> None:
    for paths, path in (({}, "/chat"), ({"/chat": "/chat/room"}, "/chat/room")):
        (experiment,) = asked(planned(tmp_path, {"paths": paths}, routes=ROUTES), "websocket")
        (step,) = experiment["steps"]
        assert (step["path"], step["host"], step["headers"]["Connection"]) == (path, "shop.local", "Upgrade")
    entry = {"live.local": {"routes": {"/": {"to": "front", "websocket": True}}}}
    (experiment,) = asked(planned(tmp_path, entries=entry), "websocket")
    assert experiment["steps"][0]["host"] == "live.local"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"status": 101, "headers": {"sec-websocket-accept": [ACCEPT]}}, ""),
        ({"status": 101, "headers": {"sec-websocket-accept": ["x"]}}, "does not answer the key: x"),
        ({"status": 404, "said": "not here"}, "is answered 404 instead of 101, which says: not here"),
        ({"status": 0, "error": "TimeoutError"}, "is answered TimeoutError instead of 101"),
    ],
)
def test_an_upgrade_is_answered_by_a_server_of_websocket(tmp_path: Path, answer: Json, said: str) -> None:
    found = verdict(planned(tmp_path, routes=ROUTES), "websocket", answer)
    assert (found.state == "failed") == bool(said)
    assert said in found.seen
    assert not said or "prove_paths" in found.look


def test_a_key_is_answered_as_in_the_example_of_rfc_6455() -> None:
    assert accepted("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(("route", "path"), [("/", "/slipway.Prove/Nothing"), ("/a.B", "/a.B/SlipwayProve")])
def test_a_method_is_called_that_nobody_has(tmp_path: Path, route: str, path: str) -> None:
    (experiment,) = asked(planned(tmp_path, routes={"/x": "front", route: "calls"}), "grpc")
    (step,) = experiment["steps"]
    assert (step["method"], step["path"], step["headers"]["content-type"]) == ("POST", path, "application/grpc")
    (experiment,) = asked(planned(tmp_path, entries={"calls.local": "calls"}), "grpc")
    assert experiment["steps"][0]["host"] == "calls.local"


def shown(status: str = "", message: str = "", kind: str = "application/grpc", behind: str = "1") -> Json:
    named = {"content-type": kind, "grpc-status": status, "grpc-message": message}
    named["x-envoy-upstream-service-time"] = behind
    return {"status": 200, "headers": {name: [value] if value else [] for name, value in named.items()}}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (shown("12", "unknown service"), ""),
        (shown("16"), ""),
        (shown("7", "no token"), ""),
        # It came after a message: the gateway has no way to tell it by HTTP/1.1.
        (shown(), ""),
        (shown("12", behind=""), "the gateway itself answers a call, with grpc-status 12"),
        (shown("14", "no healthy upstream", behind=""), "the gateway itself answers"),
        (shown("14", "connection refused"), "the proxy of calls answers a call, with grpc-status 14"),
        (shown("7", "RBAC: access denied"), "the proxy of calls answers"),
        (shown("12", kind="text/html"), "is answered 200 (text/html), which is no gRPC"),
        ({"status": 0, "error": "TimeoutError"}, "is answered TimeoutError (without a type)"),
    ],
)
def test_a_call_is_answered_by_the_service_alone(tmp_path: Path, answer: Json, said: str) -> None:
    found = verdict(planned(tmp_path, routes={"/": "front", "/a.B": "calls"}), "grpc", answer)
    assert (found.state == "failed") == bool(said)
    assert said in found.seen
    assert not said or "appProtocol" in found.look


def test_what_would_answer_in_place_of_the_service_is_configured(tmp_path: Path) -> None:
    faults = {"faults": {"abort": {"status": 503, "share": "5%"}}}
    found = planned(tmp_path, routes=ROUTES, services={**CALLS, "front": faults})
    assert claim(found, "websocket")["state"] == "configured"
    removed = {"to": "front", "headers": {"response": {"remove": ["x-envoy-upstream-service-time"]}}}
    found = planned(tmp_path, routes={"/": removed, "/a.B": "calls"})
    assert claim(found, "grpc")["state"] == "configured"


def test_plain_requests_are_not_claimed_of_a_service_of_calls(tmp_path: Path) -> None:
    headers = {"to": "calls", "headers": {"response": {"set": {"x-a": "1"}}}, "cors": "https://a.b"}
    found = planned(tmp_path, routes={"/": "front", "/a.B": headers}, version_header="x-v")
    assert [claim(found, kind)["state"] for kind in ("headers", "cors")] == ["configured"] * 2
    assert {step["path"].partition("?")[0] for each in asked(found, "version-header") for step in each["steps"]} == {
        "/sms"
    }
    alone = planned(tmp_path, routes={"/": "calls"}, version_header="x-v")
    assert claim(alone, "version-header")["state"] == "configured"


@pytest.mark.parametrize(
    ("routes", "path", "state"), [({"/a.B": "calls", "/x": "front"}, "/x", "failed"), ({"/": "calls"}, "/", "passed")]
)
def test_over_tls_a_plain_request_is_asked_where_one_is_answered(
    tmp_path: Path, routes: Json, path: str, state: str
) -> None:
    found = planned(tmp_path, routes=routes, gateway={"tls": {}})
    (experiment,) = asked(found, "tls")
    assert experiment["steps"][0]["path"].startswith(path)
    # What etcd, for one, answers to a GET.
    assert verdict(found, "tls", {"status": 415}).state == state
    assert verdict(found, "tls", {"status": 0, "error": "TimeoutError"}).state == "failed"
