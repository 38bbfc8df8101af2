"""Images that docker save wrote: what is taken of them, what is refused, and what a mirror has to have."""

from __future__ import annotations

import importlib.util
import io
import json
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from slipway.artifacts import local
from slipway.artifacts.local import LocalImage

from tests.support.errors import refused
from tests.support.image import saved, sha

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("web", ("docker.io/library/web", "latest")),
        ("web:dev", ("docker.io/library/web", "dev")),
        ("shop/web:dev", ("docker.io/shop/web", "dev")),
        ("docker.io/web:dev", ("docker.io/library/web", "dev")),
        ("docker.io/shop/web", ("docker.io/shop/web", "latest")),
        ("ghcr.io/shop/web:1.0", ("ghcr.io/shop/web", "1.0")),
        ("localhost/web:1", ("localhost/web", "1")),
        ("localhost:5000/web", ("localhost:5000/web", "latest")),
        ("example.org:5000/a/b__c:1", ("example.org:5000/a/b__c", "1")),
    ],
)
def test_a_name_is_read_as_docker_and_kubernetes_read_it(text: str, name: tuple[str, str]) -> None:
    assert local.reference(text) == name


@pytest.mark.parametrize("text", ["", ":", "Web", "web:", "web:a b", "a//b", "../a", "web@sha256:0", "shop/_manifests"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with refused("not-an-image"):
        local.reference(text)


@pytest.mark.parametrize(
    ("text", "file"),
    [("./x.tar", True), ("/x", True), ("~/x", True), ("x.tar", True), ("x.tgz", True), ("web:dev", False)],
)
def test_a_file_is_told_from_a_name(text: str, file: bool) -> None:
    assert local.is_file(text) is file


@pytest.mark.parametrize("squeeze", [False, True])
def test_an_image_keeps_its_bytes_and_gets_a_manifest_of_them(tmp_path: Path, squeeze: bool) -> None:
    tar, root = saved(tmp_path, "shop/web:dev", squeeze=squeeze), tmp_path / "images"
    image = local.take(str(tar), root)
    assert (image.reference, image.name) == ("docker.io/shop/web:dev", "docker.io/shop/web")
    folder = root / image.digest.removeprefix("sha256:")
    for blob in (image.digest, *image.blobs):
        assert sha((folder / blob.removeprefix("sha256:")).read_bytes()) == blob.removeprefix("sha256:")
    manifest = json.loads((folder / folder.name).read_text())
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert image.blobs == [manifest["config"]["digest"], *(one["digest"] for one in manifest["layers"])]
    ending = "+gzip" if squeeze else ""
    assert {one["mediaType"] for one in manifest["layers"]} == {f"application/vnd.oci.image.layer.v1.tar{ending}"}
    for one in (manifest["config"], *manifest["layers"]):
        assert one["size"] == (folder / one["digest"].removeprefix("sha256:")).stat().st_size
    # The same once more is the same, and nothing else is left.
    assert local.take(str(tar), root) == image
    assert [path.name for path in root.iterdir()] == [folder.name]


def test_what_a_killed_run_left_goes(tmp_path: Path) -> None:
    root = tmp_path / "images"
    (root / ".left").mkdir(parents=True)
    local.take(str(saved(tmp_path, "web:1")), root)
    assert not (root / ".left").exists()


@pytest.mark.parametrize(
    ("tags", "given", "said"),
    [
        ((), {}, "wrong-archive: without a name"),
        (("web:1", "web:2"), {}, "wrong-archive: docker.io/library/web:1, docker.io/library/web:2"),
        (("web:1",), {"architecture": "arm64"}, "wrong-platform: linux/arm64 … linux/amd64"),
        (("web:1",), {"rootfs": {"diff_ids": ["sha256:0", "sha256:1"]}}, "wrong-archive: configuration"),
        (("web:1",), {"rootfs": {}}, "wrong-archive"),
    ],
)
def test_what_nodes_could_not_run_is_refused(
    tmp_path: Path, tags: tuple[str, ...], given: dict[str, Any], said: str
) -> None:
    root = tmp_path / "images"
    with refused(said):
        local.take(str(saved(tmp_path, *tags, **given)), root)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize(
    ("nodes", "image", "said"),
    [
        (["amd64"], "amd64", ""),
        (["arm64"], "arm64", ""),
        (["amd64", "arm64"], "arm64", ""),
        (["arm64"], "amd64", "wrong-platform: linux/amd64 … linux/arm64: docker build --platform linux/arm64"),
        (["amd64", "arm64"], "s390x", "wrong-platform: linux/s390x … linux/amd64, linux/arm64"),
    ],
)
def test_an_image_is_for_the_architecture_of_nodes(tmp_path: Path, nodes: list[str], image: str, said: str) -> None:
    tar, root = str(saved(tmp_path, "web:1", architecture=image)), tmp_path / "images"
    if said:
        with refused(said):
            local.take(tar, root, nodes)
        return
    taken, _new = local.load(tar, root, tmp_path, [], architectures=nodes)
    assert local.not_for(taken, root, nodes) == [one for one in nodes if one != image]


@pytest.mark.parametrize(("name", "data"), [("x", b""), ("x", b"no tar"), ("manifest.json", b"{}")])
def test_what_docker_did_not_save_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / "image.tar"
    if data == b"no tar":
        path.write_bytes(data)
    else:
        with tarfile.open(path, "w") as tar:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    with refused("wrong-archive: docker save --output"):
        local.take(str(path), tmp_path / "images")
    with refused("file-missing"):
        local.take(str(tmp_path / "none.tar"), tmp_path / "images")


def test_docker_is_asked_for_an_image_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(text: str, target: Path) -> None:
        assert text == "web:2"
        saved(target.parent, "web:1", "web:2", named=target.name)

    monkeypatch.setattr(local, "save", save)
    assert local.take("web:2", tmp_path / "images").reference == "docker.io/library/web:2"


def test_why_docker_gives_none_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\necho 'Error response from daemon: reference does not exist' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with refused("docker-lacks-image: web:1 … reference does not exist"):
        local.take("web:1", tmp_path / "images")
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with refused("program-missing: docker"):
        local.take("web:1", tmp_path / "images")


def test_what_is_loaded_is_named_and_is_not_in_the_bundle(tmp_path: Path) -> None:
    with refused("not-an-image: make load-image IMAGE="):
        local.load("", tmp_path / "images", tmp_path, [])
    tar = str(saved(tmp_path, "shop/web:dev"))
    with refused("image-in-bundle: docker tag"):
        local.load(tar, tmp_path / "images", tmp_path, ["docker.io/shop/web:dev"])
    assert local.recorded(tmp_path) == []
    loaded, new = local.load(tar, tmp_path / "images", tmp_path, ["docker.io/shop/web:1"])
    assert (loaded.pinned, new) == (f"docker.io/shop/web@{loaded.digest}", True)
    assert local.load(tar, tmp_path / "images", tmp_path, []) == (loaded, False)


def image(tag: str = "dev", digest: str = "sha256:1", blobs: tuple[str, ...] = ("sha256:2",)) -> LocalImage:
    return LocalImage(name="docker.io/shop/web", tag=tag, digest=digest, blobs=list(blobs))


def test_only_a_digest_that_was_not_there_is_new(tmp_path: Path) -> None:
    assert local.recorded(tmp_path) == []
    assert local.record(tmp_path, image(), write=False)
    assert local.recorded(tmp_path) == []
    assert local.record(tmp_path, image())
    assert not local.record(tmp_path, image())
    assert local.record(tmp_path, image("other"))
    assert local.record(tmp_path, image(digest="sha256:3"))
    assert [(one.tag, one.digest) for one in local.recorded(tmp_path)] == [("dev", "sha256:3"), ("other", "sha256:1")]


def test_two_that_are_noted_at_the_same_time_are_both_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    present = local.recorded

    def slowly(state: Path) -> list[LocalImage]:
        found = present(state)
        time.sleep(0.2)
        return found

    monkeypatch.setattr(local, "recorded", slowly)
    with ThreadPoolExecutor() as pool:
        assert list(pool.map(lambda tag: local.record(tmp_path, image(tag)), ("one", "two"))) == [True, True]
    assert [one.tag for one in present(tmp_path)] == ["one", "two"]


def test_a_record_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "images.json").write_text("[{}]")
    with refused("cache-damaged: images.json"):
        local.recorded(tmp_path)


def test_the_mirror_has_to_have_every_blob_of_what_was_loaded(tmp_path: Path) -> None:
    root = tmp_path / "images"
    assert local.on_the_mirror(tmp_path, root) == []
    loaded = local.take(str(saved(tmp_path, "web:1")), root)
    local.record(tmp_path, loaded)
    (listed,) = local.on_the_mirror(tmp_path, root)
    assert (listed["name"], listed["tag"], listed["digest"]) == (loaded.name, "1", loaded.digest)
    # The manifest first: role mirror gives it the image's digest and tag.
    assert [blob["name"] for blob in listed["blobs"]] == [
        one.removeprefix("sha256:") for one in (loaded.digest, *loaded.blobs)
    ]
    Path(listed["blobs"][-1]["path"]).unlink()
    with refused("loaded-image-gone: make load-image IMAGE=docker.io/library/web:1)"):
        local.on_the_mirror(tmp_path, root)


def test_the_filter_says_so_without_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("slipway_filter_local", ROOT / "plugins/filter/local_images.py")
    assert spec
    assert spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    listed = module.FilterModule().filters()["local_images"]
    assert listed(str(tmp_path)) == []
    local.record(tmp_path, image())
    with refused("loaded-image-gone", AnsibleFilterError):
        listed(str(tmp_path))
