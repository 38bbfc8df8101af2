"""Which serving certificates are approved: those that the kubelets of our machines ask for themselves, no others."""

from __future__ import annotations

import base64
import ipaddress
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from slipway.node import kubelet_serving as serving
from slipway.node.kubeapi import ApiError

NODES = {"node-1": "192.0.2.101", "node-2": "192.0.2.102"}
KEY = ec.generate_private_key(ec.SECP256R1())
USER = "system:node:node-1"
NAMES: list[x509.GeneralName] = [x509.DNSName("node-1"), x509.IPAddress(ipaddress.ip_address("192.0.2.101"))]
SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


def pem(
    subject: list[tuple[x509.ObjectIdentifier, str]] | None = None,
    names: list[x509.GeneralName] | None = None,
    *others: x509.ExtensionType,
) -> bytes:
    """Make a request; without arguments the one of node-1's kubelet."""
    parts = subject or [(NameOID.ORGANIZATION_NAME, "system:nodes"), (NameOID.COMMON_NAME, USER)]
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(kind, text) for kind, text in parts])
    )
    names = NAMES if names is None else names
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for extension in others:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def wrapped(der: bytes) -> bytes:
    """Write DER as PEM, whatever it holds."""
    text = base64.b64encode(der).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n".encode()


def asked(pem_text: bytes | None = None, **spec: Any) -> dict[str, Any]:
    """Make the object; without arguments the one of node-1's kubelet."""
    return {
        "metadata": {"name": "csr-1"},
        "spec": {
            "signerName": "kubernetes.io/kubelet-serving",
            "username": USER,
            "groups": ["system:nodes", "system:authenticated"],
            "usages": ["digital signature", "server auth"],
            "request": base64.b64encode(pem_text or pem()).decode(),
            **spec,
        },
        "status": {},
    }


@pytest.mark.parametrize(
    "request_",
    [
        asked(),
        asked(usages=["key encipherment", "digital signature", "server auth"]),
        asked(pem(names=NAMES[::-1])),
        asked(pem([(NameOID.COMMON_NAME, USER), (NameOID.ORGANIZATION_NAME, "system:nodes")])),
    ],
)
def test_a_kubelet_gets_what_is_its_own(request_: dict[str, Any]) -> None:
    assert serving.refusal(request_, NODES) == ""


def test_bytes_that_nobody_expects_end_nothing() -> None:
    der = x509.load_pem_x509_csr(pem()).public_bytes(serialization.Encoding.DER)
    for at in range(len(der)):
        for value in (0, 1, 0x7F, 0xFF):
            changed = wrapped(der[:at] + bytes([value]) + der[at + 1 :])
            # Some bytes say the same another way; what is asked for is the same then.
            if not serving.refusal(asked(changed), NODES):
                assert serving.read_request(changed.decode()) == serving.read_request(pem().decode())


def ip(text: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (asked(signerName="kubernetes.io/kube-apiserver-client"), "signer 'kubernetes.io/kube-apiserver-client'"),
        (asked(username="admin"), "'admin' is no kubelet"),
        (asked(username="system:serviceaccount:kube-system:x"), "is no kubelet"),
        (asked(groups=["system:authenticated"]), "is no kubelet"),
        (asked(username="system:node:node-9"), "'node-9' is no machine of the inventory"),
        (asked(username="system:node:"), "'' is no machine of the inventory"),
        # What it asks for has to be for its own name, whoever it says it is.
        (asked(username="system:node:node-2"), "its subject is ('system:node:node-1',)"),
        (asked(usages=["digital signature", "client auth"]), "its usages are 'client auth, digital signature'"),
        (asked(usages=["digital signature", "server auth", "client auth"]), "its usages are"),
        (asked(usages=["server auth"]), "its usages are"),
        (asked(usages=[]), "its usages are"),
        (asked(pem([(NameOID.COMMON_NAME, USER)])), "its subject is"),
        (asked(pem([(NameOID.ORGANIZATION_NAME, "system:masters"), (NameOID.COMMON_NAME, USER)])), "its subject is"),
        (
            asked(
                pem(
                    [
                        (NameOID.ORGANIZATION_NAME, "system:nodes"),
                        (NameOID.ORGANIZATION_NAME, "system:masters"),
                        (NameOID.COMMON_NAME, USER),
                    ]
                )
            ),
            "its subject is",
        ),
        (
            asked(
                pem(
                    [
                        (NameOID.ORGANIZATION_NAME, "system:nodes"),
                        (NameOID.COMMON_NAME, USER),
                        (NameOID.COMMON_NAME, "kubernetes"),
                    ]
                )
            ),
            "its subject is",
        ),
        (
            asked(
                pem(
                    [
                        (NameOID.ORGANIZATION_NAME, "system:nodes"),
                        (NameOID.COMMON_NAME, USER),
                        (NameOID.LOCALITY_NAME, "here"),
                    ]
                )
            ),
            "more than a name and an organization (2.5.4.7)",
        ),
        # Names: all of its own, and nothing else.
        (asked(pem(names=[])), "it asks for ''"),
        (asked(pem(names=NAMES[:1])), "it asks for 'node-1', and the node is node-1 at 192.0.2.101"),
        (asked(pem(names=NAMES[1:])), "it asks for '192.0.2.101'"),
        (asked(pem(names=[*NAMES, x509.DNSName("kubernetes.default")])), "node-1, kubernetes.default, 192.0.2.101"),
        (asked(pem(names=[*NAMES, ip("192.0.2.100")])), "it asks for 'node-1, 192.0.2.101, 192.0.2.100'"),
        (asked(pem(names=[NAMES[0], ip("192.0.2.102")])), "it asks for 'node-1, 192.0.2.102'"),
        (asked(pem(names=[NAMES[0], ip("::1")])), "it asks for 'node-1, ::1'"),
        (asked(pem(names=[x509.DNSName("*"), NAMES[1]])), "it asks for '*, 192.0.2.101'"),
        (
            asked(pem(names=[*NAMES, x509.UniformResourceIdentifier("spiffe://cluster.local/ns/a")])),
            "neither DNS name nor address (UniformResourceIdentifier)",
        ),
        (asked(pem(names=[*NAMES, x509.RFC822Name("a@example.org")])), "neither DNS name nor address (RFC822Name)"),
        (asked(pem(None, None, SERVER)), "an extension besides names (2.5.29.37)"),
        (
            asked(pem(None, None, x509.BasicConstraints(ca=True, path_length=None))),
            "an extension besides names (2.5.29.19)",
        ),
        # Nonsense.
        (asked(b"nothing"), "is no PEM of a certificate request"),
        (asked(pem() + pem()), "is no PEM of a certificate request"),
        (asked(request="%%%"), "its request"),
        (asked(request=None), "its request"),
        ({"metadata": {"name": "csr-1"}}, "it is for the signer None"),
    ],
)
def test_all_else_is_refused_with_its_reason(request_: dict[str, Any], reason: str) -> None:
    if request_.get("spec", {}).get("request", "") is None:
        del request_["spec"]["request"]
    assert reason in serving.refusal(request_, NODES)


def test_no_part_of_a_request_can_be_left_out_or_changed_unnoticed() -> None:
    """Whatever a cut does, it is a reason or no request of node-1: never an exception, never an approval of another."""
    whole = x509.load_pem_x509_csr(pem()).public_bytes(serialization.Encoding.DER)
    for end in range(len(whole)):
        assert serving.refusal(asked(wrapped(whole[:end])), NODES) != "", end
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 0xFF
        outcome = serving.refusal(asked(wrapped(bytes(changed))), NODES)
        # The key and the signature are the API server's to check.
        assert outcome or bytes(changed).count(b"node-1") == 2, at


@pytest.mark.parametrize(
    ("status", "pending"),
    [
        (None, True),
        ({}, True),
        ({"conditions": None}, True),
        ({"conditions": [{"type": "Approved"}]}, False),
        ({"conditions": [{"type": "Denied"}]}, False),
        ({"conditions": [{"type": "Failed"}]}, False),
        ({"certificate": "LS0t"}, False),
    ],
)
def test_what_is_decided_is_left_alone(status: dict[str, Any] | None, pending: bool) -> None:
    assert serving.is_pending({"status": status}) is pending


class FakeApi:
    """Gives events, and remembers what was put."""

    def __init__(self, events: list[tuple[str, dict[str, Any]]], code: int = 200) -> None:
        self.events, self.code = events, code
        self.put: list[tuple[str, dict[str, Any]]] = []
        self.watched = ""

    def watch(self, path: str, seconds: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
        self.watched = f"{path} {seconds}"
        yield from self.events

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        assert method == "PUT"
        self.put.append((path, body))
        return self.code, {"message": "no"}


def test_each_pending_request_is_decided_about_once(capsys: pytest.CaptureFixture[str]) -> None:
    other = asked(username="system:node:node-9")
    other["metadata"] = {"name": "csr-9"}
    done = asked()
    done["status"] = {"conditions": [{"type": "Approved"}]}
    mine = asked()
    api = FakeApi([("ADDED", mine), ("ADDED", other), ("MODIFIED", done), ("MODIFIED", other), ("DELETED", other)])
    serving.attend(api, NODES, 5)  # type: ignore[arg-type]
    assert "fieldSelector=spec.signerName%3Dkubernetes.io%2Fkubelet-serving 5" in api.watched
    ((path, body),) = api.put
    assert path == "/apis/certificates.k8s.io/v1/certificatesigningrequests/csr-1/approval"
    assert [(c["type"], c["status"]) for c in body["status"]["conditions"]] == [("Approved", "True")]
    assert body["spec"] == mine["spec"]
    assert capsys.readouterr().out.splitlines() == [
        "csr-1 of 'system:node:node-1': approved",
        "csr-9 of 'system:node:node-9': refused: 'node-9' is no machine of the inventory",
    ]


def test_another_controller_may_be_faster_and_an_error_is_none_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    serving.attend(FakeApi([("ADDED", asked())], 409), NODES)  # type: ignore[arg-type]
    assert "decided elsewhere" in capsys.readouterr().out
    with pytest.raises(ApiError, match="answered with 403: no"):
        serving.attend(FakeApi([("ADDED", asked())], 403), NODES)  # type: ignore[arg-type]
    with pytest.raises(ApiError, match="broke off: too old"):
        serving.attend(FakeApi([("ERROR", {"message": "too old"})]), NODES)  # type: ignore[arg-type]


def test_the_service_attends_until_something_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then systemd begins anew, with files read anew."""
    (tmp_path / "nodes.json").write_text(json.dumps(NODES))
    (tmp_path / "kubeconfig").write_text("server: https://192.0.2.100:6443\n")
    rounds: list[Any] = []

    def attend(api: Any, nodes: Any) -> None:
        rounds.append((api.host, api.port, nodes))
        if len(rounds) == 2:
            raise ApiError("the API server is gone")

    monkeypatch.setattr(serving, "attend", attend)
    arguments = ["--kubeconfig", str(tmp_path / "kubeconfig"), "--nodes", str(tmp_path / "nodes.json")]
    assert serving.main([*arguments, "--server", "127.0.0.1:6443"]) == 1
    assert rounds == [("127.0.0.1", 6443, NODES)] * 2
    assert capsys.readouterr().err == "the API server is gone; beginning anew\n"
    (tmp_path / "nodes.json").write_text("{")
    assert serving.main(arguments) == 1
    assert len(rounds) == 2
