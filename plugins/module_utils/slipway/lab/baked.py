"""What is baked into the image of a machine: which programs, packages and images, and the name that follows from them.

The tables of places are the roles' own (``__<role>_places`` in ``roles/<role>/vars/main.yml``), the items are those of
the bundle. Nothing here starts a program.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ..artifacts.bundle import MANIFEST
from ..artifacts.manifest import Manifest, bundle_files, read
from ..errors import SlipwayError
from ..node import bake, fetch
from ..node.architecture import of_this_computer
from ..node.pod_network import USED
from ..paths import ROOT
from .decide import NEVER

REPOSITORY = "slipway-baked"
# Raise when a machine of the same items and the same code is to be another one.
FORMAT = 1
MIRROR, WORKER, CONTROLLER, BOX = "mirror", "worker", "controller", "box"
KINDS = (MIRROR, WORKER, CONTROLLER)
# What node_service takes where an item says nothing else.
DEFAULTS: dict[str, Any] = {"mode": "0755", "archive": False, "strip": 0, "only": [], "rename": {}}
# The roles whose programs a kind of machine gets, and of a role that knows more programs, those of a node.
ROLES = {
    MIRROR: ("mirror",),
    WORKER: (USED["role"], "containerd", "kubelet"),
    CONTROLLER: (USED["role"], "containerd", "kubelet", "tools"),
    BOX: (USED["role"], "containerd"),
}
TOOLS = ("kubectl", "helm", "istioctl")
PAUSE = "pause"
# Images of the bundle that every node runs, and those that only controllers run.
NODE_IMAGES = (PAUSE, "kube-proxy", USED["part"])
CONTROL_IMAGES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd", "coredns")
IMAGES: dict[str, tuple[str, ...]] = {WORKER: NODE_IMAGES, CONTROLLER: NODE_IMAGES + CONTROL_IMAGES}


@dataclass(frozen=True)
class Baked:
    """What goes into one kind of machine. ``items`` have the addresses of files in the bundle as URLs.

    ``system_image`` is the image of its system alone; with a ``parent``, it is made on top of that one's. ``folder`` is
    the bundle's.
    """

    folder: str
    kind: str
    system: str
    system_image: str
    items: tuple[dict[str, Any], ...]
    images: dict[str, str]
    packages: tuple[str, ...]
    sums: tuple[str, ...]
    parent: Baked | None = None

    @property
    def base(self) -> str:
        """The image that it is made on top of."""
        return self.parent.tag if self.parent else self.system_image

    @property
    def digest(self) -> str:
        """12 hex digits for all that decides it: system, items and their places, images, packages, and the code."""
        items = [{key: value for key, value in item.items() if key not in ("url", "source")} for item in self.items]
        parts = [FORMAT, self.base, items, self.images, self.packages, self.sums, _code()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def tag(self) -> str:
        """The name of the image of containers."""
        return f"{REPOSITORY}:{self.kind}-{self.system}-{self.digest}"

    @property
    def note(self) -> dict[str, Any]:
        """What it is, for people."""
        return {
            "kind": self.kind,
            "system": self.system,
            "key": self.digest,
            "programs": {item["name"]: item["version"] for item in self.items},
            "images": sorted(self.images),
            "packages": list(self.packages),
        }


@cache
def _code() -> str:
    texts = (Path(module.__file__ or "").read_bytes() for module in (bake, fetch))
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def bundle_of(state: Path) -> Manifest | None:
    """Read the manifest of the bundle that the last run made; None when there is none, or its folder is gone."""
    try:
        manifest = read(json.loads((state / MANIFEST).read_text(encoding="utf-8")))
    except (OSError, ValueError, SlipwayError):
        return None
    return manifest if manifest.path and Path(manifest.path, MANIFEST).is_file() else None


def baked(
    manifest: Manifest, kind: str, system: str, suite: str, image: str, parent: Baked | None = None, root: Path = ROOT
) -> Baked:
    """Work out what goes into a machine of ``kind``; SlipwayError when the bundle lacks some of it.

    ``suite`` is the name of Debian's release, by which the bundle has packages; ``image`` is that of its system alone.
    """
    held = manifest.as_json()
    items: list[dict[str, Any]] = []
    for role in ROLES[kind]:
        places = places_of(role, root)
        names = [name for name in places if role != "tools" or name in TOOLS]
        found = bundle_files(held, names, "files/", of_this_computer())
        items += [{**DEFAULTS, **item, **places[item["name"]]} for item in found]
    images = {}
    for name in IMAGES.get(kind, ()):
        if name not in manifest.images:
            raise SlipwayError("not-in-bundle", f"the bundle has no image {name!r}")
        facts = manifest.images[name]
        images[f"{facts.name}:{facts.tag}"] = facts.digest
    packages = _packages(root) if kind == MIRROR and suite in manifest.packages else ()
    sums = (manifest.packages[suite].sha256,) if packages else ()
    if kind == BOX:
        packages = tuple(box_packages(root))
    return Baked(manifest.path, kind, system, image, tuple(items), images, packages, sums, parent)


def of_box(state: Path, said: str, system: str) -> Baked | None:
    """Work out what goes into a box that is built here: unless the page forbids it, and where there is a bundle."""
    manifest = bundle_of(state) if said != NEVER else None
    try:
        return baked(manifest, BOX, system, "", "") if manifest else None
    except SlipwayError:
        return None


def tree(made: Baked, folder: Path) -> None:
    """Put what goes into a box below ``folder``, for the root that its disk is made of."""
    items = [{**item, "url": (Path(made.folder) / item["url"]).as_uri()} for item in made.items]
    # The files of such a root have no other time.
    bake.place(items, str(folder), 0)
    bake.note(made.note, str(folder))


def _packages(root: Path) -> tuple[str, ...]:
    text = (root / "group_vars" / "mirror.yml").read_text(encoding="utf-8")
    return tuple(yaml.safe_load(text)["host_packages"])


def box_packages(root: Path = ROOT) -> list[str]:
    """Give the Debian packages that role host installs on a virtual machine."""
    values = _yaml(root / "roles/host/defaults/main.yml")
    return sorted({*values["host_packages"], *values["host_machine_packages"]})


def places_of(role: str, root: Path = ROOT) -> dict[str, dict[str, Any]]:
    """Give the places of a role's programs, its templates filled in as on this computer."""
    values = {**_yaml(root / f"roles/{role}/defaults/main.yml"), f"{role}_architecture": of_this_computer()}
    places: dict[str, dict[str, Any]] = _filled(_yaml(root / f"roles/{role}/vars/main.yml")[f"__{role}_places"], values)
    return places


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(one, values) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, values) for one in value]
    if isinstance(value, str) and "{{" in value:
        # Every Vagrant command asks for a plan, and most have no use for a template.
        from jinja2.nativetypes import NativeEnvironment

        return NativeEnvironment().from_string(value).render(values)
    return value


@cache
def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def order(made: Baked, manifest: Manifest, bundles: str, suite: str) -> bake.Order:
    """Say to ``slipway.node.bake`` what to put in. ``bundles`` is the folder of bundles, where it sees it."""
    folder = f"{bundles}/{manifest.id}"
    registry: dict[str, Any] = {}
    if made.images:
        (found,) = bundle_files(manifest.as_json(), ["registry"], f"file://{folder}/files/", of_this_computer())
        registry = {**DEFAULTS, **found, **places_of("mirror")["registry"]}
    pause = manifest.images.get(PAUSE)
    there = set(made.parent.images) if made.parent else set()
    return {
        "packages": list(made.packages),
        "repository": f"file://{folder}/{manifest.packages[suite].path}/" if made.packages else "",
        "items": [{**item, "url": f"file://{folder}/{item['url']}"} for item in made.items],
        "images": sorted(set(made.images) - there),
        "sandbox": f"{pause.name}:{pause.tag}" if pause else "",
        "registry": registry,
        "storage": f"{folder}/registry",
        "note": made.note,
    }
