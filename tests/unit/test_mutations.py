"""The list of deliberate defects fits the tree as it is now. Whether they are noticed: make mutate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutations.__main__ import Defect, Lab, read, spoil
from tests.support.checkout import Checkout, Run
from tests.support.lab import ROOT

DEFECTS = read()


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: f"{defect.role}: {defect.what}")
def test_a_defect_can_be_put_in(defect: Defect) -> None:
    sound = (ROOT / defect.file).read_text(encoding="utf-8")
    assert spoil(sound, defect) != sound


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: f"{defect.role}: {defect.what}")
def test_what_should_notice_it_exists(defect: Defect) -> None:
    tests = (ROOT / f"molecule/{defect.role}/tests/test_{defect.role}.py").read_text(encoding="utf-8")
    assert f"def {defect.noticed_by}(" in tests or defect.noticed_by in ("converge", "idempotence")


def test_a_place_that_is_gone_or_not_the_only_one_is_told() -> None:
    defect = replace(DEFECTS[0], was="x")
    for text in ("", "x x"):
        with pytest.raises(ValueError, match=r"out of date"):
            spoil(text, defect)


def test_every_role_has_a_defect() -> None:
    roles = {path.parent.parent.name for path in ROOT.glob("roles/*/tasks/main.yml")}
    assert {defect.role for defect in DEFECTS} == roles


class Scripted(Lab):
    """A lab whose molecule ends as told, step by step, and writes down what it was called with."""

    def __init__(self, checkout: Checkout, **ends: int) -> None:
        super().__init__(checkout)
        self.ends, self.called = ends, list[tuple[str, str, bool]]()

    def molecule(self, command: str, scenario: str, *_arguments: str, tests: str = "") -> Run:
        assert not tests or command in ("converge", "idempotence", "verify")
        broken = "x = 2" in (self.checkout.path / "role.yml").read_text()
        self.called.append((command, scenario, broken))
        return Run(self.ends.get(command, 0) if broken else self.ends.get(f"sound_{command}", 0), 0.0, "")


DEFECT = Defect("storage", "x is another", "role.yml", "x = 1", "x = 2", "test_x")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout("mutate", tmp_path)
    (made.path / "molecule/.lab/state").mkdir(parents=True)
    (made.path / "role.yml").write_text("x = 1\n")
    return made


def test_a_defect_is_there_from_converge_to_verify_and_mended_afterwards(checkout: Checkout) -> None:
    lab = Scripted(checkout)
    assert lab.noticed(DEFECT) == []
    assert lab.called == [
        ("create", "storage", False),
        ("prepare", "storage", False),
        ("converge", "storage", True),
        ("verify", "storage", True),
        ("converge", "storage", False),
    ]
    assert (checkout.path / "molecule/.lab/state/passed/storage").exists()


def test_the_step_that_fails_is_the_last_and_is_named(checkout: Checkout) -> None:
    lab = Scripted(checkout, idempotence=1)
    assert lab.noticed(replace(DEFECT, noticed_by="idempotence")) == ["idempotence"]
    assert ("verify", "storage", True) not in lab.called
    lab = Scripted(checkout, converge=1)
    assert lab.noticed(DEFECT) == ["converge"]
    assert ("verify", "storage", True) not in lab.called


def test_a_lab_that_cannot_be_mended_is_not_used_again(checkout: Checkout) -> None:
    lab = Scripted(checkout, verify=1, sound_converge=1)
    assert lab.noticed(DEFECT) == ["verify"]
    assert lab.called[-1] == ("destroy", "default", False)
    assert not (checkout.path / "molecule/.lab/state/passed/storage").exists()


def test_a_lab_that_cannot_be_made_is_no_defect_caught(checkout: Checkout) -> None:
    with pytest.raises(AssertionError):
        Scripted(checkout, sound_prepare=1).noticed(DEFECT)
