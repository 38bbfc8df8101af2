"""What keeps a machine from becoming part of a cluster: all of it, each with what works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway.node.fitness import GB, NEEDS, hindrances, other_architecture
from slipway.page.machines import FLOOR

NODE: dict[str, Any] = {"memory_withheld": 0, "container": False, "kubernetes": {"joined": False}}
WELL: dict[str, Any] = {"free": 30 * GB, "size": 40 * GB, "cpus": 2, "apart": 0.4}
DROP_IN = "[Service]\nEnvironment=A=1\nExecStart=\nExecStart=/usr/bin/kubelet $KUBELET_EXTRA_ARGS\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place(tmp_path, "proc/meminfo", "MemTotal:        4030000 kB\n")
    return tmp_path


def place(root: Path, path: str, text: str = "") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def told(root: Path, role: str = "controller", node: dict[str, Any] | None = None, **more: Any) -> list[str]:
    return [what for _, what in hindrances(str(root), {**NODE, **(node or {})}, role, **{**WELL, **more})]


@pytest.mark.parametrize("role", ["controller", "worker", "mirror"])
def test_nothing_is_said_of_a_machine_that_is_fit(root: Path, role: str) -> None:
    place(root, "etc/systemd/system/containerd.service.d/proxy.conf", "[Service]\nEnvironment=HTTPS_PROXY=http://a:1\n")
    # containerd does not read that folder.
    place(root, "etc/cni/net.d/87-podman-bridge.conflist", "{}")
    place(root, "var/lib/dpkg/status", "Package: podman\nStatus: install ok installed\n")
    assert told(root, role) == []


@pytest.mark.parametrize(
    ("machine", "wanted", "said"),
    [
        ("amd64", "amd64", []),
        ("arm64", "arm64", []),
        ("arm64", "", []),
        (
            "arm64",
            "amd64",
            ["its processor is arm64", "the page says amd64", "architecture: arm64", "of board in cluster_hosts"],
        ),
        ("amd64", "arm64", ["its processor is amd64", "the page says arm64", "cluster_architecture: amd64"]),
        ("riscv64", "amd64", ["its processor is riscv64", "amd64 or arm64"]),
    ],
)
def test_a_machine_has_the_architecture_of_the_page(machine: str, wanted: str, said: list[str]) -> None:
    found = other_architecture(machine, wanted, "board")
    assert len(found) == bool(said)
    assert all(error_id == "other-architecture" and part in what for error_id, what in found for part in said)


def test_all_is_said_at_once(root: Path) -> None:
    place(root, "etc/systemd/system/kubelet.service.d/10-kubeadm.conf", DROP_IN)
    place(root, "usr/local/bin/k3s")
    packages = "".join(f"Package: {name}\nStatus: install ok installed\n\n" for name in ("containerd.io", "kubelet"))
    place(root, "var/lib/dpkg/status", packages)
    found = told(root, node={"memory_withheld": 3000}, free=4 * GB, cpus=1, apart=-90)
    said = "\n".join(found)
    assert len(found) == 8
    for part in (
        "935 MiB of memory, and needs 1700 MiB",
        "1 CPU, and needs 2",
        "90 s behind",
        "4.0 GB of 40.0 GB are free under /var/lib, of which the kubelet keeps 15 % (6.0 GB) free; 9.0 GB are needed",
        "sudo apt-get purge containerd.io",
        "sudo apt-get purge kubelet",
        "it has k3s (/usr/local/bin/k3s)",
        "sudo rm /etc/systemd/system/kubelet.service.d/10-kubeadm.conf && sudo systemctl daemon-reload",
    ):
        assert part in said


def test_a_machine_that_is_in_has_shown_that_it_can_be(root: Path) -> None:
    place(root, "usr/local/bin/k3s")
    assert told(root, node={"kubernetes": {"joined": True}}, free=0, cpus=1, apart=3600) == []


def test_what_a_run_before_has_placed_is_its_own(root: Path) -> None:
    place(root, "usr/local/bin/kubelet")
    (one,) = told(root)
    assert "sudo rm /usr/local/bin/kubelet" in one
    place(root, "var/lib/slipway/artifacts.json", "{}")
    assert told(root, free=1 * GB) == []


def test_a_mirror_runs_what_it_likes_beside(root: Path) -> None:
    place(root, "usr/local/bin/k3s")
    assert told(root, "mirror", cpus=1, free=3 * GB) == []


def test_in_a_container_no_kubelet_evicts_by_disk(root: Path) -> None:
    assert told(root, node={"container": True}, free=4 * GB, size=100 * GB) == []


def test_machines_that_are_made_have_the_same_floor() -> None:
    assert {role: needs.memory for role, needs in NEEDS.items()} == FLOOR
