"""What plain Envoy counts of requests: what whoever asked got, in the artifact's own Envoy, whoever answered."""

from __future__ import annotations

import http.client
import http.server
import re
import socket
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.envoy import ROUTER, free, listener, running
from tests.support.istio import rendered

Object = dict[str, Any]
HOST = "web.shop.svc.cluster.local"
TYPES = "type.googleapis.com/envoy.extensions.filters.http"
FAULT = f"{TYPES}.fault.v3.HTTPFault"
GRPC = {"content-type": "application/grpc"}


class Service(http.server.BaseHTTPRequestHandler):
    """Answers 200; /slow not in time, /again fails every other time, a call of gRPC with the status in its path."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        if self.path.startswith("/slow"):
            threading.Event().wait(0.5)
        if self.path.startswith("/stream"):
            self.send_response(200)
            self.send_header("content-type", GRPC["content-type"])
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"1\r\nx\r\n")
            self.wfile.flush()
            threading.Event().wait(3)
            return
        status = 503 if self.path.startswith("/again") and type(self).asked % 2 else 200
        self.send_response(status)
        if self.headers.get("content-type") == GRPC["content-type"]:
            self.send_header("content-type", GRPC["content-type"])
            self.send_header("grpc-status", self.path.rpartition("/")[2])
        self.send_header("content-length", "0")
        self.end_headers()

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A proxy that gave up is part of the test."""


def cluster(version: str, port: int | None) -> Object:
    name = f"outbound|80|{version}|{HOST}"
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    ends = [{"endpoint": {"address": address}}] if port else []
    load = {"cluster_name": name, "endpoints": [{"lb_endpoints": ends}]}
    # As istiod names them for statistics.
    return {"name": name, "alt_stat_name": f"{name};", "type": "STATIC", "load_assignment": load}


def route(path: str, version: str, **more: Any) -> Object:
    action = {"cluster": f"outbound|80|{version}|{HOST}", **more.pop("action", {})}
    return {"name": f"shop/shop:web:{path}:weights", "match": {"prefix": path}, "route": action, **more}


def abort(path: str) -> Object:
    faults = {"abort": {"http_status": 503, "percentage": {"numerator": 100}}}
    parts = [{"name": f"outbound|80|v{n}|{HOST}", "weight": 50} for n in (1, 2)]
    made = route(path, "v1", typed_per_filter_config={"envoy.filters.http.fault": {"@type": FAULT, **faults}})
    return {**made, "route": {"weighted_clusters": {"clusters": parts}}}


def counting() -> Object:
    """What role istio adds to the gateway's connection manager."""
    made = rendered("mesh.yml.j2", istio_proxy_plain=True)
    (found,) = (item for item in made if item["metadata"]["name"] == "slipway-requests")
    patch: Object = found["spec"]["configPatches"][0]["patch"]["value"]["typed_config"]
    return patch


@pytest.fixture(scope="module")
def proxy(envoy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """The ports of a gateway and of its administration interface."""
    service = Server(("127.0.0.1", 0), Service)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    routes = [
        abort("/abort"),
        route("/nobody", "nobody"),
        route("/refused", "refused"),
        route("/gone", "gone"),
        route("/slow", "v1", action={"timeout": "0.2s"}),
        route("/again", "v1", action={"retry_policy": {"retry_on": "gateway-error", "num_retries": 2}}),
        {"name": "shop/shop:web:shadow:x:v3", "match": {"prefix": "/no"}, "direct_response": {"status": 403}},
        route("/", "v1"),
    ]
    port, nobody = free(), free()
    virtual = {"routes": routes, "domains": ["shop.local"]}
    made = listener(port, [{"name": "envoy.filters.http.fault", "typed_config": {"@type": FAULT}}], virtual)
    manager = made["filter_chains"][0]["filters"][0]["typed_config"]
    assert manager["http_filters"][-1] == ROUTER
    manager |= {key: value for key, value in counting().items() if key != "@type"}
    manager["route_config"]["validate_clusters"] = False
    known = service.server_address[1]
    clusters = [cluster("v1", known), cluster("v2", known), cluster("nobody", None), cluster("refused", nobody)]
    with running(envoy, tmp_path_factory.mktemp("run"), [made], clusters) as admin:
        yield port, admin
    service.shutdown()
    service.server_close()


def ask(port: int, path: str, headers: dict[str, str] | None = None) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        sent = {"Host": "shop.local", **(headers or {})}
        connection.request("POST" if "content-type" in sent else "GET", path, headers=sent)
        answer = connection.getresponse()
        answer.read()
        return answer.status


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def left(port: int, path: str) -> None:
    """Begin a call of gRPC over HTTP/2, and leave it once its answer has begun."""
    sent = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "shop.local", **GRPC}
    words = ((name.encode(), value.encode()) for name, value in sent.items())
    packed = b"".join(bytes([0, len(name)]) + name + bytes([len(value)]) + value for name, value in words)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 5, 1, packed))
        heard, read = set[tuple[int, int]](), b""
        while (0, 1) not in heard:
            read += connection.recv(65536)
            while len(read) >= 9 and len(read) >= 9 + int.from_bytes(read[:3], "big"):
                heard.add((read[3], int.from_bytes(read[5:9], "big")))
                read = read[9 + int.from_bytes(read[:3], "big") :]
        connection.sendall(frame(3, 0, 1, (8).to_bytes(4, "big")))
        # So that the proxy reads that before the connection ends.
        time.sleep(0.3)


def counts(admin: int, name: str) -> Counter[tuple[str, ...]]:
    """Read a counter by the values of its labels."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{admin}/stats/prometheus", timeout=5) as answer:
        text = answer.read().decode()
    found = re.findall(rf"^{name}\{{(.*)\}} (\d+)", text, re.M)
    return Counter({tuple(re.findall(r'="([^"]*)"', labels)): int(value) for labels, value in found})


def counted(proxy: tuple[int, int], name: str, *asked: tuple[str, dict[str, str] | None]) -> Counter[tuple[str, ...]]:
    port, admin = proxy
    before = counts(admin, name)
    for path, headers in asked:
        ask(port, path, headers)
    return counts(admin, name) - before


def named(version: str) -> str:
    return f"outbound|80|{version}|{HOST}"


@pytest.mark.parametrize(
    ("path", "headers", "version", "code", "status", "flags"),
    [
        ("/", None, "v1", "200", "", "-"),
        ("/nobody", None, "nobody", "503", "", "UH"),
        ("/refused", None, "refused", "503", "", "UF"),
        ("/slow", None, "v1", "504", "", "UT"),
        ("/a.B/0", GRPC, "v1", "200", "0", "-"),
        ("/a.B/14", GRPC, "v1", "200", "14", "-"),
        ("/a.B/13", GRPC, "v1", "200", "13", "-"),
        ("/nobody", GRPC, "nobody", "200", "14", "UH"),
    ],
)
def test_an_answer_is_counted_for_whom_it_was_asked_whoever_gave_it(
    proxy: tuple[int, int],
    path: str,
    headers: dict[str, str] | None,
    version: str,
    code: str,
    status: str,
    flags: str,
) -> None:
    seen = counted(proxy, "envoy_slipway_requests", (path, headers))
    assert seen == Counter({(named(version), code, status, flags): 1})


def test_who_leaves_is_told_from_a_call_that_failed(proxy: tuple[int, int]) -> None:
    port, admin = proxy
    before = counts(admin, "envoy_slipway_requests")
    left(port, "/stream")
    ((labels, count),) = (counts(admin, "envoy_slipway_requests") - before).items()
    # Envoy makes the status up: it never came.
    assert (labels[:3], count) == ((named("v1"), "200", "2"), 1)
    assert labels[3] in ("DC", "DR")


def test_a_fault_is_counted_for_the_version_that_was_picked(proxy: tuple[int, int]) -> None:
    seen = counted(proxy, "envoy_slipway_requests", *[("/abort", None)] * 40)
    assert set(seen) == {(named("v1"), "503", "", "FI"), (named("v2"), "503", "", "FI")}
    assert seen.total() == 40


def test_what_was_tried_again_is_counted_as_it_ended(proxy: tuple[int, int]) -> None:
    seen = counted(proxy, "envoy_slipway_requests", *[("/again", None)] * 6)
    assert seen == Counter({(named("v1"), "200", "", "-"): 6})


@pytest.mark.parametrize(("headers", "code", "status"), [(None, "503", ""), (GRPC, "200", "14")])
def test_a_rule_that_leads_nowhere_is_counted_by_its_name_and_no_other(
    proxy: tuple[int, int], headers: dict[str, str] | None, code: str, status: str
) -> None:
    seen = counted(proxy, "envoy_slipway_unrouted", ("/gone", headers), ("/no", None), ("/", None))
    assert seen == Counter({("shop/shop:web:/gone:weights", code, status): 1})


def test_the_time_of_a_request_is_what_whoever_asked_waited(proxy: tuple[int, int]) -> None:
    port, admin = proxy
    name, slow = "envoy_slipway_request_time_bucket", Counter[tuple[str, ...]]()
    before = counts(admin, name)
    ask(port, "/slow")
    until = time.monotonic() + 15
    # Envoy puts the times of its threads together every five seconds.
    while not slow and time.monotonic() < until:
        time.sleep(0.2)
        slow = counts(admin, name) - before
    assert slow[named("v1"), "250"] - slow[named("v1"), "100"] >= 1
