"""Secrets that pods would wait for: made once, and as their controllers take them."""

from __future__ import annotations

import base64
import datetime as dt
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from slipway.parts.selfsigned import make_pair

from tests.support.api import ApiServer
from tests.support.plugins import load, run_action
from tests.unit.test_selfsigned import handshake

PLACE = "/api/v1/namespaces/metallb-system"
PATH = f"{PLACE}/secrets/metallb-webhook-cert"
BOTH = ["memberlist", "metallb-webhook-cert"]
MESH = "/api/v1/namespaces/istio-system"
NAME = "metallb-webhook-service.metallb-system.svc"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    started = ApiServer(tmp_path, monkeypatch)
    kinds = [
        {"name": "secrets", "kind": "Secret", "namespaced": True},
        {"name": "configmaps", "kind": "ConfigMap", "namespaced": True},
        {"name": "namespaces", "kind": "Namespace", "namespaced": False},
    ]
    started.put("/api/v1", {"resources": kinds})
    yield started
    started.stop()


def made(server: ApiServer, *, check: bool = False) -> list[str]:
    webhook = {"service": "metallb-webhook-service", "authority": "cert"}
    secrets = [
        {"name": "memberlist", "random": {"secretkey": 32}},
        {"name": "metallb-webhook-cert", "webhook": webhook},
    ]
    given = {"kubeconfig": str(server.kubeconfig), "namespace": "metallb-system", "secrets": secrets}
    result: dict[str, Any] = run_action(load("action", "first_secrets"), given, check=check)
    assert "PRIVATE KEY" not in str(result)
    assert result["changed"] is bool(result["made"])
    return list(result["made"])


def patches(server: ApiServer) -> list[str]:
    return [path for method, path, _ in server.asked if method == "PATCH"]


def test_they_are_made_once_with_their_namespace(server: ApiServer) -> None:
    assert made(server, check=True) == BOTH
    assert patches(server) == []
    assert made(server) == BOTH
    assert PLACE in server.objects
    assert sorted(server.objects[PATH]["data"]) == ["ca.crt", "ca.key", "tls.crt", "tls.key"]
    key = base64.b64decode(server.objects[f"{PLACE}/secrets/memberlist"]["data"]["secretkey"])
    assert len(key) == 32
    # Whoever applies the rest of the part does not own the values.
    assert {path.split("fieldManager=")[1].split("&")[0] for path in patches(server)} == {"slipway-first"}
    before = len(patches(server))
    assert made(server) == []
    assert len(patches(server)) == before


def test_a_secret_without_values_gets_them_and_another_stays(server: ApiServer) -> None:
    made(server)
    empty = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "metallb-webhook-cert"}}
    server.put(PATH, empty)
    assert made(server) == ["metallb-webhook-cert"]
    server.put(PATH, {**empty, "data": {"tls.crt": base64.b64encode(b"its own").decode()}})
    assert made(server) == []


def trusted(server: ApiServer) -> list[str]:
    mesh = {"root": "istio-ca-root-cert", "organization": "cluster.local", "unless": ["cacerts"]}
    given = {"namespace": "istio-system", "secrets": [{"name": "istio-ca-secret", "mesh": mesh}]}
    result = run_action(load("action", "first_secrets"), {"kubeconfig": str(server.kubeconfig), **given})
    return list(result["made"])


def test_proxies_trust_the_authority_that_istiod_finds(server: ApiServer) -> None:
    assert trusted(server) == ["istio-ca-secret"]
    secret = server.objects[f"{MESH}/secrets/istio-ca-secret"]
    root = server.objects[f"{MESH}/configmaps/istio-ca-root-cert"]["data"]["root-cert.pem"]
    certificate, key = (base64.b64decode(secret["data"][name]) for name in ("ca-cert.pem", "ca-key.pem"))
    assert (secret["type"], certificate.decode()) == ("istio.io/ca-root", root)
    read, private = x509.load_pem_x509_certificate(certificate), load_pem_private_key(key, None)
    read.verify_directly_issued_by(read)
    assert read.public_key() == private.public_key()
    assert read.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert trusted(server) == []


@pytest.mark.parametrize("there", ["secrets/cacerts", "configmaps/istio-ca-root-cert"])
def test_an_authority_of_somebodys_own_stays_the_only_one(server: ApiServer, there: str) -> None:
    metadata = {"name": there.split("/")[1], "namespace": "istio-system"}
    server.put(f"{MESH}/{there}", {"apiVersion": "v1", "metadata": metadata, "data": {"a": "Yg=="}})
    assert trusted(server) == []
    assert patches(server) == []


def test_it_is_as_the_controller_takes_it(tmp_path: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    pair = make_pair("cert", NAME, now)
    # cert-controller takes another form of key for none, and makes both anew.
    assert all(pair[key].startswith(b"-----BEGIN RSA PRIVATE KEY-----") for key in ("ca.key", "tls.key"))
    for certificate, name in (("ca.crt", "cert"), ("tls.crt", NAME)):
        read = x509.load_pem_x509_certificate(pair[certificate])
        names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [name]
        # Nearer to its end than this, the controller would make it anew.
        assert read.not_valid_after_utc > now + dt.timedelta(days=91)
    for key in ("tls.crt", "tls.key"):
        (tmp_path / key).write_bytes(pair[key])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    assert handshake(server, pair["ca.crt"], NAME) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, pair["ca.crt"], "another.metallb-system.svc")
