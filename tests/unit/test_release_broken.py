"""A thousand broken pages: each is refused with file, line, key, value and a value that would work, or is a plan."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slipway.page import Problem, SettingsError
from slipway.release import Environment, load, plan

from tests.support.release import RELEASES

pytestmark = pytest.mark.slow

PAGES = [path.read_text(encoding="utf-8") for path in sorted(RELEASES.glob("*.yml"))]
Key = tuple[str | int, ...]


def keys(value: Any, above: Key = ()) -> Iterator[Key]:
    """Yield the key of everything on a page."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield (*above, name)
        yield from keys(item, (*above, name))


VALUES = [yaml.safe_load(text) for text in PAGES]
KEYS = [list(keys(value)) for value in VALUES]
NAMES = sorted({str(key[-1]) for some in KEYS for key in some})

# What somebody might write by mistake, and what nobody would.
JUNK: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from(
        ["", " ", "v1", "v9", "-", "a" * 300, "10/minute", "5%", "1h", "/", "{service}", "a b", "é", "\u2028", "\x7f"]
    ),
    st.text(max_size=12),
    st.dates(),
    st.lists(st.sampled_from(["a", "b", 1, None]), max_size=3),
    st.dictionaries(st.sampled_from([*NAMES, "", "x y"]), st.sampled_from(["a", 1, None, [], {}, "v1"]), max_size=3),
)


def change(value: Any, key: Key, how: str, junk: Any) -> None:
    """Break one place of a page."""
    place = value
    for part in key[:-1]:
        place = place[part]
    last: Any = key[-1]
    if how == "replace":
        place[last] = junk
    elif how == "remove":
        del place[last]
    elif isinstance(place, dict):
        place[str(junk)[:80] if how == "rename" else f"{last}x"] = place.pop(last) if how == "rename" else junk
    else:
        place.append(junk)


def refusal(path: Path) -> list[Problem]:
    """Plan a page, and give what is wrong with it; empty when it could be planned."""
    try:
        plan(load(path), Environment(gateway_ports=(80, 443, 8080))).as_dict()
    except SettingsError as exc:
        return exc.problems
    return []


def judged(path: Path) -> None:
    """Hold what is said of a page against what every message has to have."""
    for problem in refusal(path):
        assert problem.line > 0, problem
        assert problem.where.endswith(f"page.yml:{problem.line}"), problem
        assert problem.key, problem
        assert problem.what, problem
        assert problem.works, problem
        assert problem.value or problem.key == "the page" or "written twice" in problem.what, problem


@settings(max_examples=700, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_page_with_wrong_values_is_refused_in_words(data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(PAGES) - 1))
    value = copy.deepcopy(VALUES[number])
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from(list(keys(value)) or [("name",)]))
        change(
            value, key, data.draw(st.sampled_from(["replace", "replace", "remove", "rename", "add"])), data.draw(JUNK)
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.yml"
        path.write_text(yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=False), encoding="utf-8")
        judged(path)


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_page_with_broken_text_is_refused_in_words(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(PAGES))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.integers(0, 12))
        text = (
            text[:start]
            + data.draw(st.one_of(st.text(max_size=4), st.sampled_from(list("{}[]:,&*!|>'\"%@`#?-\t\n"))))
            + text[end:]
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.yml"
        path.write_bytes(text.encode("utf-8", "replace"))
        judged(path)


@pytest.mark.parametrize("number", range(len(PAGES)))
def test_the_pages_that_are_broken_are_good(number: int, tmp_path: Path) -> None:
    (tmp_path / "page.yml").write_text(PAGES[number], encoding="utf-8")
    assert not refusal(tmp_path / "page.yml")
