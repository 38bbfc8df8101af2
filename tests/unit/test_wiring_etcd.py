"""kubeadm is told the etcd that the bundle has: it knows one tag for each minor version of Kubernetes itself."""

from __future__ import annotations

from tests.support.wiring import wired

ETCD = {"name": "registry.k8s.io/etcd", "tag": "3.6.16-0", "digest": f"sha256:{'b' * 64}", "source": "built"}


def test_a_cluster_is_founded_with_the_etcd_of_the_bundle() -> None:
    bundle = {"id": "0", "images": {"etcd": ETCD}}
    assert wired("control_plane_etcd", slipway_bundle=bundle) == {"imageTag": "3.6.16-0"}
