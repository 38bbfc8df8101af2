"""Files of this repository, as a layer holds them: no dates, no owners, nothing that a run or an editor left there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import SlipwayError
from .archive import Member
from .cache import sha256_of

CACHES = frozenset({"__pycache__"})


def found(root: Path, path: str) -> dict[str, Path]:
    """The files at ``path`` (a file or a folder) of the repository at ``root``, by their path below it, sorted.

    Names that begin with a dot and Python's caches are left out.
    """
    start = root / path
    if not start.resolve().is_relative_to(root.resolve()) or not start.exists():
        raise SlipwayError(
            "wrong-artifact-file",
            f"{start} is no file or folder of this repository; see `repository` in artifacts/images.",
        )
    if start.is_file():
        return {"": start}
    files = {}
    for entry in sorted(start.rglob("*")):
        inside = entry.relative_to(start)
        if any(part in CACHES or part.startswith(".") for part in inside.parts):
            continue
        if entry.is_symlink() or not (entry.is_dir() or entry.is_file()):
            raise SlipwayError(
                "wrong-artifact-file",
                f"{entry} is a link or a special file; a layer takes plain files of the repository.",
            )
        if entry.is_file():
            files[inside.as_posix()] = entry
    if not files:
        raise SlipwayError("wrong-artifact-file", f"{start} holds no file; see `repository` in artifacts/images.")
    return files


def sums(root: Path, path: str) -> dict[str, list[str]]:
    """What of ``path`` decides a layer's bytes: of every file its sum and mode."""
    return {name: [sha256_of(file), oct(mode_of(file))] for name, file in found(root, path).items()}


def members(root: Path, paths: dict[str, str]) -> Iterator[Member]:
    """``paths`` maps a path in the image to a file or folder of the repository."""
    for inside, path in paths.items():
        for name, file in found(root, path).items():
            yield Member(f"{inside.strip('/')}/{name}".strip("/"), mode_of(file), file)


def mode_of(file: Path) -> int:
    return 0o755 if file.stat().st_mode & 0o100 else 0o644
