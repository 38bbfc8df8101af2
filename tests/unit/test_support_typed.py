"""Commands of a page are read, typed as they are printed, and found in the tests that type them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import typed
from tests.support.checkout import Checkout
from tests.support.documents import commands, every_command

PAGE = """\
# A page

## One

```console
$ echo one   # of two
one
$ export WORD=...
$ echo $WORD
```

```yaml
$ not: typed
```

## Two

```console
$ cat - <<'END'
a # b
$ c
END
$ read -n 3 answer && echo got $answer
```
"""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(typed, "DOCS", tmp_path)
    (tmp_path / "page.md").write_text(PAGE)
    return tmp_path / "page.md"


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout("typed", tmp_path)
    made.path.mkdir(parents=True)
    return made


def test_commands_are_read_without_comments_and_answers(page: Path) -> None:
    first, given = ["echo one", "export WORD=...", "echo $WORD"], "cat - <<'END'\na # b\n$ c\nEND"
    assert commands(page, "One") == first
    assert every_command(page) == [*first, given, "read -n 3 answer && echo got $answer"]


def test_they_are_typed_in_one_shell_with_other_names(page: Path, checkout: Checkout) -> None:
    assert page
    done = typed.typed(checkout, "page", "export WORD=...", "echo $WORD", "cat - <<'END'", instead={"...": "told"})
    assert (done.status, done.output) == (0, "told\na # b\n$ c\n")
    asked = typed.typed(
        checkout, "page", "export WORD=...", "read -n 3 answer && echo got $answer", answer=("", "yes"), timeout=120
    )
    assert "got yes" in asked.output


@pytest.mark.parametrize(("command", "instead"), [("echo two", {}), ("echo one", {"two": "2"}), ("echo on", {})])
def test_what_the_page_does_not_print_is_not_typed(
    page: Path, checkout: Checkout, command: str, instead: dict[str, str]
) -> None:
    assert page
    with pytest.raises(AssertionError):
        typed.typed(checkout, "page", command, instead=instead)


IMPORT = "from tests.support.typed import typed\n"
TESTS = """\
@pytest.fixture
def made(): typed(x, "page", "in a fixture")
def helper(): return lambda: typed(x, "page", "in a function", "and one more", instead={"a": name})
def nobody(): typed(x, "page", "in what nobody calls")
def test_one(made):
    helper()
    print("typed(x, 'page', 'in a text')")
    other(x, "page", "by another function")
@pytest.mark.skip(reason="never")
def test_skipped(): typed(x, "page", "in what is skipped")
"""


def test_only_what_a_test_does_counts(tmp_path: Path) -> None:
    file = tmp_path / "test_it.py"
    file.write_text(TESTS)
    assert typed.typed_by(file) == set(), "it is another function"
    file.write_text(IMPORT + TESTS)
    assert typed.typed_by(file) == {
        ("page", "in a fixture"),
        ("page", "in a function"),
        ("page", "and one more"),
    }


@pytest.mark.parametrize("call", ['typed(x, "page", name)', 'typed(x, page, "command")', 'typed(x, "page", *all)'])
def test_a_call_that_does_not_name_its_command_is_refused(tmp_path: Path, call: str) -> None:
    file = tmp_path / "test_it.py"
    file.write_text(f"{IMPORT}def test_one(): {call}\n")
    with pytest.raises(AssertionError, match=r"test_it\.py:2"):
        typed.typed_by(file)
