"""Claims about limits: so many requests pass, and the others get 429."""

from __future__ import annotations

import math
from typing import Any

from .answers import set_cookies
from .case import Case, FailedError
from .questions import LAST, MOST_PLACES, STAGES, NotExercisedError, Questions, concrete

Json = dict[str, Any]

# A limit with a larger bucket, or one that fills faster than one client can ask, is not exercised.
MOST_TOKENS = 300
# Requests over a limit that two more clients may make of it.
FEW = 60
MOST_PER_SECOND = 5


def ask_limit(ask: Questions, claim: Json) -> Json:
    """Ask more often than the limit lets through, at each place that it is for."""
    limit = claim["limit"]
    bucket, path = limit["bucket"], limit["path"]
    if path in ("", "/"):
        # Where no narrower limit bites first.
        routes = sorted(ask.facts["routes"], key=lambda route: len(ask.limits_on(route["path"])))
        path = next((route["path"] for route in routes), "/")
    path, tokens, when = ask.path(path), bucket["max_tokens"], _said(limit.get("when", {}))
    gain = bucket["tokens_per_fill"] / float(bucket["fill_interval"].rstrip("s"))
    if tokens > MOST_TOKENS or gain > MOST_PER_SECOND:
        raise NotExercisedError(f"{limit['rate']} is more than a bounded number of requests can reach")
    for other in (each for each in ask.limits_on(path) if each is not limit and not _spares(each, limit)):
        # In one for all each client asks once, and what asks for one per client goes past those for all.
        spared = limit["per"] == "total" or ask.circumstances.past
        if other["bucket"]["max_tokens"] < tokens and not (spared and other["per"] != limit["per"]):
            raise NotExercisedError(f"the limit of {other['rate']} bites first")
    expect = {"tokens": tokens, "most": limit["effective"], "fill": bucket["tokens_per_fill"], "per": limit["per"]}
    expect |= {"interval": float(bucket["fill_interval"].rstrip("s")), "main": [], "spared": [], "forged": []}
    expect["cookie"] = ask.facts["sticky"].get("cookie") if ask.facts["sticky"].get("set_by") == "mesh" else None
    stage = LAST if limit["per"] == "total" else "limits"
    asked, over = {**ask.step(path), **when}, limit["effective"] + 3 + math.ceil(STAGES[stage] * gain)
    if limit["per"] == "total":
        main = ask.experiment([{**asked, "times": 1}], clients=over, parallel=4, stage=LAST)
        return {**expect, "main": [main]}
    spared = [ask.step("/", host=host, times=over) for host in ask.facts["tools"].values()]
    spared += [ask.step("/", host=n["host"], port=n["port"], times=3) for n in ask.circumstances.neighbours]
    steps = [{**asked, "times": over}, *spared]
    expect["main"].append(ask.experiment(steps, clients=2, stage="limits"))
    if over <= FEW:
        # Small buckets are cheap: with the one whose header is forged, five addresses.
        expect["main"].append(ask.experiment([{**asked, "times": over}], clients=2, stage="limits"))
    changing = [
        {**asked, "headers": {**asked.get("headers", {}), "X-Forwarded-For": _documented(i)}} for i in range(over)
    ]
    expect["forged"].append(ask.experiment(changing, stage="limits"))
    places = [{"host": host, **at} for host in map(concrete, limit["hosts"]) for at in ask.places(host)]
    for place in places[1:MOST_PLACES]:
        step = {**asked, **place, "times": over}
        expect["main"].append(ask.experiment([step], stage="limits"))
    return expect


def _spares(other: Json, limit: Json) -> bool:
    """Tell whether a limit is for those who say nothing, where the requests of another say something."""
    said = limit.get("when", {})
    return "value" in said and other.get("when", {}).get("without") in (said.get("header"), said.get("cookie"))


def _said(when: Json) -> Json:
    """Give what a request says that a limit of a class counts; of any value one that nobody else has."""
    if "value" not in when:
        return {}
    value = "prove-{nonce}" if when["value"] is None else when["value"]
    return {"headers": {when["header"]: value}} if "header" in when else {"cookies": {when["cookie"]: value}}


def judge_limit(case: Case) -> str:
    """Count what came through, for each client or for all together."""
    expect, texts = case.expect, []
    for name in expect["main"]:
        answers = case.answers(name)
        grouped: dict[int, list[Json]] = {}
        for answer in answers:
            own = answer["client"] if expect["per"] == "client" else 0
            if answer["step"] == 0:
                grouped.setdefault(own, []).append(answer)
            elif answer["status"] == 429:
                step = _steps(case, name)[answer["step"]]
                where = f"{step['host']}:{step['port']}"
                raise FailedError(f"{where} answered 429 to a client that is over the limit elsewhere")
        texts += [_counted(case, group, _place(case, name)) for group in grouped.values()]
    for name in expect["forged"]:
        _counted(case, case.answers(name), f"{_place(case, name)} with X-Forwarded-For changing")
    return texts[0]


def _steps(case: Case, name: str) -> list[Json]:
    return list(next(item for item in case.plan["experiments"] if item["id"] == name)["steps"])


def _place(case: Case, name: str) -> str:
    step = _steps(case, name)[0]
    return f"{step['host']}:{step['port']}"


def _counted(case: Case, answers: list[Json], place: str) -> str:
    expect = case.expect
    ordered = sorted(answers, key=lambda answer: float(answer["at"]))
    refused = [answer for answer in ordered if answer["status"] == 429]
    failed = [answer for answer in ordered if answer["status"] == 0 or answer["status"] >= 500]
    if failed:
        why = failed[0].get("error", failed[0]["status"])
        raise FailedError(f"{place}: {len(failed)} of {len(ordered)} requests failed: {why}")
    let = len(ordered) - len(refused)
    last = ordered[-1]
    seconds = float(last["at"]) + float(last["ms"]) / 1000 - float(ordered[0]["at"])
    most = expect["most"] + expect["fill"] * math.floor(seconds / expect["interval"])
    if let > most or not refused:
        text = f"{place}: {let} of {len(ordered)} requests in {seconds:.1f} s came through"
        raise FailedError(f"{text}; at most {most} should")
    if not let:
        raise FailedError(f"{place}: not one of {len(ordered)} requests came through")
    if expect["per"] == "client" and ordered.index(refused[0]) < expect["tokens"]:
        number = ordered.index(refused[0]) + 1
        raise FailedError(f"{place}: request {number} is refused already; {expect['tokens']} should pass")
    if expect["cookie"]:
        kept = [value for answer in refused for value, _ in set_cookies(answer, expect["cookie"]) if value]
        if kept:
            raise FailedError(f"{place}: a 429 sets the cookie {expect['cookie']}={kept[0]}")
    return f"{place}: {let} requests came through, the others got 429"


def _documented(index: int) -> str:
    """Give an address of the networks for documentation: nobody's."""
    return f"{('203.0.113', '198.51.100', '192.0.2')[index // 250 % 3]}.{index % 250 + 1}"
