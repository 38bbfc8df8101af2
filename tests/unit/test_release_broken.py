"""A thousand broken pages: each is refused with file, line, key, value and a value that would work, or is a plan."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from slipway.page.read import Problem, SettingsError
from slipway.release.environment import Environment
from slipway.release.planner import plan
from slipway.release.spec import load

from tests.support.fuzz import broken, changed, fuzz, judged, junk, keys
from tests.support.release import RELEASES

pytestmark = pytest.mark.slow

PAGES = [path.read_text(encoding="utf-8") for path in sorted(RELEASES.glob("*.yml"))]
VALUES = [yaml.safe_load(text) for text in PAGES]
NAMES = sorted({str(key[-1]) for value in VALUES for key in keys(value)})
JUNK = junk(NAMES)


def refusal(path: Path) -> list[Problem]:
    """Plan a page, and give what is wrong with it; empty when it could be planned."""
    try:
        plan(load(path), Environment(gateway_ports=(80, 443, 8080))).as_dict()
    except SettingsError as exc:
        return exc.problems
    return []


def placed(path: Path) -> list[Problem]:
    """The same; here also what is missing has a line, that of the map it belongs to."""
    problems = refusal(path)
    assert all(problem.line > 0 for problem in problems)
    return problems


@fuzz(700)
@given(st.data())
def test_a_page_with_wrong_values_is_refused_in_words(data: st.DataObject) -> None:
    value = copy.deepcopy(VALUES[data.draw(st.integers(0, len(PAGES) - 1))])
    with tempfile.TemporaryDirectory() as folder:
        judged(Path(folder) / "page.yml", changed(data, value, JUNK), placed)


@fuzz(300)
@given(st.data())
def test_a_page_with_broken_text_is_refused_in_words(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        judged(Path(folder) / "page.yml", broken(data, data.draw(st.sampled_from(PAGES))), placed)


@pytest.mark.parametrize("number", range(len(PAGES)))
def test_the_pages_that_are_broken_are_good(number: int, tmp_path: Path) -> None:
    (tmp_path / "page.yml").write_text(PAGES[number], encoding="utf-8")
    assert not refusal(tmp_path / "page.yml")
