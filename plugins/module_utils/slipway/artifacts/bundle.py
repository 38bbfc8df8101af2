"""Link items together into a folder that a mirror serves as it is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..errors import SlipwayError
from .cache import FACTS, Cache, digest_of, disk_full_explained, link_or_copy, locked, open_to_readers, remove_tree
from .image import blob_path, blobs_of, manifests_of
from .manifest import ImageFacts, Manifest

MANIFEST = "bundle.json"
REGISTRY = Path("registry") / "docker" / "registry" / "v2"


class Content(NamedTuple):
    """A manifest and where its parts lie in the cache: files, images (as OCI layouts) and apt repositories by name."""

    manifest: Manifest
    files: dict[str, Path]
    images: dict[str, Path]
    packages: dict[str, Path]


def identified(manifest: Manifest) -> Manifest:
    """The manifest with the id that its content has."""
    return manifest.model_copy(update={"id": digest_of(manifest.model_dump(exclude={"id", "path"}))[:16]})


def assemble(content: Content, cache: Cache) -> Path:
    """Make the bundle unless it is there; returns its folder."""
    manifest = content.manifest
    folder = cache.bundles / manifest.id
    if (folder / MANIFEST).exists():
        return folder
    with (
        disk_full_explained(cache.root, f"bundle {manifest.id}", 0),
        locked(cache.root / "bundles.lock", lambda: None),
    ):
        if (folder / MANIFEST).exists():
            return folder
        temporary = cache.bundles / f".{manifest.id}.new"
        remove_tree(temporary)
        remove_tree(folder)
        temporary.mkdir(parents=True)
        try:
            _fill(temporary, content)
            open_to_readers(temporary)
            temporary.rename(folder)
        except BaseException:
            remove_tree(temporary)
            raise
    return folder


def _fill(folder: Path, content: Content) -> None:
    manifest = content.manifest
    for name, file in manifest.files.items():
        link_or_copy(content.files[name], folder / "files" / file.address)
    storage = folder / REGISTRY
    for name, image in manifest.images.items():
        add_image(storage, image, content.images[name])
    for suite, packages in manifest.packages.items():
        for path in sorted(content.packages[suite].iterdir()):
            if path.name != FACTS:
                link_or_copy(path, folder / packages.path / path.name)
    (folder / MANIFEST).write_text(json.dumps(manifest.as_json(), indent=1, sort_keys=True) + "\n", encoding="utf-8")


def add_image(storage: Path, image: ImageFacts, layout: Path) -> None:
    """Lay an image out as the distribution registry keeps it: blobs hard-linked, tag and digests in files `link`.

    An image for several architectures is an index, and the manifests that it names can be asked for by their digests.
    """
    digest, blobs = blobs_of(layout)
    manifests = manifests_of(layout)
    if digest != image.digest:
        raise SlipwayError(
            "cache-damaged", f"{layout} holds {digest}, not {image.digest}. Remove the folder and run again."
        )
    repository = storage / "repositories" / image.name
    tag = repository / "_manifests" / "tags" / image.tag
    if tag.exists():
        raise SlipwayError(
            "wrong-artifact-file",
            f"two items of the bundle are called {image.name}:{image.tag}; see artifacts/catalog.yml.",
        )
    for blob in [*manifests, *blobs]:
        data = storage / "blobs" / "sha256" / _hex(blob)[:2] / _hex(blob) / "data"
        if not data.exists():
            link_or_copy(blob_path(layout, blob), data)
    for blob in dict.fromkeys(blobs):
        _link(repository / "_layers" / "sha256" / _hex(blob), blob)
    for manifest in manifests:
        _link(repository / "_manifests" / "revisions" / "sha256" / _hex(manifest), manifest)
    _link(tag / "current", digest)
    _link(tag / "index" / "sha256" / _hex(digest), digest)


def _hex(digest: str) -> str:
    return digest.partition(":")[2]


def _link(folder: Path, digest: str) -> None:
    folder.mkdir(parents=True)
    (folder / "link").write_text(digest, encoding="ascii")


def others(cache: Cache, current: str) -> list[str]:
    """Names of the bundles that are not the current one (another clone may use them)."""
    folders: Iterable[Path] = cache.bundles.iterdir() if cache.bundles.exists() else ()
    return sorted(folder.name for folder in folders if folder.name != current and not folder.name.startswith("."))
