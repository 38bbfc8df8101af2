"""Talking to an API server with a kubeconfig and nothing but the standard library, against one on loopback."""

from __future__ import annotations

import base64
import datetime as dt
import http.server
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from slipway.node.kubeapi import Api, ApiError, entry, find_node

EVENTS = [{"type": "ADDED", "object": {"n": 1}}, {"type": "MODIFIED", "object": {"n": 2}}]


@dataclass(frozen=True)
class Pair:
    """A certificate with its key."""

    name: x509.Name
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()


def make(common_name: str, issuer: Pair | None = None) -> Pair:
    """Make a certificate: a CA's of its own, or one for 127.0.0.1 that ``issuer`` signs."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.name if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer:
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    return Pair(name, builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


class Answers(http.server.BaseHTTPRequestHandler):
    """Gives events below /watch, what it was sent below /echo, half an answer below /half, and 404 elsewhere."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/watch"):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for event in [*EVENTS, "nonsense"] if "broken" in self.path else EVENTS:
                line = (event if isinstance(event, str) else json.dumps(event)).encode() + b"\n"
                self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
        elif self.path == "/api/v1/nodes/node-1":
            self.give(200, b'{"kind": "Node"}')
        elif self.path == "/api/v1/nodes/node-3":
            self.give(403, b"{}")
        elif self.path == "/half":
            self.give(200, b'{"a": ')
        else:
            self.give(404, b'{"message": "no such thing"}')

    def do_PUT(self) -> None:
        self.give(200, self.rfile.read(int(self.headers["Content-Length"])))

    def give(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


CA, OTHER_CA = make("ca"), make("another ca")
SERVER, USER, STRANGER = make("server", CA), make("user", CA), make("user", OTHER_CA)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "pem").write_text(SERVER.pem + SERVER.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pem")
    context.load_verify_locations(cadata=CA.pem)
    context.verify_mode = ssl.CERT_REQUIRED
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as listening:
        listening.handle_error = lambda *_: None  # type: ignore[method-assign]
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield listening.server_port
        listening.shutdown()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def kubeconfig(port: int, ca: Pair = CA, user: Pair = USER) -> str:
    return f"""\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {encoded(ca.pem)}
    server: https://127.0.0.1:{port}
  name: lab
users:
- name: kubernetes-admin
  user:
    client-certificate-data: {encoded(user.pem)}
    client-key-data: {encoded(user.key_pem)}
"""


def test_a_value_is_read_by_its_whole_name() -> None:
    text = 'a:\n- server-name: x\n  server: "https://h:1"\n  client-key: /k\n'
    assert (entry(text, "server"), entry(text, "client-key"), entry(text, "client")) == ("https://h:1", "/k", "")


def test_an_answer_is_its_status_and_its_object(port: int) -> None:
    api = Api(kubeconfig(port))
    assert api.request("PUT", "/echo", {"a": [1]}) == (200, {"a": [1]})
    assert api.request("GET", "/none") == (404, {"message": "no such thing"})
    assert Api(kubeconfig(1), server=f"127.0.0.1:{port}").request("PUT", "/echo", {}) == (200, {})


def test_certificates_may_stand_in_files_as_a_kubelets_do(port: int, tmp_path: Path) -> None:
    pem, ca = tmp_path / "kubelet-client-current.pem", tmp_path / "ca.crt"
    pem.write_text(USER.pem + USER.key_pem)
    ca.write_text(CA.pem)
    text = (
        f"certificate-authority: {ca}\nserver: https://127.0.0.1:{port}\nclient-certificate: {pem}\nclient-key: {pem}\n"
    )
    assert Api(text).request("GET", "/none")[0] == 404


def test_a_watch_gives_events_as_they_are(port: int) -> None:
    api = Api(kubeconfig(port))
    assert list(api.watch("/watch?a=b", 5)) == [("ADDED", {"n": 1}), ("MODIFIED", {"n": 2})]
    with pytest.raises(ApiError, match="Expecting value"):
        list(api.watch("/watch?broken", 5))
    with pytest.raises(ApiError, match="answered with 404"):
        list(api.watch("/none", 5))


def test_only_the_clusters_own_ca_is_trusted_and_only_its_users_are_let_in(port: int) -> None:
    with pytest.raises(ApiError, match="CERTIFICATE_VERIFY_FAILED"):
        Api(kubeconfig(port, ca=OTHER_CA)).request("GET", "/none")
    with pytest.raises(ApiError):
        Api(kubeconfig(port, user=STRANGER)).request("GET", "/none")


def test_what_cannot_work_says_why(port: int) -> None:
    with pytest.raises(ApiError, match="refused"):
        Api(kubeconfig(1)).request("GET", "/none")
    with pytest.raises(ApiError, match="Expecting value"):
        Api(kubeconfig(port)).request("GET", "/half")
    with pytest.raises(ApiError, match="names no server"):
        Api("")
    with pytest.raises(ApiError, match="cannot be used"):
        Api("server: https://127.0.0.1\ncertificate-authority: /none/such\n")
    with pytest.raises(ApiError, match="cannot be used"):
        Api(f"server: https://127.0.0.1\ncertificate-authority-data: {encoded('no pem')}\n")


@pytest.mark.parametrize(("name", "node"), [("node-1", {"kind": "Node"}), ("node-2", {}), ("node-3", None)])
def test_a_node_is_there_or_not_or_there_is_no_telling(port: int, name: str, node: Any) -> None:
    assert find_node(kubeconfig(port), name) == node
    assert find_node(kubeconfig(1), name) is None
