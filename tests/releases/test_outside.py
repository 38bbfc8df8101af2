"""A host outside with TLS by the mesh, nothing else that leaves, and tokens, on a live cluster."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from slipway.prove.token import signed

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
# Answers with TLS on 8443, and without on 8080, as somebody who is not of the mesh; has the keys of the issuer, too.
SERVER = """
import http.server, ssl, threading
class Says(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        said = open("/pair/keys", "rb").read() if self.path == "/keys" else b"beyond"
        self.send_response(404 if self.path == "/none" else 200); self.end_headers(); self.wfile.write(said)
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


def _beyond(kube: Kube, folder: Path, keys: str) -> tuple[str, str]:
    """Make the host outside, which has these keys of the issuer; its address, and its authority."""
    authority = Authority(folder, "beyond")
    authority.sign("pay", HOST)
    pair = {"tls.crt": (folder / "pay.crt").read_text(), "tls.key": (folder / "pay.key").read_text(), "keys": keys}
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


def _issuer(folder: Path) -> tuple[Path, Json]:
    """Make an issuer of our own: its private key, and the public one as a JWKS."""
    key = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "issuer.pem").write_bytes(key.private_bytes(*form))
    numbers = key.public_key().public_numbers()
    x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (numbers.x, numbers.y))
    return folder / "issuer.pem", {"keys": [{"kty": "EC", "crv": "P-256", "x": x, "y": y}]}


def _told(gateway: str, key: Path, **claims: Any) -> str:
    """Ask with a token of the issuer's, good but for these claims; the status of the answer."""
    now = int(time.time())
    good = {"iss": "https://id.outside.test", "aud": "outside", "sub": "test", "iat": now - 7200, "exp": now + 600}
    bearing = {"authorization": f"Bearer {signed({**good, **claims}, key)}"}
    return asked(gateway, "outside.local", "/", headers=bearing).status


def test_a_named_host_is_reached_others_are_not_and_tokens_are_asked_for(empty: Stage, tmp_path: Path) -> None:
    kube = empty.kube
    written = tmp_path / "outside.yml"
    key, keys = _issuer(tmp_path)
    page: Json = yaml.safe_load(PAGE.read_text())
    (issuer,) = page["jwt"]["issuers"].values()

    def call(place: str, port: int, host: str) -> str:
        inside = ("exec", WHERE, "deployment/front-v1", "--container=front", "--", PYTHON, "-c", CALL)
        return kube.text(*inside, place, str(port), host).strip()

    try:
        address, authority = _beyond(kube, tmp_path, json.dumps(keys))
        page["outside"][HOST] |= {"addresses": address, "ca": authority}
        issuer["jwks"] = keys
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
        assert _told(gateway, key) == "200"
        # With the issuer's own signature, and still not for us, not by it, or no more.
        assert _told(gateway, key, aud="somebody-else") == "403"
        assert _told(gateway, key, iss="https://other.outside.test") == "401"
        assert _told(gateway, key, exp=int(time.time()) - 3600) == "401"
        assert empty.release(str(written), prove="never").expect().total("changed") == 0

        are_named(empty, str(written))

        # What was put back last may take a moment to hold.
        eventually(
            lambda: asked(gateway, "outside.local", "/sms").status == "403", seconds=30, what="tokens are asked for"
        )

        # Without a token what needs one is only read.
        empty.prove(str(written)).expect()
        assert "jwt" in empty.kinds("outside", "passed")
        assert {"share", "sticky"} <= empty.kinds("outside", "configured")

        # The keys are fetched by istiod from where the page says, and from nowhere they are not.
        del issuer["jwks"]
        issuer["jwks_uri"] = f"http://{address}:8080/keys"
        written.write_text(yaml.safe_dump(page))
        empty.release(str(written), prove="always", prove_jwt_key=str(key)).expect()
        empty.passed("outside")
        assert "jwt" in empty.kinds("outside", "passed")
        assert _told(gateway, key) == "200"
        issuer["jwks_uri"] = f"http://{address}:8080/none"
        written.write_text(yaml.safe_dump(page))
        empty.release(str(written), prove="never").expect()
        eventually(lambda: _told(gateway, key) == "401", seconds=60, what="a token of unknown keys is refused")
        assert empty.prove(str(written)).status != 0
        assert "jwt" in empty.kinds("outside", "failed")

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
