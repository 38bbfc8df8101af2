"""Where files are: the checkout that this library lies in, and those that the user names."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def user_path(root: Path, text: str) -> Path:
    """Find the file that the user means: absolute, ``~/…``, or from the checkout."""
    try:
        return root / Path(text).expanduser()
    except RuntimeError:  # the home of a user that there is not
        return root / text
