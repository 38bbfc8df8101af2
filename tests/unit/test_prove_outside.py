"""Claims about hosts outside, about what may leave, and about tokens: what is asked, and when they pass."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from slipway import prove
from slipway.errors import SlipwayError
from slipway.prove import during, envoy, token
from slipway.prove.given import KINDS, live, promised
from slipway.prove.jobs import job
from slipway.prove.outside_claims import broken
from slipway.release.planner import plan
from slipway.release.spec import load

from tests.support.prove_plan import asked, claim, facts
from tests.support.release import page

Json = dict[str, Any]
KEYS = {
    "keys": [
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "euugiZtW9tnDGy4URlRn4-UcaugN9QMOFn9zs3l0FZg",
            "y": "96jCVyDEhGN0HwfFes85ZeAcCcfOMGZT6MSDjQMdkrE",
        }
    ]
}
SERVICES = {
    "front": {"calls": ["back"], "versions": {"v1": "a:1", "v2": "a:1"}},
    "back": {"versions": {"v1": "a:1", "v2": "a:1"}},
}
ISSUER = "https://id.example.org"
JWT: Json = {"issuers": {ISSUER: {"jwks": KEYS, "audiences": ["shop"]}}, "free": ["/login"]}
OUTSIDE = {"pay.example.com": {"tls": "mesh", "timeout": "2s"}, "api.example.com": {}}
DENIED = {"status": 403, "said": "RBAC: access denied"}
WRONG = {"status": 401, "said": "Jwt verification fails"}
OK = {"status": 200}


def planned(folder: Path, known: Json | None = None, **more: Any) -> Json:
    made: Json = prove.plan(facts(folder, **more), known)
    return made


def sent(experiment: Json) -> list[str]:
    return [step.get("headers", {}).get("authorization", "") for step in experiment["steps"]]


def judged(plan: Json, answers: dict[str, Json], reads: Json | None = None) -> prove.Verdict:
    """Judge the claim about tokens, by what each of its experiments is answered: missing, wrong, free, good."""
    expect = claim(plan, "jwt")["expect"]
    seen = {}
    for how, answer in answers.items():
        for name in expect[how]:
            planned_one = next(each for each in plan["experiments"] if each["id"] == name)
            count = planned_one["clients"] * sum(step["times"] for step in planned_one["steps"])
            seen[name] = {"answers": [{"client": 0, "step": 0, "at": 0.0, "ms": 1.0, **answer}] * count}
    report = prove.judge(plan, {"experiments": seen, "reads": reads or {}})
    return next(each for each in report.verdicts if each.kind == "jwt")


GOOD = {"missing": DENIED, "wrong": WRONG, "free": {"status": 404, "said": "no such page"}}


def test_requests_without_and_with_broken_tokens_are_sent(tmp_path: Path) -> None:
    plan = planned(tmp_path, jwt=JWT)
    expect = claim(plan, "jwt")["expect"]
    experiments = {each["id"]: each for each in asked(plan, "jwt")}
    (missing,) = expect["missing"]
    assert sent(experiments[missing]) == [""]
    (free,) = expect["free"]
    assert (experiments[free]["steps"][0]["path"], sent(experiments[free])) == ("/login", [""])
    assert {what for _, what in expect["wrong"].values()} == set(broken(plan["jwt"]))
    for name in expect["wrong"]:
        assert all(header.startswith("Bearer ") and "{token}" not in header for header in sent(experiments[name]))
    assert expect["good"] == {}
    assert not any("anonymous" in step for each in plan["experiments"] for step in each["steps"])


def test_hosts_with_paths_of_their_own_are_asked_too(tmp_path: Path) -> None:
    plan = planned(
        tmp_path, {"token": True}, jwt={**JWT, "free": ["/a"]}, routes={"/a": "front"}, entries={"*.b.local": "back"}
    )
    expect = claim(plan, "jwt")["expect"]
    assert list(expect["missing"].values()) == list(expect["good"].values()) == ["*.b.local/"]
    experiments = {each["id"]: each for each in asked(plan, "jwt")}
    assert {experiments[name]["steps"][0]["host"] for name in expect["missing"]} == {"prove-any-host.b.local"}
    (good,) = expect["good"]
    assert sent(experiments[good]) == ["Bearer {token}"]


def test_a_broken_token_says_the_right_things_and_nobody_signed_it(tmp_path: Path) -> None:
    made = broken(planned(tmp_path, jwt=JWT)["jwt"])
    head, body, signature = made["one that somebody else signed"].split(".")
    assert _read(head)["alg"] == "ES256"
    assert (_read(body)["iss"], _read(body)["aud"]) == (ISSUER, "shop")
    assert len(base64.urlsafe_b64decode(signature + "==")) == 64
    head, _, signature = made["one that nobody signed"].split(".")
    assert (_read(head)["alg"], signature) == ("none", "")


def _read(part: str) -> Json:
    found: Json = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def test_without_a_token_other_claims_about_guarded_paths_are_configured(tmp_path: Path) -> None:
    plan = planned(tmp_path, jwt=JWT)
    share = claim(plan, "share")
    assert (share["state"], "SLIPWAY_PROVE_TOKEN" in share["reason"]) == ("configured", True)
    assert not asked(plan, "share")
    assert claim(plan, "mtls")["state"] == "asked"
    free = planned(tmp_path, jwt={**JWT, "free": ["/login", "/sms"]}, routes={"/": "front", "/sms": "front"})
    states = [each["state"] for each in free["claims"] if each["kind"] == "share"]
    assert sorted(states) == ["asked", "configured"]


@pytest.mark.parametrize(
    ("place", "where", "value"),
    [
        ({}, ("headers", "authorization"), "Bearer {token}"),
        ({"header": "x-id-token"}, ("headers", "x-id-token"), "{token}"),
        ({"cookie": "id"}, ("cookies", "id"), "{token}"),
    ],
)
def test_with_a_token_everything_is_asked_with_it(tmp_path: Path, place: Json, where: Any, value: str) -> None:
    more = {"jwt": {**JWT, **place}, "override": {"header": "x-version"}, "tools": {"grafana": "grafana"}}
    plan = planned(tmp_path, {"token": True}, **more)
    kind, name = where
    for each in ("share", "override", "sticky"):
        steps = [step for experiment in asked(plan, each) for step in experiment["steps"]]
        assert steps
        assert all(step[kind][name] == value for step in steps)
    (tool,) = asked(plan, "tool")
    assert name not in tool["steps"][0].get(kind, {})
    good = claim(plan, "jwt")["expect"]["good"]
    assert list(good.values()) == ["/"]


def test_a_token_is_in_the_job_alone(tmp_path: Path) -> None:
    plan = planned(tmp_path, {"token": True}, jwt=JWT)
    made = job(plan, "clients", "addresses", {"gateway": "192.0.2.1"}, token="a.b.c")
    assert made["token"] == "a.b.c"
    assert "a.b.c" not in json.dumps(plan)
    assert "token" not in job(plan, "clients", "addresses", {"gateway": "192.0.2.1"})


@pytest.mark.parametrize(
    ("answers", "state", "seen"),
    [
        (GOOD, "passed", "no valid one was given"),
        ({**GOOD, "missing": OK}, "failed", "/ without a token is answered 200 instead of 403"),
        ({**GOOD, "missing": {"status": 403, "said": "go away"}}, "failed", "not by the mesh: go away"),
        ({**GOOD, "wrong": OK}, "failed", "/ with no token at all is answered 200 instead of 401 or 403"),
        ({**GOOD, "free": DENIED}, "failed", "/login is free, and is answered 403"),
        ({**GOOD, "free": {"status": 403, "said": "log in"}}, "passed", "/login answers without one"),
        ({**GOOD, "free": {"status": 0, "error": "timed out"}}, "failed", "timed out"),
    ],
)
def test_what_was_seen_of_tokens_is_judged(tmp_path: Path, answers: Any, state: str, seen: str) -> None:
    found = judged(planned(tmp_path, jwt=JWT), answers)
    assert (found.state, seen in found.seen) == (state, True), found


def test_a_good_token_has_to_be_taken(tmp_path: Path) -> None:
    plan = planned(tmp_path, {"token": True}, jwt=JWT)
    assert judged(plan, {**GOOD, "good": OK}).seen.endswith("a valid one is taken")
    assert judged(plan, {**GOOD, "good": WRONG}).state == "failed"


def test_keys_that_istiod_could_not_fetch_are_named(tmp_path: Path) -> None:
    plan = planned(tmp_path, jwt={"issuers": {ISSUER: f"{ISSUER}/keys"}})
    names = claim(plan, "jwt")["expect"]["keys"]
    assert [name.rpartition(".")[2] for name in names] == ["front-v1", "front-v2"]
    reads = {name: {"found": True, "detail": ""} for name in names}
    answers = {"missing": DENIED, "wrong": WRONG}
    assert judged(plan, answers, reads).state == "passed"
    reads[names[1]] = {"found": False, "detail": "istiod could not fetch the keys"}
    assert judged(plan, answers, reads).seen == "istiod could not fetch the keys"


def test_hosts_outside_and_what_may_leave_are_read(tmp_path: Path) -> None:
    plan = planned(tmp_path, outside=OUTSIDE, egress="named")
    titles = [each["title"] for each in plan["claims"] if each["kind"] == "outside"]
    assert titles == [
        "pay.example.com is known outside at port 80; the mesh encrypts",
        "api.example.com is known outside at port 443; the program encrypts",
    ]
    assert (claim(plan, "egress")["state"], claim(plan, "outside")["state"]) == ("configured", "configured")
    asked_for = [read["what"] for read in plan["reads"]]
    assert (asked_for.count("outside"), asked_for.count("egress")) == (8, 4)
    reads = {read["id"]: {"found": True, "detail": "so"} for read in plan["reads"]}
    report = prove.judge(plan, {"experiments": {}, "reads": reads})
    assert {each.state for each in report.verdicts if each.kind in ("outside", "egress")} == {"configured"}
    name = claim(plan, "egress")["reads"][0]
    report = prove.judge(plan, {"experiments": {}, "reads": {**reads, name: {"found": False, "detail": "let through"}}})
    (found,) = [each for each in report.verdicts if each.kind == "egress"]
    assert (found.state, "let through" in found.seen) == ("failed", True)


CLUSTER = {"name": "outbound|80||pay.example.com", "type": "STRICT_DNS"}
TLS = {"transport_socket": {"typed_config": {"sni": "pay.example.com"}}}
ROUTE = {"match": {"prefix": "/"}, "route": {"cluster": "outbound|80||pay.example.com", "timeout": "2s"}}


@pytest.mark.parametrize(
    ("clusters", "routes", "found", "detail"),
    [
        ([{**CLUSTER, **TLS}], [ROUTE], True, "port 80, encrypted"),
        ([{**CLUSTER, **TLS, "name": "outbound|443||pay.example.com"}], [ROUTE], False, "no proxy knows"),
        ([CLUSTER], [ROUTE], False, "nothing encrypts"),
        ([{**CLUSTER, **TLS}], [{**ROUTE, "route": {**ROUTE["route"], "timeout": "0s"}}], False, "a timeout of 0s"),
    ],
)
def test_what_a_proxy_knows_of_a_host_outside(clusters: Any, routes: Any, found: bool, detail: str) -> None:
    wanted = {"host": "pay.example.com", "port": 80, "tls": "mesh", "timeout": "2s"}
    seen = envoy.known_outside(wanted, {"configs": clusters}, {"configs": routes})
    assert (seen["found"], detail in seen["detail"]) == (found, True), seen


def test_what_a_proxy_lets_through() -> None:
    drops = {"filter_chains": [{"filters": [{"typed_config": {"cluster": "BlackHoleCluster"}}]}]}
    passes = {"virtual_hosts": [{"routes": [{"route": {"cluster": "PassthroughCluster"}}]}]}
    assert envoy.held_back(drops, {})["found"] is True
    assert envoy.held_back(drops, passes)["found"] is False
    assert envoy.held_back({}, {})["found"] is False


def test_what_keys_a_proxy_has() -> None:
    def listeners(text: str) -> Json:
        provider = {"issuer": ISSUER, "local_jwks": {"inline_string": text}}
        return {"typed_config": {"providers": {"origins-0": provider}}}

    assert envoy.keys(listeners('{"keys": []}'))["found"] is True
    assert envoy.keys({})["found"] is False
    # The key that istiod hands out in the place of one that it could not fetch.
    none = envoy.keys(listeners('{"keys": [{"kty": "RSA", "n": "0xObjM0UvS_oaazjpEYl"}]}'))
    assert (none["found"], ISSUER in none["detail"]) == (False, True)


def test_clients_of_a_change_ask_only_free_paths(tmp_path: Path) -> None:
    routes = {"/": "front", "/sms": "front"}
    some = facts(tmp_path, routes=routes, jwt={**JWT, "free": ["/sms"]})
    plan = during.watch(some, promised(some), promised(some))
    assert [each["path"] for each in plan["paths"]] == ["/sms"]
    none = facts(tmp_path, routes=routes, jwt=JWT)
    plan = during.watch(none, promised(none), promised(none))
    assert (plan["state"], "need a token" in plan["reason"]) == ("skipped", True)


def test_a_host_outside_is_no_service_that_begins_alike(tmp_path: Path) -> None:
    base = {"name": "shop", "hosts": ["shop.local"], "services": SERVICES, "weights": {"v1": 90, "v2": 10}}
    base |= {"access": "open"}
    held = []
    for more in ({}, {"outside": {"back.example.com": {"tls": "mesh", "timeout": "2s"}}, "jwt": JWT}):
        made = plan(load(page(tmp_path, {**base, **more})))
        objects: Json = {kind: [item for item in made.objects if item["kind"] == kind] for kind in KINDS}
        held.append(live(made.facts, objects))
    without, beside = held
    assert without
    assert without == beside


def test_a_token_is_signed_with_a_key_for_tests(tmp_path: Path) -> None:
    jwt = facts(tmp_path, jwt=JWT)["jwt"]
    for key, algorithm in (
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (rsa.generate_private_key(65537, 2048), "RS256"),
    ):
        file = tmp_path / "key.pem"
        pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file.write_bytes(key.private_bytes(*pem))
        made = token.given(jwt, "", str(file))
        head, body, signature = made.split(".")
        assert _read(head)["alg"] == algorithm
        claims = _read(body)
        assert (claims["iss"], claims["aud"], claims["exp"] - claims["iat"]) == (ISSUER, "shop", 3600)
        raw, text = base64.urlsafe_b64decode(signature + "=="), f"{head}.{body}".encode()
        public: Any = key.public_key()
        if algorithm == "ES256":
            both = (int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
            public.verify(encode_dss_signature(*both), text, ec.ECDSA(hashes.SHA256()))
        else:
            public.verify(raw, text, padding.PKCS1v15(), hashes.SHA256())
    assert token.given(jwt, "a.b.c", str(file)) == "a.b.c"
    assert token.given(None, "a.b.c", str(file)) == ""
    assert token.given(jwt, "", "") == ""
    (tmp_path / "no.pem").write_text("no key")
    for name in ("no.pem", "absent.pem"):
        with pytest.raises(SlipwayError, match="no private key") as refused:
            token.given(jwt, "", str(tmp_path / name))
        assert refused.value.id == "unusable-key"
