"""Claims about what the mesh does with calls of a service: timeout, retries, circuit breaking, faults."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

from . import envoy, stats
from .case import Case, FailedError
from .questions import REPEATS, NotExercisedError, Questions, split_by
from .routes import callers

Json = dict[str, Any]

TEST_HEADER = "x-slipway-test"
# What a hop that is made to fail answers with: one of these, which any of the reasons for another try means.
FAILED = (503, 502, 504)


def ask_timeout(ask: Questions, claim: Json) -> Json:
    """Have a hop made slower than its timeout."""
    _, path, role = _reached(ask, claim["service"])
    seconds = _seconds(claim["policy"])
    if seconds > 6:
        raise NotExercisedError(f"{claim['policy']} is longer than the test header can delay")
    for hop, policy in _before(ask, claim["service"]):
        limits = (policy["timeout"], (policy["retries"] or {}).get("per_try"))
        if _tries_again(policy["retries"]) or any(_seconds(limit) < seconds + 1 for limit in limits if limit):
            raise NotExercisedError(f"{hop}, on the way there, tries again or gives up first")
    header = {TEST_HEADER: f"delay={int(seconds * 1000) + 2000}ms;at={role}"}
    ask.room(path, 3)
    # Side by side: one after the other they take longer than the stage.
    ask.experiment([ask.step(path, headers=header)], clients=3, stage="last")
    return {"service": claim["service"], "seconds": seconds, "delay": seconds + 2}


def judge_timeout(case: Case) -> str:
    """See 504 once the timeout is over."""
    low, high = case.expect["seconds"] * 900, case.expect["delay"] * 1000
    for answer in case.answers(case.claim["experiments"][0]):
        if answer["status"] != 504 or not low <= answer["ms"] < high:
            raise FailedError(f"an answer made slow came with {answer['status']} after {answer['ms']:.0f} ms")
    return f"504 after {case.expect['seconds']:g} s"


def ask_retries(ask: Questions, claim: Json) -> Json:
    """Have a hop fail once for each request."""
    service, policy, method = claim["service"], claim["policy"], claim.get("method", "GET")
    _, path, role = _reached(ask, service)
    if not _tries_again(policy):
        raise NotExercisedError("it asks again only after faults that a request cannot bring about")
    entries = (route["path"] for route in ask.facts["routes"] if route["service"] == service)
    own = [route for route in entries if not _alike(ask, route, service, role)]
    if policy["methods"] and not own:
        called = "by a method that the program of its caller picks"
        raise NotExercisedError(f"{service} is called {called}; {', '.join(policy['methods'])} are asked again")
    path = next((known for known in map(ask.path, own) if "?" in known), path)
    for hop, before in [] if own else _before(ask, service):
        if _tries_again(before["retries"]):
            raise NotExercisedError(f"{hop}, on the way there, would try again in its place")
    pods = max(version["replicas"] for version in ask.facts["services"][service]["versions"].values())
    if method == "GET" and pods > policy["attempts"]:
        raise NotExercisedError(f"each of {pods} pods fails once, and it asks again {policy['attempts']} times")
    # Not what the release answers with on purpose.
    failed = next((status for status in FAILED if status not in ask.tolerated()), FAILED[0])
    header = {TEST_HEADER: f"status={failed};first=1;at={role}"}
    # One that no GET is answered with, should it be sent twice: the app finds no text in what has no body.
    ask.many(5, ask.step(path, headers=header, method=method if method != "GET" else None), stage="last")
    return {"service": service, "attempts": policy["attempts"], "method": method, "failed": failed}


def judge_retries(case: Case) -> str:
    """See each request answered, or those of a POST not sent again."""
    answers = case.answers(case.claim["experiments"][0])
    if case.expect["method"] != "GET":
        more = [answer["status"] for answer in answers if answer["status"] not in (0, case.expect["failed"])]
        if more:
            method, failed = case.expect["method"], case.expect["failed"]
            raise FailedError(f"{len(more)} of {len(answers)} {method}s that got {failed} were sent again: {more[0]}")
        lost = [answer for answer in answers if not answer["status"]]
        if lost:
            raise FailedError(f"{len(lost)} of {len(answers)} requests without an answer: {lost[0].get('error', '')}")
        return f"{len(answers)} {case.expect['method']}s that failed were not sent again"
    case.good(answers)
    return f"{len(answers)} requests that failed once were answered"


def ask_circuit_breaking(ask: Questions, claim: Json) -> Json:
    """Read it from the proxies alone."""
    _held(ask, claim["service"])
    raise NotExercisedError("taking a pod out would take it from users as well")


def ask_faults(ask: Questions, claim: Json) -> Json:
    """Ask often enough to tell the shares of the faults from others."""
    _held(ask, claim["service"])
    routes = [route["path"] for route in ask.facts["routes"] if route["service"] == claim["service"]]
    if not routes:
        raise NotExercisedError(f"faults of {claim['service']} are seen by its callers alone")
    expect: Json = {"service": claim["service"], "delay": None, "abort": None}
    rules = []
    for name in ("delay", "abort"):
        fault = claim["policy"].get(name)
        if fault:
            rule = stats.design(split_by(fault["share"]), ask.together) if 0 < fault["share"] < 100 else None
            rules.append(rule.n if rule else REPEATS)
            expect[name] = dict(fault)
    for name in ("delay", "abort"):
        if expect[name] and 0 < expect[name]["share"] < 100:
            # Both are counted in the same requests.
            rule = stats.design(split_by(expect[name]["share"]), ask.together, max(rules))
            expect[name]["accepted"] = [rule.accepted["hit"].low, rule.accepted["hit"].high]
            rules.append(rule.n)
        elif expect[name]:
            expect[name]["accepted"] = [max(rules), max(rules)] if expect[name]["share"] else [0, 0]
        if expect[name] and name == "delay":
            expect[name]["seconds"] = _seconds(expect[name]["time"])
    ask.experiment([ask.step(ask.path(routes[0]))], clients=max(rules), sources=max(rules))
    return {**expect, "n": max(rules)}


def judge_faults(case: Case) -> str:
    """Count the answers that were slow or aborted."""
    answers, texts = case.answers(case.claim["experiments"][0]), []
    for name in ("delay", "abort"):
        fault = case.expect[name]
        if not fault:
            continue
        hit = sum(
            answer["ms"] >= fault["seconds"] * 1000 if name == "delay" else answer["status"] == fault["status"]
            for answer in answers
        )
        texts.append(f"{hit} of {len(answers)} {'slow' if name == 'delay' else 'aborted'}")
        if not fault["accepted"][0] <= hit <= fault["accepted"][1]:
            low, high = fault["accepted"]
            raise FailedError(f"{texts[-1]}; {low} to {high} should be")
    return ", ".join(texts)


def _held(ask: Questions, service: str) -> None:
    """Have a policy read from the proxies that call its service; where none of ours does, nothing shows it."""
    gateway, deployments = callers(ask.facts, service)
    if not (gateway or deployments):
        raise NotExercisedError(f"no proxy of this release calls {service}, so it was not read anywhere either")
    ask.read("policy", service=service, kind=ask.claim["kind"])


def _reached(ask: Questions, service: str) -> tuple[str, str, str]:
    """Give route, path and role for a hop that obeys the test header."""
    _held(ask, service)
    role = ask.circumstances.roles.get(service, "")
    if not ask.circumstances.test_header or not role:
        raise NotExercisedError(f"{service} does not obey {TEST_HEADER}")
    found = [route["path"] for route in ask.facts["routes"] if ask.leads(route["path"], service)]
    known = [route for route in found if ask.known(route)]
    if not known:
        raise NotExercisedError(f"no path is known that leads to {service}")
    for route in known:
        alike = _alike(ask, route, service, role)
        if not alike:
            return route, ask.path(route), role
    raise NotExercisedError(f"{alike[0]} on the way is a {role} too: {TEST_HEADER} would hit both")


def _alike(ask: Questions, route: str, service: str, role: str) -> list[str]:
    """Name the other services that a request for a route meets and that go by the same role."""
    return [
        other
        for other in ask.facts["services"]
        if other != service and ask.circumstances.roles.get(other) == role and ask.leads(route, other)
    ]


def _before(ask: Questions, service: str) -> Iterator[tuple[str, Json]]:
    """Give the services that a request for this one meets first, with what is said of each."""
    hops: Json = next((chain["hops"] for chain in ask.facts["chains"] if service in chain["hops"]), {})
    for hop in itertools.takewhile(lambda name: name != service, hops):
        yield hop, ask.facts["services"][hop]


def _tries_again(retries: Json | None) -> bool:
    """Tell whether what is answered with an error is asked again."""
    return bool(retries and retries["attempts"] and {"5xx", "gateway-error"} & set(retries["reasons"]))


def _seconds(text: str) -> float:
    found = envoy.seconds(text)
    return math.inf if found is None else found
