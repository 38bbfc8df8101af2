"""One archive with all that a cluster needs to be made again: written encrypted with age, read and checked.

In it: what a controller gave (``etcd_backup``), the page and its releases, the CA of the gateway, and ``manifest.json``
with the sum of each file. Data of volumes is not in it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyrage
from pyrage import x25519

from ..errors import SlipwayError
from ..node.snapshot import ENCRYPTION, KEYS, SNAPSHOT, SnapshotError, open_one

MANIFEST = "manifest.json"
FORMAT = 1
SUFFIX = ".tar.age"
_STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class Manifest:
    """What is in an archive.

    ``kept``: what the cluster was founded with, as ``founded.json``. ``images``: names in the catalog of artifacts.
    """

    cluster: str
    made: str
    kubernetes: str
    revision: int
    keys: int
    kept: dict[str, Any]
    images: list[str] = field(default_factory=list)
    sums: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT


def new_key(path: Path) -> str:
    """Write a new identity for its owner alone, and give its recipient. Raises SlipwayError if the file is there."""
    identity = x25519.Identity.generate()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as exc:
        raise SlipwayError("backup-key-not-written", f"{path}: {exc.strerror}; name a file that is not there") from exc
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(f"# public key: {identity.to_public()}\n{identity}\n")
    return str(identity.to_public())


def file_name(cluster: str, now: datetime | None = None) -> str:
    """Name an archive that is made now."""
    return f"{cluster}-{(now or datetime.now(UTC)).strftime(_STAMP)}{SUFFIX}"


def _free_name(folder: Path, cluster: str) -> Path:
    """Name an archive that is made now, and is not there yet: a clock that was put back may have made it before."""
    now = datetime.now(UTC)
    while (path := folder / file_name(cluster, now)).exists():
        now += timedelta(seconds=1)
    return path


def is_archive(name: str, cluster: str) -> bool:
    """Tell whether a file is called like an archive of a cluster."""
    return bool(re.fullmatch(rf"{re.escape(cluster)}-\d{{8}}T\d{{6}}Z{re.escape(SUFFIX)}", name))


def archives(folder: Path, cluster: str) -> list[Path]:
    """List the archives of a cluster, the oldest first; no other file."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if is_archive(path.name, cluster))


def write(folder: Path, given: Path, more: Mapping[str, bytes], manifest: Manifest, recipients: Sequence[str]) -> Path:
    """Encrypt what a controller gave (a tar archive) and ``more`` files into a new archive, and give its path.

    It has its name only when it is complete. Raises SlipwayError where it cannot be written.
    """
    target = _free_name(folder, manifest.cluster)
    part = target.with_suffix(".part")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        keys = [x25519.Recipient.from_str(text) for text in recipients]
        _sweep(folder, manifest.cluster, part)
        # Beside what is not encrypted either, and goes with it, also where this is killed.
        with _private(given.parent) as work:
            plain = work / "plain.tar"
            _join(given, more, manifest, plain)
            pyrage.encrypt_file(str(plain), str(part), keys)
        part.chmod(0o600)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.rename(target)
    except (OSError, pyrage.EncryptError, tarfile.TarError) as exc:
        with suppress(OSError):
            part.unlink()
        raise SlipwayError("backup-not-written", f"{target} cannot be written: {exc}") from exc
    return target


def _join(given: Path, more: Mapping[str, bytes], manifest: Manifest, plain: Path) -> None:
    sums = {}
    with tarfile.open(given) as source, tarfile.open(plain, "w") as archive:
        for member in source.getmembers():
            content = source.extractfile(member)
            if content is None:
                continue
            text = content.read()
            sums[member.name] = hashlib.sha256(text).hexdigest()
            add_file(archive, member.name, text)
        for name, text in more.items():
            sums[name] = hashlib.sha256(text).hexdigest()
            add_file(archive, name, text)
        said = json.dumps({**asdict(manifest), "sums": sums}, indent=1, sort_keys=True)
        add_file(archive, MANIFEST, said.encode())


def add_file(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file for its owner alone."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o600
    archive.addfile(info, io.BytesIO(content))


def read(path: Path, identity: Path, folder: Path) -> Manifest:
    """Decrypt an archive with the identity of a file into an empty folder, and check all of it.

    Raises SlipwayError: the key is not one of its recipients', the archive is cut off, damaged, or none of ours, or the
    key of Secrets in it does not open one.
    """
    with _private(folder) as work:
        plain = work / "plain.tar"
        try:
            pyrage.decrypt_file(str(path), str(plain), list(_identities(identity)))
        except OSError as exc:
            raise SlipwayError("backup-unreadable", f"{path}: {exc.strerror or exc}") from exc
        except pyrage.DecryptError as exc:
            what = f"{path} cannot be decrypted with {identity}: {exc}"
            wrong = "no matching keys" in str(exc).lower()
            raise SlipwayError("wrong-backup-key" if wrong else "backup-unreadable", what) from exc
        try:
            _unpack(plain, folder)
            manifest = Manifest(**json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, tarfile.TarError) as exc:
            raise SlipwayError("backup-unreadable", f"{path} is no backup of a cluster: {exc}") from exc
    if manifest.format != FORMAT:
        what = f"{path} has the format {manifest.format}, and this version of Slipway reads {FORMAT}"
        raise SlipwayError("backup-unreadable", what)
    for name, sum_ in manifest.sums.items():
        file = folder / name
        found = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "nothing"
        if found != sum_:
            raise SlipwayError("backup-unreadable", f"{path} is damaged: {name} has the sum {found}, and not {sum_}")
    if (folder / SNAPSHOT).is_file() and (folder / ENCRYPTION).is_file():
        try:
            open_one(str(folder / SNAPSHOT), (folder / ENCRYPTION).read_text(encoding="utf-8", errors="replace"))
        except (SnapshotError, ValueError) as exc:
            raise SlipwayError("sealed-backup", f"{path} has Secrets that nobody could read again: {exc}") from exc
    return manifest


def _unpack(plain: Path, folder: Path) -> None:
    """Write the files of an archive below a folder, for their owner alone. Debian 12's Python has no filter for it."""
    with tarfile.open(plain) as archive:
        for member in archive.getmembers():
            content = archive.extractfile(member)
            path = folder / member.name
            if content is None or ".." in path.parts or not path.is_relative_to(folder):
                raise ValueError(f"{member.name} is no file of a backup")
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                shutil.copyfileobj(content, file)


def for_controller(folder: Path) -> None:
    """Pack what a controller gets of an archive that was read into ``controller.tar`` beside it."""
    with tarfile.open(folder / "controller.tar", "w") as archive:
        for name in (SNAPSHOT, *KEYS):
            add_file(archive, name, (folder / name).read_bytes())


def _identities(path: Path) -> Iterator[x25519.Identity]:
    try:
        lines = path.read_text(encoding="ascii").split("\n")
        found = [x25519.Identity.from_str(line.strip()) for line in lines if line.startswith("AGE-SECRET-KEY-")]
    except (OSError, ValueError, pyrage.IdentityError) as exc:
        raise SlipwayError("wrong-backup-key", f"{path} is no file with a key of age: {exc}") from exc
    if not found:
        raise SlipwayError("wrong-backup-key", f"{path} has no line that begins with AGE-SECRET-KEY-")
    yield from found


@contextmanager
def _private(place: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="slipway-backup-", dir=place) as folder:
        yield Path(folder)


def _sweep(folder: Path, cluster: str, own: Path) -> None:
    """Remove what backups of a cluster that were cut off have left half-written."""
    pattern = re.compile(rf"{re.escape(cluster)}-\d{{8}}T\d{{6}}Z\.tar\.part")
    for path in folder.glob("*.part"):
        if path != own and pattern.fullmatch(path.name):
            path.unlink(missing_ok=True)


def prune(folder: Path, cluster: str, keep: int, made: Path | None = None) -> list[Path]:
    """Remove all archives of a cluster but the newest ``keep``, and give those that are gone.

    ``made``: the one that was made just now. It stays, also where a clock that jumped has called older ones newer.
    """
    others = [path for path in archives(folder, cluster) if path != made]
    stay = keep - (made is not None)
    gone = others[:-stay] if stay else others
    for path in gone:
        path.unlink()
    return gone


def differences(manifest: Manifest, settings: Mapping[str, Any]) -> list[str]:
    """Say which settings of a page do not fit a backup: what a cluster is founded with stays."""
    kept: Mapping[str, Any] = manifest.kept.get("values") or {}
    found = [
        f"{key} is {settings[key]!r} on the page, and {value!r} in the backup"
        for key, value in kept.items()
        if key in settings and settings[key] != value
    ]
    if settings.get("cluster_kubernetes_version", manifest.kubernetes) != manifest.kubernetes:
        asked = settings["cluster_kubernetes_version"]
        found.append(f"cluster_kubernetes_version is {asked!r} on the page, and {manifest.kubernetes!r} in the backup")
    return found


def told(path: Path, manifest: Manifest, gone: Iterable[Path]) -> list[str]:
    """Say what was made."""
    size = path.stat().st_size / 1_000_000
    what = (
        f"etcd at revision {manifest.revision}, {manifest.keys} keys, the keys of the cluster, the page, its releases"
    )
    removed = [f"removed: {old}" for old in gone]
    return [f"{path} ({size:.1f} MB): {what}.", "Data of volumes is not in it.", *removed]
