"""What is baked into machines: items of the bundle in the places of the roles, and the key that follows from them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from slipway.artifacts.manifest import Manifest
from slipway.lab import baked
from slipway.lab.baked import BOX, CONTROLLER, KINDS, MIRROR, WORKER, Baked
from slipway.node.fetch import is_current, load_record
from slipway.paths import ROOT

from tests.support.bundle import write_bundle
from tests.support.errors import refused

IMAGE = "slipway-node:0"


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return write_bundle(tmp_path / "cache", tmp_path / "state")


def made(manifest: Manifest, kind: str, image: str = IMAGE) -> Baked:
    parent = baked.baked(manifest, WORKER, "debian-12", "bookworm", image) if kind == CONTROLLER else None
    return baked.baked(manifest, kind, "debian-12", "bookworm", image, parent)


def test_each_kind_has_what_its_roles_install(manifest: Manifest) -> None:
    programs = {kind: {item["name"] for item in made(manifest, kind).items} for kind in (*KINDS, BOX)}
    node = {"cni-plugin-flannel", "containerd", "runc", "cni-plugins", "kubeadm", "kubelet"}
    assert programs == {
        MIRROR: {"registry"},
        WORKER: node,
        CONTROLLER: node | {"kubectl", "helm", "istioctl"},
        BOX: node - {"kubeadm", "kubelet"},
    }
    images = {kind: {name.split("/")[-1].split(":")[0] for name in made(manifest, kind).images} for kind in KINDS}
    assert images[MIRROR] == set()
    assert images[WORKER] == {"pause", "kube-proxy", "flannel"}
    assert images[CONTROLLER] - images[WORKER] == {
        "kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd", "coredns",
    }  # fmt: skip
    assert made(manifest, MIRROR).packages == ("ca-certificates", "iproute2", "nginx-light")
    assert {"chrony", "socat"} <= set(made(manifest, BOX).packages)


def test_the_tools_of_controllers_are_those_that_the_wiring_gives_to_their_role() -> None:
    wiring = (ROOT / "group_vars/all/wiring.yml").read_text()
    asked = re.search(r"^tools_files: >-\n.*?bundle_files\(\[(.*?)\]", wiring, re.MULTILINE | re.DOTALL)
    assert asked
    assert re.findall(r"'(\w+)'", asked[1]) == list(baked.TOOLS)


def test_the_key_follows_from_what_goes_in_and_from_nothing_else(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = made(manifest, WORKER).digest
    # Another machine's item, and an add-on's image.
    other = write_bundle(tmp_path / "more", tmp_path / "state", registry="2.0", kubectl="2.0")
    assert other.id != manifest.id
    assert made(other, WORKER).digest == worker
    assert made(other, MIRROR).digest != made(manifest, MIRROR).digest
    assert made(other, CONTROLLER).digest != made(manifest, CONTROLLER).digest
    assert made(write_bundle(tmp_path / "new", tmp_path / "state", runc="2.0"), WORKER).digest != worker
    assert made(manifest, WORKER, "slipway-node:1").digest != worker
    images = {**manifest.images, "pause": manifest.images["pause"].model_copy(update={"digest": "sha256:other"})}
    assert made(manifest.model_copy(update={"images": images}), WORKER).digest != worker
    monkeypatch.setattr(baked, "_code", lambda: "other")
    assert made(manifest, WORKER).digest != worker


def test_a_controller_is_made_on_top_of_a_worker_and_gets_only_what_that_lacks(manifest: Manifest) -> None:
    controller, worker = made(manifest, CONTROLLER), made(manifest, WORKER)
    assert (controller.base, worker.base) == (worker.tag, IMAGE)
    order = baked.order(controller, manifest, "/mnt/bundles", "bookworm")
    assert set(order["images"]) == set(controller.images) - set(worker.images)
    assert order["sandbox"] == "registry.k8s.io/pause:1"
    assert order["storage"] == f"/mnt/bundles/{manifest.id}/registry"
    assert {item["url"].rpartition("/")[0] for item in order["items"]} == {
        f"file:///mnt/bundles/{manifest.id}/files/example.org"
    }


def test_what_the_bundle_lacks_is_named(manifest: Manifest) -> None:
    images = {name: image for name, image in manifest.images.items() if name != "etcd"}
    with refused("not-in-bundle: etcd"):
        made(manifest.model_copy(update={"images": images}), CONTROLLER)
    files = {name: file for name, file in manifest.files.items() if not name.startswith("runc")}
    with refused("not-in-bundle: runc"):
        made(manifest.model_copy(update={"files": files}), WORKER)


def test_a_bundle_that_is_gone_counts_as_none(tmp_path: Path, manifest: Manifest) -> None:
    assert baked.bundle_of(tmp_path / "state") == manifest
    Path(manifest.path, "bundle.json").unlink()
    assert baked.bundle_of(tmp_path / "state") is None
    (tmp_path / "state/bundle.json").write_text("{")
    assert baked.bundle_of(tmp_path / "state") is None
    assert baked.bundle_of(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(("said", "is_baked"), [("auto", True), ("always", True), ("never", False)])
def test_a_box_is_baked_unless_the_page_forbids_it(
    tmp_path: Path, manifest: Manifest, said: str, is_baked: bool
) -> None:
    assert (baked.of_box(tmp_path / "state", said, "debian-12") is not None) is is_baked
    Path(manifest.path, "bundle.json").unlink()
    assert baked.of_box(tmp_path / "state", said, "debian-12") is None


def test_what_is_put_below_a_folder_is_what_the_roles_look_for(tmp_path: Path, manifest: Manifest) -> None:
    """The module node_service asks ``is_current``, on the machine, of every item."""
    folder = tmp_path / "root"
    folder.mkdir()
    box = made(manifest, BOX)
    baked.tree(box, folder)
    assert (folder / "usr/local/bin/ctr").read_text() == "bin/ctr 1.0"
    assert not (folder / "usr/local/bin/containerd-stress").exists()
    assert (folder / "opt/cni/bin/flannel").stat().st_mode & 0o777 == 0o755
    record = load_record(str(folder / "var/lib/slipway/artifacts.json"))
    # As the machine sees it, whose root the folder becomes.
    there: dict[str, Any] = {
        f"{folder}{key}": {**entry, "files": {f"{folder}{path}": mark for path, mark in entry["files"].items()}}
        for key, entry in record.items()
    }
    assert {item["name"]: is_current({**item, "dest": f"{folder}{item['dest']}"}, there) for item in box.items} == {
        item["name"]: True for item in box.items
    }
    assert {mark[1] for entry in record.values() for mark in entry["files"].values()} == {0}
    assert json.loads((folder / "usr/share/slipway/baked.json").read_text())["programs"]["runc"] == "1.0"
