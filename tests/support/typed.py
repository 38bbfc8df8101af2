"""Commands of a page of docs/, typed by a test as the page prints them.

tests/rules/test_typed.py names those that no test types.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from .checkout import Checkout, Run
from .documents import every_command
from .lab import ROOT
from .terminal import answered

DOCS = ROOT / "docs"
Typed = tuple[str, str]
"""A page, without docs/ and .md, and the first line of a command of it."""


def typed(
    checkout: Checkout,
    page: str,
    *commands: str,
    instead: Mapping[str, str] | None = None,
    node: str = "",
    answer: tuple[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 3600,
) -> Run:
    """Type commands of a page, in one shell. Give them, and the page, as they are there: they are looked for.

    ``instead``: what is typed for names that the page has as examples. ``node``: the container node on which its user
    types it. ``answer``: a question, and what is typed then.
    """
    shell: tuple[str, ...] = ("bash", "-e", "-u", "-c", script(DOCS / f"{page}.md", commands, instead or {}))
    if node:
        shell = ("docker", "exec", "--user=vagrant", f"{checkout.name}-{node}", *shell)
    if answer:
        caller = {**checkout.environment, "TERM": "dumb", **(environment or {})}
        return answered(shell, *answer, folder=checkout.path, environment=caller, timeout=timeout)
    return checkout.watch(shell, timeout=timeout, environment=dict(environment or {}))


def with_programs(checkout: Checkout) -> dict[str, str]:
    """The variables that the end of ``make up`` and README tell people to export."""
    path = os.pathsep.join((str(checkout.state / "bin"), checkout.environment["PATH"]))
    return {"KUBECONFIG": str(checkout.kube.config), "PATH": path}


def script(document: Path, commands: Sequence[str], instead: Mapping[str, str]) -> str:
    """What a shell is given: each command has to be in the document, and each name in the commands."""
    printed = {each.partition("\n")[0]: each for each in every_command(document)}
    assert commands
    assert [each for each in commands if each not in printed] == [], f"{document.name} does not say so"
    text = "\n".join(printed[each] for each in commands)
    assert [name for name in instead if name not in text] == [], text
    longest_first = sorted(instead, key=len, reverse=True)
    names = "|".join(map(re.escape, longest_first))
    return re.sub(names, lambda found: instead[found[0]], text) if names else text


def typed_by(file: Path) -> set[Typed]:
    """What the tests of a file type: calls of ``typed`` in its tests, and in functions and fixtures that they use."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imports = [each for each in tree.body if isinstance(each, ast.ImportFrom) and each.module == __name__]
    if "typed" not in {each.name for one in imports for each in one.names}:
        return set()
    functions = {each.name: each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)}
    used: set[str] = set()
    waiting = [name for name, each in functions.items() if name.startswith("test_") and not _skipped(each)]
    while waiting:
        name = waiting.pop()
        if name not in used:
            used.add(name)
            inside = list(ast.walk(functions[name]))
            names = {each.id for each in inside if isinstance(each, ast.Name)}
            waiting += functions.keys() & (names | {each.arg for each in inside if isinstance(each, ast.arg)})
    calls = [
        each
        for name in used
        for each in ast.walk(functions[name])
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Name) and each.func.id == "typed"
    ]
    found: set[Typed] = set()
    for call in calls:
        texts = [each.value if isinstance(each, ast.Constant) else None for each in call.args[1:]]
        page, *commands = [each for each in texts if isinstance(each, str)]
        assert len(commands) == len(texts) - 1, f"{file.name}:{call.lineno}: typed() gets a page and commands as texts"
        found |= {(page, command) for command in commands}
    return found


def _skipped(function: ast.FunctionDef) -> bool:
    return any("skip" in ast.unparse(each) for each in function.decorator_list)
