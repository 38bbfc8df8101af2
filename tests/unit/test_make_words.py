"""What `make … WORD=1` says to a playbook comes as text: "false" is true where nobody reads it as a boolean."""

from __future__ import annotations

import re
from pathlib import Path

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
