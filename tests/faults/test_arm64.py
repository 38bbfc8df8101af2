"""A worker with another processor: a virtual machine with arm64 joins a cluster of amd64, with files of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from slipway.node.architecture import ARM64, of_this_computer

from tests.support.checkout import Checkout
from tests.support.guest import NAME, ROLES, Guest, joining
from tests.support.kube import ready

BINFMT = Path("/proc/sys/fs/binfmt_misc")
EMULATOR = Path("/usr/bin/qemu-aarch64-static")
# mmdebstrap looks for this name.
RULE = "qemu-aarch64"
# The first bytes of a 64-bit program for it, and which of them count. F: the emulator is opened now, so that a root
# without it runs too.
MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
# What a node runs, as role kubelet and containerd install it.
PROGRAMS = ("kubelet", "kubeadm", "containerd", "containerd-shim-runc-v2", "runc")


@contextmanager
def emulated() -> Iterator[None]:
    """Let the kernel of this computer hand programs for arm64 to QEMU: packages of a root configure themselves."""
    if not EMULATOR.exists():
        pytest.skip(f"{EMULATOR} is not installed: apt-get install qemu-user-static")
    there, mounted = (BINFMT / RULE).exists(), (BINFMT / "register").exists()
    if not mounted:
        done = subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)], check=False)
        if done.returncode:
            pytest.skip("this kernel has no binfmt_misc, so a root for arm64 cannot be made here")
    if not there:
        (BINFMT / "register").write_text(f":{RULE}:M::{MAGIC}:{MASK}:{EMULATOR}:F")
    try:
        yield
    finally:
        if not there:
            (BINFMT / RULE).write_text("-1")
        if not mounted:
            subprocess.run(["umount", str(BINFMT)], check=True)


@pytest.fixture(scope="module")
def guest(clone: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    if of_this_computer() == ARM64:
        pytest.skip("this computer has arm64 itself: every other test runs on it")
    with emulated(), joining(clone, tmp_path_factory.mktemp("vm"), ARM64) as there:
        # The page has arm64 now, so a compiler for it may be missing.
        clone.make("setup").expect()
        yield there


def test_it_is_another_processor(guest: Guest) -> None:
    """Else the rest would show nothing."""
    assert guest.says("uname -m") == "aarch64"
    assert guest.says("dpkg --print-architecture") == "arm64"


def test_it_becomes_a_worker(guest: Guest) -> None:
    done = guest.site().expect()
    print(f"the cluster with it: {done.seconds:.0f} s")
    assert ready(guest.node)
    assert guest.node["status"]["nodeInfo"]["architecture"] == "arm64"
    kinds = {each["metadata"]["name"]: each["status"]["nodeInfo"] for each in guest.hosts.checkout.kube.nodes()}
    others = {name: kind["architecture"] for name, kind in kinds.items() if name != NAME}
    assert others == {name: of_this_computer() for name, role in ROLES.items() if role != "mirror"}
    guest.works()


def test_its_programs_are_its_own(guest: Guest) -> None:
    """Byte 18 of a program says for which processor it is: 183 is arm64."""
    for program in PROGRAMS:
        assert guest.says(f"od -An -j18 -N2 -tu2 $(readlink -f $(command -v {program}))").split() == ["183"], program


def test_pods_on_it_run_images_of_its_own(guest: Guest) -> None:
    """An image is one name for all nodes, and each pulls its part of it."""
    on_it = f"--field-selector=spec.nodeName={NAME}"
    pods = guest.hosts.checkout.kube("get", "pods", "--all-namespaces", on_it)["items"]
    names = {pod["metadata"]["name"].rpartition("-")[0] for pod in pods}
    assert {"kube-proxy", "kube-flannel-ds"} <= names
    assert all(pod["status"]["phase"] == "Running" for pod in pods)
    running = "for each in /proc/[0-9]*/exe; do od -An -j18 -N2 -tu2 $each 2> /dev/null; done"
    assert set(guest.says(f"sudo sh -c '{running}'").split()) == {"183"}


def test_a_second_run_changes_nothing(guest: Guest) -> None:
    again = guest.site().expect()
    print(f"a second run: {again.seconds:.0f} s")
    assert again.total("changed") == 0
