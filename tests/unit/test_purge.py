"""What make purge names and takes away: what is ours, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
from slipway.artifacts.cache import Area, Cache
from slipway.lab import docker, libvirt, purge


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("SLIPWAY_CACHE", raising=False)
    monkeypatch.setattr(docker, "is_there", lambda: False)
    # Not the boxes of whoever runs the tests.
    monkeypatch.setenv("VAGRANT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(libvirt, "unused_copies", list)
    for name in ("cache/items", "cache/mine", "state/ca"):
        (tmp_path / name).mkdir(parents=True)
    return {"cache": str(tmp_path / "cache"), "state": str(tmp_path / "state")}


def apt(needed_by: dict[str, str]) -> Callable[[Sequence[str]], set[str]]:
    """An apt that takes along what needs a package."""
    return lambda names: {*names, *(needed_by[name] for name in names if name in needed_by)}


@pytest.mark.parametrize(
    ("noted", "needed_by", "expected"),
    [
        ("", {}, []),
        ("gcc\nvagrant\n", {}, ["gcc", "vagrant"]),
        ("gcc\nruby\nvagrant\n", {"ruby": "vagrant"}, ["gcc", "ruby", "vagrant"]),
        ("gcc\nvagrant\n", {"gcc": "the-users-own"}, ["vagrant"]),
        ("gcc\n", {"gcc": "the-users-own"}, []),
    ],
)
def test_packages_go_that_setup_brought_and_nobody_else_needs(
    noted: str, needed_by: dict[str, str], expected: list[str], plan: Any
) -> None:
    Path(plan["state"], "packages").write_text(noted)
    assert purge.packages(plan, simulate=apt(needed_by)) == expected


@pytest.mark.usefixtures("tmp_path")
def test_the_cache_and_the_state_go(plan: Any) -> None:
    assert purge.listing(plan).count("MiB") == 2
    # As Go leaves its modules.
    locked = Path(plan["cache"], "items", "module")
    locked.mkdir()
    (locked / "file").touch()
    locked.chmod(0o555)
    purge.remove_rest(plan, lambda _: None)
    assert not Path(plan["cache"]).exists()
    assert not Path(plan["state"]).exists()
    assert purge.listing(plan) == "  (nothing else is left)"


def test_in_a_cache_elsewhere_the_files_of_others_stay(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_CACHE", plan["cache"])
    purge.remove_rest(plan, lambda _: None)
    assert [path.name for path in Path(plan["cache"]).iterdir()] == ["mine"]


def test_what_the_builder_made_for_itself_goes_too(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_CACHE", plan["cache"])
    cache = Cache(Path(plan["cache"]))
    areas = get_args(Area)
    for area in areas:
        cache.folder("any", "1", area).mkdir(parents=True)
    purge.remove_rest(plan, lambda _: None)
    assert [area for area in areas if (cache.root / area).exists()] == []
