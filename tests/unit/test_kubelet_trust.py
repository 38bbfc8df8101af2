"""A kubelet while the CAs are replaced: whom it believes, how it gets other certificates, and the files of its pods."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from pathlib import Path

import pytest
from slipway.node import kubelet_trust
from slipway.node.kubelet_trust import BOOTSTRAP, CA, CLIENT, CONFIG, OLD, OWN, PODS, SERVER
from slipway.node.trust import blocks, key_id, trusted, vouches

from tests.support import authorities as made
from tests.support.authorities import authorities, pair, signed
from tests.unit.test_trust import kubeconfig, token

FIRST, SECOND = authorities("old"), authorities("new")
BEFORE, AFTER = FIRST["pki/ca.crt"], SECOND["pki/ca.crt"]
KEYS = [key_id(blocks(one["pki/sa.pub"])[0]) for one in (FIRST, SECOND)]


class Node:
    """Files of a machine."""

    def __init__(self, root: Path) -> None:
        self.root, self.text = root, str(root)
        self.write(CONFIG, kubeconfig(BEFORE))
        self.write(CA, BEFORE)
        self.write(OWN, "serverTLSBootstrap: true\n")
        self.link(CLIENT, "kubelet-client-1.pem", "old", made.CLIENT)
        self.link(SERVER, "kubelet-server-1.pem", "old", made.SERVER)

    def path(self, name: str) -> Path:
        return Path(f"{self.root}{name}")

    def write(self, name: str, text: str) -> Path:
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).write_text(text)
        return self.path(name)

    def link(self, name: str, file: str, which: str, usage: made.Usage) -> None:
        """As the kubelet keeps its certificates."""
        own = signed("system:node:a", pair(which, "kubernetes"), usage)
        there = self.write(f"{kubelet_trust.PKI}/{file}", own.crt + own.key)
        if self.path(name).is_symlink():
            self.path(name).unlink()
        self.path(name).symlink_to(there)

    def pod(self, uid: str, ca: str = "", text: str = "", volume: str = "kube-api-access-x") -> None:
        """As the kubelet writes volumes: a folder with a time, and links."""
        folder = f"{PODS}/{uid}/volumes/kubernetes.io~projected/{volume}"
        for name, content in (("ca.crt", ca), ("token", text), ("namespace", "shop")):
            self.write(f"{folder}/..2026/{name}", content)
            link = self.path(f"{folder}/{name}")
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")
        data = self.path(f"{folder}/..data")
        if not data.is_symlink():
            data.symlink_to("..2026")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_it_believes_both_and_a_second_time_is_no_change(node: Node) -> None:
    both = BEFORE + AFTER
    assert kubelet_trust.believe(both, node.text)
    assert trusted(node.path(CONFIG).read_text()) == blocks(both)
    assert node.path(CA).read_text() == both
    assert node.path(CA).stat().st_mode & 0o777 == 0o644
    assert node.path(CONFIG).stat().st_mode & 0o777 == 0o600
    assert not kubelet_trust.believe(both, node.text)
    # While both are accepted, nothing is taken away.
    assert kubelet_trust.renew(both, node.text) == []


def test_certificates_of_another_ca_are_taken_away_and_it_asks_with_its_own_old_one(node: Node) -> None:
    both = AFTER + BEFORE
    old = node.path(CLIENT).read_text()
    kubelet_trust.believe(both, node.text)
    assert kubelet_trust.renew(both, node.text) == ["kubelet-client-current.pem", "kubelet-server-current.pem"]
    assert sorted(os.listdir(node.path(kubelet_trust.PKI))) == ["slipway-old-client.pem"]
    assert node.path(OLD).read_text() == old
    assert node.path(OLD).stat().st_mode & 0o777 == 0o600
    asks = node.path(BOOTSTRAP).read_text()
    assert trusted(asks) == blocks(both)
    assert f"client-certificate: {OLD}" in asks
    assert "server: https://192.0.2.1:6443" in asks
    assert kubelet_trust.asked(node.text)
    # Cut off here, the next run takes nothing more, and knows that it was to ask.
    assert kubelet_trust.renew(both, node.text) == []
    assert kubelet_trust.trouble(both, "127.0.0.1", node.text) == "the kubelet has no certificate of the new CA yet"
    kubelet_trust.settle(node.text)
    assert not node.path(BOOTSTRAP).exists()
    assert not kubelet_trust.asked(node.text)


@pytest.mark.parametrize("cut", [OLD, BOOTSTRAP])
def test_one_that_was_cut_off_before_it_took_anything_begins_anew(node: Node, cut: str) -> None:
    both = AFTER + BEFORE
    node.write(cut, kubeconfig(BEFORE))
    assert kubelet_trust.believe(both, node.text)
    assert "kubelet-client-current.pem" in kubelet_trust.renew(both, node.text)
    assert vouches(BEFORE, str(node.path(OLD)))
    assert trusted(node.path(BOOTSTRAP).read_text()) == blocks(both)


def test_a_kubelet_that_signs_its_own_serving_certificate_keeps_it(node: Node) -> None:
    node.path(SERVER).unlink()
    node.write(OWN, "serverTLSBootstrap: false\n")
    node.link(CLIENT, "kubelet-client-2.pem", "new", made.CLIENT)
    assert kubelet_trust.renew(AFTER + BEFORE, node.text) == []
    assert kubelet_trust.trouble(AFTER + BEFORE, "127.0.0.1", node.text) == ""
    node.write(OWN, "serverTLSBootstrap: true\n")
    assert "no certificate to serve with yet" in kubelet_trust.trouble(AFTER + BEFORE, "127.0.0.1", node.text)


@pytest.mark.parametrize(("shown", "said"), [("new", ""), ("old", "does not serve with a certificate of the new CA")])
def test_it_is_well_when_it_serves_with_the_new_one(
    node: Node, monkeypatch: pytest.MonkeyPatch, shown: str, said: str
) -> None:
    node.link(CLIENT, "kubelet-client-2.pem", "new", made.CLIENT)
    node.link(SERVER, "kubelet-server-2.pem", shown, made.SERVER)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(node.path(SERVER))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setattr(kubelet_trust, "PORT", listening.getsockname()[1])

        def serve() -> None:
            line, _ = listening.accept()
            try:
                context.wrap_socket(line, server_side=True).close()
            except OSError:
                line.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert said in kubelet_trust.trouble(AFTER + BEFORE, "127.0.0.1", node.text)
        thread.join(5)


def test_pods_whose_files_are_old_are_named(node: Node) -> None:
    both = BEFORE + AFTER
    node.pod("1", BEFORE, token(KEYS[0]))
    node.pod("2", both, token(KEYS[0]))
    node.pod("3", AFTER + BEFORE, token(KEYS[1]))
    # Of a mesh, and of nobody.
    node.pod("4", authorities("mesh")["pki/ca.crt"], "no token")
    node.write("/var/log/pods/shop_web-x_1/x", "")
    assert kubelet_trust.behind(both, root=node.text) == ["shop/web-x"]
    assert kubelet_trust.behind(both, KEYS[1], node.text) == ["2", "shop/web-x"]
    # With the last step the old one has to be gone.
    assert kubelet_trust.behind(AFTER, root=node.text) == ["2", "3"]
    node.pod("1", both, token(KEYS[1]))
    node.pod("2", both, token(KEYS[1]))
    assert kubelet_trust.behind(both, KEYS[1], node.text) == []


def test_a_token_for_another_audience_counts(node: Node) -> None:
    node.pod("1", BEFORE + AFTER, token(KEYS[1]))
    node.pod("1", "", token(KEYS[0]), volume="istio-token")
    assert kubelet_trust.behind(BEFORE + AFTER, KEYS[1], node.text) == ["1"]


def test_a_node_without_pods_has_none_behind(tmp_path: Path) -> None:
    assert kubelet_trust.behind(BEFORE, KEYS[0], str(tmp_path)) == []
