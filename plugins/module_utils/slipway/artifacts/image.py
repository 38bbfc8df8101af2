"""Put images together without a daemon, as OCI layouts, and get upstream's with crane."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import SlipwayError
from . import tree, wheel
from .apt import unpacked
from .archive import Member, write_tar
from .cache import link_or_copy
from .catalog import Layers
from .golang import module_file
from .process import ProgramError, run

LAYER = "layer.tar"
MEDIA_CONFIG = "application/vnd.oci.image.config.v1+json"
MEDIA_INDEX = "application/vnd.oci.image.index.v1+json"
# Layers are not squeezed: nodes unpack them at the disk's speed, and the digest depends on no compressor's version.
MEDIA_LAYER = "application/vnd.oci.image.layer.v1.tar"
MEDIA_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
SOURCE_ANNOTATION = "io.slipway.source"
OS = "linux"
EPOCH = "1970-01-01T00:00:00Z"
ANSWER_SECONDS = 120
CERTIFICATES = "usr/share/ca-certificates/"


@dataclass(frozen=True)
class Inputs:
    """What a layer is made of: the folder of each recipe's programs and of its module, wheels and jars by their
    name, Debian packages, and the root of this repository."""

    programs: Mapping[str, Path] = field(default_factory=dict)
    modules: Mapping[str, Path] = field(default_factory=dict)
    wheels: Mapping[str, Path] = field(default_factory=dict)
    jars: Mapping[str, Path] = field(default_factory=dict)
    debs: Sequence[Path] = ()
    root: Path = Path()


def layer_members(layers: Layers, inputs: Inputs) -> Iterable[Member]:
    """What is in the layer. What stands later wins."""
    yield from packaged(layers, inputs.debs)
    for recipe, binaries in layers.binaries.items():
        for path, program in binaries.items():
            yield Member(inside(path), 0o755, inputs.programs[recipe] / program)
    for recipe, files in layers.sources.items():
        for path, name in files.items():
            yield Member(inside(path), 0o644, module_file(recipe, inputs.modules[recipe], name))
    for name, pinned in layers.wheels.items():
        yield from wheel.members(inputs.wheels[name], pinned.files)
    for name, jar in layers.jars.items():
        yield Member(inside(jar.path), 0o644, inputs.jars[name])
    yield from tree.members(inputs.root, layers.repository)
    for path, text in layers.files.items():
        yield Member(inside(path), 0o644, text.encode())
    for path, mode in layers.folders.items():
        yield Member(inside(path), int(mode, 8))
    for path, link in layers.links.items():
        yield Member(inside(path), 0o777, link=link)


def packaged(layers: Layers, debs: Sequence[Path]) -> Iterator[Member]:
    """What Debian's packages bring, certificates as one file."""
    bundle: list[bytes] = []
    kept = [deb for deb in debs if deb.name.partition("_")[0] not in layers.leave_out]
    for member in unpacked(kept, layers.only, layers.without):
        if member.path.startswith(CERTIFICATES) and isinstance(member.content, bytes):
            bundle.append(member.content)
        else:
            yield member
    if layers.certificates:
        yield Member(inside(layers.certificates), 0o644, b"".join(bundle))


def inside(path: str) -> str:
    return path.strip("/")


def write_layer(target: Path, members: Iterable[Member]) -> str:
    """Write ``layer.tar`` into folder ``target``; returns its sha256."""
    file = target / LAYER
    with file.open("wb") as out:
        write_tar(out, members, folders=True)
    with file.open("rb") as written:
        return hashlib.file_digest(written, "sha256").hexdigest()


def platform(architecture: str) -> dict[str, str]:
    """What an image and an index call the machines that it is for."""
    return {"architecture": architecture, "os": OS}


def write_layout(target: Path, layers: Sequence[tuple[str, Path]], runs: Layers, architecture: str) -> str:
    """Write an OCI layout with one image made of ``layers`` (sha256, tar), lowest first; returns its digest."""
    blobs = target / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for sha256, tar in layers:
        link_or_copy(tar, blobs / sha256)
    config = {
        **platform(architecture),
        "created": EPOCH,
        "config": _config(runs),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256}" for sha256, _tar in layers]},
        "history": [{"created": EPOCH, "created_by": "slipway"} for _layer in layers],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MEDIA_MANIFEST,
        "config": _blob(blobs, config, MEDIA_CONFIG),
        "layers": [
            {"mediaType": MEDIA_LAYER, "digest": f"sha256:{sha256}", "size": tar.stat().st_size}
            for sha256, tar in layers
        ],
        "annotations": {SOURCE_ANNOTATION: "built"},
    }
    described = _blob(blobs, manifest, MEDIA_MANIFEST) | {"platform": platform(architecture)}
    return _name(target, described)


def _name(target: Path, described: Mapping[str, Any]) -> str:
    """Say which image a layout is of; returns its digest."""
    index = {"schemaVersion": 2, "mediaType": MEDIA_INDEX, "manifests": [described]}
    (target / "index.json").write_text(json.dumps(index), encoding="utf-8")
    (target / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}', encoding="utf-8")
    return str(described["digest"])


def write_index(target: Path, layouts: Mapping[str, Path]) -> str:
    """Write an OCI layout with one image for several architectures, made of a layout for each; returns its digest.

    It is an index that names the manifest of each, whose bytes stay: so does its digest.
    """
    blobs = target / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    manifests = []
    for architecture, layout in sorted(layouts.items()):
        digest, others = blobs_of(layout)
        file = blob_path(layout, digest)
        for blob in dict.fromkeys([digest, *others]):
            if not blob_path(target, blob).exists():
                link_or_copy(blob_path(layout, blob), blob_path(target, blob))
        media_type = json.loads(file.read_text(encoding="utf-8")).get("mediaType", MEDIA_MANIFEST)
        described = {"mediaType": media_type, "digest": digest, "size": file.stat().st_size}
        manifests.append(described | {"platform": platform(architecture)})
    index = {"schemaVersion": 2, "mediaType": MEDIA_INDEX, "manifests": manifests}
    return _name(target, _blob(blobs, index, MEDIA_INDEX))


def _config(runs: Layers) -> dict[str, Any]:
    config = {
        "User": runs.user,
        "Env": [f"{key}={value}" for key, value in runs.env.items()],
        "Entrypoint": runs.entrypoint,
        "Cmd": runs.command,
        "WorkingDir": runs.workdir,
    }
    return {key: value for key, value in config.items() if value}


def _blob(blobs: Path, value: object, media_type: str) -> dict[str, Any]:
    data = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    sha256 = hashlib.sha256(data).hexdigest()
    (blobs / sha256).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{sha256}", "size": len(data)}


def manifests_of(layout: Path) -> list[str]:
    """The digests of a layout's one image: that of its manifest, or of its index and of each manifest in that."""
    index = json.loads((layout / "index.json").read_text(encoding="utf-8"))
    digests: list[str] = [entry["digest"] for entry in index["manifests"]]
    if len(digests) != 1:
        raise SlipwayError(
            "cache-damaged", f"{layout} holds {len(digests)} images, expected one. Remove the folder and run again."
        )
    inner = json.loads(blob_path(layout, digests[0]).read_text(encoding="utf-8")).get("manifests", [])
    return [*digests, *(entry["digest"] for entry in inner)]


def blobs_of(layout: Path) -> tuple[str, list[str]]:
    """The digest of a layout's one image, and those of its configurations and layers."""
    digest, *inner = manifests_of(layout)
    blobs = []
    for one in inner or [digest]:
        manifest = json.loads(blob_path(layout, one).read_text(encoding="utf-8"))
        blobs += [manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])]
    return digest, blobs


def blob_path(layout: Path, digest: str) -> Path:
    algorithm, _colon, name = digest.partition(":")
    return layout / "blobs" / algorithm / name


class Crane:
    """The program crane, for images of upstream for one architecture.

    ``prefix`` is put before their names, `http://` there means no TLS.
    """

    def __init__(self, program: Path, prefix: str, architecture: str, stop: threading.Event) -> None:
        self.program = program
        self.platform = f"{OS}/{architecture}"
        self.stop = stop
        scheme, _sep, self.host = prefix.rpartition("://")
        self.insecure = ["--insecure"] if scheme == "http" else []

    def _command(self, *arguments: str) -> list[str]:
        return [str(self.program), *arguments, "--platform", self.platform, *self.insecure]

    def digest(self, reference: str) -> str:
        """The digest of the image for these machines that the tag names now."""
        command = self._command("digest", f"{self.host}{reference}")
        try:
            answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ANSWER_SECONDS)
        except subprocess.TimeoutExpired as exc:
            raise SlipwayError(
                "download-failed", self._refused(reference, [f"no answer within {ANSWER_SECONDS} s"])
            ) from exc
        if answer.returncode:
            raise SlipwayError(
                "download-failed", self._refused(reference, answer.stderr.strip().splitlines()[-1:] or ["no answer"])
            )
        return answer.stdout.strip()

    def _refused(self, reference: str, tail: Sequence[str]) -> str:
        return (
            f"image {self.host}{reference} for {self.platform} could not be had: {' '.join(tail)}. Does the tag exist "
            f"(versions: artifacts/catalog.yml), and does the registry answer? Else set cluster_artifacts_from: source."
        )

    def pull(self, reference: str, digest: str, target: Path, log: Path) -> None:
        """Get the image ``digest`` of ``reference``'s repository as an OCI layout; crane checks every blob's sum."""
        repository = reference.rpartition(":")[0]
        command = self._command("pull", "--format", "oci", f"{self.host}{repository}@{digest}", str(target))
        try:
            run(command, log=log, stop=self.stop, env=os.environ)
        except ProgramError as exc:
            tail = exc.tail.splitlines()[-1:] or [f"see {log}"]
            raise SlipwayError("download-failed", self._refused(reference, tail)) from exc
        got, blobs = blobs_of(target)
        if got != digest:
            raise SlipwayError(
                "checksum-differs", f"image {self.host}{reference}: asked for {digest}, got {got}. Run again."
            )
        # A registry gives the only image that there is, whatever machines it was asked for.
        config = json.loads(blob_path(target, blobs[0]).read_text(encoding="utf-8"))
        found = f"{config.get('os')}/{config.get('architecture')}"
        if found != self.platform:
            raise SlipwayError(
                "wrong-platform",
                f"image {self.host}{reference} is for {found} alone, and machines of the page run {self.platform}. "
                f"Switch off the part that needs it, or leave these machines out.",
            )
