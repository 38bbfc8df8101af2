"""The file that tells of a change that is not proved: one for each release of each namespace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def _plugins() -> None:
    init_plugin_loader()


def tasks(path: str) -> list[dict[str, Any]]:
    """The tasks of a file, those of its blocks among them."""
    found = yaml.safe_load((ROOT / path).read_text())
    for task in found:
        found += task.get("block", [])
    return list(found)


def notes(folder: Path, namespace: str, release: str) -> tuple[Path, Path, bool]:
    """What a change leaves, what a proof takes away, and whether a run sees that there is something to prove."""
    facts = {"release": release, "namespace": namespace}
    beginning = f"{folder}/unproved-"
    known = {"release_planned": {**facts, "facts": facts}, "prove_facts": facts, "prove": "changed"}
    variables = {**known, "release_note": beginning, "prove_note": beginning}
    templar = Templar(loader=DataLoader(), variables=variables)
    (left,) = (
        t["ansible.builtin.copy"]["dest"]
        for t in tasks("roles/release/tasks/present.yml")
        if "ansible.builtin.copy" in t
    )
    (taken,) = (t["prove_run"]["note"] for t in tasks("roles/prove/tasks/main.yml") if "prove_run" in t)
    (asked,) = (c for t in tasks("playbooks/tasks/release.yml") for c in t.get("when", []) if "release_note" in c)
    return (
        Path(str(templar.template(trust_as_template(left)))),
        Path(str(templar.template(trust_as_template(taken)))),
        bool(templar.template(trust_as_template(f"{{{{ {asked} }}}}"))),
    )


def test_a_change_is_noted_and_proved_in_its_own_namespace(tmp_path: Path) -> None:
    left, taken, due = notes(tmp_path, "shop", "web")
    assert (left, due) == (taken, False)
    left.touch()
    assert notes(tmp_path, "shop", "web") == (left, left, True)
    for namespace, release in (("staging", "web"), ("shop-web", "web"), ("shop", "other")):
        other, proved, due = notes(tmp_path, namespace, release)
        assert (other == proved, left == other, due) == (True, False, False)
    assert notes(tmp_path, "a", "b-c")[0] != notes(tmp_path, "a-b", "c")[0]
