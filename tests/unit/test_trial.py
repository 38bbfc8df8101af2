"""What a step of a rotation is for is seen by asking servers: here on loopback, and they believe what they are told."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slipway.node import trial
from slipway.node.etcd import Etcd
from slipway.node.kubeapi import Api, ApiError
from slipway.node.trust import blocks, key_id, trusting

from tests.support.authorities import CLIENT, SERVER, authorities, pair, signed
from tests.unit.test_trust import kubeconfig, token

OLD, NEW = authorities("old"), authorities("new")
KEYS = {which: key_id(blocks(authorities(which)["pki/sa.pub"])[0]) for which in ("old", "new")}
HERE = "127.0.0.1"


class Server:
    """An API server and an etcd in one: two ports, each with what it shows and whom it believes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.keys = [KEYS["old"]]
        self.signs = KEYS["old"]
        # Whether it takes a proxy's word for who asks.
        self.heeds = True
        self.servers: dict[str, http.server.ThreadingHTTPServer] = {}

    def start(self, name: str, shown: str, believed: list[str]) -> int:
        kind, proxy = ("kubernetes", "front-proxy-ca") if name == "api" else ("etcd-ca", "etcd-ca")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own = signed(name, pair(shown, kind), SERVER)
        file = self.root / f"{name}.pem"
        file.write_text(own.crt + own.key)
        context.load_cert_chain(file)
        context.verify_mode = ssl.CERT_REQUIRED
        for which in believed:
            for each in {kind, proxy}:
                context.load_verify_locations(cadata=pair(which, each).crt)
        outer = self

        class Answers(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        listening = http.server.ThreadingHTTPServer((HERE, 0), Answers)
        listening.handle_error = lambda *_: None  # type: ignore[method-assign]
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        self.servers[name] = listening
        return listening.server_port

    def answer(self, asked: http.server.BaseHTTPRequestHandler) -> None:
        asked.rfile.read(int(asked.headers.get("Content-Length") or 0))
        name = asked.headers.get("X-Remote-User", "admin") if self.heeds else "nobody"
        found: dict[str, tuple[int, Any]] = {
            "/api/v1/nodes?limit=1": (200, {"items": []}),
            "/openid/v1/jwks": (200, {"keys": [{"kid": key} for key in self.keys]}),
            "/health": (200, {"health": "true"}),
            "/apis/authentication.k8s.io/v1/selfsubjectreviews": (201, {"status": {"userInfo": {"username": name}}}),
            "/api/v1/namespaces/kube-system/serviceaccounts/default/token": (
                201,
                {"status": {"token": token(self.signs)}},
            ),
        }
        status, body = found.get(asked.path, (404, {"message": "not found"}))
        if asked.path == "/openid/v1/jwks" and "*/*" not in asked.headers.get("Accept", "*/*"):
            # It is of a type of its own (application/jwk-set+json), and no other one is given.
            status, body = 406, {}
        text = json.dumps(body).encode()
        asked.send_response(status)
        asked.send_header("Content-Length", str(len(text)))
        asked.end_headers()
        asked.wfile.write(text)


class Place:
    """Files of a controller, and those of a trial that kubeadm has made."""

    def __init__(self, server: Server, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server, self.root, self.patch = server, root, monkeypatch
        monkeypatch.setattr(trial, "FOLDER", str(root / "kubernetes"))
        monkeypatch.setattr(trial, "PLACE", str(root / "trial"))

    def serve(self, shown: str, *believed: str, etcd: str = "", etcd_believes: tuple[str, ...] = ()) -> None:
        self.patch.setattr(trial, "PORT", self.server.start("api", shown, list(believed)))
        port = self.server.start("etcd", etcd or shown, list(etcd_believes or believed))
        self.patch.setattr(trial, "Etcd", lambda pki: Etcd(pki, f"{HERE}:{port}"))

    def lay(self) -> None:
        """As the module does, and kubeadm after it."""
        trial.lay(NEW, OLD, str(self.root / "trial"))
        admin = signed("admin", pair("new", "kubernetes"), CLIENT)
        (self.root / "trial/admin.conf").write_text(kubeconfig(NEW["pki/ca.crt"], admin))
        for name, ca in (("front-proxy-client", "front-proxy-ca"), ("etcd/healthcheck-client", "etcd-ca")):
            own = signed(name, pair("new", ca), CLIENT)
            (self.root / f"trial/{name}.crt").write_text(own.crt)
            (self.root / f"trial/{name}.key").write_text(own.key)

    def controller(self, signs: str, trusts: str) -> None:
        folder = self.root / "kubernetes"
        (folder / "pki/etcd").mkdir(parents=True)
        admin = signed("admin", pair(signs, "kubernetes"), CLIENT)
        (folder / "admin.conf").write_text(trusting(kubeconfig(trusts, admin), trusts))
        own = signed("health", pair(signs, "etcd-ca"), CLIENT)
        (folder / "pki/etcd/healthcheck-client.crt").write_text(own.crt)
        (folder / "pki/etcd/healthcheck-client.key").write_text(own.key)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    server = Server(tmp_path)
    yield Place(server, tmp_path, monkeypatch)
    for each in server.servers.values():
        each.shutdown()
        each.server_close()


def test_a_controller_that_accepts_both_is_seen_to(place: Place) -> None:
    place.serve("old", "old", "new")
    place.lay()
    place.controller("old", OLD["pki/ca.crt"] + NEW["pki/ca.crt"])
    place.server.keys = [KEYS["old"], KEYS["new"]]
    assert trial.accepted(HERE, NEW, trial.PLACE) == ""
    place.server.keys = [KEYS["old"]]
    assert "does not know the new key of service accounts" in trial.accepted(HERE, NEW, trial.PLACE)


def test_a_proxy_that_is_not_believed_is_seen(place: Place) -> None:
    place.serve("old", "old", "new")
    place.lay()
    place.controller("old", OLD["pki/ca.crt"] + NEW["pki/ca.crt"])
    place.server.keys, place.server.heeds = [KEYS["old"], KEYS["new"]], False
    assert trial.accepted(HERE, NEW, trial.PLACE).endswith("a proxy of its new CA says for nobody")


@pytest.mark.parametrize(
    ("believed", "etcd", "said"),
    [
        (("old",), ("old", "new"), "is refused"),
        (("old", "new"), ("old",), "etcd does not answer a client of its new CA"),
    ],
)
def test_a_controller_that_does_not_is_seen_too(
    place: Place, believed: tuple[str, ...], etcd: tuple[str, ...], said: str
) -> None:
    place.serve("old", *believed, etcd_believes=etcd)
    place.lay()
    place.controller("old", OLD["pki/ca.crt"] + NEW["pki/ca.crt"])
    place.server.keys = [KEYS["old"], KEYS["new"]]
    assert said in trial.accepted(HERE, NEW, trial.PLACE)


@pytest.mark.parametrize(
    ("shown", "etcd", "signs", "said"),
    [
        ("new", "new", "new", ""),
        ("old", "new", "new", "is not served"),
        ("new", "old", "new", "etcd does not serve with a certificate of its new CA"),
        ("new", "new", "old", "a token of a service account is not signed with the new key"),
    ],
)
def test_what_is_not_signed_by_the_new_ones_is_named(
    place: Place, shown: str, etcd: str, signs: str, said: str
) -> None:
    place.serve(shown, "old", "new", etcd=etcd)
    place.controller("new", NEW["pki/ca.crt"] + OLD["pki/ca.crt"])
    place.server.signs = KEYS[signs]
    found = trial.issued(HERE, NEW)
    assert found == "" if not said else said in found


def test_with_the_last_step_an_old_key_is_not_known(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "manager_is_well", lambda _step: "")
    place.serve("new", "new")
    place.controller("new", NEW["pki/ca.crt"])
    place.server.signs, place.server.keys = KEYS["new"], [KEYS["new"], KEYS["old"]]
    assert trial.seen("issue", HERE, NEW) == ""
    assert trial.seen("drop", HERE, NEW) == "the API server knows an old key of service accounts"
    place.server.keys = [KEYS["new"]]
    assert trial.seen("drop", HERE, NEW) == ""


def test_the_manager_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "manager_is_well", lambda step: f"not after {step}")
    assert trial.seen("accept", HERE, NEW) == "not after accept"
    monkeypatch.undo()
    monkeypatch.setattr(trial, "processes", dict)
    assert trial.manager_is_well("accept") == "kube-controller-manager does not run"
    # This very process has none of its arguments.
    monkeypatch.setattr(trial, "processes", lambda: {"kube-controller-manager": "self"})
    assert "does not sign with /etc/kubernetes/pki/signing.crt yet" in trial.manager_is_well("issue")
    assert "does not sign with /etc/kubernetes/pki/ca.crt yet" in trial.manager_is_well("drop")


@pytest.mark.parametrize("stored", ["a: 1\ncertificatesDir: /etc/kubernetes/pki\nb: 2\n", "a: 1\nb: 2"])
def test_kubeadm_makes_them_in_another_folder_as_the_cluster_has_it(stored: str) -> None:
    text = trial.configuration(stored, "/run/x", "192.0.2.1")
    first, second = text.split("---\n")
    assert "advertiseAddress: 192.0.2.1" in first
    assert second.count("certificatesDir:") == 1
    assert {"a: 1", "b: 2", "certificatesDir: /run/x"} == set(second.splitlines())


def test_a_cluster_without_kubeadms_configuration_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Api, "__init__", lambda *_, **__: None)
    monkeypatch.setattr(Api, "request", lambda *_: (404, {"message": "not found"}))
    with pytest.raises(ApiError, match="kubeadm-config is answered with 404: not found"):
        trial.stored(Api(""))
    monkeypatch.setattr(Api, "request", lambda *_: (200, {"data": {"ClusterConfiguration": "a: 1"}}))
    assert trial.stored(Api("")) == "a: 1"
