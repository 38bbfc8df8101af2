"""What `make … WORD=1` says to a playbook comes as text: "false" is true where nobody reads it as a boolean."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAID = sorted(set(re.findall(r"-e (\w+)=(?:true|false)\b", (ROOT / "Makefile").read_text())))


def test_the_makefile_says_some() -> None:
    assert {"rotate_backup", "upgrade_backup", "drain_force"} <= set(SAID)


def test_a_playbook_reads_them_as_booleans() -> None:
    """A module's option of type bool does so by itself."""
    unread = []
    for path in sorted((ROOT / "playbooks").glob("**/*.yml")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for name in SAID:
                option = re.fullmatch(rf'\s*\w+: "{{{{ {name}( \| default\(false\))? }}}}"', line)
                if re.search(rf"(?<!\w){name}(?! \| bool)(?!\w)(?!:)", line) and not option:
                    unread.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert unread == []


def typed(*words: str) -> str:
    """What make would run for Ansible, after setup."""
    line = ["make", "--no-print-directory", "--dry-run", *words]
    said = subprocess.run(line, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    (command,) = re.findall(r"\.venv/bin/ansible-playbook (.*)", said)
    return str(command)


REMOVAL, ADDITION = "playbooks/remove-node.yml", "playbooks/machines.yml playbooks/add-nodes.yml"


@pytest.mark.parametrize(
    ("verb", "does", "plans"),
    [
        ("drain", "playbooks/drain.yml", "playbooks/drain.yml"),
        ("uncordon", "playbooks/uncordon.yml", "playbooks/uncordon.yml"),
        ("remove-node", REMOVAL, REMOVAL),
        # What would be made anew is there until it is removed.
        ("replace-node", f"{REMOVAL} playbooks/machines.yml playbooks/site.yml", REMOVAL),
        ("add-nodes", ADDITION, "playbooks/machines.yml playbooks/add-nodes-plan.yml"),
        ("rotate-ca", "playbooks/rotate-ca.yml", "playbooks/rotate-ca.yml"),
        ("upgrade", "playbooks/upgrade.yml", "playbooks/upgrade.yml"),
    ],
)
def test_check_shows_a_plan_and_changes_nothing(verb: str, does: str, plans: str) -> None:
    def played(line: str) -> str:
        return " ".join(word for word in line.split() if word.endswith(".yml"))

    node = ["NODE=node-2"] if "add" not in verb else []
    done, planned = typed(verb, *node), typed(verb, *node, "CHECK=1")
    assert (played(done), played(planned)) == (does, plans)
    assert ("--check" in done.split(), "--check" in planned.split()) == (False, True)
    assert ("drain_node=node-2" in planned) == (verb in ("drain", "uncordon", "remove-node", "replace-node"))
    assert "--check" not in typed(verb, *node, "CHECK=").split()


def test_the_help_and_the_reference_name_the_word() -> None:
    """Of every verb that reads it, and of no other."""
    lines = re.findall(r"^([a-z-]+):.*## (.*)\n\t(.*)", (ROOT / "Makefile").read_text(), re.M)
    reads = {verb for verb, _, recipe in lines if "$(CHECK)" in recipe}
    rows = re.findall(r"^\| `make ([a-z-]+)` \| (.*)", (ROOT / "docs/reference/commands.md").read_text(), re.M)
    assert reads == {verb for verb, said, _ in lines if "CHECK=1" in said}
    assert reads == {verb for verb, said in rows if "CHECK=1" in said}
