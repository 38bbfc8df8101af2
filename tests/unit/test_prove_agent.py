"""The program that sends a plan's requests, against a server on loopback; and what it refuses to do."""

from __future__ import annotations

import datetime as dt
import http.server
import json
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from slipway import prove
from slipway.mesh import certificate as mesh_tls
from slipway.parts import selfsigned
from slipway.prove import agent

Json = dict[str, Any]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with what it was asked; /slow never does in time, /moved leads elsewhere, /set sets cookies."""

    seen: list[tuple[str, str, dict[str, str]]]
    methods: list[str]

    def do_GET(self) -> None:
        type(self).methods.append(self.command)
        type(self).seen.append((self.client_address[0], self.path, {k.lower(): v for k, v in self.headers.items()}))
        if self.path.startswith("/slow"):
            time.sleep(1)
        body = json.dumps({"chain": [{"role": "frontend", "version": "v1", "pod": "front-v1-1-a"}]}).encode()
        self.send_response(302 if self.path == "/moved" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-chain", "frontend=v1")
        self.send_header("x-ratelimit-remaining", "9")
        if self.path == "/moved":
            self.send_header("Location", "http://192.0.2.1/")
        if self.path.startswith("/set"):
            self.send_header("Set-Cookie", "a=1; Path=/")
            self.send_header("Set-Cookie", "b=2; Path=/elsewhere; HttpOnly")
        if self.path.startswith("/unset"):
            self.send_header("Set-Cookie", "a=; Path=/; Max-Age=0")
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that gave up is part of the tests."""


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    Handler.seen, Handler.methods = [], []
    made = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def job(port: int, *steps: Json, **more: Any) -> Json:
    given = [{"to": "gateway", "port": port, "host": "shop.local", "path": "/", "times": 1, **step} for step in steps]
    experiment = {"id": "e", "clients": 1, "steps": given, **more.pop("experiment", {})}
    return {"experiments": [experiment], "targets": {"gateway": "127.0.0.1"}, "seconds": 5, "nonce": "x", **more}


def answers(made: Json) -> list[Json]:
    code, said = agent.main(json.dumps(made))
    assert code == 0, said
    found: list[Json] = said["experiments"]["e"]["answers"]
    return found


def test_a_step_may_ask_by_another_method(server: http.server.ThreadingHTTPServer) -> None:
    found = answers(job(server.server_port, {}, {"method": "POST"}))
    assert [each["status"] for each in found] == [200, 200]
    assert Handler.methods == ["GET", "POST"]
    assert Handler.seen[1][2]["content-length"] == "0"


def test_it_says_what_came_back(server: http.server.ThreadingHTTPServer) -> None:
    step = {
        "path": "/sms?text={nonce}+{n}",
        "times": 2,
        "headers": {"x-user": "u{client}"},
        "cookies": {"c": "{client}"},
    }
    found = answers(job(server.server_port, step, experiment={"clients": 2, "id": "e"}))
    assert len(found) == 4
    assert {(a["status"], a["chain"], a["remaining"]) for a in found} == {(200, "frontend=v1", "9")}
    assert found[0]["pods"] == ["front-v1-1-a"]
    assert len({path for _, path, _ in Handler.seen}) == 4
    headers = [headers for _, _, headers in Handler.seen]
    assert {h["host"] for h in headers} == {"shop.local"}
    assert {(h["x-user"], h["cookie"]) for h in headers} == {("u0", "c=0"), ("u1", "c=1")}


def test_a_token_is_sent_and_not_said(server: http.server.ThreadingHTTPServer) -> None:
    steps = [{"headers": {"authorization": "Bearer {token}"}}, {"cookies": {"id": "{token}"}}]
    found = answers(job(server.server_port, *steps, token="a.b.c"))
    first, second = (headers for _, _, headers in Handler.seen)
    assert (first["authorization"], second["cookie"]) == ("Bearer a.b.c", "id=a.b.c")
    assert "a.b.c" not in json.dumps(found)


def test_a_session_keeps_cookies_where_their_path_says(server: http.server.ThreadingHTTPServer) -> None:
    steps = [{"path": path} for path in ("/set", "/any", "/elsewhere/x", "/unset", "/any")]
    answers(job(server.server_port, *steps, experiment={"session": True}))
    assert [headers.get("cookie", "") for _, _, headers in Handler.seen] == ["", "a=1", "a=1; b=2", "a=1", ""]


def test_it_follows_no_redirect(server: http.server.ThreadingHTTPServer) -> None:
    (found,) = answers(job(server.server_port, {"path": "/moved"}))
    assert (found["status"], found["location"]) == (302, "http://192.0.2.1/")
    assert len(Handler.seen) == 1


def test_what_takes_too_long_is_an_error_and_the_rest_is_not_sent(server: http.server.ThreadingHTTPServer) -> None:
    begun = time.monotonic()
    found = answers(job(server.server_port, {"path": "/slow", "times": 9}, seconds=0.6, patience=0.25))
    assert 1 <= len(found) < 5
    assert {answer["status"] for answer in found} == {0}
    assert found[0]["error"].startswith("TimeoutError")
    assert time.monotonic() - begun < 5


def test_over_tls_the_host_is_named_and_any_certificate_does(
    server: http.server.ThreadingHTTPServer, tmp_path: Path
) -> None:
    """A gateway chooses by that name; whose certificate it shows is no claim."""
    pair = tmp_path / "pair.pem"
    pair.write_bytes(b"".join(selfsigned.make("another.local", dt.datetime.now(dt.UTC), dt.timedelta(days=1))))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    named: list[str | None] = []
    context.sni_callback = lambda _, name, __: named.append(name)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    found = answers(job(server.server_port, {"tls": True, "times": 2}))
    assert [(answer["status"], answer["pods"]) for answer in found] == [(200, ["front-v1-1-a"])] * 2
    assert named == ["shop.local"] * 2
    (clear,) = answers(job(server.server_port, {}))
    assert clear["status"] == 0


@pytest.mark.parametrize(
    ("step", "authority", "status", "error"),
    [
        ({}, "own", 200, ""),
        ({"host": "x.lab.local"}, "own", 200, ""),
        ({"host": "other.local"}, "own", 0, "certificate: Hostname mismatch"),
        ({}, "another", 0, "certificate: unable to get local issuer certificate"),
        ({}, "", 0, "ValueError: the job names no authority"),
        # The connection of one host, used for another: what is verified is the connection's.
        ({"host": "other.local", "server": "shop.local"}, "own", 200, ""),
        ({"host": "shop.local", "server": "other.local"}, "own", 0, "certificate: Hostname mismatch"),
    ],
)
def test_a_certificate_is_verified_as_a_browser_does_it(
    server: http.server.ThreadingHTTPServer,
    tmp_path: Path,
    step: dict[str, str],
    authority: str,
    status: int,
    error: str,
) -> None:
    for name in ("own", "another"):
        mesh_tls.renew(tmp_path / name, ["shop.local", "*.lab.local"], name, dt.datetime.now(dt.UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own/gateway.crt", tmp_path / "own/gateway.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    more = {"authorities": (tmp_path / authority / "ca.crt").read_text()} if authority else {}
    (found,) = answers(job(server.server_port, {"tls": True, "verify": True, **step}, **more))
    assert (found["status"], found.get("error", "")[: len(error)]) == (status, error)


def test_a_port_where_nobody_listens_is_an_error() -> None:
    (found,) = answers(job(1, {}))
    assert (found["status"], found["error"].partition(":")[0]) == (0, "ConnectionRefusedError")


def test_requests_of_a_client_keep_their_pace(server: http.server.ThreadingHTTPServer) -> None:
    found = answers(job(server.server_port, {"times": 3}, experiment={"pace": 0.1}))
    assert found[2]["at"] - found[0]["at"] >= 0.18


def test_each_client_has_its_own_address(server: http.server.ThreadingHTTPServer) -> None:
    made = job(server.server_port, {}, experiment={"clients": 4, "sources": [5, 2]})
    agent.checked(made)
    told = agent.Agent({**made, "network": "127.9.0.0/20"}).carry_out()["experiments"]["e"]["answers"]
    assert {answer["status"] for answer in told} == {200}
    assert {address for address, _, _ in Handler.seen} == {"127.9.8.6", "127.9.8.7"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"targets": {}}, "asks gateway, which is none of the targets"),
        ({"experiments": [{"id": "e", "clients": 9999, "steps": [{"to": "gateway"}]}]}, "9999 requests are more than"),
        ({"experiments": [{"id": "e"}]}, "the job cannot be read: KeyError 'steps'"),
        ({"network": "10.0.0.0/8"}, "10.0.0.0/8 does not do for clients, 198.18.64.0/20 would"),
    ],
)
def test_it_refuses(change: Json, said: str) -> None:
    code, printed = agent.main(json.dumps({**job(1, {}), **change}))
    assert code == 3
    assert said in printed["refused"]


@pytest.mark.parametrize(
    ("route", "refused"),
    [({"dst": "192.168.56.92", "dev": "eth1"}, ""), ({"gateway": "10.0.2.2", "dev": "eth0"}, "is behind 10.0.2.2")],
)
def test_it_leaves_no_network_that_the_machine_is_in(route: Json, refused: str) -> None:
    asked: list[Sequence[str]] = []

    def execute(command: Sequence[str]) -> str:
        asked.append(command)
        return json.dumps([route])

    code, printed = agent.main(json.dumps({**job(1, {}, check_route=True), "seconds": 0}), execute)
    assert asked == [["ip", "-json", "route", "get", "127.0.0.1"]]
    assert (code, refused in printed.get("refused", "")) == ((3 if refused else 0), True)


def test_a_network_in_use_is_refused() -> None:
    made = {**job(1, {}), "network": "198.18.64.0/20"}
    code, printed = agent.main(json.dumps(made), lambda _: '[{"dst": "198.18.64.0/24"}]')
    assert code == 3
    assert "is in use on this node" in printed["refused"]


def test_a_program_that_fails_is_told() -> None:
    with pytest.raises(agent.RefusedError, match="ls /nowhere-at-all"):
        agent.run(["ls", "/nowhere-at-all"])
    assert agent.run(["echo", "there"]) == "there\n"


class Kernel:
    """What the namespace asks of libc."""

    def __init__(self, refuse: bool) -> None:
        self.refuse, self.calls = refuse, []  # type: ignore[var-annotated]

    def unshare(self, flags: int) -> int:
        self.calls.append(("unshare", flags))
        return int(self.refuse)

    def setns(self, _: int, flags: int) -> int:
        self.calls.append(("setns", flags))
        return 0


@pytest.mark.parametrize("refuse", [False, True])
def test_the_namespace_is_left_again(monkeypatch: pytest.MonkeyPatch, refuse: bool) -> None:
    kernel, done = Kernel(refuse), []
    monkeypatch.setattr("slipway.prove.agent.ctypes.CDLL", lambda *_, **__: kernel)

    def execute(command: Sequence[str]) -> str:
        done.append(" ".join(command))
        return ""

    code, _ = agent.main(json.dumps({**job(1, {}), "seconds": 0, "network": "198.18.64.0/20"}), execute)
    assert code == (3 if refuse else 0)
    if not refuse:
        assert kernel.calls[-1][0] == "setns"
        assert "ip route add local 198.18.72.0/21 dev lo" in done
        assert any(command.startswith("ip route add 198.18.72.0/21 via 198.18.64.2 dev slipway") for command in done)


def test_a_link_that_a_killed_run_has_left_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.prove.agent.ctypes.CDLL", lambda *_, **__: Kernel(False))
    done: list[str] = []

    def execute(command: Sequence[str]) -> str:
        done.append(" ".join(command))
        return '[{"ifname": "lo"}, {"ifname": "prove0123"}]' if command[2:] == ["link", "show"] else ""

    made = {**job(1, {}), "seconds": 0, "network": "198.18.64.0/20", "link": "prove0123"}
    assert agent.main(json.dumps(made), execute)[0] == 0
    assert done[:2] == ["ip -json link show", "ip link delete prove0123"]
    assert done.index("ip link delete prove0123") < done.index("ip -json route show root 198.18.64.0/20")
    done.clear()
    assert agent.main(json.dumps({**made, "link": "another"}), execute)[0] == 0
    assert not [command for command in done if "delete" in command]


def test_jobs_name_the_link_by_the_release_and_what_runs_beside_has_its_own() -> None:
    plan = {"experiments": [], "stages": [], "beside": ["alerts"], "sources": 9, "release": "shop", "namespace": "shop"}
    jobs = [prove.job(plan, stage, "addresses", {}) for stage in ("clients", "last", "alerts")]
    other = prove.job({**plan, "release": "other"}, "clients", "addresses", {})
    assert [each["network"] for each in jobs] == ["198.18.0.0/16", "198.18.0.0/16", "198.19.0.0/17"]
    links = [each["link"] for each in (*jobs, other)]
    assert links[0] == links[1]
    assert len(set(links)) == 3
    # The kernel takes no longer names.
    assert max(map(len, links)) <= 15


def test_it_runs_alone() -> None:
    made = {**job(1, {}), "seconds": 0}
    command = [sys.executable, "-I", agent.__file__]
    done = subprocess.run(command, input=json.dumps(made), capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, json.loads(done.stdout)["experiments"]) == (0, {"e": {"answers": []}})


def test_authorities_that_are_none_are_refused(server: http.server.ThreadingHTTPServer) -> None:
    made = job(server.server_port, {}, authorities="nobody")
    code, said = agent.main(json.dumps(made))
    assert (code, "the job cannot be read: ValueError authorities" in said["refused"]) == (3, True)
