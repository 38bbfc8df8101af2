"""Give the objects that a page names: of its chart, its manifests, or its kustomization."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..artifacts.cache import default_root
from ..errors import SlipwayError
from ..page.form import Fault
from . import chart, oci, programs
from .chart import ChartError
from .keys import Contents
from .reading import Read, documents
from .reading import values as read_values
from .subcharts import Subchart

_MANIFESTS = (".yaml", ".yml", ".json")
_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")


@dataclass(frozen=True)
class Programs:
    """Where helm and kubectl are."""

    helm: Path
    kubectl: Path


@dataclass(frozen=True)
class Source:
    """Objects, and what is said of where they come from.

    ``about``: name and version of the chart. ``reference``: where it is in a registry, with its digest.
    """

    read: list[Read]
    about: str = ""
    reference: str = ""
    off: list[Subchart] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def source(
    page: Contents, folder: Path, programs_at: Programs, kubernetes: str = "", versions: Sequence[str] = ()
) -> Source:
    """Give what a page in ``folder`` names. Raises ChartError with a fault of the page, or SlipwayError."""
    if page.chart:
        path, reference = (folder / page.chart.path).resolve(), ""
        if oci.is_one(page.chart.path):
            pulled = oci.pull(page.chart.path, programs_at.helm, default_root() / "charts")
            path, reference = pulled.path, pulled.reference
        asked = chart.Asked(
            name=page.name,
            namespace=page.namespace or page.name,
            path=path,
            values=[_beside(folder, path, name) for name in page.chart.values],
            set=page.chart.set,
            keep=page.chart.keep,
            kubernetes=kubernetes,
            versions=versions,
        )
        made = chart.render(asked, programs_at.helm)
        about = f"{made.about.get('name', '')} {made.about.get('version', '')}".strip()
        return Source(made.read, about, reference, made.off, made.warnings)
    if page.kustomization:
        return Source(_kustomized((folder / page.kustomization).resolve(), programs_at.kubectl))
    return Source([read for index, name in enumerate(page.manifests) for read in _manifests(folder, name, index)])


def _beside(folder: Path, inside: Path, name: str) -> Path:
    """Find a file of values beside the page, else in the chart."""
    own = (folder / name).resolve()
    return (inside / name).resolve() if not own.exists() and (inside / name).is_file() else own


def _manifests(folder: Path, name: str, index: int) -> Iterator[Read]:
    path = (folder / name).resolve()
    files = [path]
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if file.is_file() and file.suffix in _MANIFESTS]
    if not files or not files[0].is_file():
        what = f"is neither a file nor a folder with {', '.join(_MANIFESTS)}: {path}"
        raise ChartError(Fault("file-missing", ("manifests", index), what, "manifests: [k8s/]"))
    for file in files:
        shown = name if file == path else f"{name.rstrip('/')}/{file.relative_to(path)}"
        yield from documents(file.read_text(encoding="utf-8"), shown)


def _kustomized(path: Path, kubectl: Path) -> list[Read]:
    key = ("kustomization",)
    named = next((path / name for name in _KUSTOMIZATIONS if (path / name).is_file()), None)
    if named is None:
        raise ChartError(
            Fault("file-missing", key, f"has no kustomization.yaml: {path}", "kustomization: ./overlays/lab")
        )
    remote = next(_remote(read_values(named.read_text(encoding="utf-8"), str(named))), "")
    if remote:
        what = f"takes {remote} from elsewhere, which may be another one tomorrow"
        raise ChartError(Fault("not-repeatable", key, what, "a copy of it beside the kustomization"))
    with tempfile.TemporaryDirectory(prefix="slipway-kustomization-") as room:
        code, out, err = programs.run(kubectl, ["kustomize", str(path)], Path(room))
    if code:
        what = f"cannot be rendered: {' '.join(err.split())[:1500]}"
        raise ChartError(Fault("chart-fails", key, what, f"what `kubectl kustomize {path}` takes"))
    return list(documents(out, f"{path.name}/"))


def _remote(content: Mapping[str, Any]) -> Iterator[str]:
    for key in ("resources", "bases", "components"):
        for one in content.get(key) or []:
            if "://" in str(one) or str(one).startswith(("github.com/", "git@")):
                yield str(one)


__all__ = ["ChartError", "Programs", "SlipwayError", "Source", "source"]
