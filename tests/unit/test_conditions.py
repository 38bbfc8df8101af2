"""Conditions of tasks are true or false by their form: Ansible ends a run over any other value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

ROOT = Path(__file__).parents[2]
KEYS = ("when", "changed_when", "failed_when", "until", "that")
# What gives text or a number, whatever its parts are. `a ~ b is file` is such: it joins a and (b is file).
WRONG = (jinja2.nodes.Concat, jinja2.nodes.BinExpr, jinja2.nodes.TemplateData, jinja2.nodes.Literal)
# And these are true or false all the same.
RIGHT = (jinja2.nodes.And, jinja2.nodes.Or)


def conditions(value: Any) -> Iterator[str]:
    """Every condition below ``value``, in blocks too."""
    if isinstance(value, list):
        for each in value:
            yield from conditions(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key in KEYS:
                yield from (
                    str(one) for one in (each if isinstance(each, list) else [each]) if not isinstance(one, bool)
                )
            else:
                yield from conditions(each)


def parts(expression: str) -> Iterator[jinja2.nodes.Node]:
    """What decides a condition: its whole, and each side of its ``and`` and ``or``."""
    (output,) = jinja2.Environment(extensions=["jinja2.ext.do"]).parse(f"{{{{ {expression} }}}}").body  # noqa: S701
    assert isinstance(output, jinja2.nodes.Output)
    todo = list(output.nodes)
    while todo:
        node = todo.pop()
        if isinstance(node, RIGHT):
            todo += [node.left, node.right]
        else:
            yield node


@pytest.mark.parametrize(
    "path",
    sorted(path for folder in ("playbooks", "roles", "molecule") for path in (ROOT / folder).rglob("*.yml")),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_condition_is_true_or_false(path: Path) -> None:
    wrong = [
        text
        for text in conditions(yaml.safe_load(path.read_text()))
        if any(isinstance(node, WRONG) for node in parts(text))
    ]
    assert wrong == []
