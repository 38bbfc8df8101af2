"""The application answers users, the cluster and wrong requests as three processes on loopback."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.apps.hops import ANSWER_SECONDS, FREE, Chain, eventually, hop, in_a_row, stand

pytestmark = pytest.mark.slow

TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=1", "b3": "0"}
SAMPLE = re.compile(r'[a-z_]+\{([a-z_]+="[^"\\]*",?)+\} [0-9.e+-]+')


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    with in_a_row() as made:
        yield made


# What users see


@pytest.mark.parametrize(
    ("task", "text", "result"),
    [("sms", FREE, "spam"), ("sms", "see you at noon", "ham"),
     ("analyze", "lovely food", "positive"), ("analyze", "rude staff", "negative")],
)  # fmt: skip
def test_a_text_goes_down_the_chain(chain: Chain, task: str, text: str, result: str) -> None:
    answer = chain.frontend.check(text, task)
    assert answer.status == 200
    assert answer.json["result"] == result
    assert 0.5 < answer.json["confidence"] <= 1
    assert answer.chain == [("frontend", "v1"), ("service", "v2"), ("model", "v3")]
    assert answer.headers["x-chain"] == "frontend=v1,service=v2,model=v3"
    assert {one["pod"] for one in answer.json["chain"]} == {socket.gethostname()}


@pytest.mark.parametrize(
    ("method", "path", "body", "kind"),
    [
        ("POST", "/sms", b'{"sms": "win a free prize"}', "application/json"),
        ("POST", "/sms/", b"text=win+a+free+prize", "application/x-www-form-urlencoded"),
        ("GET", "/sms?text=win%20a%20free%20prize", None, ""),
    ],
)
def test_a_text_may_come_in_several_ways(chain: Chain, method: str, path: str, body: bytes | None, kind: str) -> None:
    answer = chain.service.ask(method, path, body, content_type=kind)
    assert answer.json["result"] == "spam"
    assert answer.chain == [("service", "v2"), ("model", "v3")]


def test_the_page_says_which_frontend_made_it(chain: Chain) -> None:
    answer = chain.frontend.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["x-chain"] == "frontend=v1"
    (about,) = re.findall(r'data-about="([^"]*)"', answer.body.decode())
    shown = json.loads(html.unescape(about))
    assert (shown["role"], shown["version"], shown["task"]) == ("frontend", "v1", "sms")


def test_the_page_needs_nothing_from_elsewhere_and_may_run_nothing_else(chain: Chain) -> None:
    answer = chain.frontend.get("/")
    page, policy = answer.body.decode(), answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; connect-src 'self';")
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        sha256 = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{sha256}'" in policy
    assert re.findall(r'(?:src|href|action)="(?!data:)', page) == []
    assert re.findall(r"\sstyle=|\son[a-z]+=", page) == []


@pytest.mark.parametrize("path", ["/", "/sms?text=hello"])
def test_the_cookie_is_set_once(chain: Chain, path: str) -> None:
    cookie = "canary-user=true; Path=/; HttpOnly; SameSite=Lax"
    assert chain.frontend.get(path).headers["set-cookie"] == cookie
    assert chain.frontend.get(path, cookie="other=1; canary-user=false").headers["set-cookie"] == cookie
    assert "set-cookie" not in chain.frontend.get(path, cookie="other=1; canary-user=true").headers


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/sms", "/nowhere"])
def test_nobody_is_pinned_by_a_probe_or_an_error(chain: Chain, path: str) -> None:
    assert "set-cookie" not in chain.frontend.get(path).headers


# What hops tell each other


def test_what_belongs_to_the_journey_is_forwarded_and_nothing_else() -> None:
    carried = {**TRACE, "baggage": "team=8", "user-agent": "proof/1", "x-b3-traceid": "1", "x-version": "v2"}
    own = {"cookie": "session=secret", "authorization": "Bearer secret", "x-slipway-test": "status=500"}
    given = {**carried, **own, "x-request-id": "journey-1", "x-user-experiment": "B"}
    with stand() as model, hop("service", next=model.address + "/v1", forward="x-user-experiment") as service:
        answer = service.check("hello", **given)
        (seen,) = model.seen
    assert answer.chain == [("service", "v1"), ("model", "v7")]
    assert seen["path"] == "/v1/sms"
    assert {name: seen.get(name) for name in carried} == carried
    assert (seen["x-request-id"], seen["x-user-experiment"]) == ("journey-1", "B")
    assert not own.keys() & seen.keys()
    assert answer.headers["x-request-id"] == "journey-1"


def test_cookies_are_forwarded_on_request() -> None:
    with stand() as model, hop("service", next=model.address, forward="cookie") as service:
        service.check("hello", cookie="a=1; canary-user=true")
        assert model.seen[0]["cookie"] == "a=1; canary-user=true"


def test_a_request_without_an_id_gets_one(chain: Chain) -> None:
    ids = {chain.frontend.get("/").headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)


@pytest.mark.parametrize(
    ("status", "body", "answered", "error"),
    [
        (503, b"no healthy upstream", 503, "answered 503: no healthy upstream"),
        (429, b'{"error": "slow down"}', 429, "answered 429"),
        (302, b"", 502, "answered 302"),
        (200, b"<html>", 502, "answered 200: <html>"),
        (200, b'{"chain": [{}]}', 502, "answered 200"),
        (500, b'{"error": "broken", "chain": [{"role": "model", "version": "v7", "pod": "p"}]}', 500, "broken"),
    ],
)
def test_an_error_of_the_next_hop_is_passed_on(status: int, body: bytes, answered: int, error: str) -> None:
    with stand() as model, hop("service", next=model.address) as service:
        model.status, model.body = status, body
        answer = service.check("hello")
    assert answer.status == answered
    assert error in answer.json["error"]
    assert answer.chain == [("service", "v1"), *([("model", "v7")] if b"chain" in body and status == 500 else [])]


def test_a_next_hop_that_is_not_there_is_a_bad_gateway() -> None:
    with hop("service", next="http://127.0.0.1:9") as service:
        answer = service.check("hello")
    assert answer.status == 502
    assert "127.0.0.1:9 cannot be asked" in answer.json["error"]
    assert answer.chain == [("service", "v1")]


# The test header


def test_a_hop_that_is_named_becomes_slow(chain: Chain) -> None:
    began = time.monotonic()
    assert chain.frontend.check("hello", x_slipway_test="delay=400ms;at=service").status == 200
    assert time.monotonic() - began >= 0.4
    began = time.monotonic()
    assert chain.frontend.check("hello", x_slipway_test="delay=10s;at=service;at=v3").status == 200
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(("at", "hops"), [("frontend", 1), ("service", 2), ("model", 3), ("v3", 3)])
def test_a_hop_that_is_named_fails(chain: Chain, at: str, hops: int) -> None:
    answer = chain.frontend.check("hello", x_slipway_test=f"status=503;at={at}")
    assert answer.status == 503
    assert answer.json["error"] == "asked for by x-slipway-test"
    assert len(answer.chain) == hops


def test_a_retry_with_the_same_id_gets_past_a_first_failure(chain: Chain) -> None:
    given = {"x_slipway_test": "status=503;first=1;at=model", "x_request_id": "retried"}
    assert [chain.frontend.check("hello", **given).status for _ in range(3)] == [503, 200, 200]


def test_a_slow_hop_is_not_waited_for_without_end(chain: Chain) -> None:
    answer = chain.frontend.check("hello", x_slipway_test="delay=4s;at=model")
    assert answer.status == 504
    assert "did not answer within 2 s" in answer.json["error"]
    assert answer.chain == [("frontend", "v1"), ("service", "v2")]


def test_a_wrong_test_header_is_refused_with_an_example(chain: Chain) -> None:
    answer = chain.frontend.check("hello", x_slipway_test="delay=1h")
    assert answer.status == 400
    assert "delay=200ms;at=service" in answer.json["error"]


def test_the_test_header_does_nothing_unless_it_is_switched_on() -> None:
    with hop("model") as model:
        assert model.check("hello", x_slipway_test="status=503").status == 200


# The answer cache


def test_a_cached_answer_asks_nobody(chain: Chain) -> None:
    with hop("service", version="v9", next=chain.model.address, cache="2", test_header="1") as service:
        asked = chain.model.number("app_requests_total", route="/sms")
        first, second = service.check(FREE), service.check(FREE)
        assert chain.model.number("app_requests_total", route="/sms") == asked + 1
        assert first.json["cached"] is False
        assert second.json == {**first.json, "cached": True, "chain": first.json["chain"][:1]}
        # The other task, and a request that tests what is behind the cache, are other questions.
        assert service.check(FREE, "analyze").json["cached"] is False
        assert service.check(FREE, x_slipway_test="delay=1ms;at=model").json["cached"] is False
        assert service.number("app_cache_lookups_total", version="v9", outcome="hit") == 1
        assert service.number("app_cache_lookups_total", version="v9", outcome="miss") == 2


def test_the_cache_keeps_what_was_asked_last(chain: Chain) -> None:
    with hop("service", next=chain.model.address, cache="2") as service:
        assert [service.check(text).json["cached"] for text in ("a", "b", "a", "c", "a", "b")] == [
            False, False, True, False, True, False,
        ]  # fmt: skip
        assert service.number("app_cache_entries") == 2


def test_errors_are_not_kept() -> None:
    with stand() as model, hop("service", next=model.address, cache="2") as service:
        good, model.status = model.status, 503
        assert service.check("hello").status == 503
        model.status = good
        assert service.check("hello").status == 200


# What the cluster asks


def test_metrics_tell_roles_versions_routes_and_outcomes_apart(chain: Chain) -> None:
    def requests(route: str, outcome: str) -> float:
        return chain.service.number("app_requests_total", role="service", version="v2", route=route, outcome=outcome)

    before = [requests("/sms", outcome) for outcome in ("ok", "refused", "failed")]
    spam = chain.service.number("app_results_total", route="/sms", result="spam")
    observed = chain.service.number("app_request_duration_seconds_count", route="/sms")
    chain.service.check(FREE)
    chain.service.check("")
    chain.service.check(FREE, x_slipway_test="status=500;at=model")
    assert [requests("/sms", outcome) for outcome in ("ok", "refused", "failed")] == [one + 1 for one in before]
    assert chain.service.number("app_results_total", route="/sms", result="spam") == spam + 1
    assert chain.service.number("app_request_duration_seconds_count", route="/sms") == observed + 3
    assert chain.service.number("app_ready") == 1
    assert chain.model.number("app_model_accuracy_ratio", route="/sms") > 0.85


def test_probes_and_scrapes_are_no_requests_of_users(chain: Chain) -> None:
    before = chain.frontend.number("app_requests_total")
    for path in ("/healthz", "/readyz", "/version", "/metrics"):
        assert chain.frontend.get(path).status == 200
    assert chain.frontend.number("app_requests_total") == before


def test_a_request_is_in_progress_until_it_is_answered() -> None:
    with hop("model", test_header="1") as model, ThreadPoolExecutor() as pool:
        slow = pool.submit(model.check, "hello", x_slipway_test="delay=1s")
        eventually(lambda: model.number("app_requests_in_progress") == 1, "the gauge shows it")
        assert slow.result().status == 200
        assert model.number("app_requests_in_progress") == 0


def test_metrics_are_in_the_text_format(chain: Chain) -> None:
    chain.model.check(FREE)
    answer = chain.model.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    types = dict(re.findall(r"^# TYPE (\S+) (counter|gauge|histogram)$", answer.body.decode(), re.M))
    assert set(types.values()) == {"counter", "gauge", "histogram"}
    lines = [line for line in answer.body.decode().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not SAMPLE.fullmatch(line)] == []
    for line in lines:
        name = line.partition("{")[0]
        assert name in types or types[re.sub("_(bucket|sum|count)$", "", name)] == "histogram"
        assert 'role="model",version="v3"' in line


def test_buckets_add_up(chain: Chain) -> None:
    chain.model.check(FREE)
    name = "app_request_duration_seconds"
    found = re.findall(rf'^{name}_bucket{{.*route="/sms",outcome="ok",le="(.*)"}} (.*)$',
                       chain.model.get("/metrics").body.decode(), re.M)  # fmt: skip
    counts = [float(count) for _bound, count in found]
    assert found[-1][0] == "+Inf"
    assert counts == sorted(counts)
    assert counts[-1] == chain.model.number(f"{name}_count", route="/sms", outcome="ok") > 0


def test_the_log_follows_a_request_and_holds_no_text() -> None:
    with hop("model") as model, hop("service", next=model.address) as service:
        service.check("my secret", cookie="session=secret", x_request_id="journey-2")
        service.get("/sms?text=my+secret", x_request_id="journey-3")
        service.get("/healthz")
        assert (service.stop(), model.stop()) == (0, 0)
        logs = [service.lines, model.lines]
    for log in logs:
        lines = [line for line in log if "path" in line]
        assert [(line["path"], line["status"], line["request_id"]) for line in lines] == [
            ("/sms", 200, "journey-2"),
            ("/sms", 200, "journey-3"),
        ]
        assert all(line["version"] == "v1" and line["milliseconds"] > 0 and line["chain"] for line in lines)
        assert "secret" not in json.dumps(log)


# What comes in wrong


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"{", 400), (b"[]", 400), (b'"text"', 400), (b"{}", 400), (b'{"text": 1}', 400),
        (b'{"text": "  "}', 400), (b'{"text": "' + b"x" * 2001 + b'"}', 400), (b"[" * 9000, 400), (b"\xff", 400),
        (b'{"text": "' + b"x" * 17000 + b'"}', 413), (b'{"text": "\\ud800"}', 200),
    ],
)  # fmt: skip
def test_a_body_is_answered_or_refused(chain: Chain, body: bytes, status: int) -> None:
    answer = chain.service.ask("POST", "/sms", body)
    assert answer.status == status
    assert answer.chain[0] == ("service", "v2")
    assert chain.service.get("/healthz").status == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /nowhere HTTP/1.1", 404),
        ("PUT /sms HTTP/1.1", 501),
        ("GET / HTTP/1.1 or so", 400),
        ("GET / HTTP/3.0", 505),
        ("GET /" + "x" * 70000 + " HTTP/1.1", 414),
        ("GET / HTTP/1.1\r\nx: " + "x" * 70000, 431),
        ("GET / HTTP/1.1\r\n" + "\r\n".join(f"x-{n}: 1" for n in range(200)), 431),
        ("POST /sms HTTP/1.1\r\ntransfer-encoding: chunked", 413),
        ("POST /sms HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6", 413),
        ("POST /sms HTTP/1.1\r\ncontent-length: -1", 413),
        ("POST /sms HTTP/1.1\r\ncontent-length: 1e3", 413),
    ],
)
def test_what_is_no_usable_request_is_refused(chain: Chain, head: str, status: int) -> None:
    with socket.create_connection(("127.0.0.1", chain.service.port), timeout=ANSWER_SECONDS) as raw:
        raw.sendall(f"{head}\r\n\r\n".encode())
        answer = raw.recv(65536).decode()
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert ("connection: close" in answer) == (status != 404)
    assert chain.service.get("/healthz").status == 200
