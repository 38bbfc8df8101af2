"""What else a layer is made of: files of this repository, of wheels and of pinned modules."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from slipway.artifacts import golang, image, tree, wheel
from slipway.artifacts.catalog import Layers, Recipe, Wheel, validated

from tests.support.errors import refused


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    app = tmp_path / "apps" / "shop"
    (app / "static" / "__pycache__").mkdir(parents=True)
    (app / ".cache").mkdir()
    (app / "static" / "page.html").write_text("page")
    (app / "serve").write_text("#!/bin/sh\n")
    (app / "serve").chmod(0o700)
    for leftover in ("static/__pycache__/x.pyc", ".cache/x", ".hidden"):
        (app / leftover).write_text("left there")
    return tmp_path


def members(root: Path, paths: dict[str, str]) -> dict[str, int]:
    return {member.path: member.mode for member in tree.members(root, paths)}


def test_a_folder_of_the_repository_comes_without_what_runs_and_editors_leave(repository: Path) -> None:
    found = members(repository, {"/srv/shop": "apps/shop", "/bin/serve": "apps/shop/serve"})
    assert found == {"srv/shop/serve": 0o755, "srv/shop/static/page.html": 0o644, "bin/serve": 0o755}


def test_the_sums_of_a_folder_change_with_content_mode_and_name(repository: Path) -> None:
    page = repository / "apps/shop/static/page.html"
    seen = [tree.sums(repository, "apps")]
    page.write_text("another page")
    seen.append(tree.sums(repository, "apps"))
    page.chmod(0o755)
    seen.append(tree.sums(repository, "apps"))
    page.rename(page.with_name("index.html"))
    seen.append(tree.sums(repository, "apps"))
    assert all(seen.count(one) == 1 for one in seen)


def test_the_sums_of_a_folder_do_not_change_with_dates_and_leftovers(repository: Path) -> None:
    before = tree.sums(repository, "apps")
    (repository / "apps/shop/static/page.html").touch()
    (repository / "apps/shop/.editor").write_text("x")
    (repository / "apps/shop/serve").chmod(0o755)
    assert tree.sums(repository, "apps") == before


@pytest.mark.parametrize("path", ["apps/../..", "/etc/passwd", "apps/none"])
def test_what_is_not_of_the_repository_is_refused(repository: Path, path: str) -> None:
    with refused("wrong-artifact-file: no file or folder"):
        tree.found(repository, path)


def test_links_and_empty_folders_are_refused(repository: Path) -> None:
    (repository / "apps/empty").mkdir()
    with refused("wrong-artifact-file: holds no file"):
        tree.found(repository, "apps/empty")
    (repository / "apps/shop/link").symlink_to("/etc/passwd")
    with refused("wrong-artifact-file: apps/shop/link … link"):
        tree.found(repository, "apps")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "tool-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as opened:
        program = zipfile.ZipInfo("tool/_bin/tool", (2026, 11, 21, 0, 0, 0))
        program.external_attr = 0o100755 << 16
        opened.writestr(program, b"program")
        opened.writestr("tool/data.txt", b"data")
    return path


def test_files_of_a_wheel_keep_whether_they_can_be_run(archive: Path) -> None:
    found = list(wheel.members(archive, {"/usr/local/bin/tool": "tool/_bin/tool", "/etc/data": "tool/data.txt"}))
    assert [(member.path, member.mode, member.content) for member in found] == [
        ("usr/local/bin/tool", 0o755, b"program"),
        ("etc/data", 0o644, b"data"),
    ]


def test_what_a_wheel_does_not_hold_is_said(archive: Path) -> None:
    with refused("wrong-archive: tool-1.0 … tool/tool … tool/_bin/tool"):
        list(wheel.members(archive, {"/x": "tool/tool"}))


def test_a_wheel_needs_a_whole_sum() -> None:
    value = {"wheels": {"tool": {"version": "1.0", "sha256": "abc", "files": {}}}}
    with refused("wrong-artifact-file: layers.yml: wheels.tool.sha256"):
        validated(Path("layers.yml"), Layers, value)


def test_a_module_without_that_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("text")
    assert golang.module_file("x", tmp_path, "LICENSE").read_text() == "text"
    with refused(f"wrong-artifact-file: x: {tmp_path} … config/none.yml"):
        golang.module_file("x", tmp_path, "config/none.yml")


def test_the_key_of_a_modules_files_goes_by_what_pins_it(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module slipway.local/x\n\nrequire example.com/x v1.0.0\n")
    recipe = Recipe(version="1.0.0", module="example.com/x v1.0.0", packages={})
    key = golang.source_key(recipe, tmp_path)
    assert golang.source_key(recipe.model_copy(update={"ldflags": "-X a=b"}), tmp_path) == key
    (tmp_path / "go.mod").write_text("module slipway.local/x\n\nrequire example.com/x v1.0.1\n")
    assert golang.source_key(recipe, tmp_path) != key


def test_a_layer_holds_all_of_it_whatever_the_dates(repository: Path, archive: Path, tmp_path: Path) -> None:
    module = tmp_path / "module"
    module.mkdir()
    (module / "conf.json").write_text("{}")
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    layers = Layers(
        sources={"mesh": {"/etc/conf.json": "conf.json"}},
        wheels={"tool": Wheel(version="1.0", sha256=sha256, files={"/bin/tool": "tool/_bin/tool"})},
        repository={"/srv/shop": "apps/shop"},
    )
    inputs = image.Inputs(modules={"mesh": module}, wheels={"tool": archive}, root=repository)
    sums = set()
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (repository / "apps/shop/static/page.html").touch()
        (module / "conf.json").touch()
        sums.add(image.write_layer(tmp_path / folder, image.layer_members(layers, inputs)))
    assert len(sums) == 1
    with tarfile.open(fileobj=io.BytesIO((tmp_path / "one" / image.LAYER).read_bytes())) as tar:
        found = {info.name: oct(info.mode) for info in tar if info.isfile()}
        assert {info.mtime for info in tar} == {0}
    assert found == {
        "bin/tool": "0o755",
        "etc/conf.json": "0o644",
        "srv/shop/serve": "0o755",
        "srv/shop/static/page.html": "0o644",
    }
