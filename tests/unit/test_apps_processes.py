"""Processes of the application begin, serve as many connections as they can, and end without losing a request."""

from __future__ import annotations

import fcntl
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.apps.hops import ANSWER_SECONDS, FREE, Chain, Hop, eventually, hop, in_a_row, read, started

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    with in_a_row() as made:
        yield made


def test_a_connection_is_used_again(chain: Chain) -> None:
    connection = chain.frontend.connection()
    try:
        for _ in range(3):
            connection.request("POST", "/sms", b"text=hello", {"content-type": "application/x-www-form-urlencoded"})
            assert read(connection).status == 200
            assert connection.sock is not None, "the server wanted to close it"
    finally:
        connection.close()


def test_it_is_small_and_loses_nothing_under_load(chain: Chain) -> None:
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda n: chain.frontend.check(f"hello {n}").status, range(320)))
    assert statuses == [200] * 320
    assert max(one.resident() for one in chain) < 40 * 1024 * 1024


def test_more_connections_than_it_serves_are_told_so() -> None:
    def connected() -> socket.socket:
        return socket.create_connection(("127.0.0.1", model.port), timeout=ANSWER_SECONDS)

    def served() -> bool:
        with suppress(ConnectionError):  # a refusal closes the connection while the question is still on its way
            return model.get("/healthz").status == 200
        return False

    with hop("model") as model:
        with ExitStack() as stack:
            for _ in range(256):
                stack.enter_context(connected())
            with connected() as late:
                assert late.recv(100).startswith(b"HTTP/1.1 503 ")
            assert model.resident() < 40 * 1024 * 1024
        eventually(served, "there is room again")


def idle(model: Hop, stack: ExitStack) -> list[socket.socket]:
    """As many connections as it serves, of which nobody uses one."""
    opened = [socket.create_connection(("127.0.0.1", model.port), timeout=ANSWER_SECONDS) for _ in range(256)]
    for connection in opened:
        stack.enter_context(connection)
    return opened


def test_idle_connections_lock_nobody_out() -> None:
    """What the cluster asks is answered beside them; for a user the one that is idle for longest makes room."""
    with hop("model") as model, ExitStack() as stack:
        opened = idle(model, stack)
        for path in ("/healthz", "/readyz", "/metrics", "/version"):
            began = time.monotonic()
            answer = model.get(path)
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert time.monotonic() - began < 2
        for text in ("see you at noon", "see you at two"):
            answer = model.check(text)
            assert (answer.status, answer.json["result"]) == (200, "ham")
        assert [one.recv(1) for one in opened[:1]] == [b""]
        opened[-1].sendall(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
        assert opened[-1].recv(100).startswith(b"HTTP/1.1 200 ")


def test_busy_connections_leave_room_for_the_cluster_alone() -> None:
    with hop("model", test_header="1") as model, ExitStack() as stack:
        for connection in idle(model, stack):
            connection.sendall(b"GET /sms?text=hello HTTP/1.1\r\nx-slipway-test: delay=6s\r\n\r\n")
        eventually(lambda: model.number("app_requests_in_progress") == 256, "all are busy")
        refused = model.check("see you at noon")
        assert (refused.status, refused.headers["connection"]) == (503, "close")
        assert "all 256 connections are busy" in refused.json["error"]
        assert model.get("/healthz").status == 200


def test_a_client_that_went_away_is_no_error() -> None:
    with hop("model", test_header="1") as model:
        with socket.create_connection(("127.0.0.1", model.port)) as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raw.sendall(b"GET /sms?text=hello HTTP/1.1\r\nx-slipway-test: delay=200ms\r\n\r\n")
            eventually(lambda: model.number("app_requests_in_progress") == 1, "it has begun")
        assert model.stop() == 0
        lines = model.lines
    assert [line.get("event", line.get("status")) for line in lines] == ["ready", 200, "stopped"]


def test_a_model_is_ready_once_it_is_loaded(tmp_path: Path) -> None:
    port = free_port()
    with (tmp_path / "textcheck.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with started("model", model=str(tmp_path), port=str(port)) as model:
            model.port = port
            eventually(lambda: listens(port), "it listens")
            assert model.get("/healthz").status == 200
            assert model.get("/readyz").status == 503
            assert model.number("app_ready") == 0
            assert model.check("hello").status == 503
            fcntl.flock(lock, fcntl.LOCK_UN)
            eventually(lambda: model.get("/readyz").status == 200, "the model is loaded")
            assert model.check("hello").status == 200
            assert model.stop() == 0


def test_processes_that_share_a_folder_make_one_model(tmp_path: Path) -> None:
    with ExitStack() as stack:
        versions = ("v1", "v1", "v2", "v2")
        models = [stack.enter_context(started("model", model=str(tmp_path), version=one)) for one in versions]
        for model in models:
            model.wait_until_ready()
        sources = [model.get("/version").json["source"] for model in models]
        assert sorted(sources) == ["cache", "cache", "cache", "made"]
        assert len({model.check(FREE).json["confidence"] for model in models}) == 1


def test_a_model_comes_from_a_store_to_whoever_has_the_token(tmp_path: Path) -> None:
    with hop("store", token="t0ken") as store:
        for headers in ({}, {"authorization": "Bearer other"}, {"authorization": "Basic t0ken"}):
            assert store.get("/models/words", **headers).status == 401
        assert store.get("/models/none", authorization="Bearer t0ken").status == 404
        taken = {"model": str(tmp_path), "model_from": store.address, "token": "t0ken"}
        with hop("model", **taken) as first:
            assert first.get("/version").json["source"] == "downloaded"
            assert first.check(FREE).json["result"] == "spam"
        with hop("model", **taken) as second:
            assert second.get("/version").json["source"] == "cache"
        assert store.number("app_requests_total", outcome="ok") == 1
        with started("model", **{**taken, "model": str(tmp_path / "other"), "token": "wrong"}) as refused:
            assert refused.ended() == 1
            said = refused.log.read_text()
        assert "refuses the token in GITHUB_TOKEN (not shown)" in said
        assert "wrong" not in said
        assert "t0ken" not in store.log.read_text()


def test_a_model_waits_for_its_store(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    asked = {"model": str(tmp_path), "model_from": f"http://127.0.0.1:{port}", "token": "t"}
    with started("model", **asked) as waiting:
        time.sleep(1)
        assert waiting.process.poll() is None
        with hop("store", port=str(port), token="t"):
            waiting.wait_until_ready()
            assert waiting.get("/version").json["source"] == "downloaded"


@pytest.mark.parametrize(
    ("role", "settings", "status", "message"),
    [
        ("frontend", {}, 2, "APP_NEXT=http://app-service:8080"),
        ("model", {"port": "x"}, 2, "APP_PORT is 'x'; expected 0 to 65535"),
        ("model", {"host": "192.0.2.1"}, 2, "Cannot assign"),
        ("model", {"model": "/proc/models"}, 1, "APP_MODEL=/proc/models"),
    ],
)
def test_what_cannot_run_says_why_and_ends(role: str, settings: dict[str, str], status: int, message: str) -> None:
    with started(role, **settings) as process:
        assert process.ended() == status
        out = process.log.read_text()
    assert out.startswith("textcheck: ")
    assert message in out
    assert "Traceback" not in out


def test_at_the_end_what_has_begun_is_finished_and_what_is_idle_is_closed() -> None:
    with hop("model", test_header="1") as model, ThreadPoolExecutor() as pool:
        idle, unused = model.connection(), model.connection()
        idle.request("GET", "/healthz")
        assert read(idle).headers.get("connection") is None
        unused.connect()
        slow = pool.submit(model.check, "see you at noon", x_slipway_test="delay=1500ms")
        eventually(lambda: model.number("app_requests_in_progress") == 1, "it has begun")
        began = time.monotonic()
        assert model.stop() == 0
        assert time.monotonic() - began < 9
        answer = slow.result()
        for connection in (idle, unused):
            assert connection.sock is not None
            assert connection.sock.recv(1) == b""
            connection.close()
        last = model.lines[-1]
    assert (answer.status, answer.json["result"]) == (200, "ham")
    assert answer.headers["connection"] == "close"
    assert (last["event"], last["complete"]) == ("stopped", True)


def test_requests_that_still_come_are_answered_while_the_others_learn_that_it_ends() -> None:
    with hop("model", linger="4") as model:
        kept = model.connection()
        kept.request("GET", "/readyz")
        assert read(kept).status == 200
        model.terminate()
        eventually(lambda: model.get("/readyz").status == 503, "it is not ready any more", 3)
        assert model.get("/healthz").status == 200
        kept.request("GET", "/sms?text=hello")
        answer = read(kept)
        kept.close()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert model.check("hello").status == 200
        assert model.ended() == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
