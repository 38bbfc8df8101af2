"""Claims about shadows: they get copies, and no user gets their answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from . import stats
from .answers import hops
from .case import Case, FailedError
from .questions import NotExercisedError, Questions, split_by

Json = dict[str, Any]


def ask_shadow(ask: Questions, claim: Json) -> Json:
    """Ask what is copied, and have the copies counted."""
    shadow = claim["shadow"]
    if not _runs(ask, shadow):
        raise NotExercisedError(f"{shadow['version']} has no pods (replicas: 0)")
    sent = _copied(ask)
    routes = [route for route in sent if ask.leads(route, shadow["service"])]
    if not routes:
        raise NotExercisedError(f"no path is known that leads to {shadow['service']}")
    expect: Json = {"routes": {_copies(ask, route, sent[route]): route for route in routes}}
    metrics = ask.facts["services"][shadow["service"]]["metrics"]
    ask.read("copies", service=shadow["service"], version=shadow["version"], stage="copies",
             deployment=ask.deployment(shadow))  # fmt: skip
    low, high, ways = _copies_of(ask, shadow, sent)
    expect |= {"n": sum(sent[route] for route in routes), "accepted": [low, high], "ways": ways}
    return {**shadow, **expect, "scraped": bool(metrics)}


def judge_shadow(case: Case) -> str:
    """Compare the number of copies with the requests that were sent."""
    expect, sent = case.expect, 0
    for name, route in expect["routes"].items():
        for answer in case.good(case.answers(name)):
            if (expect["service"], expect["version"]) in hops(case.plan, route, answer):
                raise FailedError(f"{expect['service']} {expect['version']} answered a user")
            sent += 1
    read = case.looked_up(case.claim["reads"][0])
    copies = read["after"] - read["before"]
    # Prometheus' own readings pass the proxy too.
    slack = 3 + int(read.get("seconds", 0)) // 5 if read.get("source") == "proxy" and expect["scraped"] else 0
    low, high = expect["accepted"]
    text = f"{copies} copies of {sent} requests"
    if expect["ways"] > int(expect["percent"] > 0):
        text = f"{copies} requests, calls of other shadows included, of {sent} of users"
    if not low - (expect["n"] - sent) * max(1, expect["ways"]) <= copies <= high + slack:
        raise FailedError(f"{text} instead of {low}" + (f" to {high}" if low != high else ""))
    return text


def _runs(ask: Questions, where: Json) -> bool:
    return ask.have_pods([(where["service"], where["version"])])


def _running(ask: Questions) -> list[Json]:
    """Give the shadows that have pods."""
    return [shadow for shadow in ask.facts["shadows"] if _runs(ask, shadow)]


def _copied(ask: Questions) -> dict[str, int]:
    """Say how many requests for which route all shadows together need."""
    sent: dict[str, int] = {}
    for shadow in _running(ask):
        percent = shadow["percent"]
        count = stats.design(split_by(percent), ask.together).n if 0 < percent < 100 else 40
        leading = (r["path"] for r in ask.facts["routes"] if ask.leads(r["path"], shadow["service"]))
        route = next(filter(ask.known, leading), None)
        if route is not None:
            sent[route] = max(sent.get(route, 0), count)
    return sent


def _copies(ask: Questions, route: str, count: int) -> str:
    """Send the requests of which copies are counted, once for all shadows that they lead to."""
    name = ask.copying.get(route, "")
    if name in ask.experiments:
        ask.claim["experiments"].append(name)
        return name
    path = ask.path(route)
    ask.room(path, count)
    sources = math.ceil(count / ask.per_source(path))
    ask.copying[route] = ask.experiment([ask.step(path)], clients=count, sources=sources, stage="copies")
    return ask.copying[route]


def _copies_of(ask: Questions, shadow: Json, sent: Mapping[str, int]) -> tuple[int, int, int]:
    """Give the least and the most requests that a shadow gets: copies of users', and calls of other shadows.

    The third: of how many kinds they are. Each call of a shadow goes to the same version, whatever its share.
    """
    percent, count = shadow["percent"], sum(sent[r] for r in sent if ask.leads(r, shadow["service"]))
    low = high = count if percent == 100 else 0
    if 0 < percent < 100:
        bounds = stats.accepted(count, percent / 100, stats.FALSE_ALARM / ask.together)
        low, high = bounds.low, bounds.high
    ways = int(percent > 0)
    for caller in _running(ask):
        if caller["version"] == shadow["version"] and caller["calls"].get(shadow["service"]):
            least, most, more = _copies_of(ask, caller, sent)
            low, high, ways = low + least, high + most, ways + more
    return low, high, ways
