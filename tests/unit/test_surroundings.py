"""What is found out about this computer."""

from __future__ import annotations

import os
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from slipway.artifacts.cache import folder_size
from slipway.lab import computer, surroundings
from slipway.node.kubeapi import ApiError
from slipway.page.model import Settings

from tests.support.settings import FOUNDED


def test_memory_is_read_in_mib(tmp_path: Path) -> None:
    file = tmp_path / "meminfo"
    file.write_text(
        "MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:    8000000 kB\nOdd\nHugePages_Total:   0\n"
    )
    assert surroundings.memory(file) == (15625, 7812)
    assert surroundings.memory(tmp_path / "none") == (None, None)


def test_free_disk_is_that_of_the_nearest_folder_that_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = computer.free_space(tmp_path / "a/b/c")
    assert free is not None
    assert free > 0
    monkeypatch.setattr("shutil.disk_usage", lambda _: (_ for _ in ()).throw(PermissionError))
    assert computer.free_space(tmp_path) is None
    monkeypatch.setattr("shutil.disk_usage", lambda _: (_ for _ in ()).throw(FileNotFoundError))
    assert computer.free_space(tmp_path) is None


def test_a_folder_is_as_large_as_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/one").write_bytes(b"x" * 1000)
    (tmp_path / "two").write_bytes(b"x" * 500)
    (tmp_path / "loop").symlink_to(tmp_path)
    link = (tmp_path / "loop").lstat().st_size
    assert folder_size(tmp_path) in (1500, 1500 + link)
    real = os.lstat
    monkeypatch.setattr("os.lstat", lambda path: real(path) if "one" not in str(path) else real("/nowhere"))
    assert folder_size(tmp_path) < 1000
    assert folder_size(tmp_path / "none") == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* 0.0.0.0/0 ::/0\n", ("0.0.0.0/0",)),
        ("# * 1.0.0.0/8\n  * 10.0.0.1/8 192.168.0.0/16\nbroken\n", ("10.0.0.0/8", "192.168.0.0/16")),
        ("", ()),
    ],
)
def test_virtualbox_networks_are_read(tmp_path: Path, text: str, expected: tuple[str, ...]) -> None:
    (tmp_path / "networks.conf").write_text(text)
    assert surroundings.virtualbox_networks(tmp_path / "networks.conf") == expected


def test_virtualbox_has_one_network_unless_a_file_says_otherwise(tmp_path: Path) -> None:
    assert surroundings.virtualbox_networks(tmp_path / "networks.conf") == ("192.168.56.0/21",)
    assert surroundings.virtualbox_networks(tmp_path) == ()


def test_known_releases_of_kubernetes(tmp_path: Path) -> None:
    assert surroundings.kubernetes_releases(tmp_path) == ()
    (tmp_path / "catalog.yml").write_text("kubernetes: {1.37.10: {etcd: a}, 1.37.2: {etcd: b}, 1.36.3: {etcd: c}}\n")
    assert surroundings.kubernetes_releases(tmp_path) == ("1.36.3", "1.37.2", "1.37.10")
    for text in ("images: {}\n", "kubernetes: [", "kubernetes: 1\n"):
        (tmp_path / "catalog.yml").write_text(text)
        assert surroundings.kubernetes_releases(tmp_path) == ()


ADDRESSES = '[{"ifname": "eth0", "addr_info": [{"local": "192.0.2.7", "prefixlen": 24}]}]'
ROUTES = '[{"dst": "default", "gateway": "192.0.2.1", "dev": "eth0"}]'


@pytest.mark.parametrize(
    ("provider", "pools", "taken"),
    [
        ("docker", "null", list(surroundings.POOLS)),
        ("docker", '[{"Base": "10.7.0.0/16", "Size": 24}]', ["10.7.0.0/16"]),
        ("docker", "Cannot connect", list(surroundings.POOLS)),
        ("hosts", "null", []),
        # Networks that come with the first machine.
        ("libvirt", "null", ["192.168.121.0/24"]),
        ("virtualbox", "null", ["10.0.2.0/24"]),
    ],
)
def test_networks_of_this_computer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: str, pools: str, taken: list[str]
) -> None:
    answers = {"address": ADDRESSES, "route": ROUTES, "{{json .DefaultAddressPools}}": pools}
    monkeypatch.setattr("subprocess.run", lambda command, **_: CompletedProcess(command, 0, answers[command[-1]], ""))
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/docker")
    (tmp_path / "resolv.conf").write_text("nameserver 10.96.0.10\n")
    monkeypatch.setattr(computer, "RESOLVERS", (str(tmp_path / "resolv.conf"), str(tmp_path / "none")))
    found = [claim["network"] for claim in surroundings.claimed(provider)]
    assert found == ["192.0.2.0/24", "192.0.2.1/32", *taken, "10.96.0.10/32"]


def test_a_computer_without_ip_claims_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(computer, "RESOLVERS", ())
    assert surroundings.claimed("docker") == []


def test_looking_around_sees_this_computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VAGRANT_DOTFILE_PATH", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache/bundles/x").mkdir(parents=True)
    (tmp_path / "cache/bundles/x/bundle.json").touch()
    (tmp_path / "vagrant/machines/ctrl/docker").mkdir(parents=True)
    (tmp_path / "vagrant/machines/ctrl/docker/id").write_text("abc")
    monkeypatch.setattr(surroundings, "running_kubernetes", lambda file: f"what {file.relative_to(tmp_path)} says")
    monkeypatch.setattr(surroundings, "founded", lambda file: {"of": str(file.relative_to(tmp_path))})
    monkeypatch.setattr(surroundings, "controllers", lambda file: {"ctrl": file.name})
    seen = surroundings.look_around(Settings(), state=tmp_path)
    assert (seen.provider, seen.with_mirror, seen.existing) == ("docker", True, frozenset({"ctrl"}))
    assert seen.memory_total is not None
    assert seen.memory_available is not None
    assert 0 < seen.memory_available < seen.memory_total
    assert seen.cache_free
    assert seen.cache_filled
    assert seen.cache_used() == 0
    assert Settings().cluster_kubernetes_version in seen.kubernetes_releases
    assert seen.kubernetes_running == "what kubeconfig says"
    assert (seen.founded, seen.controllers) == ({"of": "kubeconfig"}, {"ctrl": "kubeconfig"})
    # A cluster that does not answer is not waited for twice.
    monkeypatch.setattr(surroundings, "running_kubernetes", lambda _: "")
    assert surroundings.look_around(Settings(), state=tmp_path).founded == {}


def cluster(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, asked: str, answer: Any) -> Path:
    """Have a cluster that gives ``answer`` when it is asked for that path; return its kubeconfig, there with a text."""

    class FakeApi:
        def __init__(self, kubeconfig: str, timeout: float) -> None:
            assert (kubeconfig, timeout) == ("k", 2.0)

        def request(self, method: str, path: str) -> Any:
            assert (method, path) == ("GET", asked)
            if isinstance(answer, ApiError):
                raise answer
            return answer

    monkeypatch.setattr(surroundings, "Api", FakeApi)
    if text:
        (folder / "kubeconfig").write_text(text)
    return folder / "kubeconfig"


@pytest.mark.parametrize(
    ("text", "answer", "release"),
    [
        ("k", (200, {"gitVersion": "v1.37.0"}), "1.37.0"),
        ("k", (401, {"message": "no"}), ""),
        ("k", ApiError("refused"), ""),
        (None, (200, {"gitVersion": "v1.37.0"}), ""),
    ],
)
def test_the_release_of_a_cluster_that_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, answer: Any, release: str
) -> None:
    kubeconfig = cluster(tmp_path, monkeypatch, text, "/version", answer)
    assert surroundings.running_kubernetes(kubeconfig) == release


KEPT = """apiVersion: kubeadm.k8s.io/v1beta4
clusterName: slipway
controlPlaneEndpoint: api.slipway.internal:6443
networking: {dnsDomain: cluster.local, podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/12}
"""


@pytest.mark.parametrize(
    ("text", "answer", "found"),
    [
        ("k", (200, {"data": {"ClusterConfiguration": KEPT}}), FOUNDED),
        ("k", (200, {"data": {"ClusterConfiguration": "clusterName: slipway"}}), {}),
        ("k", (200, {"data": {"ClusterConfiguration": "]"}}), {}),
        ("k", (404, {"message": "no"}), {}),
        ("k", ApiError("refused"), {}),
        (None, (200, {"data": {"ClusterConfiguration": KEPT}}), {}),
    ],
)
def test_what_a_cluster_was_founded_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, answer: Any, found: dict[str, str]
) -> None:
    asked = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config"
    kubeconfig = cluster(tmp_path, monkeypatch, text, asked, answer)
    assert surroundings.founded(kubeconfig) == found


CONTROLLER = {
    "metadata": {"name": "ctrl"},
    "status": {
        "addresses": [{"type": "Hostname", "address": "ctrl"}, {"type": "InternalIP", "address": "192.0.2.100"}]
    },
}


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ((200, {"items": [CONTROLLER, {"metadata": {"name": "ctrl-2"}}]}), {"ctrl": "192.0.2.100"}),
        ((403, {"message": "no"}), {}),
        (ApiError("refused"), {}),
    ],
)
def test_the_addresses_of_controllers_that_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any, found: dict[str, str]
) -> None:
    asked = "/api/v1/nodes?labelSelector=node-role.kubernetes.io/control-plane"
    assert surroundings.controllers(cluster(tmp_path, monkeypatch, "k", asked, answer)) == found
