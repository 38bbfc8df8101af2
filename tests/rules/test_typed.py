"""What the pages about the second year of a cluster tell people to type is typed by a test, or it is said why not."""

from __future__ import annotations

import re

import pytest

from tests.runner.long import LONG
from tests.runner.phases import SHORT
from tests.support.documents import every_command
from tests.support.lab import ROOT
from tests.support.typed import DOCS, Typed, typed_by

PAGES = (
    "how-to/upgrade",
    "how-to/backup",
    "how-to/rotate-keys",
    "how-to/day-2",
    "how-to/renew-versions",
    "how-to/audit-log",
    "how-to/use-your-own-hosts",
    "explanation/several-controllers",
)
GITHUB = "a plugin out of github.com, without a checksum: no test installs it"
# What no test types, and why.
NOT_TYPED: dict[Typed, str] = {
    ("how-to/day-2", "helm plugin install https://github.com/databus23/helm-diff --verify=false"): GITHUB,
    ("how-to/day-2", "helm diff upgrade RELEASE CHART --namespace NAMESPACE --values values.yaml"): GITHUB,
}
# What runs in `make test` or `make test-long`.
RUN = {word for phase in (*SHORT, *LONG) for word in phase.command if word.startswith("tests/")}


def printed(page: str) -> set[Typed]:
    return {(page, each.partition("\n")[0]) for each in every_command(DOCS / f"{page}.md")}


@pytest.fixture(scope="module")
def seen() -> set[Typed]:
    """What tests type that a phase runs."""
    files = {file.relative_to(ROOT): file for file in ROOT.glob("tests/*/test_*.py")}
    run = [file for name, file in files.items() if {str(name), str(name.parent)} & RUN]
    return {each for file in run for each in typed_by(file)}


@pytest.mark.parametrize("page", PAGES)
def test_each_command_is_typed_by_a_test_or_it_is_said_why_not(page: str, seen: set[Typed]) -> None:
    assert printed(page)
    assert printed(page) - seen - NOT_TYPED.keys() == set()


def test_what_is_typed_is_on_a_page_and_what_is_not_has_a_reason(seen: set[Typed]) -> None:
    assert seen - {each for page, _ in seen for each in printed(page)} == set()
    assert NOT_TYPED.keys() - {each for page in PAGES for each in printed(page)} == set()
    assert NOT_TYPED.keys() & seen == set()
    assert all(NOT_TYPED.values())


@pytest.mark.parametrize("page", PAGES)
def test_whatever_is_to_be_typed_is_in_a_console_block(page: str) -> None:
    """Others would not be looked for."""
    fences = re.findall(r"^ *```.*$", (DOCS / f"{page}.md").read_text(), re.M)
    assert set(fences[::2]) <= {"```console", "```yaml"}
    assert set(fences[1::2]) <= {"```"}
