"""Render a chart: from a copy without what the cluster has already, and in which what is not repeatable ends."""

from __future__ import annotations

import difflib
import re
import shutil
import tarfile
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..errors import SlipwayError
from ..page.form import Fault
from ..page.read import Key
from . import programs, subcharts, template_words
from .reading import Read, documents, merged, spread
from .reading import values as read_values
from .template_words import Use

_TEMPLATES = (".yaml", ".yml", ".tpl", ".txt", ".json")
# What `helm template` says of files is of the copy; the chart's own name begins there.
_NOISE = re.compile(r"^(Error: |WARNING: |level=\w+ )")
KEY: Key = ("chart",)


class ChartError(SlipwayError):
    """What is wrong with a chart, as a ``fault`` of the page."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.id, fault.what)
        self.fault = fault


@dataclass(frozen=True)
class Asked:
    """A chart as the page asks for it; paths are absolute. ``versions``: what the cluster serves."""

    name: str
    namespace: str
    path: Path
    values: Sequence[Path] = ()
    set: Mapping[str, Any] = field(default_factory=dict)
    keep: Sequence[str] = ()
    kubernetes: str = ""
    versions: Sequence[str] = ()


@dataclass(frozen=True)
class Rendered:
    """What a chart came to. ``about``: its ``Chart.yaml``. ``off``: the subcharts that were switched off."""

    read: list[Read]
    about: Mapping[str, Any]
    off: list[subcharts.Subchart] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def render(asked: Asked, helm: Path) -> Rendered:
    """Render a chart. Raises ChartError with what is wrong, by name; SlipwayError where Helm is not there."""
    with tempfile.TemporaryDirectory(prefix="slipway-chart-") as made:
        room = Path(made)
        copy = _copied(asked.path, room)
        about = _about(copy, asked.path)
        given = _given(asked)
        own = merged(_values_of(copy), given)
        found = subcharts.duplicates(about, asked.keep)
        off = [each for each in found if not subcharts.is_off(each, own)]
        given = merged(given, _switched(found))
        _without(copy, about, found)
        _complete(copy, asked.path)
        _unpack(copy)
        uses = list(_guard(copy, template_words.ALWAYS))
        values = room / "values.yaml"
        values.write_text(yaml.safe_dump(given), encoding="utf-8")
        first = _rendered(asked, helm, room, copy, values, uses)
        second = _rendered(asked, helm, room, copy, values, uses)
        if first != second:
            uses += _guard(copy)
            _rendered(asked, helm, room, copy, values, uses)
            _differ(first, second)
        upgraded = _rendered(asked, helm, room, copy, values, uses, "--is-upgrade")
        warnings = []
        if upgraded != first:
            warnings.append(
                "the chart renders another way for an upgrade (.Release.IsUpgrade); here it is always rendered as "
                "for an installation"
            )
        return Rendered(list(documents(first)), about, off, warnings)


def _wrong(error_id: str, what: str, works: str, key: Key = KEY) -> ChartError:
    return ChartError(Fault(error_id, key, what, works))


def _copied(path: Path, room: Path) -> Path:
    """Copy a chart's folder, or what is in its archive."""
    into = room / "chart"
    if path.is_dir():
        shutil.copytree(path, into, symlinks=False, ignore_dangling_symlinks=True)
    elif path.is_file():
        try:
            with tarfile.open(path) as archive:
                archive.extractall(into, filter="data")
        except (tarfile.TarError, OSError) as exc:
            raise _wrong("chart-missing", f"is no archive of a chart: {exc}", "path: ./helm", (*KEY, "path")) from exc
    else:
        raise _wrong("chart-missing", f"is neither a folder nor an archive: {path}", "path: ./helm", (*KEY, "path"))
    if (into / "Chart.yaml").is_file():
        return into
    inner = sorted(into.glob("*/Chart.yaml"))
    if len(inner) == 1:
        return inner[0].parent
    below = f"{inner[0].parent.name}" if inner else "helm"
    works = f"path: {path.name}/{below}" if inner else "path: the folder that has Chart.yaml and templates/"
    raise _wrong("chart-missing", f"has no Chart.yaml: {path}", works, (*KEY, "path"))


def _about(copy: Path, path: Path) -> dict[str, Any]:
    return read_values((copy / "Chart.yaml").read_text(encoding="utf-8"), f"{path}/Chart.yaml")


def _values_of(copy: Path) -> dict[str, Any]:
    own = copy / "values.yaml"
    return read_values(own.read_text(encoding="utf-8"), "values.yaml of the chart") if own.is_file() else {}


def _given(asked: Asked) -> dict[str, Any]:
    """Put the files of values together, and over them what the page sets."""
    made: dict[str, Any] = {}
    for index, path in enumerate(asked.values):
        if not path.is_file():
            raise _wrong("file-missing", f"is no file: {path}", "values: [values.yaml]", (*KEY, "values", index))
        made = merged(made, read_values(path.read_text(encoding="utf-8"), str(path)))
    return merged(made, spread(asked.set))


def _switched(found: Sequence[subcharts.Subchart]) -> dict[str, Any]:
    """Give the values that switch subcharts off."""
    return spread({path: False for each in found for path in each.condition[:1]})


def _without(copy: Path, about: Mapping[str, Any], off: Sequence[subcharts.Subchart]) -> None:
    """Take out of a copy the subcharts that are off: they need not even be there."""
    if not off:
        return
    gone = {each.name for each in off}
    kept = [one for one in about.get("dependencies") or [] if str(one.get("alias") or one.get("name")) not in gone]
    text = yaml.safe_dump({**about, "dependencies": kept})
    (copy / "Chart.yaml").write_text(text, encoding="utf-8")
    (copy / "Chart.lock").unlink(missing_ok=True)
    left = {str(one.get("name")) for one in kept}
    for each in off:
        if each.chart in left:
            continue
        shutil.rmtree(copy / "charts" / each.chart, ignore_errors=True)
        for archive in (copy / "charts").glob(f"{each.chart}-[0-9v]*.tgz"):
            archive.unlink()


def _complete(copy: Path, path: Path) -> None:
    """Refuse a chart whose dependencies nobody has fetched; those beside it are taken from there."""
    declared = read_values((copy / "Chart.yaml").read_text(encoding="utf-8"), "Chart.yaml")
    for one in declared.get("dependencies") or []:
        name, repository = str(one.get("name")), str(one.get("repository") or "")
        there = (copy / "charts" / name).is_dir() or any((copy / "charts").glob(f"{name}-[0-9v]*.tgz"))
        if there:
            continue
        beside = path / repository.removeprefix("file://") if repository.startswith("file://") else None
        if beside is not None and beside.is_dir():
            shutil.copytree(beside, copy / "charts" / name)
            continue
        what = f"needs the chart {name} ({repository or 'no repository'}), which is not in its charts/"
        raise _wrong("chart-incomplete", what, f"helm dependency build {path}, where the repository can be reached")


def _unpack(copy: Path) -> None:
    """Make folders of the subcharts that are archives."""
    for archive in sorted((copy / "charts").glob("*.tgz")):
        with tarfile.open(archive) as packed:
            packed.extractall(copy / "charts", filter="data")
        archive.unlink()


def _guard(copy: Path, words: Collection[str] = template_words.ALL) -> Iterator[Use]:
    """Have templates end where they come to what is not repeatable, those of subcharts too."""
    for file in sorted(copy.rglob("*")):
        if "templates" in file.relative_to(copy).parts and file.is_file() and file.suffix in _TEMPLATES:
            text = file.read_text(encoding="utf-8", errors="surrogateescape")
            changed, uses = template_words.guarded(text, str(file.relative_to(copy)), words)
            if uses:
                file.write_text(changed, encoding="utf-8", errors="surrogateescape")
                yield from uses


def _rendered(asked: Asked, helm: Path, room: Path, copy: Path, values: Path, uses: list[Use], *more: str) -> str:
    command = ["template", asked.name, str(copy), "--namespace", asked.namespace, "--values", str(values)]
    command += ["--include-crds", *more]
    command += ["--kube-version", asked.kubernetes] if asked.kubernetes else []
    for version in asked.versions:
        command += ["--api-versions", version]
    code, out, err = programs.run(helm, command, room)
    if not code:
        return out
    use = template_words.met(err, uses)
    if use:
        what = f"is not repeatable: {use.word} at {use.file}:{use.line} {use.why}"
        raise _wrong("not-repeatable", what, _instead(use))
    said = " ".join(_NOISE.sub("", line) for line in err.strip().splitlines() if not line.startswith("WARNING"))
    raise _wrong("chart-fails", f"cannot be rendered: {said.replace(str(room) + '/', '')[:1500]}", _hint(said, asked))


def _instead(use: Use) -> str:
    if use.word in template_words.LOOKUP:
        return "a value in values.yaml that says what would be looked up"
    if use.word in (*template_words.CLOCK, *template_words.OUTSIDE):
        return "a value in values.yaml, such as a version"
    return "the name of a Secret in its place, and secrets: {name: {keys: {password: {random: true}}}} on the page"


def _hint(said: str, asked: Asked) -> str:
    missing = re.search(r"nil pointer evaluating interface \{\}\.(\w+)", said)
    if missing:
        return f"chart: {{path: …, set: {{….{missing[1]}: …}}}}, or the value in a file of values"
    return f"what `helm template {asked.name} {asked.path}` takes"


def _differ(first: str, second: str) -> None:
    """Refuse what came out another way the second time, by its first line."""
    source = ""
    lines = difflib.unified_diff(first.splitlines(), second.splitlines(), lineterm="", n=400)
    for line in lines:
        if line.startswith(" # Source: "):
            source = line.removeprefix(" # Source: ")
        if line.startswith(("-", "+")) and not line.startswith(("---", "+++")):
            where = f"{source}: " if source else ""
            what = f"renders another way each time: {where}{line[1:].strip().partition(':')[0]}"
            raise _wrong("not-repeatable", what, "a fixed value there")
