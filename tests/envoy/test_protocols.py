"""Upgrades and calls of gRPC as a proof asks for them, at the artifact's Envoy with etcd and a server behind it."""

from __future__ import annotations

import http.server
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slipway import prove
from slipway.artifacts.cache import default_root
from slipway.prove.agent import Agent
from slipway.prove.protocol_claims import accepted
from slipway.prove.verdicts import Verdict

from tests.support.envoy import free, listener, running
from tests.support.protocols import WebSocket, called, field
from tests.support.prove_plan import IMAGE, facts

Object = dict[str, Any]
OPTIONS = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


class Upgrades(http.server.BaseHTTPRequestHandler):
    """Upgrades below /chat, and ends the connection then."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        upgraded = self.path.startswith("/chat")
        self.send_response(101 if upgraded else 404)
        if upgraded:
            named = {"upgrade": "websocket", "connection": "Upgrade"}
            named["sec-websocket-accept"] = accepted(self.headers["sec-websocket-key"])
        else:
            named = {"content-length": "0"}
        for name, value in named.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = upgraded

    def log_message(self, *_: object) -> None:
        pass


def cluster(name: str, port: int, **protocol: Object) -> Object:
    end = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
    made: Object = {"name": name, "type": "STATIC"}
    made["load_assignment"] = {"cluster_name": name, "endpoints": [{"lb_endpoints": [end]}]}
    if protocol:
        made["typed_extension_protocol_options"] = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": OPTIONS,
                "explicit_http_config": protocol,
            }
        }
    return made


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the artifacts' etcd, which speaks gRPC without TLS."""
    found = sorted(default_root().glob("items/go-etcd/*/etcd"))
    if not found:
        pytest.skip("etcd is not in this machine's cache of artifacts")
    folder, port, peer = tmp_path_factory.mktemp("etcd"), free(), free()
    options = {
        "data-dir": f"{folder}/data",
        "listen-client-urls": f"http://127.0.0.1:{port}",
        "advertise-client-urls": f"http://127.0.0.1:{port}",
        "listen-peer-urls": f"http://127.0.0.1:{peer}",
        "initial-advertise-peer-urls": f"http://127.0.0.1:{peer}",
        "initial-cluster": f"default=http://127.0.0.1:{peer}",
    }
    command = [str(found[-1]), *(f"--{name}={value}" for name, value in options.items())]
    env = {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")}
    with (folder / "log").open("wb") as log, subprocess.Popen(command, env=env, stdout=log, stderr=log) as process:
        until = time.monotonic() + 60
        while b"ready to serve client requests" not in (folder / "log").read_bytes():
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            assert time.monotonic() < until, "etcd does not serve within 60 s"
            time.sleep(0.1)
        yield port
        process.kill()


@pytest.fixture(scope="module")
def gateway(envoy: Path, etcd: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a gateway that leads /a.B and /etcdserverpb.KV to etcd, and what else begins with / to the server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upgrades)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = free()
    routes = [
        {"match": {"prefix": "/a.B"}, "route": {"cluster": "etcd"}},
        {"match": {"prefix": "/etcdserverpb.KV"}, "route": {"cluster": "etcd"}},
        {"match": {"prefix": "/gone.B"}, "route": {"cluster": "gone"}},
        {"match": {"prefix": "/refused.B"}, "direct_response": {"status": 403}},
        {"match": {"prefix": "/lost.B"}, "direct_response": {"status": 404}},
        {"match": {"prefix": "/"}, "route": {"cluster": "server"}},
    ]
    made = listener(port, [], {"routes": routes})
    manager = made["filter_chains"][0]["filters"][0]["typed_config"]
    manager["upgrade_configs"] = [{"upgrade_type": "websocket"}]
    clusters = [
        cluster("etcd", etcd, http2_protocol_options={}),
        cluster("gone", free(), http2_protocol_options={}),
        cluster("server", server.server_address[1]),
    ]
    with running(envoy, tmp_path_factory.mktemp("run"), [made], clusters):
        yield port
    server.shutdown()
    server.server_close()


def judged(folder: Path, gateway: int, kind: str, path: str, service: Object) -> Verdict:
    """Ask for one claim as an agent does, and judge what came."""
    services = {"other": {"versions": {"v1": IMAGE}, **service}}
    page = {"routes": {"/plain": "front", path: {"to": "other", "websocket": kind == "websocket"}}}
    plan = prove.plan(facts(folder, services=services, gateway={"ports": [gateway]}, **page))
    wanted = [item for item in plan["experiments"] if item["claim"].startswith(f"{kind}-")]
    job = {"experiments": wanted, "targets": {"gateway": "127.0.0.1"}, "seconds": 30, "patience": 5}
    seen = prove.observed([Agent(job).carry_out()], {})
    return next(each for each in prove.judge(plan, seen).verdicts if each.kind == kind)


@pytest.mark.parametrize(
    ("path", "state", "said"),
    [
        ("/a.B", "passed", "grpc-status 12"),
        ("/gone.B", "failed", "the gateway itself answers a call, with grpc-status 14"),
        ("/refused.B", "failed", "the gateway itself answers a call, with grpc-status 7"),
        # The status of a path that leads nowhere is that of a method that nobody has.
        ("/lost.B", "failed", "the gateway itself answers a call, with grpc-status 12"),
        ("/else", "failed", "which is no gRPC"),
    ],
)
def test_a_call_is_told_from_what_the_gateway_answers(
    gateway: int, tmp_path: Path, path: str, state: str, said: str
) -> None:
    found = judged(tmp_path, gateway, "grpc", path, {"protocol": "grpc"})
    assert (found.state, said in found.seen) == (state, True), found


@pytest.mark.parametrize(
    ("path", "state", "said"),
    [("/chat", "passed", "3 upgrades are answered 101"), ("/else", "failed", "is answered 404 instead of 101")],
)
def test_an_upgrade_is_seen(gateway: int, tmp_path: Path, path: str, state: str, said: str) -> None:
    found = judged(tmp_path, gateway, "websocket", path, {})
    assert (found.state, said in found.seen) == (state, True), found


def test_the_clients_of_the_live_tests_get_through(gateway: int, tmp_path: Path) -> None:
    def call(method: str, message: bytes) -> Any:
        return called(tmp_path, "127.0.0.1", "shop.local", f"etcdserverpb.KV/{method}", message, port=gateway)

    assert call("Put", field(1, b"who") + field(2, b"v1v1v1")).status == "0"
    assert b"v1v1v1" in call("Range", field(1, b"who")).message
    assert call("Range", b"").headers["grpc-message"].endswith("key is not provided")
    with WebSocket("127.0.0.1", "shop.local", "/chat", port=gateway) as made:
        assert made.status == 101
