"""Containers get the size of the page while they run, and for other machines the provider says what gives it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway.lab import computer, container, sizes

from tests.support.provider import Docker, of, plan_in, verb


@pytest.fixture
def plan(tmp_path: Path) -> Any:
    return plan_in(tmp_path)


def sized(plan: Any, provider_name: str = "docker") -> Any:
    """The plan, whose machines Vagrant has under ids like c-ctrl."""
    for machine in plan["machines"]:
        place = Path(plan["vagrant"], "machines", machine["name"], provider_name)
        place.mkdir(parents=True)
        (place / "id").write_text(f"c-{machine['name']}")
    return of(plan, provider_name)


def answers(monkeypatch: pytest.MonkeyPatch, **by_program: list[str]) -> list[str]:
    """Have programs answer with lines, by the word that tells the call; gives what was asked."""
    asked: list[str] = []

    def lines(*command: str) -> list[str]:
        asked.append(" ".join(command))
        return next((found for word, found in by_program.items() if word in command), [])

    monkeypatch.setattr(computer, "lines", lines)
    host = container.Host(bounding=0, server="27", cpus=4, limits_memory=True, limits_cpus=True)
    monkeypatch.setattr(container, "this_host", lambda: host)
    return asked


def test_container_nodes_get_the_size_of_the_page_while_they_run(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    docker = Docker(monkeypatch, {})
    inspected = [f"c-mirror-1 {1024 << 20} {2 * 10**9}", f"c-ctrl {512 << 20} {2 * 10**9}", f"c-node-1 {1024 << 20} 0"]
    answers(monkeypatch, inspect=inspected, exec=[f"anon {100 << 20}"])
    plan = sized(plan)
    assert sizes.wrong_sizes(plan) == {
        "ctrl": ["memory of ctrl is 512 MiB and the page says 1024 MiB"],
        "node-1": ["cpus of node-1 is 4 and the page says 2"],
    }
    told = sizes.resize(plan)
    assert docker.asked == [
        "update --memory=1024m --memory-swap=1024m sun-ctrl",
        "update --cpus=2 sun-node-1",
    ]
    assert told[0] == "memory of ctrl is 512 MiB and the page says 1024 MiB: it has that now"


def test_a_container_node_that_uses_more_than_that_keeps_its_size(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    docker = Docker(monkeypatch, {})
    answers(monkeypatch, inspect=[f"c-ctrl {2048 << 20} {2 * 10**9}"], exec=["file 7", f"anon {1000 << 20}"])
    (left,) = sizes.resize(sized(plan))
    assert left == (
        "memory of ctrl is 2048 MiB and the page says 1024 MiB, but 1000 MiB are in use there: "
        "take pods off ctrl first (kubectl drain ctrl)"
    )
    assert docker.asked == []


def test_where_docker_cannot_limit_nothing_is_said(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, inspect=["c-ctrl 0 0"])
    host = container.Host(bounding=0, server="27", cpus=4, limits_memory=False, limits_cpus=False)
    monkeypatch.setattr(container, "this_host", lambda: host)
    assert sizes.wrong_sizes(sized(plan)) == {}


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("virtualbox", {"showvminfo": ['name="sun-ctrl"', "memory=1024", "cpus=3"]}),
        ("libvirt", {"dominfo": ["CPU(s):         3", "Max memory:     1048576 KiB", "Used memory:    7 KiB"]}),
    ],
)
def test_of_virtual_machines_it_is_said_what_restarts_them(
    name: str, lines: dict[str, list[str]], plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answers(monkeypatch, **lines)
    left = sizes.resize(sized(plan, name))
    assert left[0] == (
        "cpus of mirror-1 is 3 and the page says 2: `vagrant reload --no-provision mirror-1` restarts it with that"
    )
    assert len(left) == 3
    assert "c-mirror-1" in asked[0]


def test_sizes_are_given_by_a_verb(
    plan: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(monkeypatch, inspect=[f"c-ctrl {2048 << 20} {2 * 10**9}"], exec=[f"anon {2000 << 20}"])
    assert verb("resize", sized(plan), monkeypatch) == 0
    assert "2000 MiB are in use there" in capsys.readouterr().out
