"""Images from upstream, out of a real registry with upstream's names."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from slipway.artifacts import image
from slipway.artifacts.archive import Member
from slipway.artifacts.catalog import Layers

from tests.support.errors import refused

if TYPE_CHECKING:
    from tests.artifacts.conftest import Serve, Upstream, Yard

NAME = "registry.k8s.io/pause"
TAG = "3.10.2"
REFERENCE = f"{NAME}:{TAG}"
RELEASE = "github.com/google/go-containerregistry/releases/download/v0.22.1"


class Registry:
    """A registry of upstream's: ``push`` puts an image for two platforms under a tag."""

    def __init__(self, address: str, crane: Path, work: Path) -> None:
        self.address = address
        self.crane = crane
        self.work = work

    def run(self, *arguments: str) -> str:
        command = [str(self.crane), *arguments, "--insecure"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def push(self, reference: str, text: bytes) -> str:
        """Returns the digest of the linux/amd64 image."""
        layout = self.work / "layout"
        shutil.rmtree(layout, ignore_errors=True)
        layout.mkdir()
        sha256 = image.write_layer(layout, [Member("pause", 0o755, text)])
        digest = image.write_layout(layout, [(sha256, layout / image.LAYER)], Layers(entrypoint=["/pause"]), "amd64")
        target = f"{self.address}/{reference}"
        self.run("push", str(layout), f"{target}-amd64")
        other = json.loads(self.run("config", f"{target}-amd64"))
        assert other["architecture"] == "amd64"
        self.run("mutate", f"{target}-amd64", "--set-platform", "linux/arm64", "--tag", f"{target}-arm64")
        self.run("index", "append", "--manifest", f"{target}-arm64", "--manifest", f"{target}-amd64", "--tag", target)
        return digest


@pytest.fixture
def registry(serve: Serve, tools: dict[str, Path], tmp_path: Path) -> Registry:
    return Registry(serve(tmp_path / "upstream", False), tools["crane"], tmp_path)


@pytest.fixture
def site(share_go: Yard) -> Yard:
    """A catalog with one image, and the recipe of crane (files are built, images come from upstream)."""
    entry = {"name": NAME, "version": "{{ pause }}", "tag": "{{ version }}", "parts": ["kubernetes"]}
    share_go.catalog(images={"pause": entry}, files={"crane": crane_entry()})
    return share_go


def crane_entry() -> dict[str, object]:
    return {
        "version": "0.22.1",
        "address": f"{RELEASE}/crane.tar.gz",
        "checksum": f"{RELEASE}/checksums.txt",
        "parts": [],
        "build": {"program": "crane", "folder": "."},
    }


def publish_crane(upstream: Upstream, crane: Path, tmp_path: Path) -> None:
    """Serve crane as its project does."""
    archive = tmp_path / "crane.tar.gz"
    subprocess.run(["tar", "-czf", archive, "-C", crane.parent, "crane"], check=True)
    upstream.publish(f"{RELEASE}/crane.tar.gz", archive.read_bytes(), f"{RELEASE}/checksums.txt")


@pytest.fixture
def crane_upstream(upstream: Upstream, tools: dict[str, Path], tmp_path: Path) -> Upstream:
    publish_crane(upstream, tools["crane"], tmp_path)
    return upstream


def prefixes(upstream: Upstream, registry: Registry) -> dict[str, Any]:
    return {"upstream_prefix": upstream.prefix, "registry_prefix": f"http://{registry.address}/"}


def test_an_image_is_pulled_for_our_platform_and_its_digest_kept(
    site: Yard, crane_upstream: Upstream, registry: Registry
) -> None:
    digest = registry.push(REFERENCE, b"upstream's pause")
    outcome = site.run(**prefixes(crane_upstream, registry))
    assert outcome.manifest
    pause = outcome.manifest.images["pause"]
    assert (pause.name, pause.tag, pause.digest, pause.source) == (NAME, TAG, digest, "upstream")
    assert site.locked()["images"] == {REFERENCE: digest}
    assert outcome.manifest.files == {}, "crane is a tool of the builder"
    assert not site.run(**prefixes(crane_upstream, registry)).changed


def test_a_bundle_is_a_registry_that_serves_the_same_image(
    site: Yard, crane_upstream: Upstream, registry: Registry, serve: Serve, tools: dict[str, Path]
) -> None:
    digest = registry.push(REFERENCE, b"upstream's pause")
    outcome = site.run(**prefixes(crane_upstream, registry))
    assert outcome.manifest
    mirror = Registry(serve(Path(outcome.manifest.path) / "registry", True), tools["crane"], registry.work)
    assert mirror.run("digest", f"{mirror.address}/{REFERENCE}") == digest
    assert mirror.run("catalog", mirror.address).split() == [NAME]
    assert mirror.run("ls", f"{mirror.address}/{NAME}").split() == [TAG]
    mirror.run("pull", "--format", "oci", f"{mirror.address}/{REFERENCE}", str(registry.work / "again"))
    got, blobs = image.blobs_of(registry.work / "again")
    assert got == digest
    assert len(blobs) == 2


def test_a_bundle_for_two_architectures_gives_each_machine_its_own_image(
    site: Yard, crane_upstream: Upstream, registry: Registry, serve: Serve, tools: dict[str, Path]
) -> None:
    amd64 = registry.push(REFERENCE, b"upstream's pause")
    arm64 = registry.run("digest", f"{registry.address}/{REFERENCE}", "--platform", "linux/arm64")
    both = {"architectures": ["amd64", "arm64"], **prefixes(crane_upstream, registry)}
    outcome = site.run(**both)
    assert outcome.manifest
    assert outcome.manifest.images["pause"].digest not in (amd64, arm64)
    assert site.locked()["images"] == {REFERENCE: amd64, f"{REFERENCE} linux/arm64": arm64}
    mirror = Registry(serve(Path(outcome.manifest.path) / "registry", True), tools["crane"], registry.work)
    for architecture, digest in (("amd64", amd64), ("arm64", arm64)):
        platform = f"linux/{architecture}"
        assert mirror.run("digest", f"{mirror.address}/{REFERENCE}", "--platform", platform) == digest
        config = json.loads(mirror.run("config", f"{mirror.address}/{REFERENCE}", "--platform", platform))
        assert config["architecture"] == architecture
    assert not site.run(**both).changed


def test_a_moved_tag_stops_the_run_and_names_both_digests(
    site: Yard, crane_upstream: Upstream, registry: Registry
) -> None:
    first = registry.push(REFERENCE, b"upstream's pause")
    site.run(**prefixes(crane_upstream, registry))
    shutil.rmtree(site.cache / "items" / "image-pause")
    second = registry.push(REFERENCE, b"another pause")
    with refused("checksum-differs") as stopped:
        site.run(**prefixes(crane_upstream, registry))
    assert first in str(stopped.value)
    assert second in str(stopped.value)
    assert f"images: {REFERENCE}" in str(stopped.value)


def test_a_tag_that_does_not_exist_is_named(site: Yard, crane_upstream: Upstream, registry: Registry) -> None:
    registry.push(f"{NAME}:3.9", b"an older pause")
    with refused(f"download-failed: {registry.address}/{REFERENCE} … MANIFEST_UNKNOWN"):
        site.run(**prefixes(crane_upstream, registry))
    assert site.left_behind() == []


def test_a_registry_that_is_not_there_is_reported(site: Yard, crane_upstream: Upstream) -> None:
    with refused("download-failed: 127.0.0.1:9/registry.k8s.io/pause"):
        site.run(upstream_prefix=crane_upstream.prefix, registry_prefix="http://127.0.0.1:9/")


def test_a_blob_that_was_changed_is_noticed(site: Yard, crane_upstream: Upstream, registry: Registry) -> None:
    registry.push(REFERENCE, b"upstream's pause")
    for blob in (registry.work / "upstream").rglob("data"):
        if b"upstream's pause" in blob.read_bytes():
            blob.write_bytes(blob.read_bytes().replace(b"upstream's", b"somebody's"))
    with refused("download-failed"):
        site.run(**prefixes(crane_upstream, registry))
    assert site.left_behind() == []
    assert list((site.cache / "items").glob("image-pause/*/index.json")) == []


def test_built_and_upstream_never_stand_under_one_tag(site: Yard, crane_upstream: Upstream, registry: Registry) -> None:
    registry.push(REFERENCE, b"upstream's pause")
    first = site.run(source="source").manifest
    second = site.run(**prefixes(crane_upstream, registry)).manifest
    assert first
    assert second
    assert first.images["pause"].source == "built"
    assert second.images["pause"].source == "upstream"
    assert first.images["pause"].digest != second.images["pause"].digest
    assert first.path != second.path
    for manifest in (first, second):
        tag = Path(manifest.path) / "registry/docker/registry/v2/repositories" / NAME / "_manifests/tags" / TAG
        assert (tag / "current" / "link").read_text() == manifest.images["pause"].digest
        assert len(list((tag / "index" / "sha256").iterdir())) == 1


def test_a_built_image_says_so(site: Yard) -> None:
    manifest = site.run(source="source").manifest
    assert manifest
    layout = next((site.cache / "items" / "image-pause").glob("*/index.json")).parent
    digest = manifest.images["pause"].digest
    assert json.loads(image.blob_path(layout, digest).read_text())["annotations"] == {"io.slipway.source": "built"}


def test_auto_stays_with_what_is_there_though_upstream_came_back(
    site: Yard, crane_upstream: Upstream, registry: Registry
) -> None:
    registry.push(REFERENCE, b"upstream's pause")
    site.run(source="source")
    again = site.run(source="auto", **prefixes(crane_upstream, registry))
    assert not again.changed
    (site.state / "bundle.json").unlink()
    fresh = site.run(source="auto", **prefixes(crane_upstream, registry))
    assert fresh.manifest
    assert fresh.manifest.images["pause"].source == "upstream"


def test_a_kubernetes_version_without_its_images_is_refused(site: Yard) -> None:
    with refused("kubernetes-unknown: 1.99.0 … 1.37"):
        site.run(kubernetes_version="1.99.0")


@pytest.mark.usefixtures("share_go")
def test_two_images_of_one_name_are_refused(yard: Yard) -> None:
    entry = {"name": NAME, "version": TAG, "tag": "{{ version }}", "parts": ["kubernetes"]}
    (yard.folder / "images").unlink()
    for name in ("pause", "other"):
        described = {"binaries": {"pause": {"/pause": "pause"}}, "entrypoint": ["/pause", name]}
        (yard.folder / "images" / name).mkdir(parents=True)
        (yard.folder / "images" / name / "layers.yml").write_text(yaml.safe_dump(described))
    yard.catalog(images={"pause": entry, "other": entry})
    with refused(f"wrong-artifact-file: {REFERENCE}"):
        yard.run(source="source")
    assert yard.left_behind() == []


def test_an_image_of_our_own_is_put_together_while_the_others_are_pulled(
    site: Yard, crane_upstream: Upstream, registry: Registry, tmp_path: Path
) -> None:
    (tmp_path / "apps").mkdir()
    (tmp_path / "apps" / "page.html").write_text("page")
    (site.folder / "images").unlink()
    (site.folder / "images" / "shop").mkdir(parents=True)
    (site.folder / "images" / "shop" / "layers.yml").write_text("repository: {/srv: apps}\nentrypoint: [/srv/serve]\n")
    shop = {"name": "example.com/shop", "version": "1.0", "tag": "{{ version }}", "parts": ["kubernetes"], "own": True}
    entry = {"name": NAME, "version": TAG, "tag": "{{ version }}", "parts": ["kubernetes"]}
    site.catalog(images={"pause": entry, "shop": shop}, files={"crane": crane_entry()})
    registry.push(REFERENCE, b"upstream's pause")
    changes = {"source": "auto", **prefixes(crane_upstream, registry)}
    manifest = site.run(**changes).manifest
    assert manifest
    assert {name: held.source for name, held in manifest.images.items()} == {"pause": "upstream", "shop": "built"}
    # What is complete needs nobody's answer.
    assert not site.run(**(changes | {"registry_prefix": "http://127.0.0.1:9/"})).changed
