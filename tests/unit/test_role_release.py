"""Stages of a release that one task carries out: none begins after one that has failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

TASKS = Path(__file__).parents[2] / "roles/release/tasks"


def tasks(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """All tasks of a file, those in blocks too."""
    for item in items:
        yield item
        yield from tasks([*item.get("block", []), *item.get("rescue", []), *item.get("always", [])])


LOOPS = [
    pytest.param(task, id=f"{path.stem}: {task['name']}")
    for path in sorted(TASKS.glob("*.yml"))
    for task in tasks(yaml.safe_load(path.read_text()))
    # The one of a namespace has one stage, or none.
    if "release_stage" in task and "loop" in task and "| selectattr('name', 'eq'" not in task["loop"]
]


def test_some_are_carried_out_in_a_loop() -> None:
    assert LOOPS


@pytest.mark.parametrize("task", LOOPS)
def test_a_loop_ends_at_a_stage_that_has_failed(task: dict[str, Any]) -> None:
    """Ansible goes on with the next item otherwise."""
    assert task["loop_control"]["break_when"] == f"{task['register']} is failed"
