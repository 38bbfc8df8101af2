"""How tests say which error they mean: by its id, and by facts that its words have to have, whatever the words are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from slipway.errors import SlipwayError
from slipway.page.form import Fault
from slipway.page.read import Problem

BETWEEN = " … "


def tells(error: Problem | Fault | SlipwayError, said: str) -> None:
    """Hold an error against ``id``, or ``id: fact … fact``: its words have these facts, in this order."""
    error_id, _, facts = said.partition(": ")
    words = error.text if isinstance(error, SlipwayError) else error.what
    assert error.id == error_id, f"{error.id}: {words}"
    _has(words, facts)


@contextmanager
def refused(said: str, kind: type[BaseException] = SlipwayError) -> Iterator[pytest.ExceptionInfo[BaseException]]:
    """Expect an error that tells ``said`` (see ``tells``). One of Ansible's has the id in its text."""
    with pytest.raises(kind) as caught:
        yield caught
    error_id, _, facts = said.partition(": ")
    text = str(caught.value)
    ids = re.findall(r" \[([a-z0-9-]+)\]$", text, re.MULTILINE)
    assert ids[:1] == [error_id], text
    _has(text, facts)


def _has(words: str, facts: str) -> None:
    pattern = ".*".join(map(re.escape, facts.split(BETWEEN)))
    assert re.search(pattern, words, re.DOTALL), f"{facts!r} is not in {words!r}"
