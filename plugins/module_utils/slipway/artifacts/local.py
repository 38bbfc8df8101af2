"""Images that were built on the user's machine: out of what `docker save` writes, into blobs that a mirror serves.

An image keeps its configuration and its layers byte for byte, and gets an OCI manifest. Blobs of each lie in
``<cache>/images/<digest>/`` by their sha256; ``<state>/images.json`` lists the images that a cluster's mirror has.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel, ConfigDict

from ..errors import SlipwayError
from ..node.architecture import AMD64
from .cache import CHUNK, disk_full_explained, locked, remove_tree, write_atomically
from .image import MEDIA_CONFIG, MEDIA_LAYER, MEDIA_MANIFEST, OS

FOLDER = "images"
RECORD = "images.json"
# Docker's own reading of a short name.
HOST, LIBRARY, TAG = "docker.io", "library/", "latest"
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d{{1,5}})?/{_PART}(?:/{_PART})*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
# The first bytes of a layer that is squeezed, and what its media type ends in.
_SQUEEZED = {b"\x1f\x8b": "+gzip", b"\x28\xb5\x2f\xfd": "+zstd"}
_SAVE = "docker save --output image.tar name:tag"


class LocalImage(BaseModel):
    """An image as the mirror has it; ``digest`` is that of its manifest, ``blobs`` are those of the rest."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    tag: str
    digest: str
    blobs: list[str]

    @property
    def reference(self) -> str:
        """Its name and tag."""
        return f"{self.name}:{self.tag}"

    @property
    def pinned(self) -> str:
        """The name of exactly this content."""
        return f"{self.name}@{self.digest}"


def reference(text: str) -> tuple[str, str]:
    """Read an image's name as Docker and Kubernetes do: full name and tag. Raises SlipwayError."""
    name, colon, tag = text.rpartition(":")
    if not colon or "/" in tag:
        name, tag = text, TAG
    first, slash, rest = name.partition("/")
    if not slash:
        name = f"{HOST}/{LIBRARY}{name}"
    elif not ("." in first or ":" in first or first == "localhost"):
        name = f"{HOST}/{name}"
    elif first == HOST and "/" not in rest:
        name = f"{HOST}/{LIBRARY}{rest}"
    if not _NAME.fullmatch(name) or not _TAG.fullmatch(tag):
        raise SlipwayError("not-an-image", f"{text} is no name of an image; one that works: shop/web:dev")
    return name, tag


def is_file(text: str) -> bool:
    """Tell whether the user means a file: names of images end in no .tar and begin with no dot, slash or tilde."""
    return text.startswith((".", "/", "~")) or text.endswith((".tar", ".tar.gz", ".tgz"))


def load(
    text: str,
    root: Path,
    state: Path,
    bundled: Collection[str],
    *,
    architectures: Sequence[str] = (AMD64,),
    write: bool = True,
) -> tuple[LocalImage, bool]:
    """Take an image in and note it for the mirror; gives the image, and whether it was not noted so before.

    ``bundled``: images of the bundle as name:tag, which the mirror would give in the place of this one.
    ``architectures``: those of the nodes, one of which has to run it.
    """
    if not text:
        raise SlipwayError("not-an-image", "say which image: make load-image IMAGE=shop/web:dev, or IMAGE=./web.tar")
    image = take(text, root, architectures)
    if image.reference in bundled:
        raise SlipwayError(
            "image-in-bundle",
            f"{image.reference} is in the bundle, which goes first; give yours another tag: "
            f"docker tag {image.reference} {image.name}:dev",
        )
    return image, record(state, image, write=write)


def take(text: str, root: Path, architectures: Sequence[str] = (AMD64,)) -> LocalImage:
    """Take an image into ``root`` (the cache's folder of images): a tar file, or one of the local Docker."""
    root.mkdir(parents=True, exist_ok=True)
    with disk_full_explained(root, f"image {text}", 0), locked(root.with_name(f"{root.name}.lock"), lambda: None):
        for left in root.glob(".*"):
            remove_tree(left)
        if is_file(text):
            file = Path(text).expanduser()
            if not file.is_file():
                raise SlipwayError("file-missing", f"there is no file {file}; {_SAVE} makes one.")
            return convert(file, root, architectures)
        name, tag = reference(text)
        with _scratch(root) as folder:
            saved = folder / "saved.tar"
            save(text, saved)
            return convert(saved, root, architectures, f"{name}:{tag}")


def save(text: str, target: Path) -> None:
    """Have the local Docker write an image to ``target``."""
    try:
        done = subprocess.run(
            ["docker", "save", "--output", str(target), text], capture_output=True, text=True, check=False
        )
    except FileNotFoundError as exc:
        raise SlipwayError(
            "program-missing",
            f"there is no docker on this machine; take a file: make load-image IMAGE=./image.tar, made by {_SAVE}.",
        ) from exc
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise SlipwayError(
            "docker-lacks-image", f"docker has no image {text} to save: {said}. `docker images` lists what there is."
        )


def convert(tar: Path, root: Path, architectures: Sequence[str], wanted: str = "") -> LocalImage:
    """Read a tar of `docker save`, and leave the blobs of its image below ``root``.

    ``architectures`` are those of the nodes. ``wanted``: which of the images in it, ``name:tag`` in full; without it
    there has to be one.
    """
    try:
        with tarfile.open(tar) as archive, _scratch(root) as folder:
            entry, name, tag = _chosen(archive, tar, wanted)
            config, config_size = _kept(archive, entry["Config"], folder)
            layers = [_layer(archive, layer, folder) for layer in entry["Layers"]]
            _check(json.loads((folder / config).read_bytes()), layers, f"{name}:{tag}", architectures)
            manifest = _manifest(config, config_size, [(media, digest, size) for digest, size, media in layers])
            digest = hashlib.sha256(manifest).hexdigest()
            (folder / digest).write_bytes(manifest)
            blobs = dict.fromkeys(f"sha256:{blob}" for blob in (config, *(layer[0] for layer in layers)))
            place = root / digest
            if not place.exists():
                folder.rename(place)
            return LocalImage(name=name, tag=tag, digest=f"sha256:{digest}", blobs=list(blobs))
    except (tarfile.TarError, EOFError, KeyError, TypeError, ValueError) as exc:
        raise SlipwayError(
            "wrong-archive", f"{tar} is not what docker save writes ({exc}); {_SAVE} makes one."
        ) from exc


def _chosen(archive: tarfile.TarFile, tar: Path, wanted: str) -> tuple[dict[str, Any], str, str]:
    """Find the image in the list that the archive begins with."""
    try:
        listed = json.loads(_open(archive, "manifest.json").read())
    except KeyError as exc:
        raise SlipwayError(
            "wrong-archive",
            f"{tar} holds no manifest.json; make it with {_SAVE} (podman save --format docker-archive).",
        ) from exc
    found = {"{}:{}".format(*reference(tag)): entry for entry in listed for tag in entry.get("RepoTags") or []}
    if wanted and wanted in found:
        name, tag = reference(wanted)
        return found[wanted], name, tag
    if wanted or len(found) != 1:
        what = f"holds {', '.join(sorted(found))}" if found else "holds an image without a name"
        raise SlipwayError("wrong-archive", f"{tar} {what}; expected {wanted or 'one image with one name'}: {_SAVE}.")
    ((only, entry),) = found.items()
    name, tag = reference(only)
    return entry, name, tag


def _open(archive: tarfile.TarFile, member: str) -> IO[bytes]:
    opened = archive.extractfile(archive.getmember(member))
    if opened is None:
        raise ValueError(f"{member} is no file")
    return opened


def _kept(archive: tarfile.TarFile, member: str, folder: Path) -> tuple[str, int]:
    """Copy a member to the name of its sum; gives sum and size."""
    summed, size, part = hashlib.sha256(), 0, folder / ".part"
    with _open(archive, member) as source, part.open("wb") as target:
        while piece := source.read(CHUNK):
            summed.update(piece)
            size += target.write(piece)
    part.replace(folder / summed.hexdigest())
    return summed.hexdigest(), size


def _layer(archive: tarfile.TarFile, member: str, folder: Path) -> tuple[str, int, str]:
    digest, size = _kept(archive, member, folder)
    with (folder / digest).open("rb") as file:
        begins = file.read(4)
    squeezed = next((ending for magic, ending in _SQUEEZED.items() if begins.startswith(magic)), "")
    return digest, size, f"{MEDIA_LAYER}{squeezed}"


def _check(
    config: dict[str, Any], layers: Sequence[tuple[str, int, str]], named: str, architectures: Sequence[str]
) -> None:
    """Hold the layers against the configuration, and both against what nodes run."""
    if config.get("os") != OS or config.get("architecture") not in architectures:
        nodes = [f"{OS}/{architecture}" for architecture in architectures]
        raise SlipwayError(
            "wrong-platform",
            f"{named} is for {config.get('os')}/{config.get('architecture')}, and nodes run {', '.join(nodes)}: "
            f"docker build --platform {nodes[0]}.",
        )
    inside = config["rootfs"]["diff_ids"]
    plain = {f"sha256:{digest}": media for digest, _, media in layers}
    if len(inside) != len(layers) or any(
        media == MEDIA_LAYER and digest not in inside for digest, media in plain.items()
    ):
        raise ValueError(f"the layers of {named} are not those that its configuration names")


def _manifest(config: str, config_size: int, layers: Sequence[tuple[str, str, int]]) -> bytes:
    value = {
        "schemaVersion": 2,
        "mediaType": MEDIA_MANIFEST,
        "config": {"mediaType": MEDIA_CONFIG, "digest": f"sha256:{config}", "size": config_size},
        "layers": [{"mediaType": media, "digest": f"sha256:{digest}", "size": size} for media, digest, size in layers],
    }
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


@contextmanager
def _scratch(root: Path) -> Iterator[Path]:
    """Give a folder that is gone afterwards, unless it was renamed; what a killed run left goes with the next one."""
    folder = Path(tempfile.mkdtemp(prefix=".", dir=root))
    try:
        yield folder
    finally:
        if folder.exists():
            remove_tree(folder)


def not_for(image: LocalImage, root: Path, architectures: Sequence[str]) -> list[str]:
    """Name the architectures whose nodes cannot run an image that was taken in."""
    config = root / image.digest.partition(":")[2] / image.blobs[0].partition(":")[2]
    runs = json.loads(config.read_text(encoding="utf-8"))["architecture"]
    return [architecture for architecture in architectures if architecture != runs]


def recorded(state: Path) -> list[LocalImage]:
    """List the images that were loaded onto the mirror of this cluster."""
    file = state / RECORD
    try:
        return [LocalImage.model_validate(entry) for entry in json.loads(file.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as exc:
        raise SlipwayError(
            "cache-damaged", f"{file} cannot be read ({exc}). Remove it, and load the images again."
        ) from exc


def record(state: Path, image: LocalImage, *, write: bool = True) -> bool:
    """Note an image in the place of another one of its name and tag; tells whether that is new."""
    if not write:
        return image not in recorded(state)
    # Two images that are loaded at the same time are both noted.
    with locked(state / f"{RECORD}.lock", lambda: None):
        present = recorded(state)
        if image in present:
            return False
        others = [other for other in present if other.reference != image.reference]
        listed = sorted([*others, image], key=lambda one: one.reference)
        text = json.dumps([one.model_dump() for one in listed], indent=1) + "\n"
        write_atomically(state / RECORD, text)
    return True


def on_the_mirror(state: Path, root: Path) -> list[dict[str, Any]]:
    """List what the mirror has to have: ``name``, ``tag``, ``digest``, and ``blobs``, each ``name`` and ``path``."""
    found = []
    for image in recorded(state):
        folder = root / image.digest.partition(":")[2]
        names = [blob.partition(":")[2] for blob in (image.digest, *image.blobs)]
        if not all((folder / name).is_file() for name in names):
            raise SlipwayError(
                "loaded-image-gone",
                f"{image.reference} was loaded onto the mirror, and is gone from {folder}. Load it again "
                f"(make load-image IMAGE={image.reference}), or take it out of {state / RECORD}.",
            )
        blobs = [{"name": name, "path": str(folder / name)} for name in names]
        found.append({"name": image.name, "tag": image.tag, "digest": image.digest, "blobs": blobs})
    return found
