"""The questions that roles ask of a bundle."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.artifacts.manifest import Manifest, bundle_files, bundle_hosts, bundle_images

from tests.support.errors import refused

MANIFEST: dict[str, Any] = {
    "format": 1,
    "id": "0123456789abcdef",
    "path": "/cache/bundles/0123456789abcdef",
    "files": {
        "kubelet": {
            "version": "1.37.0",
            "address": "dl.k8s.io/release/v1.37.0/bin/linux/amd64/kubelet",
            "sha256": "a" * 64,
            "size": 92,
            "source": "built",
        }
    },
    "images": {
        "pause": {"name": "registry.k8s.io/pause", "tag": "3.10.2", "digest": "sha256:" + "b" * 64, "source": "built"},
        "flannel": {
            "name": "ghcr.io/flannel-io/flannel",
            "tag": "v0.28.4",
            "digest": "sha256:" + "c" * 64,
            "source": "upstream",
        },
    },
    "packages": {"bookworm": {"path": "apt/bookworm", "names": ["socat"], "sha256": "d" * 64}},
    "missing": [{"name": "grafana", "reason": "its web pages cannot be built"}],
}


@pytest.mark.parametrize("prefix", ["https://", "http://192.168.56.10/"])
def test_a_files_url_is_prefix_and_upstreams_address(prefix: str) -> None:
    assert bundle_files(MANIFEST, ["kubelet"], prefix) == [
        {
            "name": "kubelet",
            "version": "1.37.0",
            "url": f"{prefix}dl.k8s.io/release/v1.37.0/bin/linux/amd64/kubelet",
            "sha256": "a" * 64,
            "size": 92,
            "source": "built",
        }
    ]


def test_images_are_called_as_upstream_calls_them() -> None:
    assert bundle_images(MANIFEST, ["flannel", "pause"]) == {
        "flannel": "ghcr.io/flannel-io/flannel:v0.28.4",
        "pause": "registry.k8s.io/pause:3.10.2",
    }


def test_hosts_are_upstreams_registries() -> None:
    assert bundle_hosts(MANIFEST) == ["ghcr.io", "registry.k8s.io"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("kublet", "not-in-bundle: file 'kublet' … kubelet … artifacts_parts"),
        ("grafana", "not-in-bundle: grafana … its web pages cannot be built. Switch off"),
    ],
)
def test_what_the_bundle_has_not_is_said(name: str, says: str) -> None:
    with refused(says):
        bundle_files(MANIFEST, [name], "https://")


def test_something_else_is_not_taken_for_a_manifest() -> None:
    with refused("not-a-bundle: make bundle"):
        bundle_hosts({"format": 2})


def test_a_manifest_reads_as_it_was_written() -> None:
    assert Manifest.model_validate(MANIFEST).as_json() == MANIFEST
