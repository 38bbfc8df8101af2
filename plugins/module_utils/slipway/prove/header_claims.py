"""Claims about headers: those of a path, the one that says the version, and those that open a path to browsers."""

from __future__ import annotations

import re
from typing import Any

from .answers import hops, version_of
from .case import Case, FailedError
from .questions import NotExercisedError, Questions

Json = dict[str, Any]

TIMES = 3
# A host that nobody can have (RFC 2606): for every page a stranger, or what * stands for.
STRANGER, ANYBODY = "https://stranger.invalid", "https://anybody.invalid"
_ORIGIN, _METHODS, _HEADERS = (f"access-control-allow-{name}" for name in ("origin", "methods", "headers"))
_CREDENTIALS = "access-control-allow-credentials"


def ask_headers(ask: Questions, claim: Json) -> Json:
    """Ask for a path, and look at the headers of the answers."""
    _calls_only(ask, claim["service"])
    response = claim["headers"].get("response")
    if not response:
        raise NotExercisedError("what the service gets of a request is not seen in its answers")
    names = [*response.get("set", {}), *response.get("add", {}), *response.get("remove", [])]
    ask.many(TIMES, ask.step(ask.path(claim["route"]), show=names))
    return {"response": response, "service": claim["service"]}


def judge_headers(case: Case) -> str:
    """See each header that is set or added, and none that is removed."""
    response = case.expect["response"]
    answers = case.good(case.answers(case.claim["experiments"][0]))
    for answer in answers:
        for name, value in response.get("set", {}).items():
            if answer["headers"][name] != [value]:
                raise FailedError(f"{name} is {_told(answer['headers'][name])} instead of {value}")
        for name, value in response.get("add", {}).items():
            if not _has(answer["headers"][name], value):
                raise FailedError(f"{name} is {_told(answer['headers'][name])}, without {value}")
        for name in response.get("remove", []):
            if answer["headers"][name]:
                raise FailedError(f"{name} is {_told(answer['headers'][name])} instead of gone")
    _some(len(answers))
    return f"{len(answers)} answers have them"


def ask_version_header(ask: Questions, claim: Json) -> Json:
    """Ask for each path: as clients that name a version, and as new ones."""
    expect: Json = {"header": claim["header"], "asked": {}}
    for route in ask.facts["routes"]:
        if ask.speaks_grpc(route["service"]):
            continue
        path = ask.path(route["path"])
        live = [version for version, share in route["shares"].items() if share]
        for version in live if route["split"] else live[:1]:
            forced = ask.forced(version, route["path"]) if route["split"] and len(live) > 1 else {}
            step = {**ask.step(path, show=[claim["header"]]), **(forced or {})}
            wanted = live if forced is None else [version]
            told = ask.circumstances.tells and ("?" in path or route["path"] in ask.circumstances.paths)
            about = {"route": route["path"], "split": route["split"], "versions": wanted, "tells": told}
            expect["asked"][ask.many(TIMES, step)] = about
    if not expect["asked"]:
        raise NotExercisedError("all paths lead to services of gRPC, and a proof calls none of their methods")
    return expect


def judge_version_header(case: Case) -> str:
    """See the version that was asked for, and that of the pod that answered where the app tells it."""
    name, count = case.expect["header"], 0
    for experiment, about in case.expect["asked"].items():
        for answer in case.good(case.answers(experiment)):
            said = answer["headers"][name]
            if len(said) != 1 or said[0] not in about["versions"]:
                wanted = " or ".join(about["versions"])
                raise FailedError(f"{about['route']}: {name} is {_told(said)} instead of {wanted}")
            answered = _answered(case, about, answer) if about["tells"] else said[0]
            if answered != said[0]:
                raise FailedError(f"{about['route']}: {name} says {said[0]}, and {answered} answered")
            count += 1
    _some(count)
    return f"{count} answers say their version"


def _answered(case: Case, about: Json, answer: Json) -> str | None:
    if about["split"]:
        return version_of(case.plan, about["route"], answer)
    met = hops(case.plan, about["route"], answer)
    return met[0][1] if met else None


def ask_cors(ask: Questions, claim: Json) -> Json:
    """Ask what a browser asks before a page of another origin may, for each origin and for a stranger."""
    _calls_only(ask, claim["service"])
    cors, path = claim["cors"], ask.path(claim["route"])
    names = [_ORIGIN, _METHODS, _HEADERS, _CREDENTIALS]
    method = cors["methods"][-1]
    wish = {"access-control-request-method": method}
    if cors["headers"]:
        wish["access-control-request-headers"] = ",".join(cors["headers"])
    origins = list(dict.fromkeys(map(_one_of, cors["origins"])))
    expect: Json = {"service": claim["service"], "cors": cors, "preflights": {}, "stranger": None, "read": None}
    for origin in origins:
        step = ask.step(path, method="OPTIONS", headers={"origin": origin, **wish}, show=names)
        expect["preflights"][ask.many(TIMES, step)] = origin
    if "*" not in cors["origins"]:
        step = ask.step(path, method="OPTIONS", headers={"origin": STRANGER, **wish}, show=names)
        expect["stranger"] = ask.many(TIMES, step)
    step = ask.step(path, headers={"origin": origins[0]}, show=names)
    expect["read"] = [ask.many(TIMES, step), origins[0]]
    return expect


def judge_cors(case: Case) -> str:
    """See preflights of each origin answered, and nothing for a stranger."""
    cors = case.expect["cors"]
    for name, origin in case.expect["preflights"].items():
        answers = [answer for answer in case.answers(name) if answer["status"] not in case.plan["tolerated"]]
        _some(len(answers))
        for answer in answers:
            if answer["status"] != 200:
                got = answer["status"] or answer.get("error", "nothing")
                raise FailedError(f"a preflight from {origin} is answered {got} instead of 200")
            _allowed(answer, origin, cors)
            for header, wanted in ((_METHODS, cors["methods"]), (_HEADERS, cors["headers"])):
                held = {each.strip().lower() for line in answer["headers"][header] for each in line.split(",")}
                lacking = [each for each in wanted if each.lower() not in held and "*" not in held]
                if lacking:
                    raise FailedError(f"{header} for {origin} is without {lacking[0]}")
    for answer in case.answers(case.expect["stranger"]) if case.expect["stranger"] else ():
        if said := answer["headers"][_ORIGIN] if answer["status"] else []:
            raise FailedError(f"a preflight from {STRANGER} gets {_ORIGIN} {_told(said)}")
    name, origin = case.expect["read"]
    read = case.good(case.answers(name))
    _some(len(read))
    for answer in read:
        _allowed(answer, origin, cors)
    count = len(case.expect["preflights"])
    text = f"{count} {'preflight is' if count == 1 else 'preflights are'} answered, and an answer may be read"
    return text + ("; a stranger gets nothing" if case.expect["stranger"] else "")


def _allowed(answer: Json, origin: str, cors: Json) -> None:
    said = answer["headers"][_ORIGIN]
    if said != [origin] and (said != ["*"] or "*" not in cors["origins"]):
        raise FailedError(f"{_ORIGIN} for {origin} is {_told(said)}")
    if bool(answer["headers"][_CREDENTIALS]) != cors["credentials"]:
        raise FailedError(f"{_CREDENTIALS} for {origin} is {_told(answer['headers'][_CREDENTIALS])}")


def _one_of(origin: str) -> str:
    """Give an origin that an entry of the page means."""
    return ANYBODY if origin == "*" else origin.replace("*.", "prove.")


def _has(lines: list[str], value: str) -> bool:
    """Tell whether a header has a value, in a line of its own or in a list."""
    held, wanted = (re.sub(r",\s*", ",", text) for text in (",".join(lines), value))
    return f",{wanted}," in f",{held},"


def _told(lines: list[str]) -> str:
    return ", ".join(lines) or "not there"


def _calls_only(ask: Questions, service: str) -> None:
    if ask.speaks_grpc(service):
        raise NotExercisedError(f"{service} speaks gRPC, and a proof calls none of its methods")


def _some(count: int) -> None:
    """Refuse a claim about no answer at all: faults of the page may have taken all of them."""
    if not count:
        raise FailedError("no answer was seen")
