"""What keeps a machine from becoming part of a cluster: all of it, each with what works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway.node.fitness import (
    ETCD,
    GB,
    IMAGES,
    NEEDS,
    PODS,
    Disk,
    disks_of,
    hindrances,
    other_architecture,
    strains,
)
from slipway.page.machines import FLOOR

NODE: dict[str, Any] = {"memory_withheld": 0, "container": False, "kubernetes": {"joined": False}}
WELL: dict[str, Any] = {"cpus": 2, "apart": 0.4}
DROP_IN = "[Service]\nEnvironment=A=1\nExecStart=\nExecStart=/usr/bin/kubelet $KUBELET_EXTRA_ARGS\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place(tmp_path, "proc/meminfo", "MemTotal:        4030000 kB\n")
    return tmp_path


def place(root: Path, path: str, text: str = "") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def one_disk(role: str, free: float = 30, size: float = 40) -> dict[str, Disk]:
    """All folders of a role on one disk of so many GB."""
    return dict.fromkeys(NEEDS[role].rooms, Disk(1, int(free * GB), int(size * GB)))


def told(
    root: Path, role: str = "controller", node: dict[str, Any] | None = None, free: float = 30, size: float = 40,
    **more: Any,
) -> list[str]:  # fmt: skip
    given = {**WELL, "disks": one_disk(role, free, size), **more}
    return [what for _, what in hindrances(str(root), {**NODE, **(node or {})}, role, **given)]


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
    found = told(root, node={"memory_withheld": 3000}, free=4, cpus=1, apart=-90)
    said = "\n".join(found)
    assert len(found) == 8
    for part in (
        "935 MiB of memory, and needs 1700 MiB",
        "1 CPU, and needs 2",
        "90 s behind",
        "4.0 GB of 40.0 GB are free under /var/lib/containerd, /var/lib/kubelet, /var/lib/etcd, of which",
        "the kubelet keeps 15 % (6.0 GB) free; 9.0 GB are needed: free some (df --human-readable /var/lib/containerd)",
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
    # So has what it has pulled, in part.
    assert told(root, free=7.1) == []
    (full,) = told(root, free=6.9)
    assert "7.0 GB are needed" in full


def test_a_mirror_runs_what_it_likes_beside(root: Path) -> None:
    place(root, "usr/local/bin/k3s")
    assert told(root, "mirror", cpus=1, free=3) == []


def test_in_a_container_no_kubelet_evicts_by_disk(root: Path) -> None:
    assert told(root, node={"container": True}, free=4, size=100) == []


def test_each_disk_has_room_for_what_comes_there(root: Path) -> None:
    disks = {**one_disk("controller"), IMAGES: Disk(2, 10 * GB, 40 * GB), ETCD: Disk(3, GB // 10, GB)}
    (full,) = told(root, disks=disks)
    assert full.startswith("0.1 GB of 1.0 GB are free under /var/lib/etcd; 0.5 GB are needed: free some")
    disks = {**one_disk("worker"), PODS: Disk(2, GB // 2, 10 * GB)}
    (full,) = told(root, "worker", disks=disks)
    assert full.startswith(
        "0.5 GB of 10.0 GB are free under /var/lib/kubelet, of which the kubelet keeps 10 % (1.0 GB)"
    )


def test_the_disks_of_a_machine_are_those_of_the_folders_above_what_is_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / "var/lib").mkdir(parents=True)
    found = disks_of("controller", str(tmp_path))
    assert [*found] == [IMAGES, PODS, ETCD]
    assert {disk.device for disk in found.values()} == {tmp_path.stat().st_dev}
    assert all(0 < disk.free <= disk.size for disk in found.values())


@pytest.mark.parametrize(
    ("node", "free", "apart", "ids"),
    [
        ({}, 30, 0, []),
        # Of what it was made with nothing is asked.
        ({"memory_withheld": 3000}, 30, 0, []),
        ({}, 5, 0, ["machine-disk-full"]),
        ({}, 30, -3600, ["clock-apart"]),
        # An emulated machine takes its time to answer.
        ({}, 30, 200, []),
        ({}, 5, 3600, ["machine-disk-full", "clock-apart"]),
        ({"kubernetes": {"joined": True}}, 0, 3600, []),
        # Containers share the clock of this computer, and its disk.
        ({"container": True}, 1.1, 3600, []),
        ({"container": True}, 0.9, 3600, ["machine-disk-full"]),
    ],
)
def test_what_has_come_upon_a_machine_that_was_made_is_told(
    root: Path, node: dict[str, Any], free: float, apart: float, ids: list[str]
) -> None:
    found = strains(str(root), {**NODE, **node}, "worker", disks=one_disk("worker", free), apart=apart)
    assert [error_id for error_id, _ in found] == ids


def test_machines_that_are_made_have_the_same_floor() -> None:
    assert {role: needs.memory for role, needs in NEEDS.items()} == FLOOR
