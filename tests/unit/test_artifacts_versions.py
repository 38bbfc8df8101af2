"""Which version is newer, as registries write versions."""

from __future__ import annotations

import pytest
from slipway.artifacts.versions import Lag, lag, minor, newest, order

IN_ORDER = ["0.9.1", "v1.2", "1.2.0.post1", "1.2.1", "v1.9.0", "v1.10.0", "1.10.0.1", "2.0", "26.10.0"]
NO_RELEASE = [
    "v1.38.0-beta.0",
    "v3.7.0-rc.0",
    "1.0rc1",
    "1.0.dev3",
    "v0.0.0-20260827124520-eed52ebb66ad",
    "12.4.4-ubuntu",
    "latest",
    "",
]


def test_numbers_are_compared_as_numbers() -> None:
    keys = [order(text) for text in IN_ORDER]
    assert all(keys)
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)
    assert order("v1.2") == order("1.2.0")


@pytest.mark.parametrize("text", NO_RELEASE)
def test_what_is_no_release_has_no_place(text: str) -> None:
    assert order(text) == ()
    assert minor(text) is None
    assert lag("1.0.0", [text]) == Lag("", "")
    assert lag(text, ["1.0.0"]) == Lag("", "")


@pytest.mark.parametrize(("text", "expected"), [("v1.37.2", (1, 37)), ("26.0", (26, 0)), ("7", (7, 0))])
def test_the_minor_version(text: str, expected: tuple[int, int]) -> None:
    assert minor(text) == expected


def test_the_newest_of_what_is_served() -> None:
    assert newest(["v1.9.0", "v1.10.0", "v1.11.0-rc.1", "v1.2.0"]) == "v1.10.0"
    assert newest(["latest"]) == newest([]) == ""


@pytest.mark.parametrize(
    ("pinned", "served", "patch", "other"),
    [
        ("v1.37.0", ["v1.36.3", "v1.37.2", "v1.37.0", "v1.38.0-beta.0"], "v1.37.2", ""),
        ("v1.36.3", ["v1.36.1", "v1.36.3", "v1.37.2", "v1.37.10"], "", "v1.37.10"),
        ("v0.28.4", ["v0.28.10", "v0.28.9", "v0.29.0", "v1.0.0"], "v0.28.10", "v1.0.0"),
        ("1.36.2", ["1.36.2.post1", "1.36.2"], "1.36.2.post1", ""),
        ("1.2", ["v1.2.0", "1.1.9"], "", ""),
        # Go's versions from before its modules have no place beside those of today, nor the other way round.
        ("v1.5.0", ["v1.5.1", "v2.8.0+incompatible"], "v1.5.1", ""),
        ("v2.5.0+incompatible", ["v2.6.0+incompatible", "v3.0.0"], "", "v2.6.0+incompatible"),
        ("v1.0.0", [], "", ""),
    ],
)
def test_what_a_version_lags_behind(pinned: str, served: list[str], patch: str, other: str) -> None:
    assert lag(pinned, served) == Lag(patch, other)
