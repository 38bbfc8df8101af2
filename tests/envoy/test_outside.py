"""Hosts outside, what may leave, and tokens: a plan's objects, as the artifacts' istiod and proxy carry them out."""

from __future__ import annotations

import base64
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from slipway.prove import envoy as proxies
from slipway.prove import token
from slipway.prove.outside_claims import broken
from slipway.release.planner import plan
from slipway.release.spec import load

from tests.support.release import page
from tests.support.sidecar import Authority, Programs, asked, place

Json = dict[str, Any]

ISSUER = "https://id.example.org"
PAY, WRONG, API = "pay.example.com", "wrong.example.com", "api.example.com"
A, B, DATABASE, OTHER, UNNAMED = (f"192.0.2.{last}" for last in (10, 11, 12, 13, 99))
POD, SERVICE = "10.0.0.1", "10.9.9.9"
SERVERS = [
    (A, 443, "pay", "pay"),
    (A, 80, "plain", ""),
    (B, 443, "somebody else", "other"),
    # A Service of the cluster, whose pod has a proxy.
    (A, 8443, "model", "pod"),
    (DATABASE, 5432, "database", ""),
    (OTHER, 5432, "another database", ""),
    (UNNAMED, 80, "unnamed", ""),
    (UNNAMED, 443, "unnamed", "other"),
    (UNNAMED, 9000, "unnamed", ""),
]
# What the program of the pod calls.
CALLS: dict[str, Json] = {
    "encrypted by the mesh": {"to": [A, 80], "host": PAY},
    "slow": {"to": [A, 80], "host": PAY, "path": "/slow"},
    "fails once": {"to": [A, 80], "host": PAY, "path": "/flaky?get"},
    "fails once, by POST": {"to": [A, 80], "host": PAY, "path": "/flaky?post", "method": "POST"},
    "the certificate of another host": {"to": [B, 80], "host": WRONG},
    "an authority that nobody named": {"to": [A, 80], "host": "public.example.com"},
    "encrypted by the program": {"to": [A, 443], "host": API, "server": API},
    "with an address that is another's": {"to": [UNNAMED, 443], "host": API, "server": API},
    "a wildcard": {"to": [A, 80], "host": "a.cdn.example.com"},
    "tcp": {"to": [DATABASE, 5432]},
    "tcp elsewhere": {"to": [OTHER, 5432]},
    "not named": {"to": [UNNAMED, 80], "host": "unnamed.example.com"},
    "not named, encrypted": {"to": [UNNAMED, 443], "host": "unnamed.example.com", "server": "unnamed.example.com"},
    "not named, another port": {"to": [UNNAMED, 9000]},
    "named by others": {"to": [A, 80], "host": "others.example.com"},
    "inside": {"to": [SERVICE, 8080], "host": "model.shop.svc.cluster.local:8080"},
}


class Run:
    """A page, the key of its issuer, and what comes of it."""

    def __init__(self, programs: Programs, egress: str, mesh: Json | None = None) -> None:
        self.authority = Authority(place(), "outside")
        self.key = ec.generate_private_key(ec.SECP256R1())
        try:
            self._run(programs, egress, mesh)
        finally:
            shutil.rmtree(self.authority.folder, ignore_errors=True)

    def _run(self, programs: Programs, egress: str, mesh: Json | None) -> None:
        folder = self.authority.folder
        self.authority.sign("pay", PAY, API)
        self.authority.sign("other", "evil.example.com")
        self.plan = plan(load(page(folder, self._page(egress))))
        self.facts = self.plan.facts
        requests = {f"gateway: {name}": step for name, step in self._requests(folder).items()}
        friends: dict[str, Json] = {
            "friend: without a token": {"to": [POD, 8080], "as": "friend"},
            "friend: wrong": {"to": [POD, 8080], "as": "friend", "headers": {"authorization": "Bearer a.b.c"}},
            "nobody": {"to": [POD, 8080]},
        }
        found = asked(programs, self.plan, self.authority, SERVERS, {**CALLS, **requests, **friends}, mesh)
        self.answers: dict[str, Json] = found["answers"]
        self.dumps: Json = found["dumps"]

    def _page(self, egress: str) -> Json:
        numbers = self.key.public_key().public_numbers()
        x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (numbers.x, numbers.y))
        keys = {"keys": [{"kty": "EC", "crv": "P-256", "x": x, "y": y}]}
        mine = {"tls": "mesh", "ca": self.authority.text}
        return {
            "name": "shop",
            "hosts": ["shop.local"],
            "services": {"web": {"versions": {"v1": "example.org/web:1.0"}, "callers": ["batch/reporter"]}},
            "outside": {
                PAY: {**mine, "addresses": A, "timeout": "1s", "retries": {"attempts": 2, "reasons": ["5xx"]}},
                WRONG: {**mine, "addresses": B},
                "public.example.com": {"tls": "mesh", "addresses": A},
                API: {"addresses": A},
                "*.cdn.example.com": "none",
                "db.example.com": {"tls": "none", "protocol": "tcp", "port": 5432, "addresses": DATABASE},
            },
            "egress": egress,
            # Nobody answers there: istiod has no keys of the second one.
            "jwt": {
                "issuers": {
                    ISSUER: {"audiences": ["shop"], "jwks": keys},
                    "urn:other": {"audiences": ["shop"], "jwks_uri": "http://127.0.0.1:9/keys"},
                },
                "free": ["/login"],
            },
        }

    def _requests(self, folder: Path) -> dict[str, Json]:
        """Give requests as the gateway leads them to the pod."""
        file = folder / "token.pem"
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file.write_bytes(self.key.private_bytes(*form))
        good = token.claims_for(self.facts["jwt"], time.time())
        no_subject = {name: value for name, value in good.items() if name != "sub"}
        tokens = {
            "good": token.signed(good, file),
            "without a subject": token.signed(no_subject, file),
            "expired": token.signed({**good, "exp": 1}, file),
            "another audience": token.signed({**good, "aud": "other"}, file),
            "another issuer": token.signed({**good, "iss": "https://evil.example.org"}, file),
            "an issuer without keys": token.signed({**good, "iss": "urn:other"}, file),
            **broken(self.facts["jwt"]),
        }
        sent: Json = {"to": [POD, 8080], "as": "gateway"}
        made = {name: {**sent, "headers": {"authorization": f"Bearer {text}"}} for name, text in tokens.items()}
        made |= {path: {**sent, "path": path} for path in ("/", "/login", "/login/a?b=c", "/loginx")}
        made |= {path: {**sent, "path": path} for path in ("/login/../a", "/login/%2e%2e/a", "/login/..%2fa")}
        made["wrong, at a free path"] = {**sent, "path": "/login", "headers": {"authorization": "Bearer a.b.c"}}
        return made

    def status(self, name: str) -> int:
        """Give the status of an answer; 0: the connection was closed."""
        return int(self.answers[name]["status"])

    def server(self, name: str) -> str:
        """Give who answered; empty: nobody but a proxy."""
        return str(self.answers[name].get("server", ""))


@pytest.fixture(scope="module")
def programs(envoy: Path) -> Programs:
    found = Programs.found(envoy)
    if found is None:
        pytest.skip("istiod is not in this machine's cache of artifacts, or nobody here may make a network namespace")
    return found


@pytest.fixture(scope="module")
def named(programs: Programs) -> Run:
    """Everything that is not named is refused."""
    return Run(programs, "named")


def test_the_mesh_encrypts_and_takes_only_the_right_certificate(named: Run) -> None:
    assert (named.status("encrypted by the mesh"), named.server("encrypted by the mesh")) == (200, "pay")
    assert named.answers["encrypted by the mesh"]["host"] == PAY
    assert named.status("the certificate of another host") == 503
    assert named.status("an authority that nobody named") == 503


def test_timeout_and_retries_hold_where_the_mesh_sees_requests(named: Run) -> None:
    assert named.status("slow") == 504
    assert named.status("fails once") == 200
    assert named.status("fails once, by POST") == 503


def test_named_hosts_are_reached_and_nothing_else(named: Run) -> None:
    assert named.server("encrypted by the program") == "pay"
    # The proxy goes where the page, or DNS, says that the host is.
    assert named.server("with an address that is another's") == "pay"
    assert named.server("a wildcard") == "plain"
    assert named.server("tcp") == "database"
    assert named.server("inside") == "model"
    for name in ("not named", "named by others"):
        assert (named.status(name), named.server(name)) == (502, ""), name
    for name in ("tcp elsewhere", "not named, encrypted", "not named, another port"):
        assert named.status(name) == 0, name


def test_everything_is_reached_where_nothing_is_refused(programs: Programs) -> None:
    # And an application that decodes paths again is helped by this setting of the mesh.
    strict = {"pathNormalization": {"normalization": "DECODE_AND_MERGE_SLASHES"}}
    opened = Run(programs, "open", strict)
    for name in ("not named", "not named, encrypted", "not named, another port"):
        assert opened.server(name) == "unnamed", name
    assert opened.server("tcp elsewhere") == "another database"
    assert opened.status("gateway: /login/..%2fa") == 403
    assert proxies.held_back(opened.dumps["outbound"], opened.dumps["routes"])["found"] is False


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        ("/", 403, "RBAC: access denied"),
        ("/loginx", 403, "RBAC: access denied"),
        ("/login/../a", 403, "RBAC: access denied"),
        ("/login/%2e%2e/a", 403, "RBAC: access denied"),
        ("/login", 200, ""),
        ("/login/a?b=c", 200, ""),
        # As the documents say.
        ("/login/..%2fa", 200, ""),
        ("good", 200, ""),
        ("without a subject", 200, ""),
        ("expired", 401, "Jwt"),
        ("another audience", 403, "Audiences in Jwt"),
        ("another issuer", 401, "Jwt"),
        ("an issuer without keys", 401, "Jwt"),
        ("no token at all", 401, "Jwt"),
        ("one that nobody signed", 401, "Jwt"),
        ("one that somebody else signed", 401, "Jwt"),
        ("wrong, at a free path", 401, "Jwt"),
    ],
)
def test_requests_of_the_gateway_need_a_token(named: Run, request_: str, status: int, said: str) -> None:
    answer = named.answers[f"gateway: {request_}"]
    assert (answer["status"], answer.get("said", "").startswith(said)) == (status, True), answer


def test_calls_of_the_mesh_need_none_and_the_program_gets_it(named: Run) -> None:
    assert (named.status("friend: without a token"), named.status("friend: wrong")) == (200, 401)
    assert named.status("nobody") == 0
    assert named.answers["gateway: good"]["token"] is True


def test_a_proof_reads_it_from_the_proxy(named: Run) -> None:
    dumps = named.dumps
    assert proxies.held_back(dumps["outbound"], dumps["routes"])["found"] is True
    for host in named.facts["outside"]:
        assert proxies.known_outside(host, dumps["clusters"], dumps["routes"])["found"] is True, host
    (pay,) = [host for host in named.facts["outside"] if host["host"] == PAY]
    for other in ({"timeout": "3s"}, {"port": 443}, {"host": "x.example.com"}):
        assert proxies.known_outside({**pay, **other}, dumps["clusters"], dumps["routes"])["found"] is False, other
    assert proxies.keys(dumps["inbound"])["detail"].startswith("istiod could not fetch the keys of urn:other")
