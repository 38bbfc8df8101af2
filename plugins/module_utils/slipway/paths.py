"""Where the checkout is that this library lies in, and where its runs keep what they leave behind."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def state_folder() -> Path:
    """Find the folder of what runs leave behind: $SLIPWAY_STATE, else .slipway of the checkout."""
    return Path(os.environ.get("SLIPWAY_STATE") or ROOT / ".slipway").absolute()
