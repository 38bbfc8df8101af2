"""Get named files of a bundle onto a machine, each with its sum, and remember what lies where.

Runs on the nodes (stdlib only). The record makes a second run cheap: a file whose size and modification time are the
ones we left is not read again.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import http.client
import json
import os
import re
import shutil
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from . import durable

RECORD = "/var/lib/slipway/artifacts.json"
CHUNK = 1 << 20


class FetchError(Exception):
    """A file could not be had; the text is for the operator."""


def load_record(path: str) -> dict[str, Any]:
    """Read the record; one that is absent or damaged counts as empty (then files are fetched again)."""
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def make_folders(path: str, mode: int = 0o755) -> list[str]:
    """Make ``path`` and the folders above it that are missing, and return them.

    They have ``mode`` whatever the umask is: behind that of a hardened machine no service but root's finds its program.
    """
    missing = []
    while path and not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    made = []
    for new in reversed(missing):
        # Another item of this very run may make the same folder.
        with contextlib.suppress(FileExistsError):
            os.mkdir(new, mode)
            os.chmod(new, mode)
            made.append(new)
    return made


def save_record(path: str, record: Mapping[str, Any]) -> None:
    """Write the record so that a reader sees the old one or the new one, never half of it."""
    make_folders(os.path.dirname(path))
    durable.write(json.dumps(record, indent=1, sort_keys=True) + "\n", path, 0o644)


def signature(path: str) -> list[int]:
    """Size in bytes and modification time in nanoseconds; empty when the file is not there."""
    try:
        info = os.stat(path)
    except OSError:
        return []
    return [info.st_size, info.st_mtime_ns]


def key_of(item: Mapping[str, Any]) -> str:
    """Give the name of an item in the record."""
    return f"{item['dest']}#{item['name']}"


def is_current(item: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Tell whether what lies at the item's destination is what we put there for this very sum."""
    entry = record.get(key_of(item), {})
    files = entry.get("files", {})
    return (
        entry.get("sha256") == item["sha256"]
        and entry.get("only") == item.get("only", [])
        and bool(files)
        and all(signature(path) == mark for path, mark in files.items())
    )


def download(url: str, target: str, sha256: str, timeout: float, tries: int = 3, wait: float = 1.0) -> None:
    """Fetch ``url`` into ``target`` and check its sum.

    Raises FetchError, with both sums when they differ, after ``tries`` attempts ``wait`` seconds apart.
    """
    reason = ""
    for attempt in range(tries):
        if attempt:
            time.sleep(wait)
        digest = hashlib.sha256()
        try:
            # file: is wanted: the mirror takes its own programs from the bundle on its disk.
            with urllib.request.urlopen(url, timeout=timeout) as answer, open(target, "wb") as file:  # noqa: S310
                for chunk in iter(lambda: answer.read(CHUNK), b""):
                    digest.update(chunk)
                    file.write(chunk)
        except (OSError, urllib.error.URLError, http.client.HTTPException) as exc:
            reason = str(exc)
            continue
        if digest.hexdigest() == sha256:
            return
        reason = f"its sha256 is {digest.hexdigest()}, the bundle says {sha256}"
    raise FetchError(f"{url} could not be had: {reason}")


def members(archive: tarfile.TarFile, strip: int, only: list[str]) -> list[tuple[tarfile.TarInfo, str]]:
    """Pair each regular member to unpack with its relative name once ``strip`` leading folders are gone.

    ``only`` holds shell patterns of those names; empty means all.
    """
    chosen = []
    for info in archive.getmembers():
        parts = [part for part in info.name.split("/") if part not in ("", ".")][strip:]
        name = "/".join(parts)
        if not info.isfile() or not parts or ".." in parts:
            continue
        if not only or any(fnmatch.fnmatch(name, pattern) for pattern in only):
            chosen.append((info, name))
    return chosen


def place(source: str, target: str, mode: int) -> None:
    """Move ``source`` to ``target`` in one step, so that a running program keeps its old file."""
    os.chmod(source, mode)
    os.replace(source, target)


def sweep(folder: str) -> None:
    """Remove temporary files whose process is gone (a run that was killed)."""
    for name in os.listdir(folder):
        found = re.fullmatch(r"\.slipway-.+-(\d+)", name)
        if found and not os.path.exists(f"/proc/{found.group(1)}"):
            # Another item of this very run may sweep the same folder.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, name))


def install(item: Mapping[str, Any], timeout: float) -> dict[str, list[int]]:
    """Fetch one item, put its file or its archive's members in place; return path -> signature of each."""
    dest = item["dest"]
    archive = bool(item.get("archive"))
    folder = dest if archive else os.path.dirname(dest)
    make_folders(folder)
    sweep(folder)
    temporary = os.path.join(folder, f".slipway-{item['name']}-{os.getpid()}")
    placed = []
    try:
        download(item["url"], temporary, item["sha256"], timeout)
        if not archive:
            place(temporary, dest, int(item["mode"], 8))
            placed = [dest]
        else:
            with tarfile.open(temporary) as tar:
                for info, name in members(tar, item.get("strip", 0), item.get("only", [])):
                    target = os.path.join(folder, item.get("rename", {}).get(name, name))
                    make_folders(os.path.dirname(target))
                    with tar.extractfile(info) as source, open(f"{target}.new", "wb") as file:  # type: ignore[union-attr]
                        shutil.copyfileobj(source, file, CHUNK)
                    place(f"{target}.new", target, int(item["mode"], 8))
                    placed.append(target)
            if not placed:
                raise FetchError(f"{item['url']} holds nothing that matches {item.get('only')}")
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
    return {path: signature(path) for path in placed}


def ensure(
    items: list[Mapping[str, Any]],
    record_path: str,
    timeout: float,
    dry: bool,
    run: Callable[[Callable[[Mapping[str, Any]], dict[str, list[int]]], list[Mapping[str, Any]]], list[Any]],
) -> list[str]:
    """Bring every item into place and return the names of those that were not.

    ``run`` maps a function over the items (a thread pool's ``map``). The record is written after all of them, and
    holds those that succeeded even when one failed.
    """
    record = load_record(record_path)
    wanted = [item for item in items if not is_current(item, record)]
    if dry or not wanted:
        return [item["name"] for item in wanted]
    failures = []

    def attempt(item: Mapping[str, Any]) -> dict[str, list[int]]:
        try:
            return install(item, timeout)
        except (FetchError, OSError, tarfile.TarError) as exc:
            failures.append(f"{item['name']}: {exc}")
            return {}

    for item, files in zip(wanted, run(attempt, wanted), strict=True):
        if files:
            record[key_of(item)] = {
                "sha256": item["sha256"],
                "version": item.get("version", ""),
                "only": item.get("only", []),
                "files": files,
            }
    save_record(record_path, record)
    if failures:
        raise FetchError("\n".join(failures))
    return [item["name"] for item in wanted]
