"""Claims about monitoring: alerts fire and are mailed, metrics are read."""

from __future__ import annotations

import math
import re
from typing import Any

from .case import Case, FailedError
from .questions import STAGES, NotExercisedError, Questions, SkippedError

Json = dict[str, Any]

# Load for an alert about errors, of which the faults of the page make enough; a share shows once other requests end.
ABORTED_PER_SECOND = 2.0
# How long an alert may take beyond its own ``for``, in seconds.
PATIENCE = 90


def ask_alert(ask: Questions, claim: Json) -> Json:
    """Make the load that the alert is about."""
    alert = claim["alert"]
    if not ask.circumstances.monitoring:
        raise SkippedError("there is no monitoring in this cluster")
    ask.read("alert", name=alert["name"], stage="alerts")
    seconds = alert["for"] + PATIENCE + (STAGES["clients"] if _aborting(ask, alert) else 0)
    expect = {**alert, "within": seconds, "mail": None}
    if claim["mail"]:
        expect["mail"] = {**claim["mail"], "seen": "read" if ask.circumstances.mail_sink else "handed over"}
    expect["receivers"] = alert["receivers"]
    rate = _load(ask, alert)
    if rate > 10:
        raise NotExercisedError(f"{alert['when']} is more load than a proof should make")
    route, forced = _way_to(ask, _aborting(ask, alert) or alert["service"], alert["version"])
    # Each of these clients stays below every limit per client.
    limits = (each for each in ask.limits_on(route["path"]) if not (ask.circumstances.past and each["per"] != "client"))
    buckets = [limit["bucket"] for limit in limits]
    gains = [float(bucket["fill_interval"].rstrip("s")) / bucket["tokens_per_fill"] for bucket in buckets]
    pace = max([1.0, *(gain * 1.5 for gain in gains)])
    step = {**ask.step(ask.path(route["path"]), times=math.ceil(seconds / pace)), **forced}
    clients = max(1, math.ceil(rate * pace))
    if clients > 60:
        raise NotExercisedError(f"{alert['when']} would take {clients} clients at once to stay below the limits")
    ask.experiment([step], clients=clients, pace=pace, parallel=64, stage="alerts")
    return expect


def judge_alert(case: Case) -> str:
    """See the alert silent before, firing after, and mailed."""
    expect, read = case.expect, case.looked_up(case.claim["reads"][0])
    if read.get("before") != "inactive":
        raise FailedError(f"before any load it is {read.get('before', 'not loaded')}")
    fired = read.get("fired_after")
    if fired is None or fired > expect["within"]:
        when = "not" if fired is None else f"only after {fired:.0f} s"
        raise FailedError(f"it fired {when}; it should within {expect['within']} s of load")
    text = f"silent before, fired after {fired:.0f} s"
    if expect["mail"]:
        wanted, got = expect["mail"]["seen"], read.get("mail", "none")
        if got not in ({"read"} if wanted == "read" else {"read", "handed over"}):
            whom = ", ".join(expect["mail"]["to"])
            raise FailedError(f"{text}, but its mail to {whom} was not {wanted}: {read.get('mail_error') or got}")
        text += f", mail {got}" + (f" to {expect['mail']['server']}" if got == "handed over" else "")
    for receiver in expect["receivers"]:
        name, got = receiver["name"], (read.get("receivers") or {}).get(receiver["name"]) or {}
        if got.get("state") not in ("read", "handed over"):
            why = got.get("error") or "Alertmanager has not tried to tell it yet"
            raise FailedError(f"{text}, but {name} ({receiver['kind']}) was not told: {why}")
        text += f", {name} ({receiver['kind']}) told" + (" and read" if got["state"] == "read" else "")
    return text


def _load(ask: Questions, alert: Json) -> float:
    """Give the requests in a second that make an alert fire."""
    match = re.fullmatch(r"\s*requests\s*>\s*([\d.]+)\s*/\s*(s|m|h)\w*\s*", alert["when"] or "")
    if match:
        return float(match[1]) / {"s": 1, "m": 60, "h": 3600}[match[2]] * 1.5
    if _aborting(ask, alert):
        return ABORTED_PER_SECOND
    raise NotExercisedError("only a load of requests is made on purpose; its rule is loaded and silent")


def _aborting(ask: Questions, alert: Json) -> str | None:
    """Name the service at whose paths the faults of the page make twice the errors that an alert is about."""
    match = re.fullmatch(r"\s*(?:errors|5xx)\s*>\s*([\d.]+)\s*%\s*", alert["when"] or "")
    for service in (route["service"] for route in ask.facts["routes"]) if match else ():
        abort = (ask.facts["services"][service]["faults"] or {}).get("abort") or {"status": 0}
        enough = abort["status"] >= 500 and match and abort["share"] >= 2 * float(match[1])
        if enough and alert["service"] in (None, service):
            return str(service)
    return None


def _way_to(ask: Questions, service: str | None, version: str | None) -> tuple[Json, Json]:
    """Give a route to a service, and what makes each request there meet that version of it."""
    ways = {chain["path"] for chain in ask.facts["chains"] if service in chain["hops"]}
    leading = [route for route in ask.facts["routes"] if service == route["service"] or route["path"] in ways]
    leading.sort(key=lambda route: route["service"] != service)
    if service is None or version is None:
        return (leading or ask.facts["routes"])[0], {}
    own = ask.facts["services"][service]["versions"][version]
    if not own["replicas"]:
        raise NotExercisedError(f"{service} {version} has no pods (replicas: 0)")
    if own["shadow"] == 100 and leading:
        return leading[0], {}
    for route in leading:
        signatures = ask.signatures(route)
        meeting = {name for name, hops in signatures.items() if [service, version] in hops}
        if meeting == set(signatures) or {name for name, share in route["shares"].items() if share} <= meeting:
            return route, {}
        forced = next(filter(None, (ask.forced(name, route["path"]) for name in sorted(meeting))), None)
        if forced:
            return route, forced
    raise NotExercisedError(f"nothing makes every request meet {service} {version}")


def ask_metrics(ask: Questions, claim: Json) -> Json:
    """Look up Prometheus' targets."""
    if not ask.circumstances.monitoring:
        raise SkippedError("there is no monitoring in this cluster")
    ask.read("targets", service=claim["service"])
    return {"service": claim["service"], **claim["metrics"]}


def judge_metrics(case: Case) -> str:
    """See all targets up."""
    read = case.looked_up(case.claim["reads"][0])
    if read["down"] or not read["up"]:
        why = "; ".join(read.get("errors", [])) or "no target"
        raise FailedError(f"{read['up']} targets are up and {read['down']} down: {why}")
    return f"{read['up']} targets are up"
