"""Where files are: the checkout that this library lies in, what its runs leave behind, and what the user names."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def state_folder() -> Path:
    """Find the folder of what runs leave behind: $SLIPWAY_STATE, else .slipway of the checkout."""
    return Path(os.environ.get("SLIPWAY_STATE") or ROOT / ".slipway").absolute()


def user_path(root: Path, text: str) -> Path:
    """Find the file that the user means: absolute, ``~/…``, or from the checkout."""
    try:
        return root / Path(text).expanduser()
    except RuntimeError:  # the home of a user that there is not
        return root / text


def page_path(given: Path) -> Path:
    """Find a page from where the run was started, or from the project's folder."""
    page = given.expanduser()
    return ROOT / page if not page.is_absolute() and not page.exists() and (ROOT / page).exists() else page
