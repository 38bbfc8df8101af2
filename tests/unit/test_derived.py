"""Texts that are made once of what decides them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from slipway.derived import KEPT, derived


def test_it_is_made_once_for_the_same_parts(tmp_path: Path) -> None:
    made: list[str] = []

    def make() -> str:
        made.append("again")
        return f"[{len(made)}]"

    first = derived("kind", [b"a", b"b"], make, root=tmp_path)
    assert derived("kind", [b"a", b"b"], make, root=tmp_path) == first
    assert first.read_text() == "[1]"
    assert first.stat().st_mode & 0o777 == 0o600
    # Neither other parts, nor the same text cut in another place, nor another kind.
    others = [derived("kind", [b"a", b"c"], make, root=tmp_path), derived("kind", [b"ab"], make, root=tmp_path)]
    others.append(derived("other", [b"a", b"b"], make, root=tmp_path))
    assert len({first, *others}) == len(made) == 4


def test_what_fails_is_not_kept(tmp_path: Path) -> None:
    def fail() -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        derived("kind", [b"a"], fail, root=tmp_path)
    assert derived("kind", [b"a"], lambda: "[]", root=tmp_path).read_text() == "[]"


def test_those_that_were_used_last_stay(tmp_path: Path) -> None:
    paths = [derived("kind", [bytes([number])], lambda: "[]", root=tmp_path) for number in range(KEPT)]
    for at, path in enumerate(paths):
        os.utime(path, (at, at))
    derived("kind", [bytes([0])], lambda: "[]", root=tmp_path)
    derived("kind", [b"new"], lambda: "[]", root=tmp_path)
    assert [path.exists() for path in paths[:3]] == [True, False, True]


def test_it_is_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path))
    assert derived("kind", [b"a"], lambda: "[]").parent == tmp_path / "derived/kind"
