"""The client that tests ask the API with retries once, and counts what failed twice."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.support.hardened import CONTROLLERS, client

QUESTIONS = 6


@pytest.mark.parametrize(
    ("down", "tries", "lost"),
    [((), 1, 0), (("ctrl-2",), None, 0), (("ctrl", "ctrl-2"), None, 2), (CONTROLLERS, 2, QUESTIONS)],
)
def test_a_question_is_asked_again_once(tmp_path: Path, down: tuple[str, ...], tries: int | None, lost: int) -> None:
    """It goes to each controller in turn: where two of three are down, every third question meets both."""
    kubectl, asked, script, told = (tmp_path / name for name in ("kubectl", "asked", "asking.sh", "lost"))
    refuse = "|".join(down) or "none"
    # It takes the script away with the last question.
    kubectl.write_text(
        f"#!/bin/sh\necho $2 >> {asked}\n"
        f'[ "$(cat {told}.count 2> /dev/null)" = {QUESTIONS - 1} ] && rm -f {script}\n'
        f"case $2 in {refuse}) exit 1;; esac\n"
    )
    kubectl.chmod(0o755)
    told.write_text("")
    script.write_text(client(script, told, str(kubectl), 0.0))
    began = time.monotonic()
    subprocess.run(["bash", str(script)], check=True, timeout=60)
    assert time.monotonic() - began < 60
    assert int(Path(f"{told}.count").read_text()) == QUESTIONS
    assert len(told.read_text().split()) == lost
    seen = asked.read_text().split()
    if tries:
        assert len(seen) == tries * QUESTIONS
    assert set(seen) == set(CONTROLLERS)
