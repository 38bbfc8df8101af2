"""What the panels of a dashboard ask Prometheus, with Grafana's variables filled in as somebody sees them who opens it.

Pure: a dashboard's JSON in, questions out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

# So begins what is said of a panel that has nothing to show when all is well.
EMPTY = "Empty while "
# What Grafana puts in for its own variables: as wide, and as long, as a question about now needs.
_BUILT_IN = {
    "__rate_interval": "2m", "__interval": "30s", "__range": "30m", "__interval_ms": "30000", "__range_s": "1800",
    "__range_ms": "1800000", "__auto_interval": "1m",
}  # fmt: skip
_VARIABLE = re.compile(r"\$\{(\w+)(?:[.:][^}]*)?\}|\$(\w+)|\[\[(\w+)(?::\w+)?\]\]")
_MATCHER = re.compile(r'(=~|!~|!=|=)(\s*)"((?:\\.|[^"\\])*)"')
_ALL = "$__all"
# No label has this value.
_NOBODY = "no-label-has-this"
PROMETHEUS = "prometheus"


@dataclass(frozen=True)
class Question:
    """A query of a panel. ``may_be_empty``: as its description says; ``why``: it is not asked, and for this reason."""

    title: str
    query: str
    may_be_empty: bool = False
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain data."""
        return {"title": self.title, "query": self.query, "may_be_empty": self.may_be_empty, "why": self.why}


def flat(panels: Iterable[Any]) -> Iterator[Json]:
    """Give all panels, those inside of rows too."""
    for held in panels:
        if isinstance(held, Mapping):
            if held.get("type") != "row":
                yield held
            yield from flat(held.get("panels") or [])


def panels_of(dashboard: Json) -> list[Json]:
    """Give the panels of a dashboard; very old ones have them in rows."""
    rows = [panel for row in dashboard.get("rows") or [] for panel in row.get("panels") or []]
    return list(flat([*(dashboard.get("panels") or []), *rows]))


def questions(dashboard: Json) -> Iterator[Question]:
    """Yield what a dashboard asks, query by query."""
    known = {str(each.get("name")): each for each in (dashboard.get("templating") or {}).get("list") or []}
    for held in panels_of(dashboard):
        title = str(held.get("title") or held.get("type") or "without a title")
        may = str(held.get("description") or "").startswith(EMPTY)
        for target in held.get("targets") or []:
            text = target.get("expr")
            if target.get("hide") or target.get("datasource") == "-- Mixed --":
                continue
            other = _other_source(target.get("datasource") or held.get("datasource"), known)
            if other:
                yield Question(title, "", may, f"its data source is {other}")
            elif text:
                query, unknown = filled(str(text), known)
                why = f"the variable ${unknown} has no value" if unknown else ""
                yield Question(title, "" if unknown else query, may, why)


def _other_source(source: Any, known: Mapping[str, Json]) -> str:
    """Name the sort of data source that is not Prometheus; empty: it is, or nobody says."""
    if isinstance(source, Mapping):
        kind = str(source.get("type") or "")
        if kind and not kind.startswith("$"):
            return "" if kind == PROMETHEUS else kind
        source = source.get("uid")
    name = _VARIABLE.fullmatch(str(source or ""))
    variable = known.get(name[1] or name[2] or name[3]) if name else None
    kind = str((variable or {}).get("query") or PROMETHEUS)
    return "" if kind == PROMETHEUS else kind


def filled(text: str, known: Mapping[str, Json]) -> tuple[str, str]:
    """Put variables in; a second text names one that has no value. In a matcher what is chosen may be anything."""

    def in_matcher(found: re.Match[str]) -> str:
        operator, space, value = found.groups()
        names = [each[1] or each[2] or each[3] for each in _VARIABLE.finditer(value)]
        if not any(_is_free(name, known) for name in names):
            return found[0]
        unlike = operator.startswith("!")
        free = _NOBODY if unlike else ".*"
        value = _VARIABLE.sub(lambda one: free if _is_free(one[1] or one[2] or one[3], known) else one[0], value)
        return f'{"!~" if unlike else "=~"}{space}"{value}"'

    text = _MATCHER.sub(in_matcher, text)
    unknown: list[str] = []

    def put_in(found: re.Match[str]) -> str:
        name = found[1] or found[2] or found[3]
        value = _BUILT_IN.get(name) or _value(known.get(name))
        if value is None:
            unknown.append(name)
        return value or ""

    text = _VARIABLE.sub(put_in, text)
    return text, unknown[0] if unknown else ""


def _is_free(name: str, known: Mapping[str, Json]) -> bool:
    """Tell whether a variable is chosen by who looks: any of its values is as good as another."""
    variable = known.get(name)
    return variable is not None and variable.get("type") not in ("constant", "textbox")


def _value(variable: Json | None) -> str | None:
    if variable is None:
        return None
    chosen = (variable.get("current") or {}).get("value")
    chosen = chosen[0] if isinstance(chosen, list) and chosen else chosen
    if isinstance(chosen, str) and chosen and chosen != _ALL and not chosen.startswith("$__"):
        return chosen
    if variable.get("type") == "query":
        return ".*" if variable.get("includeAll") else None
    options = [text.strip() for text in str(variable.get("query") or "").split(",") if text.strip()]
    if variable.get("type") in ("custom", "interval", "constant", "textbox") and options:
        # A custom variable may call its values something else: name : value.
        return options[0].rpartition(" : ")[2]
    return None
