"""finalization.yml with roles that only note what they are asked for: when clients come, and when that is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SAY, COPY, SET = (f"ansible.builtin.{name}" for name in ("lineinfile", "copy", "set_fact"))


def noting(text: str) -> dict[str, Any]:
    return {
        "name": f"Note {text}",
        SAY: {"path": "{{ notes }}", "line": text, "create": True, "mode": "0600", "insertafter": "EOF",
              "regexp": "^never$"},
        "check_mode": False,
    }  # fmt: skip


PLAN = {
    "name": "Plan",
    SET: {
        "release_planned": {"release": "{{ release_page }}", "namespace": "shop",
                           "differs": "{{ release_page in differing }}", "facts": {"release": "{{ release_page }}"}}
    },
}  # fmt: skip
ROLES: dict[str, list[dict[str, Any]]] = {
    "release/main": [
        PLAN,
        {
            "name": "Apply",
            "when": ["not release_plan_only | default(false)", "not ansible_check_mode"],
            "block": [
                noting("apply {{ release_page }}"),
                {"name": "Note that it is not proved", "when": "release_page in differing",
                 COPY: {"content": "", "dest": "{{ release_note }}shop.{{ release_page }}", "mode": "0600"}},
                {"name": "Fail", "ansible.builtin.fail": {}, "when": "release_page in failing"},
            ],
        },
    ],
    "prove/main": [noting("prove {{ prove_facts.release }} {{ prove_change | to_json }}")],
    "prove/begin": [
        {"name": "Plan", SET: {"prove_stream": {"plan": {"of": "{{ prove_facts.release }}"}}}},
        noting("begin {{ prove_facts.release }}"),
    ],
    "prove/end": [
        noting("end {{ prove_stream.plan.of }}{{ ' alone' if prove_change_alone else '' }}"),
        {"name": "Judge", SET: {"prove_met": {"change": {"of": "{{ prove_stream.plan.of }}"}}}},
    ],
}  # fmt: skip


def finalized(folder: Path, prove: str | None, *arguments: str, **given: Any) -> tuple[int, list[str]]:
    """The exit code and what was done, in order; ``lineinfile`` notes each thing once."""
    for name, tasks in ROLES.items():
        path = folder / "roles" / f"{name.partition('/')[0]}/tasks/{name.partition('/')[2]}.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(tasks, sort_keys=False))
    notes = folder / "notes"
    known = {"notes": str(notes), "release_note": f"{folder}/unproved-", "finalization_pages": ["a", "b"],
             "differing": ["a", "b"], "failing": [], "ansible_python_interpreter": sys.executable, **given}  # fmt: skip
    if prove is not None:
        known["prove"] = prove
    (folder / "given.json").write_text(json.dumps(known))
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "--inventory=localhost,", "--connection=local",
         f"--extra-vars=@{folder / 'given.json'}", str(ROOT / "playbooks/finalization.yml"), *arguments],
        cwd=folder, check=False, capture_output=True, text=True, timeout=120,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_ROLES_PATH": str(folder / "roles"),
             "ANSIBLE_LOG_PATH": str(folder / "log"), "ANSIBLE_FORCE_COLOR": "0",
             "PYTHONPATH": str(ROOT / "plugins/module_utils")},
    )  # fmt: skip
    assert done.returncode in (0, 2), done.stdout + done.stderr
    if not notes.exists():
        return done.returncode, [done.stdout]
    return done.returncode, notes.read_text().splitlines()


def change(of: str) -> str:
    return f'{{"of": "{of}"}}'


@pytest.mark.parametrize(
    ("prove", "done"),
    [
        (None, ["apply a", "prove a {}", "apply b", "prove b {}"]),
        ("during", [line for x in "ab" for line in (f"begin {x}", f"apply {x}", f"end {x}", f"prove {x} {change(x)}")]),
        ("during,never", [line for x in "ab" for line in (f"begin {x}", f"apply {x}", f"end {x} alone")]),
    ],
)
def test_clients_come_before_the_change_and_go_after_it(tmp_path: Path, prove: str | None, done: list[str]) -> None:
    assert finalized(tmp_path, prove) == (0, done)


def test_where_nothing_changes_nobody_comes(tmp_path: Path) -> None:
    code, done = finalized(tmp_path, "during,always", differing=["a"])
    assert (code, done) == (0, ["begin a", "apply a", "end a", f"prove a {change('a')}", "apply b", "prove b {}"])


def test_after_a_step_that_fails_it_is_told_what_clients_met(tmp_path: Path) -> None:
    assert finalized(tmp_path, "during", failing=["a"]) == (2, ["begin a", "apply a", "end a alone"])


def test_where_nothing_is_applied_nobody_comes(tmp_path: Path) -> None:
    code, done = finalized(tmp_path, "during", "--check")
    assert code == 0
    assert not [line for line in done if line.startswith(("begin", "end", "prove"))]


@pytest.mark.parametrize("prove", ["during,sometimes", "changed,never"])
def test_a_choice_that_there_is_not_is_refused_with_one_that_there_is(tmp_path: Path, prove: str) -> None:
    code, (said,) = finalized(tmp_path, prove)
    assert code == 2
    assert f"prove is {prove}; take changed, always or never, with or without during" in said
