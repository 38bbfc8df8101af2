"""Where the checkout is that this library lies in."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
