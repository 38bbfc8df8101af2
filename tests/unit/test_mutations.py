"""The list of deliberate defects fits the tree as it is now. Whether they are noticed: make mutate."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.mutations.__main__ import Defect, failed_steps, read, spoil
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


def test_the_step_that_failed_is_read_off_what_molecule_prints() -> None:
    coloured = "\x1b[31mERROR \x1b[0m \x1b[32mistio\x1b[0m ➜ \x1b[33mverify\x1b[0m: \x1b[31mExecuted: Failed\x1b[0m\n"
    assert failed_steps(coloured + coloured + "WARNING [istio > idempotence] Executed: Failed\n") == [
        "verify",
        "idempotence",
    ]
    assert failed_steps("INFO istio ➜ verify: Executed: Successful\n") == []
