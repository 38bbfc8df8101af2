"""No Docker, no Vagrant, and nobody who may install them: setup says what to ask an administrator for."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkout import Checkout

NOBODY = "nobody"
HIDDEN = {"docker", "dockerd", "vagrant", "sudo", "su", "VBoxManage", "virsh"}


@pytest.fixture
def poor(clone: Checkout) -> Iterator[tuple[Path, dict[str, str]]]:
    """A copy of the clone that belongs to ``nobody``, and an environment in which the programs are not to be found."""
    if os.geteuid():
        pytest.skip("becoming another user needs root")
    base = Path(tempfile.mkdtemp(prefix="slipway-test-"))
    programs = base / "bin"
    programs.mkdir()
    for folder in ("/bin", "/usr/bin", "/usr/sbin", "/sbin"):
        for program in Path(folder).iterdir():
            if program.name not in HIDDEN and not (programs / program.name).exists():
                (programs / program.name).symlink_to(program)
    copy = base / "slipway"
    shutil.copytree(clone.path, copy, symlinks=True, ignore=shutil.ignore_patterns(".venv", ".slipway", ".vagrant"))
    subprocess.run(["chown", "--recursive", f"{NOBODY}:", str(base)], check=True)
    yield copy, {"PATH": str(programs), "HOME": str(base), "LANG": "C.UTF-8", "DOCKER_HOST": f"unix://{base}/none.sock"}
    shutil.rmtree(base)


def test_setup_says_what_to_ask_for_and_touches_nothing(poor: tuple[Path, dict[str, str]]) -> None:
    folder, environment = poor
    done = subprocess.run(
        ["setpriv", f"--reuid={NOBODY}", "--regid=nogroup", "--clear-groups", "make", "--no-print-directory", "up"],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "administrator" in said
    for package in ("docker", "vagrant"):
        assert package in said
    assert "Traceback" not in said
    assert not (folder / ".venv").exists()
    assert not (folder / ".vagrant").exists()
