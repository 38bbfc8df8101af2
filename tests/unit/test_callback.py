"""What the callback does besides printing."""

from __future__ import annotations

import importlib.util
import os
import stat
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "plugins/callback/slipway.py"


@pytest.fixture(scope="module")
def callback() -> Any:
    spec = importlib.util.spec_from_file_location("slipway_callback", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_log_is_its_users_alone(callback: Any, tmp_path: Path) -> None:
    log = tmp_path / "ansible.log"
    log.touch(mode=0o644)
    callback.keep_private(str(log))
    assert mode(log) == 0o600


def test_what_is_no_file_keeps_its_mode(callback: Any, tmp_path: Path) -> None:
    """A run without a log names /dev/null: whoever runs it as root would take it from everybody."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    pipe.chmod(0o666)
    callback.keep_private(str(pipe))
    assert mode(pipe) == 0o666
    for nothing in (None, "", str(tmp_path / "gone")):
        callback.keep_private(nothing)
