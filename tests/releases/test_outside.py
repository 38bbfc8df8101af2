"""A host outside with TLS by the mesh, nothing else that leaves, and tokens, on a live cluster."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.breaks import are_named
from tests.support.kube import Kube, eventually
from tests.support.mesh import gateway_address
from tests.support.releases import Stage
from tests.support.sidecar import Authority
from tests.support.traffic import asked

Json = dict[str, Any]
PAGE = Path(__file__).parent / "pages/outside.yml"
HOST, BEYOND, WHERE = "pay.outside.test", "beyond", "--namespace=outside"
PYTHON = "/usr/bin/python3.11"
# Answers with TLS on 8443, and without on 8080, as somebody who is not of the mesh.
SERVER = """
import http.server, ssl, threading
class Says(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"beyond")
def serve(port, secure):
    server = http.server.ThreadingHTTPServer(("", port), Says)
    if secure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain("/pair/tls.crt", "/pair/tls.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()
threading.Thread(target=serve, args=(8080, False), daemon=True).start()
serve(8443, True)
"""
CALL = """
import http.client, sys
place, port, host = sys.argv[1:]
connection = http.client.HTTPConnection(place, int(port), timeout=10)
try:
    connection.request("GET", "/", headers={"Host": host})
    answer = connection.getresponse()
    print(answer.status, answer.read().decode()[:20])
except (OSError, http.client.HTTPException) as exc:
    print(type(exc).__name__)
"""


def _beyond(kube: Kube, folder: Path) -> tuple[str, str]:
    """Make the host outside; its address, and its authority."""
    authority = Authority(folder, "beyond")
    authority.sign("pay", HOST)
    pair = {"tls.crt": (folder / "pay.crt").read_text(), "tls.key": (folder / "pay.key").read_text()}
    data = {name: base64.b64encode(text.encode()).decode() for name, text in pair.items()}
    # The images of the examples have no OpenSSL; the Python of a node has.
    folders = {"usr": ("/usr", "/usr"), "lib": ("/usr/lib", "/lib"), "lib64": ("/usr/lib64", "/lib64")}
    mounts = [{"name": key, "mountPath": inside, "readOnly": True} for key, (_, inside) in folders.items()]
    volumes: list[Json] = [{"name": key, "hostPath": {"path": outside}} for key, (outside, _) in folders.items()]
    pause = kube.bundle["images"]["pause"]
    container: Json = {
        "name": "server",
        "image": f"{pause['name']}:{pause['tag']}",
        "command": ["/usr/bin/python3", "-c", SERVER],
        "volumeMounts": [*mounts, {"name": "pair", "mountPath": "/pair"}],
    }
    metadata = {"name": "pay", "namespace": BEYOND}
    volumes.append({"name": "pair", "secret": {"secretName": "pay"}})
    made = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": BEYOND}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls", "data": data},
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata,
         "spec": {"containers": [container], "volumes": volumes}},
    ]  # fmt: skip
    # The account of a namespace is there a moment after it.
    eventually(lambda: kube.apply(made), seconds=30, what="the host outside is accepted")
    kube.text("wait", "pod/pay", f"--namespace={BEYOND}", "--for=condition=Ready", "--timeout=120s", timeout=150)
    return str(kube("get", "pod", "pay", f"--namespace={BEYOND}")["status"]["podIP"]), authority.text


def _page(folder: Path, address: str, authority: str) -> tuple[Json, Path]:
    """Give the page for that host, with an issuer of our own, and the issuer's key."""
    key = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "issuer.pem").write_bytes(key.private_bytes(*form))
    numbers = key.public_key().public_numbers()
    x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (numbers.x, numbers.y))
    page: Json = yaml.safe_load(PAGE.read_text())
    page["outside"][HOST] |= {"addresses": address, "ca": authority}
    (issuer,) = page["jwt"]["issuers"].values()
    issuer["jwks"] = {"keys": [{"kty": "EC", "crv": "P-256", "x": x, "y": y}]}
    return page, folder / "issuer.pem"


def test_a_named_host_is_reached_others_are_not_and_tokens_are_asked_for(empty: Stage, tmp_path: Path) -> None:
    kube = empty.kube
    written = tmp_path / "outside.yml"

    def call(place: str, port: int, host: str) -> str:
        inside = ("exec", WHERE, "deployment/front-v1", "--container=front", "--", PYTHON, "-c", CALL)
        return kube.text(*inside, place, str(port), host).strip()

    try:
        address, authority = _beyond(kube, tmp_path)
        page, key = _page(tmp_path, address, authority)
        written.write_text(yaml.safe_dump(page))
        empty.release(str(written), prove="always", prove_jwt_key=str(key)).expect()
        empty.passed("outside")
        assert empty.kinds("outside", "passed") >= {"jwt", "share", "sticky", "override", "chain", "access", "mtls"}
        assert empty.kinds("outside", "configured") >= {"outside", "egress"}

        eventually(lambda: call(address, 80, HOST) == "200 beyond", seconds=30, what="the host outside answers")
        assert call(address, 80, "other.outside.test").startswith("502")
        # A port on which a service of the mesh speaks HTTP is answered by the proxy, and any other is closed.
        assert call(address, 8080, "other.outside.test").startswith("502")
        assert call(address, 8099, "other.outside.test") in ("ConnectionResetError", "RemoteDisconnected")
        assert call("back.outside", 8080, "back.outside:8080").startswith(("200", "404"))

        gateway = gateway_address(kube)
        assert asked(gateway, "outside.local", "/").status == "403"
        wrong = {"authorization": "Bearer a.b.c"}
        assert asked(gateway, "outside.local", "/", headers=wrong).status == "401"
        assert asked(gateway, "outside.local", "/healthz").status == "200"
        assert empty.release(str(written), prove="never").expect().total("changed") == 0

        are_named(empty, str(written))

        # Without a token what needs one is only read.
        empty.prove(str(written)).expect()
        assert "jwt" in empty.kinds("outside", "passed")
        assert {"share", "sticky"} <= empty.kinds("outside", "configured")

        # Users are let in, and everything out, and nothing of it stays.
        for name in ("outside", "egress", "jwt"):
            del page[name]
        written.write_text(yaml.safe_dump(page))
        empty.release(str(written), prove="always").expect()
        empty.passed("outside")
        assert asked(gateway, "outside.local", "/").status == "200"
        eventually(lambda: call(address, 8080, "x").startswith("200"), seconds=30, what="everything may leave")
        kinds = "serviceentries,sidecars.networking.istio.io,requestauthentications"
        assert kube("get", kinds, WHERE)["items"] == []
    finally:
        empty.take_away((str(written),))
        kube.text("delete", "namespace", BEYOND, "--ignore-not-found", "--timeout=120s", timeout=150)
