"""Files as docker save writes them, without any Docker."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any


def layer(text: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        entry = tarfile.TarInfo("file")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text.encode()))
    return made.getvalue()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def saved(
    folder: Path,
    *tags: str,
    layers: tuple[bytes, ...] = (layer("one"), layer("two")),
    squeeze: bool = False,
    named: str = "image.tar",
    **config: Any,
) -> Path:
    """Write what ``docker save`` writes for one image with ``tags``."""
    given = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/app"]}}
    given["rootfs"] = {"type": "layers", "diff_ids": [f"sha256:{sha(one)}" for one in layers]}
    text = json.dumps({**given, **config}).encode()
    kept = [gzip.compress(one, mtime=0) if squeeze else one for one in layers]
    files = {f"blobs/sha256/{sha(one)}": one for one in (text, *kept)}
    entry = {
        "Config": f"blobs/sha256/{sha(text)}",
        "RepoTags": list(tags) or None,
        "Layers": [f"blobs/sha256/{sha(one)}" for one in kept],
    }
    path = folder / named
    with tarfile.open(path, "w") as tar:
        for name, data in {**files, "manifest.json": json.dumps([entry]).encode()}.items():
            made = tarfile.TarInfo(name)
            made.size = len(data)
            tar.addfile(made, io.BytesIO(data))
    return path
