"""Version numbers as registries write them: which is newer, and what a pinned one lags behind."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

# 1.2.3 of most, v1.2.3 of Go and of images, 1.2.3.post1 of PyPI. What has more behind it is a pre-release, a commit or
# a variant of an image.
RELEASE = re.compile(r"v?(?P<numbers>\d+(?:\.\d+)*)(?:\.post(?P<post>\d+))?(?P<incompatible>\+incompatible)?")
INCOMPATIBLE = "+incompatible"


class Lag(NamedTuple):
    """What is newer than a pinned version; empty for nothing. ``patch`` is of the same minor version."""

    patch: str
    newest: str


def order(text: str) -> tuple[int, ...]:
    """What to sort a release by; empty for what is no release: a pre-release, a commit, another word."""
    found = RELEASE.fullmatch(text)
    if not found:
        return ()
    numbers = [int(number) for number in found["numbers"].split(".")]
    # 1.2 and 1.2.0 are the same.
    while numbers and not numbers[-1]:
        numbers.pop()
    return (*[number + 1 for number in numbers], 0, int(found["post"] or 0))


def minor(text: str) -> tuple[int, int] | None:
    """The minor version of a release, such as (1, 37)."""
    found = RELEASE.fullmatch(text)
    if not found:
        return None
    major, *rest = (int(number) for number in found["numbers"].split("."))
    return major, rest[0] if rest else 0


def newest(served: Iterable[str]) -> str:
    """The newest release; empty when there is none."""
    ordered = [(key, text) for text in served if (key := order(text))]
    return max(ordered)[1] if ordered else ""


def lag(pinned: str, served: Iterable[str]) -> Lag:
    """What of ``served`` is newer than ``pinned``; its newest patch apart from what has another minor version."""
    now = order(pinned)
    if not now:
        return Lag("", "")
    newer = [
        text
        for text in served
        if order(text) > now
        # Go: versions from before its modules, which sort above those of today.
        and text.endswith(INCOMPATIBLE) == pinned.endswith(INCOMPATIBLE)
    ]
    same = [text for text in newer if minor(text) == minor(pinned)]
    return Lag(newest(same), newest(text for text in newer if minor(text) != minor(pinned)))
