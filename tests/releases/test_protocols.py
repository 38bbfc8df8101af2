"""What is spoken beside plain requests, on a live cluster: WebSocket, gRPC, and a port without HTTP."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.support.breaks import are_named
from tests.support.mesh import gateway_address
from tests.support.protocols import Called, WebSocket, called, field
from tests.support.releases import Stage

PAGE = Path(__file__).parent / "pages/protocols.yml"
HOST, CALLS, WHERE = "protocols.local", "kv.protocols.local", "--namespace=protocols"
# Says what a port answers to a line, or how the connection ended.
LINE = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5) as wire:
        wire.sendall(b"hello\\n")
        print(wire.makefile().readline().strip() or "closed")
except OSError as exc:
    print("closed" if isinstance(exc, ConnectionError) else type(exc).__name__)
"""


def _written(stage: Stage, folder: Path, **keys: object) -> str:
    """Write the page for the etcd that this cluster has, with other keys."""
    page = yaml.safe_load(PAGE.read_text())
    etcd = stage.kube.bundle["images"]["etcd"]
    page["services"]["kv"]["image"] = f"{etcd['name']}:{etcd['tag']}"
    path = folder / "protocols.yml"
    path.write_text(yaml.safe_dump({**page, **keys}))
    return str(path)


def test_websocket_grpc_and_tcp_reach_what_the_page_says(empty: Stage, tmp_path: Path) -> None:
    page = _written(empty, tmp_path)
    try:
        empty.release(page, prove="always").expect()
        empty.passed("protocols")
        kinds = {"share", "sticky", "override", "chain", "websocket", "grpc", "access", "mtls"}
        assert empty.kinds("protocols", "passed") >= kinds
        assert empty.release(page, prove="never").expect().total("changed") == 0
        gateway = gateway_address(empty.kube)
        _grpc(gateway, tmp_path)
        _tcp(empty)
        are_named(empty, page)
        _websocket(empty, gateway, tmp_path)
    finally:
        empty.take_away((page,))


def _grpc(gateway: str, folder: Path) -> None:
    """Put a value into the etcd of each version, and find it there again, and nothing of it in the other."""

    def call(method: str, message: bytes, version: str = "", cookie: str = "") -> Called:
        said = {"x-version": version, "cookie": cookie}
        headers = {name: text for name, text in said.items() if text}
        return called(folder, gateway, CALLS, f"etcdserverpb.KV/{method}", message, headers=headers)

    for version in ("v1", "v2"):
        put = call("Put", field(1, b"who") + field(2, version.encode() * 3), version)
        assert put.status == "0", put
    for version, other in (("v1", "v2"), ("v2", "v1")) * 3:
        found = call("Range", field(1, b"who"), version)
        assert found.status == "0", found
        assert version.encode() * 3 in found.message
        assert other.encode() * 3 not in found.message
    # Who says no version is told one by a cookie, as others are, and stays with it by sending that.
    new = call("Range", field(1, b"who"))
    cookie = new.headers["set-cookie"].partition(";")[0]
    version = cookie.partition("=")[2]
    for _ in range(10):
        assert version.encode() * 3 in call("Range", field(1, b"who"), cookie=cookie).message
    # An error of the service comes as its status, with its words.
    wrong = call("Range", b"")
    assert (wrong.status, wrong.message) == ("3", b""), wrong
    assert "key is not provided" in wrong.headers["grpc-message"]


def _tcp(stage: Stage) -> None:
    """Reach the port as who may call, and as nobody else."""
    kube = stage.kube

    def line(pod: str) -> str:
        inside = ("exec", WHERE, f"deployment/{pod}", f"--container={pod.partition('-')[0]}", "--")
        return kube.text(*inside, "/usr/bin/python3.11", "-c", LINE, "back", "9001").strip()

    assert [line(pod) for pod in ("front-v1", "front-v2")] == ["back heard hello"] * 2
    # The back itself is none of those whose calls name it.
    assert line("back-v1") == "closed"


def _websocket(stage: Stage, gateway: str, folder: Path) -> None:
    """Hold a connection to each version while the weights change, and see new ones go by cookie and weights."""
    with (
        WebSocket(gateway, HOST, x_version="v1") as first,
        WebSocket(gateway, HOST, x_version="v2") as second,
        WebSocket(gateway, HOST) as new,
    ):
        assert [first.said(text) for text in ("a", "b")] == ["v1 1 a", "v1 2 b"]
        assert [second.said(text) for text in ("a", "b")] == ["v2 1 a", "v2 2 b"]
        cookie = new.headers["set-cookie"].partition(";")[0]
        version = cookie.partition("=")[2]
        assert new.said("x") == f"{version} 1 x"
        for _ in range(5):
            with WebSocket(gateway, HOST, Cookie=cookie) as again:
                assert again.said("y") == f"{version} 1 y"
        changed = _written(stage, folder, weights={"v1": 0, "v2": 100})
        stage.release(changed, prove="during").expect()
        # Who is there stays, though nobody new gets the version.
        assert first.said("c") == "v1 3 c"
        assert second.said("c") == "v2 3 c"
        for _ in range(10):
            with WebSocket(gateway, HOST, Cookie="protocols-version=v1") as moved:
                assert moved.said("z") == "v2 1 z"
