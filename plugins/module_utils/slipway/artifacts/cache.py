"""The content-addressed cache: ``items/<name>/<key>/`` is complete or absent, whoever is killed when."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..errors import SlipwayError

FACTS = "item.json"
Area = Literal["items", "tools"]
CHUNK = 1 << 20
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Entry(NamedTuple):
    """One complete item: its folder and what is known of it (sums, size in bytes, source …)."""

    path: Path
    facts: dict[str, Any]


def default_root() -> Path:
    """``$SLIPWAY_CACHE``, else the user's cache directory."""
    named = os.environ.get("SLIPWAY_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "slipway"


def digest_of(value: object) -> str:
    """Name a JSON-able value by its content; the keys of mappings may come in any order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def megabytes(size: int) -> str:
    """``size`` in bytes, for people."""
    if size >= 10**9:
        return f"{size / 10**9:.1f} GB"
    return f"{size / 10**6:.0f} MB" if size >= 10**7 else f"{size / 10**6:.1f} MB"


def folder_size(folder: Path) -> int:
    """Bytes in the regular files below ``folder``; what goes away meanwhile, or may not be read, counts as nothing."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                found = os.lstat(f"{place}/{name}")
            except OSError:
                continue
            size += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return size


def link_or_copy(source: Path, target: Path) -> None:
    """Give ``source`` a second name; copy where a hard link is not possible (another file system, no right)."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError as exc:
        if exc.errno in DISK_FULL or isinstance(exc, FileExistsError):
            raise
        shutil.copy2(source, target)


def write_atomically(path: Path, content: str | bytes) -> None:
    """A reader sees the old content or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    temporary.replace(path)


@contextmanager
def locked(path: Path, wait_message: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file ``path``; it is let go when the process ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wait_message()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Cache:
    """Items below ``root``. ``area`` is ``items`` but for tools of the builder itself."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.downloads = root / "downloads"
        self.bundles = root / "bundles"

    def folder(self, name: str, key: str, area: Area = "items") -> Path:
        return self.root / area / name / key

    def get(self, name: str, key: str, area: Area = "items") -> Entry | None:
        """The item, when it is complete."""
        folder = self.folder(name, key, area)
        try:
            facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as exc:
            raise SlipwayError(
                "cache-damaged", f"{folder}/{FACTS} cannot be read ({exc}). Remove {folder} and run again."
            ) from exc
        return Entry(folder, facts)

    def make(
        self,
        name: str,
        key: str,
        maker: Callable[[Path], Mapping[str, Any]],
        *,
        area: Area = "items",
        needs: int = 0,
        say: Callable[[str], None] = lambda _line: None,
    ) -> Entry:
        """Make the item unless it is there: ``maker`` fills a folder and returns its facts.

        ``needs`` is the free space in bytes it is known to take on the way. Runs of other clones wait for each other.
        """
        folder = self.folder(name, key, area)
        lock = folder.with_name(f"{key}.lock")
        with (
            disk_full_explained(self.root, name, needs),
            locked(lock, lambda: say(f"{name}: another run is making it, waiting for that")),
        ):
            found = self.get(name, key, area)
            if found:
                return found
            require_space(self.root, name, needs)
            return self._make(folder, maker)

    def _make(self, folder: Path, maker: Callable[[Path], Mapping[str, Any]]) -> Entry:
        temporary = folder.with_name(f".{folder.name}.new")
        remove_tree(temporary)
        temporary.mkdir(parents=True)
        try:
            facts = dict(maker(temporary))
            (temporary / FACTS).write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            open_to_readers(temporary)
            temporary.rename(folder)
        except BaseException:
            remove_tree(temporary)
            raise
        return Entry(folder, facts)


def open_to_readers(folder: Path) -> None:
    """Let the mirror's web server read what was written, whatever the user's umask is."""
    folder.chmod(0o755)
    for entry in folder.rglob("*"):
        if not entry.is_symlink():
            entry.chmod(0o755 if entry.is_dir() or entry.stat().st_mode & 0o100 else 0o644)


def remove_tree(path: Path) -> None:
    """Remove a folder, also one in which a killed program left read-only folders."""
    if not path.exists():
        return
    for folder, _names, _files in os.walk(path):
        Path(folder).chmod(0o755)
    shutil.rmtree(path)


def require_space(root: Path, name: str, needs: int) -> None:
    """Stop before starting what cannot fit."""
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    if free < needs:
        raise SlipwayError("disk-full", disk_full_message(root, name, free, needs))


def disk_full_message(root: Path, name: str, free: int, needs: int) -> str:
    known = f"about {megabytes(needs)} are needed" if needs else "more is needed"
    return (
        f"{name}: not enough space below {root}: {megabytes(free)} free, {known}. "
        f"Free some (old bundles below {root / 'bundles'} may go), or set SLIPWAY_CACHE to a folder on a larger disk, "
        f"e.g. SLIPWAY_CACHE=/data/slipway. Nothing half-made was left; a new run goes on from here."
    )


@contextmanager
def disk_full_explained(root: Path, name: str, needs: int) -> Iterator[None]:
    """Turn "no space left on device" into free and needed space."""
    try:
        yield
    except OSError as exc:
        if exc.errno not in DISK_FULL:
            raise
        raise SlipwayError("disk-full", disk_full_message(root, name, shutil.disk_usage(root).free, needs)) from exc
