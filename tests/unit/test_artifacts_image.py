"""Layers and images have the same bytes whenever and wherever they are made."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from slipway.artifacts import image
from slipway.artifacts.archive import Member, write_tar, write_tgz
from slipway.artifacts.bundle import add_image
from slipway.artifacts.catalog import Layers
from slipway.artifacts.manifest import ImageFacts

from tests.support.errors import refused

MEMBERS = [
    Member("usr/bin/tool", 0o755, b"tool"),
    Member("etc/config", 0o644, b"text"),
    Member("tmp", 0o1777),
    Member("bin", 0o777, link="usr/bin"),
]
RUNS = Layers(entrypoint=["/usr/bin/tool"], user="1:1", env={"PATH": "/usr/bin"})


def tar_of(members: list[Member], *, folders: bool = True) -> bytes:
    out = io.BytesIO()
    write_tar(out, members, folders=folders)
    return out.getvalue()


def names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getnames()


def layout(folder: Path, members: list[Member] | None = None, architecture: str = "amd64") -> str:
    folder.mkdir()
    sha256 = image.write_layer(folder, members or MEMBERS)
    return image.write_layout(folder, [(sha256, folder / image.LAYER)], RUNS, architecture)


def test_the_order_of_members_does_not_matter() -> None:
    assert tar_of(MEMBERS) == tar_of(MEMBERS[::-1])


def test_members_stand_in_order_after_their_folders() -> None:
    assert names(tar_of(MEMBERS)) == ["bin", "etc", "etc/config", "tmp", "usr", "usr/bin", "usr/bin/tool"]
    assert names(tar_of(MEMBERS[:1], folders=False)) == ["usr/bin/tool"]


def test_what_stands_later_wins() -> None:
    data = tar_of([Member("etc/config", 0o644, b"first"), Member("etc/config", 0o600, b"second")])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        file = tar.extractfile("etc/config")
        assert file
        assert file.read() == b"second"
        assert tar.getmember("etc/config").mode == 0o600


def test_nobody_and_no_time_is_in_a_tar() -> None:
    with tarfile.open(fileobj=io.BytesIO(tar_of(MEMBERS))) as tar:
        for info in tar:
            assert (info.uid, info.gid, info.uname, info.gname, info.mtime) == (0, 0, "", "", 0)
        assert tar.getmember("tmp").mode == 0o1777


def test_an_archive_has_the_same_bytes_under_any_name(tmp_path: Path) -> None:
    for name in ("one.tgz", "two.tar.gz"):
        write_tgz(tmp_path / name, MEMBERS[:1])
    first = (tmp_path / "one.tgz").read_bytes()
    assert first == (tmp_path / "two.tar.gz").read_bytes()
    assert names(gzip.decompress(first)) == ["usr/bin/tool"]


def test_the_same_members_give_the_same_digest(tmp_path: Path) -> None:
    assert layout(tmp_path / "one") == layout(tmp_path / "two", MEMBERS[::-1])


def test_the_digest_is_pinned(tmp_path: Path) -> None:
    # Another one means that FORMAT in jobs.py goes up by one, and every user's images are made anew.
    assert layout(tmp_path / "one") == "sha256:1093ee2933fd1e310fde64308eceaf08cbc694605bcc1f0571b0b8c1206d09a3"


def test_a_layout_holds_what_it_names(tmp_path: Path) -> None:
    digest = layout(tmp_path / "one")
    got, blobs = image.blobs_of(tmp_path / "one")
    assert got == digest
    for blob in [digest, *blobs]:
        data = image.blob_path(tmp_path / "one", blob).read_bytes()
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == blob
    manifest = json.loads(image.blob_path(tmp_path / "one", digest).read_text())
    assert manifest["annotations"] == {"io.slipway.source": "built"}
    config = json.loads(image.blob_path(tmp_path / "one", blobs[0]).read_text())
    assert config["rootfs"]["diff_ids"] == blobs[1:]
    assert config["config"] == {
        "Entrypoint": ["/usr/bin/tool"],
        "Env": ["PATH=/usr/bin"],
        "User": "1:1",
        "WorkingDir": "/",
    }


def test_certificates_become_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Member(f"usr/share/ca-certificates/mozilla/{name}.crt", 0o644, f"{name}\n".encode()) for name in "ab"]
    monkeypatch.setattr(image, "unpacked", lambda *_arguments: iter([*found, Member("usr/bin/x", 0o755, b"x")]))
    layers = Layers(certificates="/etc/ssl/certs/ca-certificates.crt", packages=["ca-certificates"], suite="bookworm")
    members = {member.path: member.content for member in image.layer_members(layers, image.Inputs(debs=[tmp_path]))}
    assert members == {"usr/bin/x": b"x", "etc/ssl/certs/ca-certificates.crt": b"a\nb\n"}


def test_packages_that_only_scripts_need_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def unpacked(debs: Sequence[Path], *_more: object) -> Iterator[Member]:
        seen.extend(deb.name for deb in debs)
        return iter(())

    monkeypatch.setattr(image, "unpacked", unpacked)
    layers = Layers(packages=["a"], suite="bookworm", leave_out=["debconf"])
    debs = [tmp_path / "debconf_1_all.deb", tmp_path / "a_1_all.deb"]
    list(image.layer_members(layers, image.Inputs(debs=debs)))
    assert seen == ["a_1_all.deb"]


def facts(digest: str) -> ImageFacts:
    return ImageFacts(name="registry.k8s.io/tool", tag="1.0", digest=digest, source="built")


def test_an_image_enters_the_registrys_storage_by_links(tmp_path: Path) -> None:
    digest = layout(tmp_path / "one")
    storage = tmp_path / "registry"
    add_image(storage, facts(digest), tmp_path / "one")
    name = digest.partition(":")[2]
    blob = storage / "blobs" / "sha256" / name[:2] / name / "data"
    assert blob.stat().st_ino == image.blob_path(tmp_path / "one", digest).stat().st_ino
    repository = storage / "repositories/registry.k8s.io/tool"
    assert (repository / "_manifests/tags/1.0/current/link").read_text() == digest
    assert (repository / "_manifests/revisions/sha256" / name / "link").read_text() == digest
    assert len(list((repository / "_layers/sha256").iterdir())) == 2


def both(folder: Path) -> tuple[dict[str, str], str]:
    """An image for two architectures: the digest of each, and that of the index."""
    each = {one: layout(folder / one, [Member("tool", 0o755, one.encode())], one) for one in ("amd64", "arm64")}
    (folder / "both").mkdir()
    return each, image.write_index(folder / "both", {one: folder / one for one in reversed(each)})


def test_an_image_for_two_architectures_is_an_index_of_both(tmp_path: Path) -> None:
    each, digest = both(tmp_path)
    assert image.manifests_of(tmp_path / "both") == [digest, *each.values()]
    _digest, blobs = image.blobs_of(tmp_path / "both")
    for blob in [digest, *each.values(), *blobs]:
        data = image.blob_path(tmp_path / "both", blob).read_bytes()
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == blob
    index = json.loads(image.blob_path(tmp_path / "both", digest).read_text())
    assert index["mediaType"] == "application/vnd.oci.image.index.v1+json"
    found = {
        one["platform"]["architecture"]: (one["platform"]["os"], one["digest"], one["size"])
        for one in index["manifests"]
    }
    assert found == {
        one: ("linux", digest, image.blob_path(tmp_path / one, digest).stat().st_size) for one, digest in each.items()
    }
    for one, manifest in each.items():
        config = json.loads(image.blob_path(tmp_path / "both", manifest).read_text())["config"]["digest"]
        assert json.loads(image.blob_path(tmp_path / "both", config).read_text())["architecture"] == one


def test_the_index_depends_on_nothing_but_its_images(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    assert both(tmp_path / "one") == both(tmp_path / "two")


def test_a_registry_has_an_index_and_each_image_in_it(tmp_path: Path) -> None:
    each, digest = both(tmp_path)
    storage = tmp_path / "registry"
    add_image(storage, facts(digest), tmp_path / "both")
    repository = storage / "repositories/registry.k8s.io/tool"
    assert (repository / "_manifests/tags/1.0/current/link").read_text() == digest
    for one in (digest, *each.values()):
        name = one.partition(":")[2]
        assert (repository / "_manifests/revisions/sha256" / name / "link").read_text() == one
        assert (storage / "blobs/sha256" / name[:2] / name / "data").exists()
    # A configuration and a layer of each.
    assert len(list((repository / "_layers/sha256").iterdir())) == 4


def test_an_image_that_is_not_the_manifests_is_refused(tmp_path: Path) -> None:
    layout(tmp_path / "one")
    with refused("cache-damaged: Remove the folder"):
        add_image(tmp_path / "registry", facts("sha256:" + "0" * 64), tmp_path / "one")


@pytest.mark.parametrize(("asked", "wrong"), [("amd64", False), ("arm64", True)])
def test_an_image_of_upstream_that_is_for_other_machines_is_refused(tmp_path: Path, asked: str, wrong: bool) -> None:
    # A registry that has one image gives that, whatever it is asked for.
    digest = layout(tmp_path / "one", architecture="amd64")
    program = tmp_path / "crane"
    program.write_text(f'#!/bin/sh\necho "$@" > "{tmp_path}/asked"\ncp -r "{tmp_path}/one" "{tmp_path}/pulled"\n')
    program.chmod(0o755)
    crane = image.Crane(program, "https://", asked, threading.Event())
    if wrong:
        with refused("wrong-platform: registry.k8s.io/tool:1 … linux/amd64 … linux/arm64"):
            crane.pull("registry.k8s.io/tool:1", digest, tmp_path / "pulled", tmp_path / "log")
    else:
        crane.pull("registry.k8s.io/tool:1", digest, tmp_path / "pulled", tmp_path / "log")
    assert f"--platform linux/{asked}" in (tmp_path / "asked").read_text()
