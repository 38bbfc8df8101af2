"""The rooms of the library: what may import what, and how large a file may be."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from slipway.paths import ROOT

LIBRARY = ROOT / "plugins" / "module_utils" / "slipway"
FILES = {
    ".".join(path.relative_to(LIBRARY.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(LIBRARY.rglob("*.py"))
}
MOST_LINES = 500
# What a node has besides the standard library, by the module that needs it (role host installs it).
ON_NODES = {"slipway.node.kubelet_serving": {"cryptography"}}


def statements(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Give every import of a file, those inside functions too; not those that are for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            yield from statements(node)


def imported(name: str, path: Path) -> Iterator[str]:
    """Name what the module ``name`` imports: modules of the library as ``slipway.…``, others as they are written."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
            continue
        base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        module = ".".join([*base, *([node.module] if node.module else [])])
        for alias in node.names:
            whole = f"{module}.{alias.name}"
            yield whole if whole in FILES else module


GRAPH = {name: sorted({one for one in imported(name, path) if one != name}) for name, path in FILES.items()}


def circles(graph: dict[str, list[str]]) -> set[tuple[str, ...]]:
    """Find the sets of modules that import each other, directly or by way of others."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for one in graph.get(waiting.pop(), []):
                if one in graph and one not in seen:
                    seen.add(one)
                    waiting.append(one)
        return seen

    reach = {name: reached(name) for name in graph}
    return {tuple(sorted(one for one in reach[name] if name in reach[one])) for name in graph if name in reach[name]}


def test_no_module_imports_what_imports_it() -> None:
    assert circles(GRAPH) == set()


def test_a_circle_is_found() -> None:
    assert circles({"a": ["b"], "b": ["c"], "c": ["b", "os"], "d": ["a"]}) == {("b", "c")}


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("slipway.node.")])
def test_what_runs_on_nodes_needs_the_standard_library_alone(name: str) -> None:
    foreign = [
        one
        for one in GRAPH[name]
        if one.partition(".")[0] not in sys.stdlib_module_names | ON_NODES.get(name, set())
        and not one.startswith("slipway.node")
    ]
    assert foreign == []


@pytest.mark.parametrize("name", FILES)
def test_no_file_is_too_long_to_read(name: str) -> None:
    assert lines(FILES[name]) <= MOST_LINES


def test_no_file_of_tests_is_too_long_to_read() -> None:
    found = {str(path.relative_to(ROOT)): lines(path) for path in sorted((ROOT / "tests").rglob("*.py"))}
    assert {name: count for name, count in found.items() if count > MOST_LINES} == {}


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())
