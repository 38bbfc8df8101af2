"""A bundle on disk with everything that nodes are baked from: tiny programs, in archives as the roles know them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import yaml
from slipway.artifacts.manifest import FileFacts, ImageFacts, Manifest, PackageFacts
from slipway.lab.baked import CONTROL_IMAGES, NODE_IMAGES
from slipway.node.architecture import named, of_this_computer
from slipway.paths import ROOT

CATALOG: dict[str, Any] = yaml.safe_load((ROOT / "artifacts/catalog.yml").read_text())
ARCHIVES = {
    "containerd": ["bin/containerd", "bin/containerd-shim-runc-v2", "bin/ctr", "bin/containerd-stress"],
    "cni-plugins": ["bridge", "loopback"],
    "cni-plugin-flannel": [f"flannel-{of_this_computer()}"],
    "registry": ["registry", "LICENSE"],
    "helm": ["linux/helm"],
    "istioctl": ["istioctl"],
}
PLAIN = ("runc", "kubeadm", "kubelet", "kubectl")


def write_bundle(cache: Path, state: Path, **versions: str) -> Manifest:
    """Write a bundle below ``cache`` and its note into ``state``; ``versions`` are those of files that are not 1.0."""
    files, texts = {}, {}
    for name in (*ARCHIVES, *PLAIN):
        version = versions.get(name.replace("-", "_"), "1.0")
        content = _archive(ARCHIVES[name], version) if name in ARCHIVES else f"{name} {version}".encode()
        address = f"example.org/{name}-{version}"
        files[named(name, of_this_computer())] = FileFacts(
            version=version,
            address=address,
            sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
            source="built",
        )
        texts[address] = content
    images = {
        name: ImageFacts(name=CATALOG["images"][name]["name"], tag="1", digest=f"sha256:{name}", source="built")
        for name in (*NODE_IMAGES, *CONTROL_IMAGES)
    }
    packages = {"bookworm": PackageFacts(path="apt/bookworm", names=["nginx-light"], sha256="a" * 64)}
    manifest = Manifest(files=files, images=images, packages=packages)
    key = hashlib.sha256(json.dumps(manifest.as_json(), sort_keys=True).encode()).hexdigest()[:16]
    folder = cache / "bundles" / key
    for address, content in texts.items():
        path = folder / "files" / address
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    manifest = manifest.model_copy(update={"id": key})
    (folder / "bundle.json").write_text(json.dumps(manifest.as_json()))
    manifest = manifest.model_copy(update={"path": str(folder)})
    state.mkdir(parents=True, exist_ok=True)
    (state / "bundle.json").write_text(json.dumps(manifest.as_json()))
    return manifest


def _archive(names: list[str], version: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in names:
            content = f"{name} {version}".encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
