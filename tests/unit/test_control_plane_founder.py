"""Which controller founds the cluster, and when none may: the role's expressions in Ansible's own templating."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLE = Path(__file__).parents[2] / "roles/control_plane"
IN, OUT, FOUNDING = (
    {"controller": a, "founding": b, "ca": "one" if a else "", "cas": ["one"] if a else []}
    for a, b in ((True, False), (False, False), (False, True))
)
IN_ANOTHER = {**IN, "ca": "two", "cas": ["two"]}
# While the CA is replaced: one accepts both, another one signs with the new one, and a third has the new one alone.
BOTH, TURNED, NEW = (
    {**IN, "ca": ca, "cas": cas} for ca, cas in (("one", ["one", "two"]), ("two", ["one", "two"]), ("two", ["two"]))
)
UNSEEN: dict[str, Any] = {}


def tasks_and_templar(controllers: dict[str, dict[str, Any]], play: list[str]) -> tuple[list[dict[str, Any]], Templar]:
    """Give the role's tasks, and what evaluates their expressions for these controllers."""
    loader = DataLoader()
    hostvars = {
        name: {"inventory_hostname": name, **({"slipway_node": {"kubernetes": state}} if state else {})}
        for name, state in controllers.items()
    }
    variables: dict[str, Any] = {
        **loader.load_from_file(str(ROLE / "vars/main.yml"), trusted_as_template=True),
        "control_plane_hosts": list(controllers),
        "ansible_play_hosts": play,
        "hostvars": hostvars,
        # Asked on a controller that is not in; on one that is, there is somebody who is.
        "slipway_node": {"kubernetes": OUT},
    }
    tasks = loader.load_from_file(str(ROLE / "tasks/main.yml"), trusted_as_template=True)
    return tasks, Templar(loader=loader, variables=variables)


def decide(controllers: dict[str, dict[str, Any]], play: list[str]) -> str:
    """Name the founder, or ``refused``. ``play`` are the controllers that have neither failed nor been unreachable."""
    (refuse, *_), templar = tasks_and_templar(controllers, play)
    assert "ansible.builtin.fail" in refuse
    if all(templar.evaluate_conditional(condition) for condition in refuse["when"]):
        return "refused"
    return str(templar.template(trust_as_template("{{ __control_plane_founder }}")))


@pytest.mark.parametrize(
    ("controllers", "play", "founder"),
    [
        # Nothing stands yet: the first one founds, and only with all of them at hand.
        ({"a": OUT}, ["a"], "a"),
        ({"a": OUT, "b": OUT, "c": OUT}, ["a", "b", "c"], "a"),
        ({"a": UNSEEN, "b": OUT, "c": OUT}, ["b", "c"], "refused"),
        ({"a": OUT, "b": OUT, "c": UNSEEN}, ["a", "b"], "refused"),
        # A cluster stands: any controller that is in speaks for it.
        ({"a": IN, "b": OUT, "c": OUT}, ["a", "b", "c"], "a"),
        ({"a": OUT, "b": IN, "c": OUT}, ["a", "b", "c"], "b"),
        ({"a": UNSEEN, "b": IN, "c": IN}, ["b", "c"], "b"),
        # The only one that is in failed earlier in this very run.
        ({"a": IN, "b": OUT, "c": OUT}, ["b", "c"], "refused"),
        # A founding that was cut off is finished where it began, and two of them by nobody.
        ({"a": OUT, "b": FOUNDING, "c": OUT}, ["a", "b", "c"], "b"),
        ({"a": OUT, "b": FOUNDING, "c": OUT}, ["a", "c"], "refused"),
        ({"a": FOUNDING, "b": FOUNDING, "c": OUT}, ["a", "b", "c"], "refused"),
    ],
)
def test_who_founds_the_cluster(controllers: dict[str, dict[str, Any]], play: list[str], founder: str) -> None:
    assert decide(controllers, play) == founder


@pytest.mark.parametrize(
    ("controllers", "refused"),
    [
        ({"a": IN, "b": IN, "c": OUT}, False),
        ({"a": IN, "b": UNSEEN, "c": IN_ANOTHER}, True),
        ({"a": OUT, "b": OUT}, False),
        ({"a": IN, "b": BOTH}, False),
        ({"a": BOTH, "b": IN}, False),
        ({"a": TURNED, "b": BOTH}, False),
        ({"a": BOTH, "b": TURNED, "c": OUT}, False),
        ({"a": NEW, "b": TURNED}, False),
        ({"a": TURNED, "b": NEW}, False),
        ({"a": IN, "b": NEW}, True),
    ],
)
def test_controllers_of_two_clusters_are_refused(controllers: dict[str, dict[str, Any]], refused: bool) -> None:
    (_, refuse, *_), templar = tasks_and_templar(controllers, list(controllers))
    assert "ansible.builtin.fail" in refuse
    assert all(templar.evaluate_conditional(condition) for condition in refuse["when"]) is refused
