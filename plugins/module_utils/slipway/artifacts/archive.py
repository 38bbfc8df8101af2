"""Write tar files whose bytes depend on nothing but their members."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast


@dataclass(frozen=True)
class Member:
    """A file (``content`` bytes or a path), a symbolic link (``link``) or a folder (neither)."""

    path: str
    mode: int
    content: bytes | Path | None = None
    link: str = ""


def write_tar(target: IO[bytes], members: Iterable[Member], *, folders: bool) -> None:
    """Write ``members`` sorted by path, owned by root, dated 1970; ``folders`` adds the folders they stand in."""
    named = {member.path: member for member in members}
    if folders:
        for path in list(named):
            for parent in list(PurePosixPath(path).parents)[:-1]:
                named.setdefault(str(parent), Member(str(parent), 0o755))
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(named):
            _add(tar, named[path])


def _add(tar: tarfile.TarFile, member: Member) -> None:
    info = tarfile.TarInfo(member.path)
    info.mode = member.mode
    if member.link:
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, member.link, 0o777
        tar.addfile(info)
    elif member.content is None:
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    elif isinstance(member.content, bytes):
        info.size = len(member.content)
        tar.addfile(info, io.BytesIO(member.content))
    else:
        info.size = member.content.stat().st_size
        with member.content.open("rb") as file:
            tar.addfile(info, file)


def write_tgz(target: Path, members: Iterable[Member]) -> None:
    """Write a .tar.gz that is stored, not squeezed: no time lost here nor on any node, same bytes with any zlib."""
    with target.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=0, fileobj=raw, mtime=0) as zipped:
        write_tar(cast("IO[bytes]", zipped), members, folders=False)


def write_folder(target: Path, members: Iterable[Member]) -> None:
    """Write ``members`` below the folder ``target``, files and links alone."""
    for member in members:
        path = target / member.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if member.link:
            path.symlink_to(member.link)
        elif isinstance(member.content, bytes):
            path.write_bytes(member.content)
