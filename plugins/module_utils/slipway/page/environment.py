"""Settings from the environment: ``SLIPWAY_WORKERS=3`` stands for ``cluster_workers: {count: 3}`` of the page.

Every key of the page has a variable: ``SLIPWAY_`` and the key in capitals, without ``cluster_``. An entry of a map has
one, too (``SLIPWAY_WORKERS_MEMORY=8192``). What it holds is read as the page is (YAML); a list may be written with
commas. It takes the place of what the page says before anything is checked, so Vagrant, the inventory and the playbooks
all have it, and messages name the variable in the place of file and line.
"""

from __future__ import annotations

import copy
import difflib
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .form import keys_of, map_of, plain
from .model import FORM, PREFIX, Settings
from .read import Key, Page, Problem, dotted, flow, read_page, read_value, shown_at
from .repairs import value_at

VARIABLE = "SLIPWAY_"
# Variables that are no setting of a cluster: which one is meant, where files are, and what tests take.
OTHERS = frozenset({"CACHE", "FUZZ_SEED", "INVENTORY", "PAGE", "PROMTOOL", "SOURCES", "STATE", "TIMES"})
_OF_TESTS = "TEST_"


def variables() -> dict[str, Key]:
    """Give the variable of every key: its name without ``SLIPWAY_``, and the key."""
    found: dict[str, Key] = {}
    for key, declared in keys_of(Settings).items():
        name = key.removeprefix(PREFIX).upper()
        found[name] = (key,)
        inner = _map(declared)
        for entry in keys_of(inner) if inner else ():
            found[f"{name}_{entry.upper()}"] = (key, entry)
    return found


def read_settings(path: Path, environ: Mapping[str, str] | None = None) -> Page:
    """Read the page of settings at ``path``, with what ``environ`` (the process's own) says in its place."""
    return overlaid(read_page(path), os.environ if environ is None else environ)


def settings_of(path: Path) -> dict[str, Any]:
    """Give the settings as page and environment write them, and the default of what neither has, in their maps too.

    Ansible asks for them with every variable that it works out, so they are kept until the page changes.
    """
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        changed = 0
    said = tuple(sorted((name, text) for name, text in os.environ.items() if name.startswith(VARIABLE)))
    return copy.deepcopy(_settings_of(path, changed, said))


@lru_cache(maxsize=4)
def _settings_of(path: Path, _changed: int, said: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    written: dict[str, Any] = plain(read_settings(path, dict(said)).values)
    made = {**Settings().as_values(), **written}
    for key, declared in keys_of(Settings).items():
        if (inner := _map(declared)) and isinstance(made[key], dict):
            made[key] = {**inner.model_construct().model_dump(mode="json"), **made[key]}
    return made


def overlaid(page: Page, environ: Mapping[str, str]) -> Page:
    """Put what ``environ`` says in the place of what ``page`` does; ``origins`` says which variable a key has."""
    known = variables()
    given = {name.removeprefix(VARIABLE): text for name, text in environ.items() if name.startswith(VARIABLE)}
    given = {name: text for name, text in given.items() if name not in OTHERS and not name.startswith(_OF_TESTS)}
    if not given:
        return page
    made = Page(page.path, copy.deepcopy(page.values), page.lines, [*page.problems], dict(page.written))
    # The whole map comes before its entries.
    for name in sorted(given, key=lambda name: (len(known.get(name, ())), name)):
        if name in known:
            _put(made, known[name], f"{VARIABLE}{name}", given[name])
        else:
            made.problems.append(_unknown(name, known))
    return made


def changes(page: Page, effective: Mapping[str, Any]) -> list[str]:
    """Say in lines what of ``effective`` the environment has put in the place of the page; none when it has nothing."""
    won = {key: name for key, name in page.origins.items() if _at(effective, key) == _at(page.values, key)}
    lines = [f"  {name}: {dotted(key)} is {shown_at(key, _at(page.values, key))}" for key, name in won.items()]
    return ["", "From the environment, in the place of the page:", *lines] if lines else []


def _at(values: Mapping[str, Any], key: Key) -> Any:
    try:
        return value_at(plain(values), key)
    except (KeyError, IndexError, TypeError):
        return None


def _put(page: Page, key: Key, variable: str, text: str) -> None:
    declared = FORM.field_at(key)
    try:
        value = _value(text, declared)
    except (yaml.YAMLError, ValueError):
        works = f"{variable}='{flow(declared.examples[0]) if declared and declared.examples else ''}'"
        page.problems.append(
            Problem("yaml-syntax", variable, dotted(key), shown_at(key, text), "is not valid YAML", works)
        )
        return
    if value is None:
        return
    top = str(key[0])
    inner = _map(declared) if len(key) == 1 else None
    entries: dict[str, Any] = {str(key[1]): value} if len(key) > 1 else {}
    if inner:
        if isinstance(value, int) and not isinstance(value, bool) and "count" in inner.model_fields:
            value = {"count": value}
        entries = value if isinstance(value, dict) else {}
    if not entries:
        page.values[top] = value
        _came_from(page, (top,), variable)
        return
    there = page.values.get(top)
    # What neither says has its default.
    default = Settings().as_values()[top]
    page.values[top] = {**(there if isinstance(there, dict) else default), **entries}
    for entry in entries:
        _came_from(page, (top, entry), variable)


def _came_from(page: Page, key: Key, variable: str) -> None:
    page.origins[key] = variable
    for written in [written for written in page.written if written[: len(key)] == key]:
        del page.written[written]


def _value(text: str, declared: FieldInfo | None) -> Any:
    """Read what a variable holds; None: nothing. A text is taken as it is; one that is to be empty is ``""``."""
    kind = declared.annotation if declared else None
    if not text.strip():
        return None
    if kind is str:
        return "" if text in ('""', "''") else text
    if get_origin(kind) is list and not text.lstrip().startswith(("[", "-", "{")):
        parts = [part.strip() for part in text.split(",") if part.strip()]
        return parts if _is_text(*get_args(kind)) else [read_value(part) for part in parts]
    return read_value(text)


def _is_text(kind: Any) -> bool:
    return kind is str or (get_origin(kind) is Annotated and get_args(kind)[0] is str)


def _map(declared: FieldInfo | None) -> type[BaseModel] | None:
    """Find the model of a key that is a map with entries of its own, not a list or a map of such."""
    if declared is None or any(get_origin(kind) in (list, dict) for kind in (declared.annotation, *get_args(declared))):
        return None
    return map_of(declared)


def _unknown(name: str, known: Mapping[str, Key]) -> Problem:
    """Name a variable that is no setting. What it holds may be a secret of another program, and is not shown."""
    near = difflib.get_close_matches(name, [*known, *OTHERS], n=1)
    works = f"{VARIABLE}{near[0]}" if near else f"unset {VARIABLE}{name}"
    variable, what = f"{VARIABLE}{name}", "is a variable of no setting"
    return Problem("unknown-variable", variable, "the environment", "(not shown)", what, works)
