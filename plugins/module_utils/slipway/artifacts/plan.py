"""Decide what a run needs and which way it gets it: all files one way, all images one way."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..errors import SlipwayError
from ..node.architecture import ARCHITECTURES, named, of_this_computer
from .catalog import Catalog, FileBuild, FileEntry, ImageEntry, fill, reason_for
from .download import reachable
from .manifest import Manifest

PROBE_SECONDS = 4.0
BUNDLE_FILE = "bundle.json"
Way = Literal["upstream", "source"]
Kind = Literal["files", "images"]
# The name in an image's name is not always where its registry answers.
REGISTRY_HOSTS = {"docker.io": "registry-1.docker.io"}


class BundleSettings(BaseModel):
    """What the role asks for. ``folder`` is the checkout's artifacts/, ``state`` its .slipway/.

    ``architectures`` are those of the machines, ``here`` is that of this computer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    source: Literal["auto", "upstream", "source"] = "auto"
    accept_unverified: bool = False
    kubernetes_version: str
    parts: list[str]
    suites: list[str]
    architectures: list[str] = Field(default_factory=lambda: [of_this_computer()], min_length=1)
    here: str = Field(default_factory=of_this_computer)
    upstream_prefix: str = "https://"
    registry_prefix: str = "https://"
    mirror: bool = True
    folder: Path
    state: Path
    cache: Path

    @field_validator("architectures")
    @classmethod
    def _in_order(cls, value: list[str]) -> list[str]:
        return sorted(set(value))


class FileItem(NamedTuple):
    """A file; ``architecture`` is empty where one file is for all."""

    name: str
    version: str
    address: str
    checksum: str
    build: FileBuild | None
    unbuildable: str
    architecture: str = ""


class ImageItem(NamedTuple):
    name: str
    repository: str
    tag: str
    version: str
    unbuildable: str
    own: bool = False

    @property
    def reference(self) -> str:
        return f"{self.repository}:{self.tag}"


class Wanted(NamedTuple):
    """The items of the parts that are on; ``packages`` are names of Debian packages."""

    files: list[FileItem]
    images: list[ImageItem]
    packages: list[str]


def wanted(catalog: Catalog, settings: BundleSettings) -> Wanted:
    unknown = sorted(set(settings.parts) - set(catalog.parts()))
    if unknown:
        known = ", ".join(catalog.parts())
        raise SlipwayError("not-in-catalog", f"artifacts_parts: no such part: {', '.join(unknown)}; there are {known}.")
    absent = sorted(set(settings.suites) - set(catalog.packages.suites))
    if absent:
        known = ", ".join(catalog.packages.suites)
        raise SlipwayError(
            "not-in-catalog",
            f"artifacts_suites: no such suite: {', '.join(absent)}; artifacts/catalog.yml has {known}.",
        )

    strange = sorted({*settings.architectures, settings.here} - set(ARCHITECTURES))
    if strange:
        raise SlipwayError(
            "not-in-catalog",
            f"artifacts_architectures: nothing is published or built for {', '.join(strange)}; "
            f"what works: {', '.join(ARCHITECTURES)}.",
        )

    def on(parts: Iterable[str]) -> bool:
        return bool(set(parts) & set(settings.parts))

    sets = [one.names for one in catalog.packages.sets.values() if on(one.parts)]
    return Wanted(
        files=[
            item
            for name, entry in catalog.files.items()
            if on(entry.parts)
            for item in file_items(catalog, name, settings)
        ],
        images=[image_item(catalog, name, settings) for name, entry in catalog.images.items() if on(entry.parts)],
        packages=sorted({name for names in sets for name in names}),
    )


def architectures_of(entry: FileEntry, settings: BundleSettings) -> list[str]:
    """Those that a file is needed for: the machines', this computer's, or both."""
    wanted = settings.architectures if "nodes" in entry.runs else []
    return sorted({*wanted, *([settings.here] if "here" in entry.runs else [])})


def file_items(catalog: Catalog, name: str, settings: BundleSettings) -> list[FileItem]:
    """A file for each architecture that needs it; one where it is the same for all."""
    items = [file_item(catalog, name, settings, one) for one in architectures_of(catalog.files[name], settings)]
    return items if items and items[0].architecture else items[:1]


def file_item(catalog: Catalog, name: str, settings: BundleSettings, architecture: str) -> FileItem:
    entry = catalog.files[name]
    where = f"files.{name}"
    version = version_of(entry, where, catalog, settings)

    def filled(text: str, **more: str) -> str:
        return fill(text, where, version=version, arch=architecture, **more)

    address = filled(entry.address)
    own = len({fill(entry.address, where, version=version, arch=one) for one in ARCHITECTURES}) > 1
    build = entry.build
    if build:
        names = {filled(inside): program for inside, program in build.names.items()}
        build = build.model_copy(update={"folder": filled(build.folder), "names": names})
    return FileItem(
        named(name, architecture) if own else name,
        version,
        address,
        filled(entry.checksum, address=address),
        build,
        reason_for(entry.unbuildable, architecture),
        architecture if own else "",
    )


def version_of(entry: FileEntry | ImageEntry, where: str, catalog: Catalog, settings: BundleSettings) -> str:
    """An item's own version, or the one that goes with the release of Kubernetes."""
    if "{{" not in entry.version:
        return entry.version
    return fill(entry.version, where, **catalog.values(settings.kubernetes_version))


def image_item(catalog: Catalog, name: str, settings: BundleSettings) -> ImageItem:
    entry, where = catalog.images[name], f"images.{name}"
    version = version_of(entry, where, catalog, settings)
    tag = fill(entry.tag, where, version=version)
    # An image that some machines could not run is none for this bundle.
    reasons = [reason for one in settings.architectures if (reason := reason_for(entry.unbuildable, one))]
    return ImageItem(name, entry.name, tag, version, reasons[0] if reasons else "", entry.own)


def previous_manifest(state: Path) -> Manifest | None:
    """The manifest that the last run left; None when there is none that can be read."""
    try:
        return Manifest.model_validate(json.loads((state / BUNDLE_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def previous_way(manifest: Manifest | None, kind: Kind, own: Container[str] = ()) -> Way | None:
    """How the last run got its items of ``kind``, when it got all of them but its ``own`` one way."""
    items = getattr(manifest, kind) if manifest else {}
    sources = {item.source for name, item in items.items() if name not in own}
    if sources == {"built"}:
        return "source"
    return "upstream" if sources == {"upstream"} else None


def probe_urls(need: Wanted, settings: BundleSettings) -> dict[Kind, dict[str, str]]:
    """For each kind one URL per host of upstream, whose answer shows that the host can be used."""
    files: dict[str, str] = {}
    for item in need.files:
        address = item.checksum or item.address
        files.setdefault(address.partition("/")[0], f"{settings.upstream_prefix}{address}")
    images = {}
    for image in need.images:
        if image.own:
            continue
        host = image.repository.partition("/")[0]
        if settings.registry_prefix == "https://":
            images[host] = f"https://{REGISTRY_HOSTS.get(host, host)}/v2/"
        else:
            base = "/".join(settings.registry_prefix.split("/")[:3])
            images[host] = f"{base}/v2/"
    return {"files": files, "images": images}


def probe(urls: Mapping[Kind, Mapping[str, str]], timeout: float = PROBE_SECONDS) -> dict[Kind, dict[str, str]]:
    """Ask all hosts at once; per kind the hosts that cannot be used and why."""
    answers: dict[tuple[Kind, str], str] = {}

    def ask(kind: Kind, host: str, url: str) -> None:
        answers[kind, host] = reachable(url, timeout)

    asking = [
        # Looking up a name has no time limit of its own: such a thread is left behind.
        threading.Thread(target=ask, args=(kind, host, url), daemon=True)
        for kind, hosts in urls.items()
        for host, url in hosts.items()
    ]
    for thread in asking:
        thread.start()
    deadline = time.monotonic() + 2 * timeout
    for thread in asking:
        thread.join(max(deadline - time.monotonic(), 0))
    silence = f"no answer within {2 * timeout:.0f} s"
    problems = {kind: {host: answers.get((kind, host), silence) for host in hosts} for kind, hosts in urls.items()}
    return {kind: {host: problem for host, problem in hosts.items() if problem} for kind, hosts in problems.items()}


def built_for_nobody(need: Wanted, ways: Mapping[Kind, Way]) -> str:
    """Say that without a mirror nobody gets what is going to be built; empty when nothing is."""
    items: list[FileItem | ImageItem] = list(need.files) if ways["files"] == "source" else []
    items += need.images if ways["images"] == "source" else []
    names = [item.name for item in items if not item.unbuildable]
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (
        f"{', '.join(names[:3])}{more} would be built here, which nodes can only get from a mirror, and there is none "
        f"(cluster_mirror: false, or hosts of which none has role: mirror).\n"
        f"What works: cluster_mirror: true (with hosts: one of cluster_hosts with role: mirror, and "
        f"cluster_mirror: auto), or cluster_artifacts_from: upstream where upstream answers."
    )


def notices(failed: Mapping[Kind, Mapping[str, str]]) -> Sequence[str]:
    """What `auto` decided, in words."""
    lines = []
    for kind, hosts in failed.items():
        if hosts:
            why = ", ".join(f"{host}: {problem}" for host, problem in sorted(hosts.items()))
            lines.append(f"{kind} are built from source: upstream cannot be reached ({why})")
        else:
            lines.append(f"{kind} come from upstream: all its hosts answer")
    return lines
