"""What a refusal says would work, pasted back into the page: it is a page without that fault, and with no other."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from slipway.page.read import Problem

from .release import page, problems

Key = tuple[str | int, ...]
# Advice: it takes somebody who decides, or who changes more than this page.
_ADVICE = re.compile(
    r"^(one of |the one |no |fewer |another |a (name|version) |an? example |the case at |a vault file)"
    r"|, and below it the lines "
    r"|(in the program|at the service that asks)$"
)
# The value goes elsewhere first: what would work is where it then comes from.
_ELSEWHERE = ("secret-on-page",)
# What an example may lack that is right as such: what it names is not on this page, or is to be in other places, too.
_FURTHER = ("unknown-service", "unknown-secret", "unknown-version", "unknown-mount", "file-missing", "no-image",
            "version-missing-in-hop")  # fmt: skip


def pasted(folder: Path, values: dict[str, Any], problem: Problem) -> None:
    """Put what would work where the fault is, and read the page again. Advice in words alone is left to its readers."""
    before = _faults(folder, values)
    tried: list[Any] = []
    for changed in candidates(values, problem):
        after = _faults(folder, changed)
        if (problem.id, problem.key) not in after and all(name in _FURTHER for name, _ in after - before):
            return
        tried.append(after - before or "still the fault")
    assert problem.id in _ELSEWHERE or _ADVICE.search(problem.works), f"{problem.key}: {problem.works} … {tried}"


def _faults(folder: Path, values: dict[str, Any]) -> set[tuple[str, str]]:
    return {(each.id, each.key) for each in problems(page(folder, values))}


def candidates(values: dict[str, Any], problem: Problem) -> Iterator[dict[str, Any]]:
    """Give the pages that somebody who pastes it may come to, the nearest to the fault first."""
    key = _split(values, problem.key)
    assert "…" not in problem.works, problem.works
    for text in [problem.works, *re.split(r", or ", problem.works)]:
        if wanted := re.fullmatch(r"no (\w+)( here)?", text):
            yield from _without(values, key, wanted[1])
        elif isinstance(given := _read(text), dict):
            yield from _put(values, key, given)
        elif isinstance(given, str) and not re.search(r"\s", given):
            # The name is wrong, and this is another one.
            yield from _renamed(values, key, given)


def _read(text: str) -> Any:
    """Read what was said as YAML, as it is written on one line of a page: a map, or a name. None: it is advice."""
    text = re.sub(r"( here| at the? ?[\w./-]+( that asks)?)$", "", text.replace(", and ", ", "))
    for each in (text, f"{{{text}}}"):
        try:
            found = yaml.safe_load(each)
        except yaml.YAMLError:
            continue
        if not isinstance(found, dict) or all(not re.search(r"\s", str(name)) for name in found):
            return found
    return None


def _put(values: dict[str, Any], key: Key, given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Put keys beside the faulty one, or in its place; then beside what it is in, and so on outwards."""
    for depth in range(len(key), -1, -1):
        for instead in (False, True) if depth < len(key) else (False,):
            changed = copy.deepcopy(values)
            place = _at(changed, key[:depth])
            if isinstance(place, dict):
                if instead:
                    place.pop(key[depth], None)
                place.update(given)
            elif depth and instead and place is not None:
                # It is written short.
                _at(changed, key[: depth - 1])[key[depth - 1]] = dict(given)
            else:
                continue
            yield changed


def _without(values: dict[str, Any], key: Key, name: str) -> Iterator[dict[str, Any]]:
    for depth in range(len(key), -1, -1):
        changed = copy.deepcopy(values)
        place = _at(changed, key[:depth])
        if isinstance(place, dict) and place.pop(name, None) is not None:
            yield changed


def _renamed(values: dict[str, Any], key: Key, name: str) -> Iterator[dict[str, Any]]:
    changed = copy.deepcopy(values)
    place = _at(changed, key[:-1])
    if isinstance(place, dict) and key[-1] in place:
        place[name] = place.pop(key[-1])
        yield changed
    elif isinstance(place, list):
        place[int(key[-1])] = name
        yield changed


def _at(values: Any, key: Key) -> Any:
    for part in key:
        known = isinstance(values, dict) and part in values
        if not known and not (isinstance(values, list) and isinstance(part, int) and part < len(values)):
            return None
        values = values[part]
    return values


def _split(values: Any, dotted: str) -> Key:
    """Read a dotted key; names with dots are those that the page has."""
    found: list[str | int] = []
    rest, place = dotted, values
    while rest:
        if index := re.match(r"\[(\d+)\]\.?", rest):
            found.append(int(index[1]))
            place = _at(place, (int(index[1]),))
            rest = rest[index.end() :]
            continue
        known = [str(name) for name in place] if isinstance(place, dict) else []
        fits = [name for name in known if re.match(re.escape(name) + r"(\.|\[|$)", rest)]
        name = max(fits, key=len) if fits else re.split(r"[.\[]", rest)[0]
        found.append(name)
        place = place.get(name) if isinstance(place, dict) else None
        rest = rest[len(name) :].removeprefix(".")
    return tuple(found)
