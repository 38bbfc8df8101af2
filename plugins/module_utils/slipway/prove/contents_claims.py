"""Claims of releases whose objects come as they are: paths answer, rules and queries can be read; others are listed."""

from __future__ import annotations

import math
from typing import Any

from . import stats
from .case import Case, FailedError
from .questions import NotExercisedError, Questions, SkippedError

Json = dict[str, Any]

# An app may well have nothing at a path, and ask who comes; that it does not answer at all is no answer of its own.
_ANSWERED = 500
_TIMES = 3
# Requests with each thing that leads to a version.
_FORCED = 40


def ask_answer(ask: Questions, claim: Json) -> Json:
    """Ask a path."""
    route = claim["route"]
    ask.many(_TIMES, ask.step(ask.path(route["path"])))
    return {"route": route["path"], "service": route["service"]}


def judge_answer(case: Case) -> str:
    """See answers that are no errors of a server."""
    answers = case.answers(case.claim["experiments"][0])
    for answer in answers:
        if not answer["status"] or answer["status"] >= _ANSWERED:
            got = answer["status"] or answer.get("error", "nothing")
            raise FailedError(f"{case.expect['route']} is answered {got}")
    statuses = ", ".join(sorted({str(answer["status"]) for answer in answers}))
    return f"{len(answers)} requests were answered {statuses}"


def ask_counted(ask: Questions, claim: Json) -> Json:
    """Ask without anything, and with each thing that leads to a version; have the requests of each version counted."""
    if ask.circumstances.tells:
        raise SkippedError("the answers say which version they are from")
    if ask.facts["shadows"]:
        raise NotExercisedError("copies to shadows are counted then")
    route = claim["route"]
    versions = ask.facts["services"][route["service"]]["versions"]
    if not all(own["sidecar"] for own in versions.values()):
        raise NotExercisedError("requests are counted by the mesh's proxy, which not all of its pods have")
    path = ask.path(route["path"])
    shares = {name: share for name, share in route["shares"].items() if share}
    rule = stats.design(shares, ask.together) if len(shares) > 1 else None
    count = rule.n if rule else _FORCED
    accepted = {name: [i.low, i.high] for name, i in rule.accepted.items()} if rule else {}
    accepted = accepted or {name: [count, count] for name in shares}
    bounds = {name: accepted.get(name, [0, 0]) for name in versions}
    ask.room(path, count)
    ask.experiment([ask.step(path)], clients=count, sources=math.ceil(count / ask.per_source(path)), stage="copies")
    for override in claim["overrides"]:
        step = {**ask.step(path), **ask.asking(override)}
        ask.experiment([step], clients=_FORCED, sources=math.ceil(_FORCED / ask.per_source(path)), stage="copies")
        low, high = bounds[override["version"]]
        bounds[override["version"]] = [low + _FORCED, high + _FORCED]
    for name, own in versions.items():
        ask.read("copies", service=route["service"], version=name, stage="copies", deployment=own["deployment"])
    scraped = bool(ask.facts["services"][route["service"]]["metrics"])
    return {"service": route["service"], "bounds": bounds, "scraped": scraped}


def judge_counted(case: Case) -> str:
    """Hold what the pods of each version got against what was sent."""
    sent = lost = 0
    for name in case.claim["experiments"]:
        answers = case.answers(name)
        sent += len(answers)
        lost += sum(not answer["status"] for answer in answers)
    counted, wrong, total = [], False, 0
    for name, (version, (low, high)) in zip(case.claim["reads"], case.expect["bounds"].items(), strict=True):
        read = case.looked_up(name)
        got = read["after"] - read["before"]
        # Prometheus' own readings pass the proxy too.
        slack = 3 + int(read.get("seconds", 0)) // 5 if case.expect["scraped"] else 0
        total += max(0, got - slack)
        wrong = wrong or not low - lost <= got <= high + slack
        counted.append(f"{version} got {got} (of {low} to {high})")
    text = f"of {sent} requests {', '.join(counted)}"
    if total > sent:
        raise FailedError(f"{text}: others have used the release meanwhile, so nothing is known; prove it again")
    if wrong:
        raise FailedError(text)
    return text


def ask_rules(ask: Questions, claim: Json) -> Json:
    """Look up Prometheus' rules."""
    if not ask.circumstances.monitoring:
        raise SkippedError("there is no monitoring in this cluster")
    ask.read("loaded", item=claim["item"])
    return {"item": claim["item"], "rules": claim["rules"]}


def judge_rules(case: Case) -> str:
    """See all rules loaded and evaluated."""
    read = case.looked_up(case.claim["reads"][0])
    absent = [name for name in case.expect["rules"] if name not in read["rules"]]
    if absent:
        raise FailedError(f"Prometheus has not loaded {', '.join(absent)}")
    if read["errors"]:
        raise FailedError("; ".join(read["errors"]))
    return f"{len(case.expect['rules'])} rules are loaded"


def ask_queries(ask: Questions, claim: Json) -> Json:
    """Have Prometheus read the queries of a dashboard."""
    if not ask.circumstances.monitoring:
        raise SkippedError("there is no monitoring in this cluster")
    if not claim["queries"]:
        raise NotExercisedError("it has no query without a variable")
    ask.read("queries", item=claim["item"], queries=claim["queries"])
    return {"item": claim["item"]}


def judge_queries(case: Case) -> str:
    """See no query refused."""
    read = case.looked_up(case.claim["reads"][0])
    if read["refused"]:
        raise FailedError("; ".join(f"{query}: {why}" for query, why in read["refused"].items()))
    return f"{read['asked']} queries can be read, {read['empty']} of them find nothing now"


def ask_listed(_: Questions, claim: Json) -> Json:
    """Say why nothing is asked."""
    raise NotExercisedError(claim["why"])
