"""Claims of releases whose objects come as they are: paths answer, rules and queries can be read; others are listed."""

from __future__ import annotations

from typing import Any

from .case import Case, FailedError
from .questions import NotExercisedError, Questions, SkippedError

Json = dict[str, Any]

# An app may well have nothing at a path, and ask who comes; that it does not answer at all is no answer of its own.
_ANSWERED = 500
_TIMES = 3


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
