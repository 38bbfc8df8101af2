"""A backup that a controller makes by itself, when its timer says so: encrypted with age, the newest of them kept.

Only public keys are here, so a controller cannot read what it has written. Role control_plane keeps
``python3 -m slipway.scheduled_backup`` with its timer. What came of it is in a ConfigMap, for ``make status``. Runs on
the nodes (stdlib only), as root.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import sys
import tarfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from . import lock
from .durable import flush
from .etcd import Etcd, EtcdError
from .kubeapi import Api, ApiError
from .lock import run
from .snapshot import (
    ENCRYPTION,
    KEYS,
    KUBERNETES,
    SNAPSHOT,
    SnapshotError,
    image_of,
    open_one,
    sweep,
    try_out,
)

CONFIG = "/etc/slipway/backup.json"
# What else goes into it, as it is there: the page, its releases, what the cluster was founded with. None of it secret.
MORE = "/etc/slipway/backup"
FOLDER = "/var/lib/slipway/backups"
WORK = "/var/lib/slipway/backup-timer"
ADMIN = f"{KUBERNETES}/admin.conf"
TIMER = "slipway-backup.timer"
SUFFIX = ".tar.age"
# Seconds for what else is at work on this machine.
BUSY = 900.0
STAMP = "%Y%m%dT%H%M%SZ"
LACKS = "Data of volumes is not in it."


class BackupError(Exception):
    """A backup was not made; the text says why."""


def archives(folder: str, cluster: str) -> list[str]:
    """List the archives of a cluster, the oldest first; no other file."""
    pattern = re.compile(rf"{re.escape(cluster)}-\d{{8}}T\d{{6}}Z{re.escape(SUFFIX)}")
    with suppress(FileNotFoundError):
        return sorted(name for name in os.listdir(folder) if pattern.fullmatch(name))
    return []


def _more(root: str) -> dict[str, bytes]:
    found = {}
    base = f"{root}{MORE}"
    for place, _, names in os.walk(base):
        for name in names:
            path = os.path.join(place, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, base)] = file.read()
    return found


def join(work: str, config: Mapping[str, Any], found: Mapping[str, Any], made: datetime, root: str = "") -> str:
    """Put a snapshot, the keys of this controller and a manifest into a tar archive, as make backup does."""
    plain = f"{work}/plain.tar"
    files = {name: f"{root}{KUBERNETES}/{name}" for name in KEYS} | {SNAPSHOT: f"{work}/{SNAPSHOT}"}
    more, sums = _more(root), {}
    handle = os.open(plain, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w") as archive:
        for name, path in files.items():
            if not os.path.exists(path):
                raise BackupError(f"{path} is not there: a cluster whose CA is kept elsewhere cannot be backed up")
            sums[name] = _sum(path)
            archive.add(path, arcname=name)
        manifest = {
            "cluster": config["cluster"],
            "made": made.isoformat(timespec="seconds"),
            "kubernetes": image_of(_read(f"{root}{KUBERNETES}/manifests/kube-apiserver.yaml")).rpartition(":v")[2],
            "revision": found["revision"],
            "keys": found["totalKey"],
            "kept": json.loads(more.get("founded.json", b"{}")),
            "images": sorted(config["images"]),
            "sums": sums | {name: hashlib.sha256(text).hexdigest() for name, text in more.items()},
            "format": 1,
        }
        for name, text in {**more, "manifest.json": json.dumps(manifest, indent=1, sort_keys=True).encode()}.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text), 0o600
            archive.addfile(info, io.BytesIO(text))
    return plain


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _sum(path: str) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            found.update(part)
    return found.hexdigest()


def encrypt(plain: str, target: str, recipients: Sequence[str], held: int = -1) -> None:
    """Encrypt a file into another one, which has its name only when it is whole on the disk. Raises BackupError."""
    part = f"{target}.part"
    to = [word for each in recipients for word in ("--recipient", each)]
    try:
        code, _, error = run(["age", "--encrypt", *to, "--output", part, plain], held)
        if code:
            raise BackupError(f"{target} cannot be written: {error.strip().splitlines()[0] if error.strip() else code}")
        os.chmod(part, 0o600)
        flush(part)
        os.rename(part, target)
        flush(os.path.dirname(target))
    except OSError as exc:
        raise BackupError(f"{target} cannot be written: {exc}") from exc
    finally:
        with suppress(OSError):
            os.unlink(part)


def prune(folder: str, cluster: str, keep: int, made: str = "") -> list[str]:
    """Remove all archives of a cluster but the newest ``keep``, and name those that are gone.

    ``made``: the one that was made just now. It stays, also where a clock that jumped has called older ones newer.
    """
    others = [name for name in archives(folder, cluster) if name != made]
    stay = keep - bool(made)
    gone = others[:-stay] if stay else others
    for name in gone:
        os.unlink(f"{folder}/{name}")
    return gone


def save(config: Mapping[str, Any], held: int = -1, now: datetime | None = None, root: str = "") -> str:
    """Make a backup, try it out, and give its path. Older ones go only when it is there. Raises BackupError."""
    work, folder, made = f"{root}{WORK}", f"{root}{FOLDER}", now or datetime.now(UTC)
    stamped = made
    # A clock that was put back may have made one of this name before.
    while os.path.exists(target := f"{folder}/{config['cluster']}-{stamped.strftime(STAMP)}{SUFFIX}"):
        stamped += timedelta(seconds=1)
    shutil.rmtree(work, ignore_errors=True)
    try:
        for place in (work, folder):
            os.makedirs(place, mode=0o700, exist_ok=True)
        # What a run that was killed has left.
        for name in [name for name in os.listdir(folder) if name.endswith(f"{SUFFIX}.part")]:
            os.unlink(f"{folder}/{name}")
        image = image_of(_read(f"{root}{KUBERNETES}/manifests/etcd.yaml"))
        called = lambda command: run(command, held)  # noqa: E731
        sweep(called)
        Etcd().snapshot(f"{work}/{SNAPSHOT}")
        found = try_out(called, image, work)
        open_one(f"{work}/{SNAPSHOT}", _read(f"{root}{KUBERNETES}/{ENCRYPTION}"))
        encrypt(join(work, config, found, made, root), target, config["recipients"], held)
    except (OSError, SnapshotError, EtcdError, KeyError, ValueError, tarfile.TarError) as exc:
        raise BackupError(f"no backup was made: {exc}") from exc
    finally:
        shutil.rmtree(work, ignore_errors=True)
    prune(folder, config["cluster"], int(config["keep"]), os.path.basename(target))
    return target


def next_time(said: str) -> str:
    """Read when the timer is next up of what ``systemctl show`` says in seconds since 1970; empty: it does not."""
    found = re.search(r"(?m)^NextElapseUSecRealtime=@?(\d+)", said)
    return datetime.fromtimestamp(int(found.group(1)), UTC).isoformat(timespec="seconds") if found else ""


def report(config: Mapping[str, Any], path: str, error: str, root: str = "") -> dict[str, str]:
    """Say what came of it, in words of a ConfigMap: an older backup stays the newest where none was made."""
    folder = f"{root}{FOLDER}"
    kept = archives(folder, config["cluster"])
    _, said, _ = run(["systemctl", "show", "--timestamp=unix", "--property=NextElapseUSecRealtime", TIMER])
    newest = os.path.basename(path) or (kept[-1] if kept else "")
    size = os.path.getsize(f"{folder}/{newest}") if newest in kept else 0
    return {
        "error": error,
        "newest": f"{FOLDER}/{newest}" if newest else "",
        "made": newest.removeprefix(f"{config['cluster']}-").removesuffix(SUFFIX),
        "bytes": str(size),
        "kept": str(len(kept)),
        "next": next_time(said),
        "tried": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def publish(api: Api, node: str, data: Mapping[str, str]) -> None:
    """Write what came of it into the cluster. Raises ApiError."""
    name, path = f"slipway-backup-{node}", "/api/v1/namespaces/kube-system/configmaps"
    labels = {"slipway.io/backup": "scheduled"}
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": labels},
        "data": {**data, "node": node},
    }
    status, said = api.request("PUT", f"{path}/{name}", body)
    if status == 404:
        status, said = api.request("POST", path, body)
    if status not in (200, 201):
        raise ApiError(f"the ConfigMap {name} is answered with {status}: {said.get('message', '')}")


def main() -> int:
    """Do what the service does."""
    config = json.loads(_read(CONFIG))
    path = error = ""
    began = time.monotonic()
    try:
        with lock.taken(BUSY) as held:
            path = save(config, held)
    except (BackupError, lock.BusyError) as exc:
        error = str(exc)
    print(error or f"{path} in {time.monotonic() - began:.0f} s. {LACKS}", flush=True)
    try:
        api = Api(_read(ADMIN), server=f"{config['address']}:6443")
        publish(api, config["node"], report(config, path, error))
    except (OSError, ApiError) as exc:
        print(f"what came of it is not told in the cluster: {exc}", flush=True)
    return 1 if error else 0


if __name__ == "__main__":
    sys.exit(main())
