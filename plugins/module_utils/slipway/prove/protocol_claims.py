"""Claims about what is spoken beside plain requests of HTTP: WebSocket and gRPC."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from .case import Case, FailedError
from .questions import NotExercisedError, Questions, concrete

Json = dict[str, Any]

TIMES = 3
KEY = base64.b64encode(b"slipway-prove-01").decode("ascii")
# What is put behind a key before it is hashed (RFC 6455).
_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
UPGRADE = {"Connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13", "sec-websocket-key": KEY}
_ACCEPTED = "sec-websocket-accept"
# What Envoy adds to what somebody behind it answered.
_BEHIND = "x-envoy-upstream-service-time"
_STATUS, _MESSAGE, _TYPE = "grpc-status", "grpc-message", "content-type"
CALL = {_TYPE: "application/grpc", "te": "trailers"}
# Envoy's own words for these: who has no pod, who may not call.
_UNAVAILABLE, _FORBIDDEN, _RBAC = "14", "7", "RBAC"


def accepted(key: str) -> str:
    """Give what a server of WebSocket answers to a key."""
    return base64.b64encode(hashlib.sha1(f"{key}{_MAGIC}".encode(), usedforsecurity=False).digest()).decode("ascii")


def ask_websocket(ask: Questions, claim: Json) -> Json:
    """Ask for the upgrade, and end the connection then."""
    _without_faults(ask, claim["service"])
    path = ask.circumstances.paths.get(claim["route"], claim["route"])
    ask.many(TIMES, ask.step(path, headers=UPGRADE, show=[_ACCEPTED], **_host(claim)))
    return {"service": claim["service"]}


def judge_websocket(case: Case) -> str:
    """See 101, and the key answered as only a server of WebSocket does."""
    answers = case.answers(case.claim["experiments"][0])
    for answer in answers:
        if answer["status"] != 101:
            said = f", which says: {answer['said']}" if answer.get("said") else ""
            raise FailedError(f"an upgrade is answered {_got(answer)} instead of 101{said}")
        if answer["headers"][_ACCEPTED] != [accepted(KEY)]:
            raise FailedError(f"{_ACCEPTED} does not answer the key: {', '.join(answer['headers'][_ACCEPTED])}")
    return f"{len(answers)} upgrades are answered 101"


def ask_grpc(ask: Questions, claim: Json) -> Json:
    """Call a method that nobody has, so that nothing changes: the answer is a status, and no message comes before."""
    _without_faults(ask, claim["service"])
    removed = (each["headers"].get("response", {}).get("remove", []) for each in ask.facts["routes"])
    if _BEHIND in (name.lower() for names in removed for name in names):
        raise NotExercisedError(f"without {_BEHIND} the gateway's own answers are not told from others")
    below = claim["route"].rstrip("/")
    path = f"{below}/SlipwayProve" if below else "/slipway.Prove/Nothing"
    show = [_TYPE, _STATUS, _MESSAGE, _BEHIND]
    ask.many(TIMES, ask.step(path, method="POST", headers=CALL, show=show, **_host(claim)))
    return {"service": claim["service"]}


def judge_grpc(case: Case) -> str:
    """See statuses of gRPC, and nobody but the service answer with them."""
    answers = case.answers(case.claim["experiments"][0])
    seen: dict[str, None] = {}
    for answer in answers:
        held = {name: ", ".join(lines) for name, lines in answer.get("headers", {}).items()}
        kind, status, message = (held.get(name, "") for name in (_TYPE, _STATUS, _MESSAGE))
        if not kind.startswith("application/grpc"):
            raise FailedError(f"a call is answered {_got(answer)} ({kind or 'without a type'}), which is no gRPC")
        told = f"grpc-status {status or 'in a trailer'}" + (f" ({message})" if message else "")
        if not held[_BEHIND]:
            raise FailedError(f"the gateway itself answers a call, with {told}")
        if status == _UNAVAILABLE or (status == _FORBIDDEN and message.startswith(_RBAC)):
            raise FailedError(f"the proxy of {case.expect['service']} answers a call, with {told}")
        seen[f"grpc-status {status}" if status else "a status in a trailer"] = None
    return f"{len(answers)} calls of a method that nobody has are answered with {' and '.join(seen)}"


def _host(claim: Json) -> Json:
    return {"host": concrete(claim["host"])} if claim["host"] else {}


def _without_faults(ask: Questions, service: str) -> None:
    if ask.facts["services"][service].get("faults"):
        raise NotExercisedError(f"faults of {service} answer in its place")


def _got(answer: Json) -> str:
    return str(answer["status"] or answer.get("error", "nothing"))
