"""What runs in the container that an image is made of: items with whole seconds, and requests as a kubelet makes."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from slipway.node import bake
from slipway.node.fetch import load_record, signature

from tests.support.bundle import write_bundle

ITEM: dict[str, Any] = {"mode": "0755", "archive": False, "strip": 0, "only": [], "rename": {}}


def test_a_layer_keeps_whole_seconds_and_so_does_the_record(tmp_path: Path) -> None:
    manifest = write_bundle(tmp_path / "cache", tmp_path / "state")
    (file,) = (file for name, file in manifest.files.items() if name.startswith("runc"))
    url = (Path(manifest.path) / "files" / file.address).as_uri()
    root = tmp_path / "root"
    root.mkdir()
    bake.place([{**ITEM, "name": "runc", "url": url, "sha256": file.sha256, "dest": "/usr/local/bin/runc"}], str(root))
    placed = root / "usr/local/bin/runc"
    record = load_record(str(root / "var/lib/slipway/artifacts.json"))
    assert list(record) == ["/usr/local/bin/runc#runc"]
    assert record["/usr/local/bin/runc#runc"]["files"] == {"/usr/local/bin/runc": signature(str(placed))}
    assert placed.stat().st_mtime_ns % 10**9 == 0
    assert placed.stat().st_mtime > 0


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("a:1", b"\0\0\0\0\x07\x0a\x05\x0a\x03a:1"),
        ("r" * 200, b"\0\0\0\0\xce\x0a\xcb\x01\x0a\xc8\x01" + b"r" * 200),
    ],
)
def test_an_image_is_asked_for_as_a_kubelet_does(reference: str, message: bytes) -> None:
    expected = message[:1] + (len(message) - 5).to_bytes(4, "big") + message[5:]
    assert bake.pull_request(reference) == expected


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ("HTTP/2 200\r\ncontent-type: application/grpc\r\n\r\ngrpc-status: 0\r\n", ""),
        ("HTTP/2 200\r\ngrpc-status: 5\r\ngrpc-message: not found\r\n", "not found"),
        ("HTTP/2 200\r\nGrpc-Status: 14\r\n", "14"),
        # The server went away in between.
        ("HTTP/2 200\r\ncontent-type: application/grpc\r\n", "it did not end"),
        ("", "it did not end"),
    ],
)
def test_the_answer_is_read_out_of_its_trailers(headers: str, said: str) -> None:
    assert bake.complaint(headers) == said


def test_the_registry_and_containerd_are_told_where_everything_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bake, "RUN", str(tmp_path))
    order: Any = {
        "images": ["registry.k8s.io/pause:3", "ghcr.io/flannel-io/flannel:v1"],
        "sandbox": "registry.k8s.io/pause:3",
        "storage": "/mnt/bundles/0/registry",
    }
    assert [line.split()[0] for line in bake.configure(order)] == ["/mnt/bin/registry", "/usr/local/bin/containerd"]
    assert {path.parent.name for path in (tmp_path / "certs.d").glob("*/hosts.toml")} == {"registry.k8s.io", "ghcr.io"}
    assert "/v2/ghcr.io" in (tmp_path / "certs.d/ghcr.io/hosts.toml").read_text()
    assert "/mnt/bundles/0/registry" in (tmp_path / "registry.yml").read_text()
    settings = tomllib.loads((tmp_path / "config.toml").read_text())
    images = settings["plugins"]["io.containerd.cri.v1.images"]
    assert images["pinned_images"]["sandbox"] == "registry.k8s.io/pause:3"
    assert images["registry"]["config_path"] == f"{tmp_path}/certs.d"
    # It makes these folders, and none of them is to be in an image.
    cni = settings["plugins"]["io.containerd.cri.v1.runtime"]["cni"]
    made = [settings["root"], settings["state"], cni["conf_dir"], *cni["bin_dirs"]]
    assert [folder for folder in made if not folder.startswith((str(tmp_path), "/mnt/"))] == []


def test_the_note_can_be_read_by_everybody(tmp_path: Path) -> None:
    mask = os.umask(0o077)
    try:
        bake.note({"kind": "worker"}, str(tmp_path))
    finally:
        os.umask(mask)
    path = tmp_path / bake.NOTE
    assert json.loads(path.read_text()) == {"kind": "worker"}
    assert path.stat().st_mode & 0o777 == 0o644
