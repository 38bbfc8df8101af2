"""What the pictures of a report show, as plain data: the numbers of report.json are the ones that are drawn."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

from . import stats
from .answers import answers_of, hops, version_of

Json = dict[str, Any]


def gathered(plan: Json, observations: Json) -> Json:
    """Collect shares, chain matrices, timelines of limits, latencies and calls from all that was seen."""
    return {
        "shares": _shares(plan, observations),
        "chains": _chains(plan, observations),
        "limits": _limits(plan, observations),
        "latency": _latency(plan, observations),
        "topology": _topology(plan, observations),
        "panels": _panels(plan, observations),
    }


def _panels(plan: Json, observations: Json) -> list[Json]:
    """List the panels of each dashboard, with what Prometheus had for them."""
    return [
        {"dashboard": claim["expect"]["dashboard"], "title": each["title"], "state": each["state"], "why": each["why"]}
        for claim in plan["claims"]
        if claim["kind"] == "dashboard" and claim["state"] == "asked"
        for each in observations["reads"].get(claim["reads"][0], {}).get("panels", [])
    ]


def _answers(plan: Json, observations: Json, claim: Json) -> list[Json]:
    return [answer for each, answer in answers_of(plan, observations) if each["claim"] == claim["id"]]


def _routes(plan: Json) -> dict[str, str]:
    """Give the route that each experiment is about, where that is known."""
    found: dict[str, str] = {}
    for claim in plan["claims"]:
        expect = claim["expect"]
        if "route" in expect:
            found |= dict.fromkeys(claim["experiments"], expect["route"])
        found |= {name: chain["route"] for name, chain in expect.get("chains", {}).items()}
        found |= expect.get("routes", {})
    return found


def _shares(plan: Json, observations: Json) -> list[Json]:
    made = []
    for claim in plan["claims"]:
        if claim["kind"] != "share" or claim["state"] != "asked":
            continue
        expect = claim["expect"]
        answers = _answers(plan, observations, claim)
        seen = Counter(version_of(plan, expect["route"], answer) for answer in answers if answer.get("status") == 200)
        total = sum(seen[version] for version in expect["shares"])
        for version, weight in expect["shares"].items():
            low, high = stats.clopper_pearson(seen[version], total)
            accepted = [round(100 * count / expect["n"], 2) for count in expect["accepted"][version]]
            share = round(100 * seen[version] / total, 2) if total else 0.0
            made.append({"route": expect["route"], "version": version, "weight": weight, "seen": seen[version],
                         "of": total, "share": share, "low": round(100 * low, 2), "high": round(100 * high, 2),
                         "accepted": accepted})  # fmt: skip
    return made


def _chains(plan: Json, observations: Json) -> list[Json]:
    """Count caller's version by callee's version for each call."""
    counted: Counter[tuple[str, str, str, str]] = Counter()
    routes = _routes(plan)
    for experiment, answer in answers_of(plan, observations):
        if experiment["id"] in routes and answer.get("status") == 200:
            met = hops(plan, routes[experiment["id"]], answer)
            for (caller, own), (callee, other) in pairwise(met):
                counted[caller, callee, own, other] += 1
    made: dict[tuple[str, str], Json] = {}
    for (caller, callee, own, other), count in sorted(counted.items()):
        call = made.setdefault((caller, callee), {"caller": caller, "callee": callee, "counts": {}})
        call["counts"].setdefault(own, {})[other] = count
    return list(made.values())


def _limits(plan: Json, observations: Json) -> list[Json]:
    made = []
    for claim in plan["claims"]:
        if claim["kind"] != "limit" or claim["state"] != "asked":
            continue
        clients: dict[str, list[list[float]]] = {}
        for name in [*claim["expect"]["main"], *claim["expect"]["forged"]]:
            for answer in observations.get("experiments", {}).get(name, {}).get("answers", []):
                forged = name in claim["expect"]["forged"]
                if forged or answer.get("step") == 0:
                    source = f"client {answer.get('source', 0)}" + (", forged" if forged else "")
                    clients.setdefault(source, []).append([answer["at"], answer["status"]])
        made.append({"title": claim["title"], "tokens": claim["expect"]["tokens"], "clients": clients})
    return made


def _latency(plan: Json, observations: Json) -> list[Json]:
    times: dict[str, list[float]] = {}
    routes = _routes(plan)
    for experiment, answer in answers_of(plan, observations):
        if experiment["id"] in routes and answer.get("status") == 200:
            version = version_of(plan, routes[experiment["id"]], answer)
            times.setdefault(version or "?", []).append(float(answer["ms"]))
    quantiles = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "most": 1.0}
    return [
        {"version": version, "of": len(values), **{name: stats.quantile(values, q) for name, q in quantiles.items()}}
        for version, values in sorted(times.items())
    ]


def _topology(plan: Json, observations: Json) -> Json:
    """Give services with their versions in columns by their distance from the gateway, and the calls between them."""
    services = plan["services"]
    depth = {route["service"]: 1 for route in plan["routes"] if route["service"] in services}
    # Calls have no circle, so as many rounds as there are services are enough.
    for _ in services:
        for service in list(depth):
            for callee in services[service]["calls"]:
                depth[callee] = max(depth.get(callee, 0), depth[service] + 1)
    seen = {(call["caller"], call["callee"]): call for call in _chains(plan, observations)}
    nodes = [
        {"name": name, "column": depth.get(name, 1), "versions": list(own["versions"])}
        for name, own in services.items()
    ]
    calls = [{"caller": "gateway", "callee": route["service"], "path": route["path"]} for route in plan["routes"]]
    # Of pods that nobody knows there is nothing to draw.
    calls = [call for call in calls if call["callee"] in plan["services"]]
    calls += [
        {"caller": name, "callee": callee,
         "seen": sum(sum(row.values()) for row in seen.get((name, callee), {"counts": {}})["counts"].values())}
        for name, own in services.items() for callee in own["calls"]
    ]  # fmt: skip
    return {"nodes": nodes, "calls": calls}
