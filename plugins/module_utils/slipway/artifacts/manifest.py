"""What a bundle holds, as it stands in its bundle.json, and the questions roles ask of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import SlipwayError
from ..node.architecture import named

Source = Literal["built", "upstream"]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FileFacts(Part):
    """A file; ``address`` is upstream's, without https://; ``size`` in bytes."""

    version: str
    address: str
    sha256: str
    size: int
    source: Source


class ImageFacts(Part):
    name: str
    tag: str
    digest: str
    source: Source


class PackageFacts(Part):
    """A suite's apt repository at ``path`` in the bundle; ``names`` were asked for, ``sha256`` is that of its index."""

    path: str
    names: list[str]
    sha256: str


class Missing(Part):
    name: str
    reason: str


class Manifest(Part):
    """``path`` is the bundle's folder; it stands only in the copy that a run leaves in its state folder.

    Of a file that there is for each architecture, the one for amd64 has the plain name, and another one has its
    architecture behind it (``kubelet-arm64``). An image is one for all machines.
    """

    format: Literal[1] = 1
    id: str = ""
    path: str = ""
    files: dict[str, FileFacts] = {}
    images: dict[str, ImageFacts] = {}
    packages: dict[str, PackageFacts] = {}
    missing: list[Missing] = []

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(exclude={"path"} if not self.path else None)


def read(value: Mapping[str, Any]) -> Manifest:
    try:
        return Manifest.model_validate(value)
    except ValidationError as exc:
        raise SlipwayError(
            "not-a-bundle",
            f"this is not a bundle's manifest ({exc.error_count()} problems, first {exc.errors()[0]['loc']}: "
            f"{exc.errors()[0]['msg']}); make one with `make bundle`.",
        ) from exc


def _find(manifest: Manifest, kind: Literal["files", "images"], names: Iterable[str]) -> dict[str, Any]:
    held: dict[str, Any] = getattr(manifest, kind)
    reasons = {item.name: item.reason for item in manifest.missing}
    found = {}
    for name in names:
        if name in held:
            found[name] = held[name]
        elif name in reasons:
            raise SlipwayError(
                "not-in-bundle",
                f"{name} is not in the bundle: {reasons[name]}. Switch off the part that needs it.",
            )
        else:
            raise SlipwayError(
                "not-in-bundle",
                f"the bundle has no {kind[:-1]} {name!r}; it has {', '.join(sorted(held)) or 'none'}. "
                f"Is its part in artifacts_parts, and the machine's architecture in artifacts_architectures?",
            )
    return found


def bundle_files(
    manifest: Mapping[str, Any], names: Iterable[str], prefix: str, architecture: str = ""
) -> list[dict[str, Any]]:
    """The named files for ``architecture`` with the URL to fetch each from: ``prefix`` and upstream's address.

    Without an architecture the names are those of the manifest.
    """
    asked = {named(name, architecture): name for name in names}
    return [
        {
            "name": asked[name],
            "version": item.version,
            "url": f"{prefix}{item.address}",
            "sha256": item.sha256,
            "size": item.size,
            "source": item.source,
        }
        for name, item in _find(read(manifest), "files", asked).items()
    ]


def bundle_images(manifest: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    """The named images as ``name:tag``."""
    return {name: f"{item.name}:{item.tag}" for name, item in _find(read(manifest), "images", names).items()}


def bundle_packages(manifest: Mapping[str, Any], prefix: str) -> dict[str, str]:
    """The apt repository of each suite: ``prefix`` and its path in the bundle."""
    return {suite: f"{prefix}{held.path}/" for suite, held in read(manifest).packages.items()}


def image_references(images: Iterable[Mapping[str, Any]]) -> list[str]:
    """Each image by its tag and by its digest, as a page may name it."""
    return [text for image in images
            for text in (f"{image['name']}:{image['tag']}", f"{image['name']}@{image['digest']}")]  # fmt: skip


def bundle_hosts(manifest: Mapping[str, Any]) -> list[str]:
    """The registries of upstream that the bundle's images come from."""
    return sorted({image.name.partition("/")[0] for image in read(manifest).images.values()})
