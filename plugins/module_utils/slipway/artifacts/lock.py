"""``artifacts/lock.yml``: the sums of upstream's files and the digests of upstream's images."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import SlipwayError
from .cache import locked, write_atomically

HEADER = """\
---
# Sums of what upstream serves: files by address (sha256), images by name:tag (digest of the linux/amd64 manifest)
# and by "name:tag linux/arm64" (digest of that manifest).
# Written by playbooks/artifacts.yml when an item is first fetched; commit it, so that everybody gets the same bytes.
# A later run stops when upstream serves anything else. Remove an entry to accept what the publisher says now.
"""

Kind = Literal["files", "images"]


class LockFile(BaseModel):
    """What stands in the file."""

    model_config = ConfigDict(extra="forbid")
    files: dict[str, str] = {}
    images: dict[str, str] = {}


class Lock:
    """The file at ``path``; absent counts as empty."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._guard = threading.Lock()
        self._known = self._read()

    def _read(self) -> LockFile:
        try:
            return LockFile.model_validate(yaml.safe_load(self.path.read_text(encoding="utf-8")) or {})
        except FileNotFoundError:
            return LockFile()
        except (yaml.YAMLError, ValidationError) as exc:
            raise SlipwayError(
                "wrong-artifact-file",
                f"{self.path} is not a lock file: {exc}. It holds `files:` and `images:`, each `address: sum`; "
                f"restore it with `git checkout {self.path.name}`.",
            ) from exc

    def get(self, kind: Kind, address: str) -> str:
        """The sum of ``address``, empty when there is no entry."""
        found: str = getattr(self._known, kind).get(address, "")
        return found

    def add(self, kind: Kind, address: str, value: str) -> None:
        """Write an entry, keeping what other runs wrote meanwhile."""
        if self.get(kind, address) == value:
            return
        with self._guard, locked(self.path.with_name(f".{self.path.name}.lock"), lambda: None):
            known = self._read()
            getattr(known, kind)[address] = value
            body = yaml.safe_dump(known.model_dump(), sort_keys=True, default_flow_style=False, width=200)
            write_atomically(self.path, HEADER + body)
            self._known = known
