"""From the claims of a release to requests, readings and what is expected of them. Plain data in, plain data out.

What a claim asks is in the files ``*_claims.py``, by family, beside how its answers are judged. What experiments and
reads are: see ``questions.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from . import (
    access_claims,
    contents_claims,
    dashboard_claims,
    gateway_claims,
    header_claims,
    limit_claims,
    monitoring_claims,
    outside_claims,
    policy_claims,
    protocol_claims,
    route_claims,
    shadow_claims,
    version_claims,
)
from .circumstances import Circumstances
from .questions import SECONDS, STAGES, NotExercisedError, Questions, SkippedError

Json = dict[str, Any]

# Every kind of claim that a proof knows, and who asks for it.
ASKED_BY: dict[str, Callable[[Questions, Json], Json]] = {
    "address": gateway_claims.ask_address,
    "share": version_claims.ask_share,
    "default": version_claims.ask_default,
    "sticky": version_claims.ask_sticky,
    "withdrawn": version_claims.ask_withdrawn,
    "override": version_claims.ask_override,
    "chain": version_claims.ask_chain,
    "shadow": shadow_claims.ask_shadow,
    "headers": header_claims.ask_headers,
    "version-header": header_claims.ask_version_header,
    "cors": header_claims.ask_cors,
    "limit": limit_claims.ask_limit,
    "tls": gateway_claims.ask_tls,
    "mtls": access_claims.ask_mtls,
    "access": access_claims.ask_access,
    "outside": outside_claims.ask_outside,
    "egress": outside_claims.ask_egress,
    "jwt": outside_claims.ask_jwt,
    "alert": monitoring_claims.ask_alert,
    "dashboard": dashboard_claims.ask_dashboard,
    "case": route_claims.ask_case,
    "redirect": route_claims.ask_redirect,
    "entry": route_claims.ask_entry,
    "websocket": protocol_claims.ask_websocket,
    "grpc": protocol_claims.ask_grpc,
    "tool": gateway_claims.ask_tool,
    "metrics": monitoring_claims.ask_metrics,
    "timeout": policy_claims.ask_timeout,
    "retries": policy_claims.ask_retries,
    "circuit-breaking": policy_claims.ask_circuit_breaking,
    "faults": policy_claims.ask_faults,
    "answer": contents_claims.ask_answer,
    "counted": contents_claims.ask_counted,
    "rules": contents_claims.ask_rules,
    "queries": contents_claims.ask_queries,
    "listed": contents_claims.ask_listed,
}
KINDS = tuple(ASKED_BY)
# Claims about which version answered.
OF_VERSIONS = ("share", "default", "sticky", "withdrawn", "override", "chain", "shadow")


def plan(facts: Json, environment: Mapping[str, Any] | None = None) -> Json:
    """Say what to send and to look up for each claim of ``facts`` (see ``release/facts.py``)."""
    ask = Questions(facts, Circumstances.of(environment or {}))
    claims = [_claim(ask, claim) for claim in [*_outside(ask), *facts["claims"]]]
    names = ("release", "namespace", "hosts", "services", "sticky", "versions", "weights", "routes")
    return {
        **{name: facts[name] for name in names},
        "jwt": facts.get("jwt"),
        "signatures": {route["path"]: ask.signatures(route) for route in facts["routes"]},
        "seconds": SECONDS,
        "stages": [{"name": name, "seconds": seconds} for name, seconds in STAGES.items()],
        "tolerated": ask.tolerated(),
        "beside": sorted({item["stage"] for item in ask.experiments.values()} - set(STAGES)),
        "sources": ask.next_source,
        "requests": ask.requests,
        "random_intervals": ask.together,
        "pods": ask.pods,
        "experiments": list(ask.experiments.values()),
        "reads": list(ask.reads.values()),
        "claims": claims,
    }


def _outside(ask: Questions) -> Iterator[Json]:
    """Add what is no promise of the page, but of the cluster that the release is on."""
    if ask.circumstances.away is not None:
        yield {"id": "address-0", "kind": "address", "title": "the gateway answers the user's machine"}


def _claim(ask: Questions, claim: Json) -> Json:
    ask.claim = {"id": claim["id"], "kind": claim["kind"], "title": claim["title"], "state": "asked"}
    ask.claim |= {"reason": "", "expect": {}, "experiments": [], "reads": []}
    before = ask.requests
    try:
        ask.claim["expect"] = _expected(ask, claim)
    except (NotExercisedError, SkippedError) as exc:
        for name in ask.claim["experiments"]:
            # One of another claim's, which this one only reads, stays.
            if ask.experiments[name]["claim"] == ask.claim["id"]:
                del ask.experiments[name]
        ask.requests = before
        ask.claim |= {"experiments": [], "reason": str(exc)}
        ask.claim["state"] = "configured" if isinstance(exc, NotExercisedError) else "skipped"
        if ask.claim["state"] == "skipped":
            for name in ask.claim["reads"]:
                ask.reads.pop(name, None)
            ask.claim["reads"] = []
    return ask.claim


def _expected(ask: Questions, claim: Json) -> Json:
    """Ask what a claim needs, and say what is expected of the answers."""
    if claim["kind"] in ask.circumstances.skip:
        raise SkippedError("left out, as prove_skip says")
    if claim["kind"] in OF_VERSIONS and not ask.circumstances.tells:
        raise NotExercisedError("the app's answers do not say which version they are from")
    return ASKED_BY[claim["kind"]](ask, claim)
