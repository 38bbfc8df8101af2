"""Backups, for playbooks and people: ``python -m slipway.backup key FILE`` writes a key, and prints its public half.

``pack`` and ``unpack`` read what they need as JSON from standard input, and print JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import SlipwayError
from . import archive
from .archive import Manifest
from .store import Store


def pack(given: dict[str, Any]) -> dict[str, Any]:
    """Make an archive; ``files``: name in it to path on this computer, of which some may not be there."""
    more = {name: Path(path).read_bytes() for name, path in given["files"].items() if Path(path).is_file()}
    manifest = Manifest(
        cluster=given["cluster"],
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        kubernetes=given["kubernetes"],
        revision=given["revision"],
        keys=given["keys"],
        kept=json.loads(more.get("founded.json", b"{}")),
        images=sorted(given["images"]),
    )
    folder = Path(given["folder"]).expanduser()
    path = archive.write(folder, Path(given["given"]), more, manifest, given["recipients"])
    told = archive.told(path, manifest, archive.prune(folder, manifest.cluster, given["keep"], path))
    if given.get("store"):
        try:
            told += Store.of(given["store"]).bring(folder, manifest.cluster, given["keep"], path.name)
        except SlipwayError as exc:
            what = f"{path} is made, and stays on this computer. The next backup brings it to the store."
            raise SlipwayError(exc.id, f"{what} Now {exc.text}") from exc
    return {"path": str(path), "told": told}


def unpack(given: dict[str, Any]) -> dict[str, Any]:
    """Read an archive into a folder, and compare it with the settings of the page."""
    path, folder = Path(given["archive"]).expanduser(), Path(given["folder"])
    if given.get("store") and not path.is_file() and path.name == given["archive"]:
        path = folder / path.name
        Store.of(given["store"]).get(path.name, path)
    manifest = archive.read(path, Path(given["identity"]).expanduser(), folder)
    if manifest.cluster != given["settings"]["cluster_name"]:
        what = f"{path} is of the cluster {manifest.cluster}, and the page is of {given['settings']['cluster_name']}"
        raise SlipwayError("foreign-backup", what)
    if wrong := archive.differences(manifest, given["settings"]):
        page = folder.parent / "backup-page.yml"
        page.write_bytes((folder / "page.yml").read_bytes())
        told = "\n".join([f"{path} does not fit the page:", *wrong, f"The page that it was made with is in {page}"])
        raise SlipwayError("foreign-backup", told)
    archive.for_controller(folder)
    return {name: getattr(manifest, name) for name in ("cluster", "made", "revision", "keys", "images")}


def main(arguments: Sequence[str]) -> int:
    """Do it; an error is a sentence."""
    try:
        match arguments:
            case ["key", path]:
                print(archive.new_key(Path(path).expanduser()))
            case ["pack"]:
                print(json.dumps(pack(json.load(sys.stdin))))
            case ["unpack"]:
                print(json.dumps(unpack(json.load(sys.stdin))))
            case _:
                print("python -m slipway.backup key FILE", file=sys.stderr)
                return 2
    except SlipwayError as exc:
        print(exc.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
