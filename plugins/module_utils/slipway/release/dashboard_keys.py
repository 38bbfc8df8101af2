"""The keys of dashboards: ready-made panels, panels of a page, and files that Grafana exported."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from ..page.form import Map, WrongError, setting
from .keys import Short, Variable
from .values import Text, Texts, one_or_many

_COLOURS = Literal["green", "yellow", "orange", "red", "blue", "purple"]


def _file(text: str) -> str:
    if not re.fullmatch(r"[\w@+~. /-]+\.json", text):
        works = re.sub(r"[^\w@+~. /-]", "", re.sub(r"\.\w*$", "", text)) or "dashboards/shop"
        raise WrongError(
            "not-a-path", "must be the path of a .json file, from the folder of this page", f"{works}.json"
        )
    return text


Files = Annotated[
    list[Annotated[str, AfterValidator(_file)]],
    Field(min_length=1),
    BeforeValidator(one_or_many),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]


class Panel(Map):
    """A picture on a dashboard."""

    title: str = setting(..., "Title.", example="Cache hits", min_length=1, max_length=100)
    query: str | None = setting(
        None, "Query in PromQL.", example="sum by (version) (rate(app_cache_lookups_total[1m]))"
    )
    text: str | None = setting(None, "Text in Markdown, instead of a query.", example="Call the **shop team**.")
    type: Literal["lines", "stat", "gauge", "bar", "pie", "table", "heatmap", "text"] | None = setting(
        None,
        "Sort of panel: lines, stat, gauge, bar, pie, table, heatmap or text. By default lines. A heatmap needs a "
        "query that keeps the label le of a histogram.",
        example="stat",
    )
    unit: str = setting(
        "short", "Unit, by its name in Grafana.", example="reqps", pattern=r"^\w+$", rule="must be a word"
    )
    legend: str = setting("", "Legend of a line. {{version}} stands for the label version.", example="{{version}}")
    thresholds: dict[_COLOURS, float] = setting(
        {}, "Colours, each with the value from which it holds. Below them it is green.", example={"yellow": 1, "red": 5}
    )

    @model_validator(mode="after")
    def _one_content(self) -> Panel:
        if (self.query is None) == (self.text is None):
            raise WrongError("needs-one-of", "must have either a query or a text")
        if (self.text is not None) != (self.type == "text") and (self.text is None or self.type is not None):
            raise WrongError("keys-contradict", "must have a text with type: text, and only then")
        return self


class DashboardVariable(Short):
    """A choice at the top of a dashboard: fixed values, or the values that a label has."""

    short = "values"

    values: Texts | None = setting(None, "Values to choose from.", example=["1m", "5m"])
    metric: str | None = setting(
        None,
        "A series whose label gives the values, instead of values.",
        example="app_requests_total",
        pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$",
        rule="must be the name of a series",
    )
    label: Variable | None = setting(None, "That label.", example="path", rule="must be the name of a label")

    @model_validator(mode="after")
    def _one_source(self) -> DashboardVariable:
        if (self.values is None) == (self.metric is None) or (self.metric is None) != (self.label is None):
            raise WrongError("needs-one-of", "must have either values, or a metric with its label")
        return self


class Dashboard(Map):
    """A dashboard for Grafana."""

    title: str | None = setting(None, "Title.", example="SMS checker: operation", max_length=100)
    shows: list[Literal["traffic", "versions", "limits"]] = setting(
        [], "Ready-made panels, without a query: traffic, versions, limits.", example=["traffic", "versions"]
    )
    panels: list[Panel] = setting(
        [], "More panels.", example=[{"title": "Cache", "query": "sum(rate(app_cache_lookups_total[1m]))"}]
    )
    variables: dict[Variable, DashboardVariable] = setting(
        {},
        "Choices for queries: $name there is what is chosen. Each is a list of values, or a metric and its label.",
        example={"path": {"metric": "app_requests_total", "label": "path"}},
        rule="must be letters, digits and underscores",
    )
    file: Files | None = setting(
        None,
        "A file that Grafana exported, or several, instead of panels. Paths are from the folder of this page.",
        example="dashboards/shop.json",
    )
    folder: Text | None = setting(
        None, "A folder whose .json files are all dashboards, from the folder of this page.", example="dashboards"
    )

    @model_validator(mode="after")
    def _something(self) -> Dashboard:
        drawn = bool(self.shows or self.panels)
        if [drawn, self.file is not None, self.folder is not None].count(True) != 1:
            raise WrongError("needs-one-of", "must have something to show: shows and panels, or a file, or a folder")
        if not drawn and (self.title or self.variables):
            raise WrongError("keys-contradict", "must not have title or variables with a file, which has its own")
        return self

    @property
    def is_read(self) -> bool:
        """Tell whether it is in files."""
        return self.file is not None or self.folder is not None


def listed(given: Dashboard) -> list[tuple[tuple[Any, ...], str]]:
    """List the files of a dashboard as its page writes them, each with its key below the dashboard's."""
    many = given.file if given.file is not None and len(given.file) > 1 else None
    return [(("file", index) if many else ("file",), path) for index, path in enumerate(given.file or [])]
