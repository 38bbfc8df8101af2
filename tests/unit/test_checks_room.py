"""The checks compare the memory and the disk of this computer with what the page asks for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.errors import tells
from tests.support.settings import CTRL, GB, controllers, here, hosts, workers

# settings, surroundings, the key, part of the message, what would work, is it only a warning
MEMORY: list[tuple[dict[str, Any], dict[str, Any], str, str, str, bool]] = [
    (
        {},
        {"memory_total": 5000, "memory_available": 4900},
        "cluster_workers.memory",
        "machines-exceed-memory: 5000",
        "memory: 1700",
        False,
    ),
    (
        controllers(1, 20000),
        {"memory_total": 16000, "memory_available": 15000},
        "cluster_controllers.memory",
        "machines-exceed-memory: 16000",
        "memory: 4864",
        False,
    ),
    (
        workers(2, 3000),
        {"memory_total": 16000, "memory_available": 3300},
        "cluster_workers.count",
        "not-enough-memory: 4 … 3356 … 3300",
        "fewer machines, or 56 MiB more of free memory",
        False,
    ),
    (
        workers(0),
        {"memory_total": 16000, "memory_available": 1000},
        "cluster_controllers.count",
        "not-enough-memory: 2 … 1956 … 1000",
        "fewer machines, or 956 MiB more of free memory",
        False,
    ),
    (
        {},
        {"memory_total": 16000, "memory_available": 15000, "provider": "virtualbox"},
        "cluster_workers.memory",
        "machines-exceed-memory: 17408 … 16000",
        "memory: 4864",
        False,
    ),
    (
        {},
        {"memory_total": 16000, "memory_available": 12000},
        "cluster_workers.memory",
        "memory-not-free: 17408 … 12000",
        "memory: 3584",
        True,
    ),
]


@pytest.mark.parametrize(("values", "around", "key", "what", "works", "warning"), MEMORY)
def test_too_little_memory_is_said(
    values: dict[str, Any], around: dict[str, Any], key: str, what: str, works: str, warning: bool
) -> None:
    report = here(values, **around)
    (found,) = report.warnings if warning else report.problems
    assert len(report.warnings) == warning
    assert (found.key, found.works) == (key, works)
    tells(found, what)


@pytest.mark.parametrize(
    ("values", "around"),
    [
        (workers(2, 3000), {"memory_total": 11120, "memory_available": 11120}),
        (workers(2, 3000), {"memory_total": 11120, "memory_available": 11120, "provider": "virtualbox"}),
        (
            {**controllers(1, 8000), **workers(0)},
            {"memory_total": 8000, "memory_available": 8000, "with_mirror": False},
        ),
    ],
)
def test_just_enough_memory_is_enough(values: dict[str, Any], around: dict[str, Any]) -> None:
    report = here(values, **around)
    assert (report.problems, report.warnings) == ([], [])


def test_the_least_memory_is_just_warned_of() -> None:
    report = here({}, memory_total=64000, memory_available=3356)
    assert (len(report.problems), len(report.warnings)) == (0, 1)


def test_machines_that_exist_have_their_memory_already() -> None:
    around = {"memory_total": 24000, "memory_available": 4000}
    assert here({}, **around, existing=frozenset({"mirror-1", "ctrl", "node-1", "node-2"})).warnings == []
    (warning,) = here({}, **around, existing=frozenset({"mirror-1", "ctrl", "node-1"})).warnings
    tells(warning, "memory-not-free: 6144 MiB")


@pytest.mark.parametrize("unknown", [{"memory_total": None}, {"memory_available": None}, {"provider": "hosts"}])
def test_memory_is_left_alone_where_it_does_not_count(unknown: dict[str, Any]) -> None:
    around = {"memory_total": 100, "memory_available": 100, **unknown}
    report = here(hosts(CTRL) if unknown.get("provider") else {}, **around)
    assert (report.problems, report.warnings) == ([], [])


# where from, free GB, used GB, filled, is it refused, is it warned of, GB said to be needed
DISK: list[tuple[str, float, float, bool, bool, bool, str]] = [
    ("auto", 30, 0, False, False, False, ""),
    ("auto", 29.9, 0, False, False, True, "30.0"),
    ("auto", 5, 0, False, False, True, "30.0"),
    ("auto", 4.9, 0, False, True, False, "30.0"),
    ("auto", 6, 25, False, False, False, ""),
    ("auto", 5, 25, False, False, False, ""),
    ("auto", 3, 25, False, False, True, "5.0"),
    ("auto", 1.9, 29, False, True, False, "2.0"),
    ("source", 29.9, 0, False, True, False, "30.0"),
    ("source", 29.9, 1, False, False, False, ""),
    ("upstream", 5, 0, False, False, False, ""),
    ("upstream", 4.9, 0, False, True, False, "5.0"),
    ("source", 2, 9, True, False, False, ""),
    ("source", 1.9, 9, True, True, False, "2.0"),
]


@pytest.mark.parametrize(("source", "free", "used", "filled", "refused", "warned", "needed"), DISK)
def test_too_little_disk_is_said(
    source: str, free: float, used: float, filled: bool, refused: bool, warned: bool, needed: str
) -> None:
    report = here(
        {"cluster_artifacts_from": source},
        cache_free=int(free * GB),
        cache_used=lambda: int(used * GB),
        cache_filled=filled,
    )
    assert (len(report.problems), len(report.warnings)) == (refused, warned)
    for found in (*report.problems, *report.warnings):
        assert found.key == "cluster_artifacts_from"
        tells(found, f"not-enough-disk: /cache … {free:.1f} GB … {needed} GB")
        assert "SLIPWAY_CACHE=" in found.works


def test_a_disk_of_unknown_size_passes() -> None:
    assert here({}, cache_free=None).problems == []


def test_the_cache_is_not_counted_while_there_is_room() -> None:
    def count() -> int:
        raise AssertionError("counting a cache takes seconds")

    assert here({}, cache_used=count).problems == []
