"""How tests say which error they mean: by its id, and by facts that its words have to have, whatever the words are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar, overload

import pytest
from slipway.errors import SlipwayError
from slipway.page.form import Fault
from slipway.page.read import Problem

E = TypeVar("E", bound=BaseException)
BETWEEN = " … "


def tells(error: Problem | Fault | SlipwayError, said: str) -> None:
    """Hold an error against ``id``, or ``id: fact … fact``: its words have these facts, in this order."""
    error_id, _, facts = said.partition(": ")
    words = error.text if isinstance(error, SlipwayError) else error.what
    assert error.id == error_id, f"{error.id}: {words}"
    _has(words, facts)


@overload
def refused(said: str) -> AbstractContextManager[pytest.ExceptionInfo[SlipwayError]]: ...
@overload
def refused(said: str, kind: type[E]) -> AbstractContextManager[pytest.ExceptionInfo[E]]: ...
def refused(said: str, kind: type[BaseException] = SlipwayError) -> AbstractContextManager[pytest.ExceptionInfo[Any]]:
    """Expect an error that tells ``said`` (see ``tells``). One of Ansible's has the id in its text."""
    return _refused(said, kind)


@contextmanager
def _refused(said: str, kind: type[BaseException]) -> Iterator[pytest.ExceptionInfo[Any]]:
    with pytest.raises(kind) as caught:
        yield caught
    error_id, _, facts = said.partition(": ")
    text = str(caught.value)
    printed = re.findall(r" \[([a-z0-9-]+)\]$", text, re.MULTILINE)
    assert printed[:1] == [error_id], text
    result = getattr(caught.value, "result", {})
    assert result.get("error_id", error_id) == error_id
    _has(text, facts)


def _has(words: str, facts: str) -> None:
    pattern = ".*".join(map(re.escape, facts.split(BETWEEN)))
    assert re.search(pattern, words, re.DOTALL), f"{facts!r} is not in {words!r}"
