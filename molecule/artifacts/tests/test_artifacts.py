"""The bundle on disk is what its manifest says."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.kube import Kube

ROOT = Path(__file__).resolve().parents[3]
FILES = {"kubeadm", "kubelet", "kubectl", "containerd", "runc", "cni-plugins", "cni-plugin-flannel", "helm", "istioctl"}
IMAGES = {
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "etcd",
    "coredns",
    "pause",
    "flannel",
}


@pytest.fixture
def bundle(kube: Kube) -> dict[str, Any]:
    return kube.bundle


def test_the_bundle_holds_what_a_cluster_needs(bundle: dict[str, Any]) -> None:
    assert set(bundle["files"]) >= FILES
    assert set(bundle["images"]) >= IMAGES


def test_every_file_has_the_sum_and_the_size_of_the_manifest(bundle: dict[str, Any]) -> None:
    for name, item in bundle["files"].items():
        path = Path(bundle["path"]) / "files" / item["address"]
        assert path.stat().st_size == item["size"], name
        with path.open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == item["sha256"], name


def test_every_item_says_whether_it_was_built_or_came_from_upstream(bundle: dict[str, Any]) -> None:
    items = {**bundle["files"], **bundle["images"]}
    assert {name for name, item in items.items() if item["source"] not in ("built", "upstream")} == set()


def test_what_is_missing_is_missing_for_a_reason(bundle: dict[str, Any]) -> None:
    assert all(item["name"] and item["reason"] for item in bundle["missing"])


def test_the_manifest_in_the_state_folder_is_the_one_of_the_bundle(bundle: dict[str, Any]) -> None:
    stored = json.loads((Path(bundle["path"]) / "bundle.json").read_text())
    assert {key: value for key, value in bundle.items() if key != "path"} == stored


def test_the_cache_is_not_in_the_checkout(bundle: dict[str, Any]) -> None:
    assert not Path(bundle["path"]).resolve().is_relative_to(ROOT)


def test_a_tool_of_the_bundle_is_the_version_it_says(bundle: dict[str, Any], kube: Kube) -> None:
    said = json.loads(
        subprocess.run(
            [str(kube.program), "version", "--client", "--output=json"], check=True, capture_output=True, text=True
        ).stdout
    )
    assert said["clientVersion"]["gitVersion"] == f"v{bundle['files']['kubectl']['version'].removeprefix('v')}"
