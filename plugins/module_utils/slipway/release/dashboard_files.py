"""Dashboards from files: found beside the page, held against what Grafana reads, and made fit for any Grafana.

A dashboard that was exported "to share" asks who imports it for its data source. Here nobody imports it, so the
question becomes a variable of the dashboard, and what names the data source of another Grafana names that variable.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..page.form import Fault
from ..page.read import Key
from . import promql
from .dashboard_keys import Dashboard, listed
from .model import Release
from .panels import PROMETHEUS, questions

Json = dict[str, Any]
# By dashboard of the page: key of the ConfigMap → text.
Files = dict[str, dict[str, str]]

# A ConfigMap holds at most 1 MiB; some of it is left for the rest of the object.
MOST = 1_000_000
_SOURCE = "datasource"
_EXPORTED = "a file that Grafana exported (Share, Export, Save to file)"


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Place(_Lenient):
    h: int = Field(8, ge=1)
    w: int = Field(12, ge=1, le=24)
    x: int = Field(0, ge=0, le=23)
    y: int = Field(0, ge=0)


class _Target(_Lenient):
    expr: str | None = None
    refId: str = "A"  # noqa: N815  Grafana's name


class _Panel(_Lenient):
    type: str = Field(min_length=1)
    title: str | None = None
    id: int | None = None
    gridPos: _Place | None = None  # noqa: N815
    targets: list[_Target] | None = None
    panels: list[_Panel] | None = None


class _Variable(_Lenient):
    name: str = Field(pattern=r"^\w+$")
    type: str


class _Templating(_Lenient):
    entries: list[_Variable] = Field([], alias="list")


class _Time(_Lenient):
    from_: str = Field("now-30m", alias="from")
    to: str = "now"


class _Grafana(_Lenient):
    """What Grafana 12 reads of a dashboard, as far as a wrong value of it would be shown wrongly, or not at all."""

    title: str = Field(min_length=1)
    uid: str | None = Field(None, pattern=r"^[a-zA-Z0-9_-]{0,40}$")
    panels: list[_Panel]
    schemaVersion: int | None = None  # noqa: N815
    tags: list[str] | None = None
    templating: _Templating | None = None
    time: _Time | None = None


@dataclass
class _Reader:
    folder: Path
    release: Release
    faults: list[Fault] = field(default_factory=list)
    uids: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def read(self) -> Files:
        made: Files = {}
        for name, declared in self.release.dashboards.items():
            if not declared.is_read:
                continue
            found = list(self._found(name, declared))
            texts: dict[str, str] = {}
            for key, path, said in found:
                dashboard = self._dashboard(key, path, said)
                if dashboard is None:
                    continue
                # Several dashboards may have files of one name.
                stem = re.sub(r"[^\w.-]+", "-", path.stem)
                entry = f"{name}.json" if len(found) == 1 else f"{name}-{stem}.json"
                if any(entry in others for others in (texts, *made.values())):
                    what = f"makes {entry} a second time"
                    self.faults.append(Fault("duplicate-value", key, what, f"{said} under another name"))
                texts[entry] = self._fit(key, said, dashboard, f"{name}-{stem}")
            made[name] = texts
        return made

    def _found(self, name: str, declared: Dashboard) -> Iterator[tuple[Key, Path, str]]:
        above: Key = ("dashboards", name)
        for below, text in listed(declared):
            path = self.folder / Path(text).expanduser()
            if path.is_file():
                yield (*above, *below), path, text
            else:
                near = self._near(path)
                fix = f"file: {near}" if near else f"file: {text}, with the file at {path}"
                self.faults.append(Fault("file-missing", (*above, *below), f"is no file of {self.folder}", fix))
        if declared.folder is not None:
            folder = self.folder / Path(declared.folder).expanduser()
            paths = sorted(folder.glob("*.json"))
            if not paths:
                there = sorted(each.parent.name for each in self.folder.glob("*/*.json"))
                fix = f"folder: {there[0]}" if there else f"a file {declared.folder.rstrip('/')}/shop.json"
                what = f"is no folder with .json files: {folder}"
                self.faults.append(Fault("file-missing", (*above, "folder"), what, fix))
            yield from (((*above, "folder"), path, f"{declared.folder.rstrip('/')}/{path.name}") for path in paths)

    def _near(self, path: Path) -> str:
        there = sorted(self.folder.glob("*.json")) + sorted(self.folder.glob("*/*.json"))
        names = {str(each.relative_to(self.folder)): each for each in there}
        close = difflib.get_close_matches(path.name, [each.name for each in there], n=1, cutoff=0.3)
        return next((name for name, each in names.items() if close and each.name == close[0]), next(iter(names), ""))

    def _dashboard(self, key: Key, path: Path, said: str) -> Json | None:
        """Read a file; None: it is none that Grafana would show."""
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            self._refused(key, f"{said} is not JSON: {exc}", _EXPORTED)
            return None
        if isinstance(held, dict) and isinstance(held.get("dashboard"), dict):
            # An answer of Grafana's API.
            held = held["dashboard"]
        if isinstance(held, dict) and "spec" in held and "panels" not in held:
            what = f"{said} is a dashboard of Grafana's newer schema (kind: {held.get('kind', 'Dashboard')})"
            self._refused(key, what, "the same dashboard, exported as classic JSON")
            return None
        try:
            _Grafana.model_validate(held)
        except ValidationError as exc:
            first = exc.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "all of it"
            self._refused(key, f"{said} is no dashboard that Grafana shows: {where}: {first['msg']}", _EXPORTED)
            return None
        return dict(held)

    def _refused(self, key: Key, what: str, works: str) -> None:
        self.faults.append(Fault("wrong-dashboard", key, what, works))

    def _fit(self, key: Key, said: str, dashboard: Json, name: str) -> str:
        """Check what a dashboard asks, and write it as any Grafana shows it."""
        made = fitted(dashboard)
        for question in questions(made):
            try:
                promql.metrics(question.query) if question.query else None
            except promql.PromqlError as exc:
                # Prometheus may have a function that is newer than this reader; a proof asks it.
                newer = "is no function" in str(exc)
                what = f"{said}: panel {question.title!r} asks what is no PromQL: {exc}"
                fix = "the panel's query as Explore of Grafana takes it"
                self.faults.append(Fault("promql-syntax", key, what, fix, warning=newer))
        made["uid"] = made.get("uid") or uid(f"{self.release.namespace or self.release.name}-{name}")
        if made["uid"] in self.uids:
            what = (
                f"{said} has the uid {made['uid']}, which {self.uids[made['uid']]} has too: Grafana shows one of them"
            )
            self.faults.append(
                Fault("duplicate-value", key, what, f'"uid": "{uid(made["uid"] + "-2")}" in one of them')
            )
        self.uids.setdefault(made["uid"], said)
        text = json.dumps(made, ensure_ascii=False, separators=(",", ":")) + "\n"
        self._weigh(key, said, len(text.encode()))
        return text

    def _weigh(self, key: Key, said: str, size: int) -> None:
        """Refuse what does not fit into a ConfigMap."""
        pattern = self.release.names.dashboards or ""
        holder = str(key[1]) if "{dashboard}" in pattern else ""
        self.sizes[holder] = self.sizes.get(holder, 0) + size
        if self.sizes[holder] > MOST:
            what = f"{said} makes the ConfigMap of dashboards larger than 1 MiB"
            alone = size > MOST or bool(holder)
            fix = "fewer panels in the file" if alone else 'names: {dashboards: "{release}-{dashboard}"}'
            self.faults.append(Fault("dashboards-too-large", key, what, fix))


def uid(name: str) -> str:
    """Give a name as Grafana takes it: 40 letters at most."""
    return re.sub(r"[^a-zA-Z0-9_-]", "-", name)[-40:].lstrip("-")


def fitted(dashboard: Mapping[str, Any]) -> Json:
    """Give a dashboard without what only an import would fill in, and with a data source that is found everywhere."""
    made = {key: value for key, value in dashboard.items() if key not in ("__inputs", "__requires", "__elements")}
    made["id"] = None
    asked = [each for each in dashboard.get("__inputs") or [] if isinstance(each, Mapping)]
    known = list((made.get("templating") or {}).get("list") or [])
    names = {str(each.get("name")) for each in known}
    added: list[Json] = [_asked(each) for each in asked if each.get("name") not in names]
    free, used = _freed(made, {*names, *(str(each["name"]) for each in added)})
    if used and _SOURCE not in {*names, *(str(each["name"]) for each in added)}:
        added.insert(0, _variable(_SOURCE))
    return {**free, "templating": {**(free.get("templating") or {}), "list": [*added, *known]}}


def _asked(given: Mapping[str, Any]) -> Json:
    if given.get("type") == "constant":
        return {"name": given["name"], "type": "constant", "query": str(given.get("value") or ""), "hide": 2}
    return _variable(str(given["name"]), str(given.get("pluginId") or PROMETHEUS))


def _variable(name: str, sort: str = PROMETHEUS) -> Json:
    return {"name": name, "label": "Data source", "type": "datasource", "query": sort, "hide": 0, "refresh": 1}


def _freed(node: Any, variables: set[str]) -> tuple[Any, bool]:
    """Have everything that names a Prometheus of another Grafana name the variable; tell whether something did."""
    if isinstance(node, list):
        pairs = [_freed(each, variables) for each in node]
        return [each for each, _ in pairs], any(used for _, used in pairs)
    if not isinstance(node, dict):
        return node, False
    if node.get("type") == PROMETHEUS and isinstance(node.get("uid"), str) and not node["uid"].startswith("$"):
        return {**node, "uid": f"${{{_SOURCE}}}"}, True
    made, used = {}, node.get("uid") == f"${{{_SOURCE}}}"
    for key, value in node.items():
        made[key], below = _freed(value, variables)
        used = used or below
    return made, used


def read(release: Release, folder: Path) -> tuple[Files, list[Fault]]:
    """Read the dashboards that a page names, and say what is wrong with them."""
    reader = _Reader(folder, release)
    return reader.read(), reader.faults
