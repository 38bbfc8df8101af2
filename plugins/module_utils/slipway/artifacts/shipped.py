"""The release of Kubernetes that the shipped page has: change it in every file that names it, and build with it.

Programs that use Kubernetes' libraries have them at its own versions, so that a library is compiled once for all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from ..errors import SlipwayError
from .cache import write_atomically
from .catalog import Folder
from .intake import Go
from .process import Say

DEFAULT = "roles/artifacts/defaults/main.yml"
# Every file that names the shipped release as such. In others it is an example.
FILES = (
    "group_vars/all/cluster.yml",
    "plugins/module_utils/slipway/page/model.py",
    DEFAULT,
    "schema/cluster.schema.json",
    "docs/reference/settings.md",
    "docs/tutorial/first-hour.md",
)
REQUIRED = re.compile(r"^\t(\S+) (v\S+)", re.M)
LIBRARY = "k8s.io/client-go"


def shipped(root: Path) -> str:
    """The release that a page without `cluster_kubernetes_version` gets."""
    release: str = yaml.safe_load((root / DEFAULT).read_text("utf-8"))["artifacts_kubernetes_version"]
    return release


def renamed(text: str, old: str, new: str) -> str:
    """A text with another release in it; longer numbers that have this one in them stay."""
    return re.sub(rf"(?<![\d.]){re.escape(old)}(?![\d]|\.\d)", new, text)


def raised(text: str, old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """The modules of a go.mod that have the versions of one Kubernetes, and those that they have in another."""
    return {
        module: new[module]
        for module, version in REQUIRED.findall(text)
        if old.get(module) == version and new.get(module, version) != version
    }


def ship(root: Path, release: str, go: Go, say: Say) -> None:
    """Make a release of the catalog the shipped one."""
    artifacts, before = root / "artifacts", shipped(root)
    known = Folder(artifacts).catalog.releases()
    if release not in known:
        raise SlipwayError("wrong-release", f"The catalog does not have {release}; it has {', '.join(known)}.")
    align(artifacts, before, release, go, say)
    for name in FILES:
        text = (root / name).read_text("utf-8")
        if (changed := renamed(text, before, release)) != text:
            write_atomically(root / name, changed)
            say(f"{name} says {release}")


def align(artifacts: Path, before: str, release: str, go: Go, say: Say) -> None:
    """Give programs that share Kubernetes' libraries those of a release."""
    old, new = (_required(Folder(artifacts, one).go("kubernetes")) for one in (before, release))
    folder = Folder(artifacts)
    for program, written in folder.written.items():
        path = folder.path / "go" / program / "go.mod"
        if written.follows or written.module == "-" or _required(path.parent).get(LIBRARY) != old[LIBRARY]:
            continue
        if wanted := raised(path.read_text("utf-8"), old, new):
            say(f"{program}: {len(wanted)} modules as Kubernetes {release} has them")
            go("mod", "edit", *(f"-require={module}@{version}" for module, version in wanted.items()), cwd=path.parent)
            go("mod", "tidy", cwd=path.parent)


def _required(folder: Path) -> dict[str, str]:
    return dict(REQUIRED.findall((folder / "go.mod").read_text("utf-8")))
