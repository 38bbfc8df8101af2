"""Ids of errors: each that is used is explained, each that is explained is used, and all of them are printed alike."""

from __future__ import annotations

import ast
import pickle
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from slipway import errors_reference
from slipway.cluster.access import BusyError
from slipway.errors import SlipwayError, marked, together
from slipway.page.read import Problem, SettingsError
from slipway.paths import ROOT
from slipway.plugin import failed

PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
REGISTRY = {
    ROOT / "plugins" / "module_utils" / "slipway" / f"errors_{name}.py" for name in ("pages", "release", "runs")
}
TASKS = [
    path
    for folder in ("roles", "playbooks")
    for path in sorted((ROOT / folder).rglob("*.yml"))
    if "molecule" not in path.parts
]
# What is made with an id as its first argument, beside the classes that are SlipwayErrors.
MADE = {"Fault", "Problem", "WrongError", "SlipwayError", "told"}
ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)+")
PRINTED = re.compile(r"(?:^|[\s\"'])\[([a-z][a-z0-9]*(?:-[a-z0-9]+)+)\](?=\"|'|$)", re.MULTILINE)
DOCUMENT = errors_reference.DOCUMENT.read_text(encoding="utf-8")


def errors(trees: list[ast.Module]) -> set[str]:
    """Name the classes that take an id: those above, and what inherits from them without an __init__ of its own."""
    found = set(MADE)
    for _ in range(3):
        for node in chain.from_iterable(map(ast.walk, trees)):
            if isinstance(node, ast.ClassDef) and any(
                isinstance(base, ast.Name) and base.id in found for base in node.bases
            ):
                found.add(node.name)
    return found - {"SettingsError", "RefusedError"}


def texts(node: ast.AST) -> Iterator[str]:
    """Give the texts that an expression may be."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body)
        yield from texts(node.orelse)
    elif isinstance(node, ast.Tuple) and node.elts:
        # What is told as a tuple begins with its id.
        yield from texts(node.elts[0])


def used(tree: ast.AST, made: set[str]) -> Iterator[str]:
    """Give the ids in a file: first arguments of errors, and what is handed on as ``error_id`` or in a tuple."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in made and node.args:
            yield from texts(node.args[0])
        elif isinstance(node, ast.Assign):
            target = node.targets[0]
            first = target.elts[0] if isinstance(target, ast.Tuple) else target
            if isinstance(first, ast.Name) and first.id == "error_id":
                yield from texts(node.value)
        elif isinstance(node, ast.Return | ast.Yield) and isinstance(node.value, ast.Tuple):
            yield from (text for text in texts(node.value) if ID.fullmatch(text))


TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in PLUGINS}
ERRORS = errors(list(TREES.values()))
USED = {text for path, tree in TREES.items() if path not in REGISTRY for text in used(tree, ERRORS)}
SAID = {found for path in (*PLUGINS, *TASKS) for found in PRINTED.findall(path.read_text(encoding="utf-8"))}
# Texts as a table has them, for ids that are looked up.
CONSTANTS = {
    node.value
    for path, tree in TREES.items()
    if path not in REGISTRY
    for node in ast.walk(tree)
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
}


def test_every_id_that_is_used_is_explained() -> None:
    assert {"BusyError", "NotRolledOutError", "NoMeshError", "NotThereError"} <= ERRORS
    assert len(USED) > 150
    assert (USED | SAID) - set(errors_reference.KNOWN) == set()


def test_every_id_that_is_explained_is_used() -> None:
    assert set(errors_reference.KNOWN) - CONSTANTS - SAID == set()


def test_an_unknown_id_is_found() -> None:
    tree = ast.parse(
        "Fault('no-such-rule', key)\nerror_id = 'a-one' if x else 'a-two'\nerror_id, what = 'a-three', ''\n"
        "def f():\n    return 'a-four', 'what'\n"
    )
    assert set(used(tree, MADE)) == {"no-such-rule", "a-one", "a-two", "a-three", "a-four"}
    assert PRINTED.findall('fail_msg: "that [a-rule]"\n  of it [another-rule]\n[not-one] here') == [
        "a-rule",
        "another-rule",
    ]


@pytest.mark.parametrize("error_id", errors_reference.KNOWN)
def test_ids_are_short_and_explained_in_a_sentence(error_id: str) -> None:
    assert ID.fullmatch(error_id)
    assert len(error_id) <= 32
    assert re.fullmatch(r"\S.*\S\.", errors_reference.KNOWN[error_id])


def test_every_id_is_explained_once() -> None:
    assert sum(map(len, errors_reference.TABLES.values())) == len(errors_reference.KNOWN)


def test_the_reference_has_every_table_as_it_is() -> None:
    assert errors_reference.renewed(DOCUMENT) == DOCUMENT, "run: python -m slipway.errors_reference --write"
    assert set(re.findall(r"<!-- table: (\w+) -->", DOCUMENT)) == set(errors_reference.TABLES)


def test_the_reference_is_printed_or_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "errors.md"
    document.write_text("<!-- table: proofs -->\n<!-- end -->\n", encoding="utf-8")
    assert errors_reference.main(["--document", str(document)]) == 0
    assert "| `unknown-claim` |" in capsys.readouterr().out
    assert errors_reference.main(["--write", "--document", str(document)]) == 0
    assert "| `unknown-claim` |" in document.read_text(encoding="utf-8")
    document.write_text("<!-- table: nothing -->\n<!-- end -->\n", encoding="utf-8")
    with pytest.raises(KeyError):
        errors_reference.main(["--document", str(document)])


def test_the_id_is_at_the_end_of_the_first_line() -> None:
    assert marked("one line", "a-rule") == "one line [a-rule]"
    assert marked("first\nsecond\n", "a-rule") == "first [a-rule]\nsecond\n"


def test_an_error_says_its_id() -> None:
    error = SlipwayError("a-rule", "what is wrong\nworks: this")
    assert (error.id, error.text) == ("a-rule", "what is wrong\nworks: this")
    assert str(error) == error.message == "what is wrong [a-rule]\nworks: this"
    busy = pickle.loads(pickle.dumps(BusyError("api-silent", "no answer", 503)))  # noqa: S301
    assert (busy.id, busy.said, str(busy)) == ("api-silent", "no answer", "no answer [api-silent]")


def test_a_task_that_fails_has_the_id_in_its_result() -> None:
    result = failed(SlipwayError("a-rule", "what is wrong\nworks: this")).result_contribution
    assert (result["failed"], result["error_id"]) == (True, "a-rule")
    assert result["msg"] == "what is wrong [a-rule]\nworks: this"


def test_several_errors_say_each_its_own_id() -> None:
    error = together([SlipwayError("a-rule", "one"), SlipwayError("b-rule", "two\nworks: that")])
    assert error.id == "a-rule"
    assert str(error) == "one [a-rule]\ntwo [b-rule]\nworks: that"


def test_a_problem_says_its_id_beside_key_and_value() -> None:
    problem = Problem("one-rule", "page.yml:3", "weights", "{v1: 90}", "sum to 90", "weights: {v1: 100}", 3)
    assert str(problem) == (
        "page.yml:3: weights: {v1: 90} [one-rule]\n    sum to 90\n    would work: weights: {v1: 100}"
    )
    assert problem.sentence == "page.yml:3: weights sum to 90 [one-rule]"
    other = Problem("other-rule", "page.yml:4", "name", "", "is missing", "name: shop", 4)
    error = SettingsError([problem, other])
    assert error.id == "one-rule"
    assert str(error) == f"These settings cannot work (2 problems):\n{problem}\n{other}"
