"""containerd gets an image from the mirror and runs it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from testinfra.host import Host

from tests.support.kube import Kube

testinfra_hosts = ["ansible://nodes"]

CTR = "/usr/local/bin/ctr --namespace slipway-test"


def settings(host: Host) -> dict[str, Any]:
    """All that containerd is told by its file, and what it takes where that says nothing."""
    with host.sudo():
        return tomllib.loads(host.check_output("/usr/local/bin/containerd config dump"))


@pytest.fixture
def image(host: Host, kube: Kube) -> Iterator[str]:
    """The pause image, pulled anew the way the kubelet's pulls are routed: by what containerd has been told."""
    pause = kube.bundle["images"]["pause"]
    name = f"{pause['name']}:{pause['tag']}"
    folder = settings(host)["plugins"]["io.containerd.cri.v1.images"]["registry"]["config_path"]
    with host.sudo():
        host.check_output(f"{CTR} images pull --hosts-dir %s %s", folder, name)
        yield name
        host.run(f"{CTR} task kill --signal KILL probe")
        host.run(f"{CTR} task delete --force probe")
        host.run(f"{CTR} container delete probe")
        host.check_output(f"{CTR} images remove --sync %s", name)


def test_it_answers(host: Host) -> None:
    with host.sudo():
        assert "Server" in host.check_output("/usr/local/bin/ctr version")


def test_it_looks_at_containers_as_often_as_the_kubelet_does(host: Host) -> None:
    assert settings(host)["plugins"]["io.containerd.cri.v1.runtime"]["stats_collect_period"] == "10s"


def test_an_image_has_the_digest_of_the_bundle(host: Host, image: str, kube: Kube) -> None:
    with host.sudo():
        assert kube.bundle["images"]["pause"]["digest"] in host.check_output(f"{CTR} images list name==%s", image)


def test_it_runs_a_container(host: Host, image: str) -> None:
    with host.sudo():
        host.check_output(f"{CTR} run --detach %s probe", image)
        assert "RUNNING" in host.check_output(f"{CTR} task list")


def test_every_registry_of_the_bundle_is_looked_up_at_the_mirror(host: Host, kube: Kube) -> None:
    groups = host.ansible.get_variables()["groups"]
    registries = {image["name"].partition("/")[0] for image in kube.bundle["images"].values()}
    mirrors = [address_of(host, name) for name in groups.get("mirror", [])]
    for registry in registries if mirrors else ():
        hosts = host.file(f"/etc/containerd/certs.d/{registry}/hosts.toml").content_string
        assert f'[host."http://{mirrors[0]}/v2/{registry}"]' in hosts


def address_of(host: Host, name: str) -> str:
    """Node address of another machine of the same inventory."""
    other = host.get_host(f"ansible://{name}", ansible_inventory=host.backend.ansible_inventory)
    return str(other.ansible.get_variables()["node_address"])


def test_its_socket_is_for_root_alone(host: Host) -> None:
    socket = host.file("/run/containerd/containerd.sock")
    assert socket.mode & 0o007 == 0
    assert socket.user == "root"


def test_it_comes_with_the_machine(host: Host) -> None:
    assert host.service("containerd").is_enabled
    assert host.service("containerd").is_running


def test_the_shim_and_runc_are_those_of_the_bundle(host: Host, kube: Kube) -> None:
    assert kube.bundle["files"]["runc"]["version"].removeprefix("v") in host.check_output(
        "/usr/local/bin/runc --version"
    )
    assert kube.bundle["files"]["containerd"]["version"].removeprefix("v") in host.check_output(
        "/usr/local/bin/containerd --version"
    )
