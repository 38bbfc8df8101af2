"""Programs of the library that are run in Ansible's own process."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.plugins import load, run_action


def program(monkeypatch: pytest.MonkeyPatch, name: str, code: int = 0) -> None:
    """A program that says what it was given."""

    def main(arguments: list[str]) -> int:
        print(arguments, sys.stdin.read(), os.environ.get("GIVEN"))
        print("a word beside", file=sys.stderr)
        if code == 3:
            raise SystemExit(3)
        return code

    made = ModuleType(name)
    made.main = main  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, made)


def ran(**more: Any) -> dict[str, Any]:
    return run_action(load("action", "library_program"), {"program": "thing.program", **more})


def test_it_gets_arguments_text_and_environment_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    program(monkeypatch, "thing.program")
    before = sys.stdin
    result = ran(arguments=["--check"], stdin="text", environment={"GIVEN": "yes"})
    assert result["stdout"] == "['--check'] text yes"
    assert result["stderr"] == "a word beside\n"
    assert (result["rc"], result["changed"], "failed" in result) == (0, False, False)
    assert sys.stdin is before
    assert "GIVEN" not in os.environ


@pytest.mark.parametrize("code", [1, 2, 3])
def test_one_that_fails_fails_the_task_in_its_own_words(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    program(monkeypatch, "thing.program", code)
    result = ran()
    assert (result["rc"], result["failed"], result["msg"]) == (code, True, "a word beside")


def test_the_machine_plan_is_one(tmp_path: Path) -> None:
    page = tmp_path / "cluster.yml"
    page.write_text("cluster_nmae: sun\n")
    given = {"program": "slipway.lab.plan", "arguments": ["--page", str(page)]}
    result = run_action(load("action", "library_program"), given)
    assert result["rc"] == 2
    assert "cluster_nmae" in result["msg"]
