"""The catalog fits the recipes, the layers and the roles, and says what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.artifacts import plan
from slipway.artifacts.catalog import Catalog, Folder, Recipe, fill, validated

from tests.support.errors import refused

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Folder(ROOT / "artifacts")
CATALOG = FOLDER.catalog
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


@pytest.mark.parametrize("item", EVERYTHING.files, ids=lambda item: item.name)
def test_a_file_can_be_built_in_its_version_or_says_why_not(item: plan.FileItem) -> None:
    if item.unbuildable:
        return
    assert item.build
    version = item.build.version or item.version
    recipe = FOLDER.recipe(item.build.program, version, item.name, item.architecture or "amd64")
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
@pytest.mark.parametrize("name", CATALOG.images)
def test_an_image_can_be_built_in_its_version_or_says_why_not(name: str, architecture: str) -> None:
    item = plan.image_item(name, CATALOG.images[name], settings(architectures=[architecture]))
    if item.unbuildable:
        return
    layers = FOLDER.layers(name, architecture)
    assert layers
    for program, binaries in layers.binaries.items():
        recipe = FOLDER.recipe(program, item.version, item.name, architecture)
        assert set(binaries.values()) <= set(recipe.packages)
    for program in layers.sources:
        FOLDER.recipe(program, item.version, item.name, architecture)
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
    assert {path.parent.name for path in (ROOT / "artifacts/go").glob("*/go.mod")} == set(FOLDER.recipes)


@pytest.mark.parametrize("program", sorted(FOLDER.recipes))
def test_a_recipes_module_is_the_one_that_its_go_mod_pins(program: str) -> None:
    recipe = FOLDER.recipes[program]
    if recipe.module != "-":
        required = (ROOT / "artifacts/go" / program / "go.mod").read_text().split("require", 1)[1]
        assert f"\t{recipe.module} " in required


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
        ({"kubernetes_version": "1.99.0"}, "kubernetes-unknown: 1.99.0 … 1.37"),
    ],
)
def test_what_the_catalog_does_not_know_is_refused(change: dict[str, Any], says: str) -> None:
    with refused(says):
        plan.wanted(CATALOG, settings(**change))


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
