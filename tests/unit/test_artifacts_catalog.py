"""The catalog fits the recipes, the layers and the roles, and says what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.artifacts import plan
from slipway.artifacts.catalog import Catalog, Folder, Recipe, fill, validated
from slipway.page.model import Settings

from tests.support.errors import refused

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Folder(ROOT / "artifacts")
CATALOG = FOLDER.catalog
RELEASES = CATALOG.releases()
FOLDERS = {one: Folder(ROOT / "artifacts", one) for one in RELEASES}
DEFAULTS = yaml.safe_load((ROOT / "roles/artifacts/defaults/main.yml").read_text())


def settings(**changes: Any) -> plan.BundleSettings:
    known: dict[str, Any] = {
        "kubernetes_version": DEFAULTS["artifacts_kubernetes_version"],
        "parts": CATALOG.parts(),
        "suites": list(CATALOG.packages.suites),
        "folder": ROOT / "artifacts",
        "state": Path("state"),
        "cache": Path("cache"),
    }
    return plan.BundleSettings(**(known | changes))


LOCKED = yaml.safe_load((ROOT / "artifacts/lock.yml").read_text())["files"]
BOTH = ["amd64", "arm64"]
EVERYTHING = plan.wanted(CATALOG, settings(architectures=BOTH, here="amd64"))
# Of the other releases what differs is enough.
FILES = {
    f"{one}-{item.name}": (one, item)
    for one in RELEASES
    for item in plan.wanted(CATALOG, settings(kubernetes_version=one, architectures=BOTH, here="amd64")).files
    if one == DEFAULTS["artifacts_kubernetes_version"] or item not in EVERYTHING.files
}
IMAGES = [(one, name) for one in RELEASES for name in CATALOG.images
          if one == DEFAULTS["artifacts_kubernetes_version"] or "{{" in CATALOG.images[name].version]  # fmt: skip


@pytest.mark.parametrize(("release", "item"), FILES.values(), ids=FILES)
def test_a_file_can_be_built_in_its_version_or_says_why_not(release: str, item: plan.FileItem) -> None:
    if item.unbuildable:
        return
    assert item.build
    version = item.build.version or item.version
    recipe = FOLDERS[release].recipe(item.build.program, version, item.name, item.architecture or "amd64")
    assert set(filter(None, [item.build.binary, *item.build.names.values()])) <= set(recipe.packages)


@pytest.mark.parametrize("item", EVERYTHING.files, ids=lambda item: item.name)
def test_a_file_has_upstreams_address_and_a_publisher_with_sums(item: plan.FileItem) -> None:
    assert "://" not in item.address
    assert "." in item.address.partition("/")[0]
    assert item.version.partition("-")[0] in item.address
    # A file of a pinned module has a sum before it is fetched.
    if item.address not in LOCKED:
        assert item.checksum.partition("/")[0] == item.address.partition("/")[0]


@pytest.mark.parametrize("architecture", BOTH)
@pytest.mark.parametrize(("release", "name"), IMAGES)
def test_an_image_can_be_built_in_its_version_or_says_why_not(release: str, name: str, architecture: str) -> None:
    item = plan.image_item(CATALOG, name, settings(kubernetes_version=release, architectures=[architecture]))
    if item.unbuildable:
        return
    folder = FOLDERS[release]
    layers = folder.layers(name, architecture)
    assert layers
    for program, binaries in layers.binaries.items():
        recipe = folder.recipe(program, item.version, item.name, architecture)
        assert set(binaries.values()) <= set(recipe.packages)
    for program in layers.sources:
        folder.recipe(program, item.version, item.name, architecture)
    assert layers.entrypoint or layers.command


def test_every_layers_file_belongs_to_an_image_or_a_base() -> None:
    folders = {path.parent.name for path in (ROOT / "artifacts/images").glob("*/layers.yml")}
    bases = {layers.base for name in folders if (layers := FOLDER.layers(name, "amd64")) and layers.base}
    built = {
        name
        for name, entry in CATALOG.images.items()
        if not isinstance(entry.unbuildable, str) or not entry.unbuildable
    }
    assert folders == bases | built
    assert bases <= folders


def test_every_recipe_is_used_and_has_its_folder() -> None:
    files = {entry.build.program for entry in CATALOG.files.values() if entry.build}
    made = [layers for name in CATALOG.images if (layers := FOLDER.layers(name, "amd64"))]
    images = {program for layers in made for program in (*layers.binaries, *layers.sources)}
    assert files | images == set(FOLDER.recipes)
    folders = {folder.go(program) for folder in FOLDERS.values() for program in folder.recipes}
    # Also none of a release that is in the table no more.
    assert {path.parent for path in (ROOT / "artifacts/go").rglob("go.mod")} == folders


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("program", sorted(FOLDER.recipes))
def test_a_recipes_module_is_the_one_that_its_go_mod_pins(program: str, release: str) -> None:
    recipe = FOLDERS[release].recipes[program]
    if recipe.module != "-":
        required = (FOLDERS[release].go(program) / "go.mod").read_text().split("require", 1)[1]
        assert f"\t{recipe.module} " in required


@pytest.mark.parametrize("release", RELEASES)
def test_a_recipe_of_kubernetes_is_of_one_release_alone(release: str) -> None:
    """Its own version, and that of each library that it publishes with it, in go.mod and in what it says of itself."""
    folder = FOLDERS[release]
    mods = (folder.go("kubernetes") / "go.mod").read_text()
    published = {line.split()[1] for line in mods.splitlines() if line.startswith("\tk8s.io/") and " v0." in line}
    libraries = {one for one in published if one.startswith("v0.") and not one.startswith("v0.0.0")}
    assert libraries == {f"v0{release.removeprefix('1')}"}
    ldflags = folder.recipes["kubernetes"].ldflags
    assert ldflags.count(f"gitVersion=v{release} ") == 2
    assert ldflags.count(f"gitMinor={release.split('.')[1]} ") == 2


def test_the_shipped_release_is_in_the_table() -> None:
    assert DEFAULTS["artifacts_kubernetes_version"] == Settings().cluster_kubernetes_version
    assert DEFAULTS["artifacts_kubernetes_version"] in RELEASES


def test_the_bundle_holds_every_package_that_roles_install() -> None:
    asked = set()
    for path in ROOT.glob("roles/*/defaults/main.yml"):
        for name, value in (yaml.safe_load(path.read_text()) or {}).items():
            if name.endswith("_packages") and isinstance(value, list):
                asked |= set(value)
    assert asked
    assert asked <= set(EVERYTHING.packages)


def test_the_parts_of_the_defaults_exist() -> None:
    assert set(DEFAULTS["artifacts_parts"]) <= set(CATALOG.parts())
    assert set(DEFAULTS["artifacts_suites"]) <= set(CATALOG.packages.suites)


def test_only_what_a_part_needs_is_wanted() -> None:
    need = plan.wanted(CATALOG, settings(parts=["flannel"], architectures=["amd64"]))
    assert [item.name for item in need.files] == ["cni-plugin-flannel"]
    assert [item.name for item in need.images] == ["flannel"]
    assert need.packages == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"parts": ["kubernets"]}, "not-in-catalog: kubernets … kubernetes"),
        ({"suites": ["sid"]}, "not-in-catalog: sid … bookworm"),
        ({"architectures": ["riscv64"]}, "not-in-catalog: artifacts_architectures … riscv64 … amd64, arm64"),
        ({"here": "s390x"}, "not-in-catalog: s390x … amd64, arm64"),
        ({"kubernetes_version": "1.99.0"}, f"kubernetes-unknown: 1.99.0 … {', '.join(RELEASES)}"),
    ],
)
def test_what_the_catalog_does_not_know_is_refused(change: dict[str, Any], says: str) -> None:
    with refused(says):
        plan.wanted(CATALOG, settings(**change))


TABLE = {
    one: {"etcd": f"3.{number}.0", "coredns": "1.0.0", "pause": "3.10.2"}
    for number, one in enumerate(["1.37.10", "1.37.2", "1.36.3"])
}


def table(**more: Any) -> Catalog:
    value = {"kubernetes": TABLE, "files": {}, "images": {}, "packages": {"suites": {}, "sets": {}}}
    return validated(Path("catalog.yml"), Catalog, value | more)


@pytest.mark.parametrize(
    ("asked", "listed"),
    [("1.36.3", "1.36.3"), ("1.37.2", "1.37.2"), ("1.37.3", "1.37.10"), ("1.36.9", "1.36.3")],
)
def test_a_patch_that_is_not_listed_goes_by_the_newest_of_its_minor_version(asked: str, listed: str) -> None:
    catalog = table()
    assert catalog.listed(asked) == listed
    assert catalog.values(asked) == {"kubernetes": asked, **TABLE[listed]}


@pytest.mark.parametrize("asked", ["1.38.0", "1.3.7", "2.37.2"])
def test_another_minor_version_is_refused_with_those_that_work(asked: str) -> None:
    with refused(f"kubernetes-unknown: {asked} … 1.36.3, 1.37.2, 1.37.10"):
        table().listed(asked)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"1.37": TABLE["1.37.2"]}, "kubernetes.1.37"),
        ({"1.37.2": {"etcd": "3.7.3", "coredns": "1.14.6"}}, "kubernetes.1.37.2.pause"),
        ({"1.37.2": TABLE["1.37.2"] | {"etcd": "v3.7.3"}}, "kubernetes.1.37.2.etcd"),
    ],
)
def test_a_wrong_line_of_the_table_is_named(row: dict[str, Any], says: str) -> None:
    with refused(f"wrong-artifact-file: catalog.yml: {says}"):
        table(kubernetes=row)


RECIPES = """\
kubernetes: {version: "v{{ kubernetes }}", module: "k8s.io/kubernetes v{{ version }}", packages: {a: b},
             ldflags: "-X v=v{{ version }} -X minor={{ minor }} -X major={{ major }}"}
pause: {version: "{{ pause }}", module: "-", packages: {pause: x}, ldflags: "-X v={{ version }}"}
runc: {version: v1.5.2, module: r v1.5.2, packages: {runc: r}, ldflags: "-X {{ version }}"}
"""


def test_a_recipe_follows_the_release_and_has_a_folder_for_each(tmp_path: Path) -> None:
    (tmp_path / "go").mkdir()
    (tmp_path / "go/recipes.yml").write_text(RECIPES)
    (tmp_path / "catalog.yml").write_text(yaml.safe_dump(table().model_dump()))
    older, newest = Folder(tmp_path, "1.36.3"), Folder(tmp_path)
    recipe = older.recipes["kubernetes"]
    assert (recipe.version, recipe.module) == ("1.36.3", "k8s.io/kubernetes v1.36.3")
    assert recipe.ldflags == "-X v=v1.36.3 -X minor=36 -X major=1"
    assert older.go("kubernetes") == older.path / "go/kubernetes/1.36.3"
    assert newest.go("kubernetes").name == "1.37.10"
    # Our own program is the same in each; what follows nothing is as it is written.
    assert older.recipes["pause"].ldflags == "-X v=3.10.2"
    assert older.go("pause") == older.path / "go/pause"
    assert older.recipes["runc"].ldflags == "-X {{ version }}"
    assert older.go("runc") == older.path / "go/runc"
    with refused("not-buildable: kubelet 1.36.9 … 1.36.3, 1.37.2, 1.37.10"):
        Folder(tmp_path, "1.36.9").recipe("kubernetes", "1.36.9", "kubelet", "amd64")
    with refused("kubernetes-unknown: 1.35.0"):
        Folder(tmp_path, "1.35.0")


FILE: dict[str, Any] = {"version": "1", "address": "x.org/y", "parts": [], "build": {"program": "x", "binary": "y"}}


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        pytest.param(FILE | {"adress": "x"}, "adress", id="unknown key"),
        pytest.param(FILE | {"build": None}, "unbuildable", id="neither built nor excused"),
        pytest.param(FILE | {"unbuildable": "why"}, "unbuildable", id="built and excused"),
        pytest.param(FILE | {"build": None, "unbuildable": {"arm64": "why"}}, "unbuildable", id="excused for one"),
        pytest.param(FILE | {"unbuildable": {"arm": "why"}}, "unbuildable", id="excused for no architecture"),
        pytest.param(FILE | {"runs": ["anywhere"]}, "runs", id="runs nowhere"),
        pytest.param(FILE | {"build": {"program": "x"}}, "one of `binary`", id="no form"),
        pytest.param(
            FILE | {"build": {"program": "x", "binary": "y", "source": "z"}}, "one of `binary`", id="two forms"
        ),
        pytest.param(FILE | {"version": None}, "version", id="no version"),
    ],
)
def test_a_wrong_entry_is_named(entry: dict[str, Any], says: str) -> None:
    value = {"files": {"thing": entry}, "images": {}, "packages": {"suites": {}, "sets": {}}}
    with refused(f"wrong-artifact-file: catalog.yml: files.thing … {says}"):
        validated(Path("catalog.yml"), Catalog, value)


def test_an_entry_with_a_reason_needs_no_build() -> None:
    value = {"files": {"thing": FILE | {"build": None, "unbuildable": "why"}}, "images": {}}
    read = validated(Path("catalog.yml"), Catalog, value | {"packages": {"suites": {}, "sets": {}}})
    assert read.files["thing"].unbuildable == "why"


def test_a_name_that_is_not_known_in_an_address_is_named() -> None:
    with refused("unknown-placeholder: files.x … 'verson' … known here: version"):
        fill("x.org/{{ verson }}", "files.x", version="1")


def test_a_recipes_version_goes_without_its_v() -> None:
    assert Recipe(version="v1.2.3", module="m v1.2.3", packages={}).version == "1.2.3"


def test_a_program_without_a_recipe_is_named_with_those_that_have_one() -> None:
    with refused("not-buildable: kubelet: … kubernets … kubernetes"):
        FOLDER.recipe("kubernets", "", "kubelet", "amd64")


@pytest.mark.parametrize(
    ("text", "error_id"),
    [("files: [", "yaml-syntax"), (None, "file-missing"), ("files: {}\n", "wrong-artifact-file")],
)
def test_a_catalog_that_cannot_be_read_is_named(tmp_path: Path, text: str | None, error_id: str) -> None:
    if text is not None:
        (tmp_path / "catalog.yml").write_text(text)
    with refused(f"{error_id}: {tmp_path}/catalog.yml"):
        Folder(tmp_path)
