"""The disk of the cache is full: the run says so, and what lies in the cache is whole."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkout import Checkout


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MB."""
    if os.geteuid():
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "cache"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "slipway-test", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_named_with_what_is_needed(clone: Checkout, small_disk: Path) -> None:
    run = clone.make("bundle", SLIPWAY_CACHE=str(small_disk), timeout=600)
    assert run.status != 0
    end = "\n".join(run.output.splitlines()[-20:])
    assert str(small_disk) in end
    assert "SLIPWAY_CACHE" in end
    assert "Traceback" not in run.output


def test_no_half_item_is_taken_for_a_whole_one(clone: Checkout, small_disk: Path) -> None:
    clone.make("bundle", SLIPWAY_CACHE=str(small_disk), timeout=600)
    assert not list(small_disk.glob("bundles/*/bundle.json"))
    again = clone.make("bundle", SLIPWAY_CACHE=str(small_disk), timeout=600)
    assert again.status != 0, "a second run took what the first one left for whole"
