"""Broken pages by the hundred, at random: the same ones in every run, or others.

``SLIPWAY_FUZZ_SEED`` is a number, or ``random`` for one that nobody has had; the seed is printed, and brings the same
pages again. With it ten times as many pages are tried.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from slipway.errors_reference import KNOWN
from slipway.page.read import Problem

VARIABLE = "SLIPWAY_FUZZ_SEED"
_ASKED = os.environ.get(VARIABLE, "")
SEED = random.SystemRandom().randrange(2**32) if _ASKED == "random" else int(_ASKED or 0)
TIMES = 10 if _ASKED else 1
if _ASKED:
    # For the workers of pytest-xdist, which inherit it.
    os.environ[VARIABLE] = str(SEED)
# Seconds that a page may take: it is read by every command, and a person waits for it.
LIMIT = 2.0
# Rules about a key that is not there, or that has one value too many.
VALUELESS = ("duplicate-key", "missing-key", "needs-key", "weights-missing")

Key = tuple[str | int, ...]
Refusal = Callable[[Path], list[Problem]]


def fuzz(pages: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Have a test try so many pages, those that follow from the seed."""
    asked = settings(max_examples=pages * TIMES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    return lambda test: seed(SEED)(asked(test))


def keys(value: Any, above: Key = ()) -> Iterator[Key]:
    """Yield the key of everything on a page."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield (*above, name)
        yield from keys(item, (*above, name))


def junk(names: Iterable[str], near: Iterable[Any] = ()) -> st.SearchStrategy[Any]:
    """What somebody might write by mistake (``near`` among it), and what nobody would."""
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.sampled_from(
            [
                "",
                " ",
                "v1",
                "v9",
                "-",
                "a" * 300,
                "10/minute",
                "5%",
                "1h",
                "/",
                "{service}",
                "a b",
                "é",
                "\u2028",
                "\x7f",
            ]
        ),
        st.sampled_from([*near, "~nobody/x", "{{ x }}", "a\u00a0b", "\u200b", "0"]),
        st.text(max_size=12),
        st.dates(),
        st.lists(st.sampled_from(["a", "b", 1, None]), max_size=3),
        st.dictionaries(
            st.sampled_from([*names, "", "x y"]), st.sampled_from(["a", 1, None, [], {}, "v1"]), max_size=3
        ),
    )


def change(value: Any, key: Key, how: str, new: Any) -> None:
    """Break one place of a page."""
    place = value
    for part in key[:-1]:
        place = place[part]
    last: Any = key[-1]
    if how == "replace":
        place[last] = new
    elif how == "remove":
        del place[last]
    elif isinstance(place, dict):
        place[str(new)[:80] if how == "rename" else f"{last}x"] = place.pop(last) if how == "rename" else new
    else:
        place.append(new)


def changed(data: st.DataObject, value: Any, news: st.SearchStrategy[Any]) -> str:
    """Break one to three places of ``value``, and give it as a page."""
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from(list(keys(value)) or [("name",)]))
        how = data.draw(st.sampled_from(["replace", "replace", "remove", "rename", "add"]))
        if key == ("name",) and not value:
            value[key[0]] = None
        change(value, key, how, data.draw(news))
    text: str = yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
    return text


def broken(data: st.DataObject, text: str) -> str:
    """Break one to four places of the text of a page."""
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.integers(0, 12))
        odd = st.sampled_from([*"{}[]:,&*!|>'\"%@`#?-\t\n", "\u00a0", "0", "<<: ", "{{ x }}"])
        text = text[:start] + data.draw(st.one_of(st.text(max_size=4), odd)) + text[end:]
    return text


def judged(path: Path, text: str, refusal: Refusal) -> None:
    """Hold what is said of a page against what every message has to have: file, line, key, value, and what works."""
    path.write_bytes(text.encode("utf-8", "replace"))
    began = time.process_time()
    problems = refusal(path)
    assert time.process_time() - began < LIMIT, text
    for problem in problems:
        assert problem.key, problem
        assert problem.what, problem
        assert problem.works, problem
        assert "<class" not in f"{problem.what}{problem.works}", problem
        assert problem.id in KNOWN, problem
        assert problem.value or problem.key == "the page" or problem.id in VALUELESS, problem
        if problem.line:
            assert problem.where.endswith(f"{path.name}:{problem.line}"), problem
            assert problem.line <= len(text.splitlines()) + 1, problem
        else:
            # What is not on the page has a value of its own all the same, and the file is named.
            assert problem.where.endswith(path.name), problem
            top = problem.key.partition(".")[0].partition("[")[0]
            assert not re.search(rf"^{re.escape(top)}:(\s|$)", text, re.MULTILINE), problem
