"""What the observations come to: a verdict for each claim. Nothing that was not seen passes.

Observations: ``experiments`` (id → ``answers`` of ``agent.py``) and ``reads`` (id → as docs/reference/claims.md says).
How a claim is judged is in the files ``*_claims.py``, by family, beside what it asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

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
from .case import Case, FailedError
from .hints import ELSEWHERE, LOOK
from .pictures import gathered

Json = dict[str, Any]

State = Literal["passed", "failed", "configured", "skipped"]


@dataclass(frozen=True)
class Verdict:
    """What was claimed, expected and seen; ``look``: where to look when it failed."""

    id: str
    kind: str
    title: str
    state: State
    expected: str
    seen: str
    look: str = ""


@dataclass(frozen=True)
class Report:
    """Verdicts, and what pictures are drawn from; all of it plain data in ``as_json``."""

    release: str
    namespace: str
    verdicts: list[Verdict]
    pictures: Json = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Tell whether no claim failed."""
        return all(verdict.state != "failed" for verdict in self.verdicts)

    def as_json(self) -> Json:
        """Give what report.json holds."""
        counts = Counter(verdict.state for verdict in self.verdicts)
        return {
            "release": self.release,
            "namespace": self.namespace,
            "passed": self.passed,
            "counts": {state: counts.get(state, 0) for state in ("passed", "failed", "configured", "skipped")},
            "claims": [asdict(verdict) for verdict in self.verdicts],
            "pictures": self.pictures,
        }


def joined(report: Report, change: Json) -> Report:
    """Put the claim about a change before those about what came of it."""
    if not change:
        return report
    verdicts = [Verdict(**change["verdict"]), *report.verdicts]
    return replace(report, verdicts=verdicts, pictures={**report.pictures, "change": change["picture"]})


# Who judges a claim that was asked; circuit breaking, what is outside and what is only listed never are.
JUDGED_BY: dict[str, Callable[[Case], str]] = {
    "address": gateway_claims.judge_address,
    "share": version_claims.judge_share,
    "default": version_claims.judge_default,
    "sticky": version_claims.judge_sticky,
    "withdrawn": version_claims.judge_withdrawn,
    "override": version_claims.judge_override,
    "chain": version_claims.judge_chain,
    "shadow": shadow_claims.judge_shadow,
    "headers": header_claims.judge_headers,
    "version-header": header_claims.judge_version_header,
    "cors": header_claims.judge_cors,
    "limit": limit_claims.judge_limit,
    "tls": gateway_claims.judge_tls,
    "mtls": access_claims.judge_mtls,
    "access": access_claims.judge_access,
    "jwt": outside_claims.judge_jwt,
    "alert": monitoring_claims.judge_alert,
    "dashboard": dashboard_claims.judge_dashboard,
    "case": route_claims.judge_service,
    "redirect": route_claims.judge_redirect,
    "entry": route_claims.judge_service,
    "websocket": protocol_claims.judge_websocket,
    "grpc": protocol_claims.judge_grpc,
    "tool": gateway_claims.judge_tool,
    "metrics": monitoring_claims.judge_metrics,
    "timeout": policy_claims.judge_timeout,
    "retries": policy_claims.judge_retries,
    "faults": policy_claims.judge_faults,
    "answer": contents_claims.judge_answer,
    "counted": contents_claims.judge_counted,
    "rules": contents_claims.judge_rules,
    "queries": contents_claims.judge_queries,
}


def judge(plan: Json, observations: Json) -> Report:
    """Hold what was seen against what the plan expects."""
    judged = [_verdict(Case(plan, observations, claim)) for claim in plan["claims"]]
    try:
        pictures = gathered(plan, observations)
    except (KeyError, TypeError, ValueError, IndexError):
        # The verdicts say which observations cannot be read.
        pictures = {}
    return Report(plan["release"], plan["namespace"], judged, pictures)


def _verdict(case: Case) -> Verdict:
    claim, state, seen, elsewhere = case.claim, case.claim["state"], "", ""
    expected = claim["title"]
    try:
        if state == "asked":
            seen, state = JUDGED_BY[claim["kind"]](case), "passed"
        elif state == "configured":
            found = [_configured(case, name) for name in claim["reads"]]
            seen = f"configured, not exercised: {claim['reason']}" + "".join(f"; {text}" for text in found if text)
        else:
            seen = f"skipped: {claim['reason']}"
    except FailedError as exc:
        state, seen, elsewhere = "failed", str(exc), exc.look
    except (KeyError, TypeError, ValueError, IndexError) as exc:
        state, seen = "failed", f"what was seen cannot be read: {type(exc).__name__} {exc}"
    look = ""
    if state == "failed":
        about = {"namespace": case.plan["namespace"], "kind": claim["kind"]}
        about["service"] = case.expect.get("service", "the service")
        look = elsewhere or LOOK.get(claim["kind"], ELSEWHERE).format(**about)
        expected = _expected(case) or expected
    return Verdict(claim["id"], claim["kind"], claim["title"], state, expected, seen, look)


def _expected(case: Case) -> str:
    expect = case.expect
    if case.claim["kind"] == "share" and expect:
        bounds = (f"{name} {low} to {high} times" for name, (low, high) in expect["accepted"].items())
        return f"of {expect['n']} new clients {', '.join(bounds)}"
    if case.claim["kind"] == "limit" and expect:
        return f"{expect['tokens']} answers, then 429, for each address and whatever X-Forwarded-For says"
    return ""


def _configured(case: Case, name: str) -> str:
    read = case.looked_up(name)
    if "found" in read and not read["found"]:
        raise FailedError(f"Envoy's configuration does not have it: {read.get('detail') or 'nothing'}")
    if case.claim["kind"] == "alert" and read.get("before") != "inactive":
        raise FailedError(f"before any load it is {read.get('before', 'not loaded')}")
    return str(read.get("detail", ""))
