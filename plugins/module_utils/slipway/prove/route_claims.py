"""Claims about cases of a path, redirects, and hosts with routes of their own."""

from __future__ import annotations

import urllib.parse
from typing import Any

from .answers import hops
from .case import Case, FailedError
from .questions import NotExercisedError, Questions, concrete

Json = dict[str, Any]

TIMES = 5
# Methods that change nothing, so that a proof may send them to any application.
SAFE = ("GET", "HEAD", "OPTIONS")


def ask_case(ask: Questions, claim: Json) -> Json:
    """Ask as those do whom the case is about."""
    case = claim["case"]
    method = next((each for each in case["methods"] if each in SAFE), "GET")
    if case["methods"] and method not in case["methods"]:
        raise NotExercisedError(f"a proof does not send {case['methods'][0]}, which may change something")
    if not ask.circumstances.tells:
        raise NotExercisedError("the app's answers do not say which service they are from")
    path = case["example"] or ask.path(case["path"])
    if case["query"]:
        path += ("&" if "?" in path else "?") + urllib.parse.urlencode(case["query"])
    ask.many(TIMES, ask.step(path, method=method if method != "GET" else None, headers=case["headers"]))
    return {"route": case["path"], "service": case["service"], "versions": case["versions"]}


def ask_entry(ask: Questions, claim: Json) -> Json:
    """Ask the host for the path."""
    entry = claim["entry"]
    if not ask.circumstances.tells:
        raise NotExercisedError("the app's answers do not say which service they are from")
    ask.many(TIMES, ask.step(ask.path(entry["path"]), host=concrete(entry["host"])))
    return {"route": "", "service": entry["service"], "versions": entry["versions"]}


def judge_service(case: Case) -> str:
    """See the service answer, in a version that it may have."""
    expect, count = case.expect, 0
    for answer in case.good(case.answers(case.claim["experiments"][0])):
        met = hops(case.plan, expect["route"] or next(iter(case.plan["signatures"])), answer)
        if not met:
            raise FailedError("an answer does not show which pod it is from")
        service, version = met[0]
        if service != expect["service"] or version not in expect["versions"]:
            wanted = f"{expect['service']} {' or '.join(expect['versions'])}"
            raise FailedError(f"{service} {version} answered instead of {wanted}")
        count += 1
    if not count:
        raise FailedError("no answer was seen")
    return f"{count} answers are from {expect['service']}"


def ask_redirect(ask: Questions, claim: Json) -> Json:
    """Ask for the path."""
    redirect = claim["redirect"]
    ask.many(TIMES, ask.step(redirect["path"]))
    scheme = "https" if ask.place(ask.host).get("tls") else "http"
    return {**redirect, "base": f"{scheme}://{ask.host}"}


def judge_redirect(case: Case) -> str:
    """See the status, and where clients are sent."""
    expect, count = case.expect, 0
    for answer in case.answers(case.claim["experiments"][0]):
        if answer["status"] in case.plan["tolerated"]:
            continue
        if answer["status"] != expect["code"]:
            raise FailedError(f"{expect['path']} is answered {answer['status']} instead of {expect['code']}")
        said = str(answer.get("location") or "")
        if not _leads(said, expect):
            raise FailedError(f"{expect['path']} sends clients to {said or 'nowhere'} instead of {expect['to']}")
        count += 1
    if not count:
        raise FailedError("no answer was seen")
    return f"{count} clients were sent to {expect['to']}"


def _leads(said: str, expect: Json) -> bool:
    """Tell whether a Location is where the page says, as far as the page says it."""
    given = urllib.parse.urlsplit(urllib.parse.urljoin(expect["base"], said))
    wanted = urllib.parse.urlsplit(expect["to"])
    if wanted.scheme and (wanted.scheme, wanted.netloc) != (given.scheme, given.netloc):
        return False
    return not wanted.path or wanted.path == given.path
