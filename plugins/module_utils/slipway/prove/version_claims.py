"""Claims about which version answers: shares, default, sticky clients, overrides, chains."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from . import stats
from .answers import hops, set_cookies, version_of
from .case import Case, FailedError
from .questions import REPEATS, NotExercisedError, Questions, SkippedError
from .routes import TASKS

Json = dict[str, Any]


def ask_share(ask: Questions, claim: Json) -> Json:
    """Ask as new clients, as many as tell the shares from others."""
    route = claim["route"]
    path = ask.path(route["path"])
    rule = stats.design(route["shares"], ask.together)
    step, clients = ask.step(path), rule.n
    sticky = ask.facts["sticky"].get("hash") or {}
    sources = math.ceil(clients / ask.per_source(path))
    if sticky.get("header"):
        step["headers"] = {sticky["header"]: "prove-{nonce}-{client}"}
    elif sticky.get("cookie"):
        step["cookies"] = {sticky["cookie"]: "prove-{nonce}-{client}"}
    elif sticky.get("address"):
        sources = clients
    ask.room(path, clients)
    ask.experiment([step], clients=clients, sources=sources)
    bounds = {name: [i.low, i.high] for name, i in rule.accepted.items()}
    return {"route": route["path"], "shares": route["shares"], "n": rule.n, "accepted": bounds,
            "false_alarm": rule.false_alarm, "miss": rule.miss, "withdrawn": _gone(ask)}  # fmt: skip


def judge_share(case: Case) -> str:
    """Count the versions that new clients got."""
    answers = case.answers(case.claim["experiments"][0])
    seen = _versions(case, answers)
    missing = len(answers) - seen.total()
    counted = ", ".join(f"{seen[name]} got {name}" for name in case.expect["shares"])
    text = f"of {seen.total()} new clients {counted}"
    for version, (low, high) in case.expect["accepted"].items():
        if not low - missing <= seen[version] <= high:
            raise FailedError(text)
    if set(seen) - set(case.expect["shares"]):
        raise FailedError(f"{text}, and others {', '.join(sorted(set(seen) - set(case.expect['shares'])))}")
    return text


def _gone(ask: Questions) -> list[str]:
    return list(ask.facts["sticky"].get("withdrawn", []))


def ask_default(ask: Questions, claim: Json) -> Json:
    """Ask as clients that say nothing."""
    route = claim["route"]
    version = next(iter(route["shares"]))
    ask.many(44, ask.step(ask.path(route["path"])))
    return {"route": route["path"], "version": version}


def judge_default(case: Case) -> str:
    """See one version alone."""
    return _only(case, case.expect["version"])


def ask_sticky(ask: Questions, claim: Json) -> Json:
    """Ask as clients that come back, and as clients with the cookie of each version."""
    sticky, route = claim["sticky"], _split_route(ask)
    path = ask.path(route["path"])
    live = [version for version, share in route["shares"].items() if share]
    expect = {"route": route["path"], "by": sticky["by"], "fixed": {}, "sessions": "", "cookie": None}
    each = min(ask.per_source(path), 8)
    if sticky["by"] == "cookie":
        expect["cookie"] = {name: sticky[name] for name in ("cookie", "set_by", "values", "max_age")}
        for version in live:
            cookie = {sticky["cookie"]: sticky["values"][version]}
            name = ask.many(stats.needed(route["shares"][version]), ask.step(path, cookies=cookie))
            expect["fixed"][name] = version
        # Each version has to be seen by new clients: a wrong cookie of one that few get would not be noticed else.
        new = stats.until_seen(min(route["shares"][version] for version in live))
        expect["new"] = ask.many(new, ask.step(path))
        clients, steps = 24, [ask.step(path, times=each)]
    else:
        key = sticky["hash"]
        clients, step = 40, ask.step(path, times=each)
        if key.get("header"):
            step["headers"] = {key["header"]: "prove-{nonce}-{client}"}
        elif key.get("cookie"):
            step["cookies"] = {key["cookie"]: "prove-{nonce}-{client}"}
        steps = [step]
    ask.room(path, clients * each)
    expect["sessions"] = ask.experiment(steps, clients=clients, session=True)
    return expect


def judge_sticky(case: Case) -> str:
    """See every client stay with its version."""
    bound = 0
    for name, version in case.expect["fixed"].items():
        seen = _versions(case, case.answers(name))
        try:
            _same(seen, version)
        except FailedError as exc:
            raise FailedError(f"clients with the cookie of {version}: {exc}", exc.look) from exc
        bound += seen.total()
    clients: dict[int, set[str | None]] = {}
    answers = case.good(case.answers(case.expect["sessions"]))
    first: dict[int, Json] = {}
    for answer in answers:
        version = version_of(case.plan, case.expect["route"], answer)
        clients.setdefault(answer["client"], set()).add(version)
        first.setdefault(answer["client"], answer)
    if case.expect["cookie"]:
        for answer in (*first.values(), *case.good(case.answers(case.expect["new"]))):
            _cookie_is_right(case, answer, case.expect["cookie"])
    moved = sum(len(versions) != 1 for versions in clients.values())
    if moved or not clients:
        raise FailedError(f"{moved} of {len(clients)} clients changed their version")
    return f"{len(clients)} clients kept their version for {len(answers)} requests" + (
        f", {bound} requests with a version's cookie got that version" if bound else ""
    )


def _cookie_is_right(case: Case, answer: Json, cookie: Json) -> None:
    version = version_of(case.plan, case.expect["route"], answer)
    name, wanted = cookie["cookie"], cookie["values"].get(version)
    found = set_cookies(answer, name)
    if not found:
        raise FailedError(f"a new client that got {version} gets no cookie {name}")
    value, attributes = found[-1]
    if len(found) > 1 or value != wanted:
        values = " and ".join(value for value, _ in found)
        raise FailedError(f"a new client that got {version} gets {name}={values} instead of {wanted}")
    if attributes.get("path") != "/":
        path = attributes.get("path", "(none)")
        raise FailedError(f"the cookie {name} has path {path} instead of /")
    if cookie["set_by"] == "mesh" and attributes.get("max-age") != str(cookie["max_age"]):
        age = attributes.get("max-age", "(none)")
        raise FailedError(f"{name} has Max-Age {age} instead of {cookie['max_age']}")


def ask_withdrawn(ask: Questions, claim: Json) -> Json:
    """Ask as clients with the cookie of a version that is withdrawn."""
    sticky, route = claim["sticky"], _split_route(ask)
    path = ask.path(route["path"])
    for version in sticky["withdrawn"]:
        ask.many(REPEATS, ask.step(path, cookies={sticky["cookie"]: sticky["values"][version]}))
    cookie = {name: sticky[name] for name in ("cookie", "set_by", "values", "max_age")}
    return {"route": route["path"], "gone": sticky["withdrawn"], "cookie": cookie}


def judge_withdrawn(case: Case) -> str:
    """See those clients move, and get the cookie of another version."""
    answers = [answer for name in case.claim["experiments"] for answer in case.answers(name)]
    seen = _versions(case, answers)
    still = [version for version in case.expect["gone"] if seen[version]]
    if still:
        raise FailedError(f"{seen[still[0]]} of {seen.total()} clients still get {still[0]}")
    for answer in case.good(answers):
        _cookie_is_right(case, answer, case.expect["cookie"])
    return f"{seen.total()} clients with an old cookie got {', '.join(sorted(seen))}, and its cookie"


def ask_override(ask: Questions, claim: Json) -> Json:
    """Ask as clients that name the version they want."""
    override, route = claim["override"], _split_route(ask)
    path, version, sticky = ask.path(route["path"]), override["version"], ask.facts["sticky"]
    if not ask.have_pods(ask.signatures(route)[version]):
        raise NotExercisedError(f"{version} has no pods (replicas: 0)")
    step = {**ask.step(path), **ask.asking(override)}
    others = [other for other in route["shares"] if other != version]
    count = stats.needed(route["shares"].get(version, 0))
    if sticky["by"] == "cookie" and others and override["by"] != "cookie":
        # Who is bound to another version sees it all the same.
        step["cookies"] = {sticky["cookie"]: sticky["values"][others[0]]}
        count = REPEATS
    ask.many(count, step)
    return {"route": route["path"], "version": version}


def judge_override(case: Case) -> str:
    """See that version alone."""
    return _only(case, case.expect["version"])


def ask_chain(ask: Questions, claim: Json) -> Json:
    """Ask for each version at each path behind which services call others."""
    expect: Json = {"chains": {}}
    for chain in claim["chains"]:
        path = ask.path(chain["path"])
        if "?" not in path and chain["path"] not in ask.circumstances.paths:
            raise NotExercisedError(f"the app's own paths {' and '.join(TASKS)} do not lead to {chain['path']}")
        forced = ask.forced(chain["version"], chain["path"])
        if forced is None or not ask.have_pods(chain["hops"].items()):
            continue
        name = ask.many(20, {**ask.step(path), **forced})
        expect["chains"][name] = {"route": chain["path"], "version": chain["version"]}
    if not expect["chains"]:
        raise NotExercisedError("nothing makes a request show a certain version")
    return expect


def judge_chain(case: Case) -> str:
    """See each request meet one version all along its way."""
    count = 0
    for name, chain in case.expect["chains"].items():
        wanted = dict(case.plan["signatures"][chain["route"]][chain["version"]])
        answers = case.answers(name)
        try:
            good = case.good(answers)
        except FailedError as exc:
            raise FailedError(f"for {chain['version']} at {chain['route']}: {exc}", exc.look) from exc
        for answer in good:
            met = hops(case.plan, chain["route"], answer)
            for service, version in met:
                if service not in wanted or wanted[service] not in (None, version):
                    way = " → ".join(f"{service} {version}" for service, version in met)
                    raise FailedError(f"a request for {chain['version']} to {chain['route']} met {way}")
            absent = sorted(set(wanted) - {service for service, _ in met})
            if absent:
                raise FailedError(f"a request for {chain['version']} to {chain['route']} never met {absent[0]}")
            count += 1
    return f"{count} requests met one version all along"


def _split_route(ask: Questions) -> Json:
    # What a path says for itself alone is not what the release says of its versions.
    routes: list[Json] = [route for route in ask.facts["routes"] if route["split"] and not route["own"]]
    shared = [route for route in routes if len(route["shares"]) > 1]
    if not routes:
        raise SkippedError("no path has more than one version")
    return (shared or routes)[0]


def _versions(case: Case, answers: list[Json]) -> Counter[str]:
    seen: Counter[str] = Counter()
    for answer in case.good(answers):
        version = version_of(case.plan, case.expect["route"], answer)
        if version is None:
            raise FailedError(f"an answer shows no version of {case.expect['route']}: {_told(answer)}")
        seen[version] += 1
    return seen


def _told(answer: Json) -> str:
    return ", ".join(answer.get("pods") or []) or answer.get("chain") or f"status {answer['status']}, no x-chain"


def _only(case: Case, version: str) -> str:
    seen: Counter[str] = Counter()
    for name in case.claim["experiments"]:
        seen += _versions(case, case.answers(name))
    return _same(seen, version)


def _same(seen: Counter[str], version: str) -> str:
    if set(seen) != {version}:
        others = ", ".join(f"{count} x {name}" for name, count in seen.items())
        raise FailedError(f"of {seen.total()} answers: {others or 'none'}; only {version} should be seen")
    return f"{seen[version]} of {seen.total()} answers show {version}"
