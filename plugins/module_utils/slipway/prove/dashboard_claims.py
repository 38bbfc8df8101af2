"""Claims about dashboards: Prometheus answers what each panel asks."""

from __future__ import annotations

from typing import Any

from .case import Case, FailedError
from .questions import Questions, SkippedError

Json = dict[str, Any]

# What a panel came to.
DATA, EMPTY, REFUSED, UNASKED = "data", "empty", "refused", "not asked"


def ask_dashboard(ask: Questions, claim: Json) -> Json:
    """Have Prometheus asked what the panels ask, when all other requests have been sent."""
    if not ask.circumstances.monitoring:
        raise SkippedError("there is no monitoring in this cluster")
    dashboard = claim["dashboard"]
    ask.read("panels", dashboard=dashboard["name"], panels=dashboard["panels"])
    return {"dashboard": dashboard["title"]}


def judge_dashboard(case: Case) -> str:
    """See no query refused, and something to look at; each panel that shows nothing is named."""
    panels = case.looked_up(case.claim["reads"][0])["panels"]
    by_state: dict[str, list[Json]] = {}
    for each in panels:
        by_state.setdefault(each["state"], []).append(each)
    for each in by_state.get(REFUSED, []):
        raise FailedError(f"Prometheus refuses the query of panel {each['title']!r}: {each['why']}")
    full, asked = len(by_state.get(DATA, [])), [each for each in panels if each["state"] != UNASKED]
    if asked and not full and not all(each["may_be_empty"] for each in asked):
        raise FailedError(f"not one of {len(asked)} panels shows anything: {_titles(asked)}")
    parts = [f"{full} of {len(panels)} queries of its panels have data"]
    empty = by_state.get(EMPTY, [])
    parts += [f"well and empty: {_titles(well)}"] if (well := [e for e in empty if e["may_be_empty"]]) else []
    parts += [f"empty: {_titles(rest)}"] if (rest := [e for e in empty if not e["may_be_empty"]]) else []
    parts += [f"not asked: {each['title']} ({each['why']})" for each in by_state.get(UNASKED, [])]
    return "; ".join(parts)


def _titles(panels: list[Json]) -> str:
    return ", ".join(dict.fromkeys(str(each["title"]) for each in panels))
