"""Claims about what is outside: hosts that are called, what may leave, and tokens that requests bring."""

from __future__ import annotations

import time
from typing import Any

from .case import Case, FailedError
from .questions import NotExercisedError, Questions, concrete
from .token import claims_for, without_key

Json = dict[str, Any]

TIMES = 3
# Paths that one claim asks, each with every kind of request.
MOST_PATHS = 4
# What the proxy of a pod says itself, so that a refusal of the application is not taken for one of the mesh.
DENIED, WRONG = "RBAC: access denied", "Jwt"


def ask_outside(ask: Questions, claim: Json) -> Json:
    """Read from the proxies that they know the host."""
    for deployment in _proxies(ask, list(ask.facts["services"])):
        ask.read("outside", deployment=deployment, host=claim["outside"]["host"], outside=claim["outside"])
    raise NotExercisedError("a proof asks nobody outside")


def ask_egress(ask: Questions, _: Json) -> Json:
    """Read from the proxies that they let nothing else through."""
    for deployment in _proxies(ask, list(ask.facts["services"])):
        ask.read("egress", deployment=deployment)
    raise NotExercisedError("only the application's own pods are held, and a proof sends nothing out of them")


def _proxies(ask: Questions, services: list[str]) -> list[str]:
    """Name the Deployments that have pods with a proxy."""
    found = [
        own["deployment"]
        for service in services
        for own in ask.facts["services"][service]["versions"].values()
        if own["sidecar"] and own["replicas"]
    ]
    if not found:
        raise NotExercisedError("no pod of this release has the mesh's proxy")
    return found


def ask_jwt(ask: Questions, claim: Json) -> Json:
    """Ask without a token, with broken ones, at free paths, and with a good one where there is one."""
    jwt = claim["jwt"]
    expect: Json = {"missing": {}, "wrong": {}, "free": {}, "good": {}}
    for place in jwt["refused"][:MOST_PATHS]:
        path, step = _asked(ask, place)
        expect["missing"][ask.many(TIMES, {**step, "anonymous": True})] = path
        for what, token in broken(jwt).items():
            bearing = {**step, "anonymous": True, **ask.bearing(token)}
            expect["wrong"][ask.many(TIMES, bearing)] = [path, what]
    for path in jwt["free"][:MOST_PATHS]:
        expect["free"][ask.many(TIMES, ask.step(path, anonymous=True))] = path
    if ask.circumstances.token:
        for place in jwt["refused"][:MOST_PATHS]:
            path, step = _asked(ask, place)
            expect["good"][ask.many(TIMES, step)] = path
    if any(issuer["jwks_uri"] for issuer in jwt["issuers"]):
        expect["keys"] = [ask.read("keys", deployment=each) for each in _proxies(ask, jwt["services"])]
    return expect


def _asked(ask: Questions, place: Json) -> tuple[str, Json]:
    """Give a path that needs a token as it is told, and a request for it."""
    host = concrete(place["host"])
    told = place["path"] if host == ask.host else f"{place['host']}{place['path']}"
    return told, ask.step(ask.path(place["path"]), host=host)


def broken(jwt: Json) -> dict[str, str]:
    """Make tokens that nobody may take: what they are, and each token."""
    issuer = jwt["issuers"][0]
    claims = claims_for(jwt, time.time())
    algorithm = "ES256" if issuer["kinds"] == ["EC"] else "RS256"
    signed = without_key(algorithm, claims)
    return {
        "no token at all": "slipway-prove",
        "one that nobody signed": f"{without_key('none', claims).rpartition('.')[0]}.",
        "one that somebody else signed": signed,
    }


def judge_jwt(case: Case) -> str:
    """See who has no token, or a wrong one, refused, and everybody at free paths."""
    expect = case.expect
    for name in expect.get("keys", []):
        read = case.looked_up(name)
        if not read["found"]:
            raise FailedError(str(read["detail"]))
    for name, path in expect["missing"].items():
        for answer in case.answers(name):
            _refused(answer, (403,), f"{path} without a token")
    for name, (path, what) in expect["wrong"].items():
        for answer in case.answers(name):
            _refused(answer, (401, 403), f"{path} with {what}")
    for name, path in expect["free"].items():
        for answer in case.answers(name):
            said = str(answer.get("said", ""))
            if not answer["status"] or (answer["status"] in (401, 403) and said.startswith((DENIED, WRONG))):
                got = f"{answer['status']}, {said}" if answer["status"] else answer.get("error", "nothing")
                raise FailedError(f"{path} is free, and is answered {got}")
    for name in expect["good"]:
        case.good(case.answers(name))
    text = f"403 without a token, 401 with a wrong one, at {', '.join(expect['missing'].values())}"
    if expect["free"]:
        text += f"; {', '.join(expect['free'].values())} answers without one"
    return text + ("; a valid one is taken" if expect["good"] else "; no valid one was given")


def _refused(answer: Json, statuses: tuple[int, ...], about: str) -> None:
    if answer["status"] not in statuses:
        got = answer["status"] or answer.get("error", "nothing")
        raise FailedError(f"{about} is answered {got} instead of {' or '.join(map(str, statuses))}")
    said = str(answer.get("said", ""))
    if not said.startswith((DENIED, WRONG)):
        raise FailedError(f"{about} is answered {answer['status']}, but not by the mesh: {said or 'without a word'}")
