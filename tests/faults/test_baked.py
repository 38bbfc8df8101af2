"""A node that was baked and one that was not are the same after ``make up``, file by file, but for their identities."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from slipway.page.model import Parts

from tests.support.checkout import Checkout, kill
from tests.support.kube import eventually
from tests.support.lab import docker, rewrite_page
from tests.support.trees import Node, differences, inside, look

MACHINES = ("mirror-1", "ctrl", "node-1")

# Paths in which two nodes of the same name may differ, and why.
OWN = {
    # Identities: made by each machine, or by each cluster, for itself.
    r"/etc/machine-id": "made at the first boot",
    r"/etc/ssh/ssh_host_.*": "made at the first boot",
    r"/home/vagrant/\.ssh/authorized_keys": "the key of this cluster's machines",
    r"/var/lib/systemd/(random-seed|credential\.secret)": "made at the first boot",
    r"/etc/kubernetes/(admin|super-admin|kubelet|controller-manager|scheduler)\.conf": "certificates of this cluster",
    r"/etc/kubernetes/pki/.*": "certificates of this cluster",
    r"/etc/kubernetes/encryption/config\.yml": "the key of this cluster's Secrets",
    r"/(home/vagrant|root)/\.kube/config": "certificates of this cluster",
    r"/var/lib/kubelet/pki(/.*)?": "certificates of this node",
    r"/var/lib/slipway/kubeadm\.json": "the sum of this cluster's CA",
    # What runs: its data, its notes of that, and what it has said.
    r"/var/lib/etcd(/.*)?": "the cluster's data",
    r"/var/lib/kubelet/(pods|plugins|plugins_registry|device-plugins|checkpoints)(/.*)?": "pods, by their ids",
    r"/var/lib/kubelet/(cpu_manager_state|memory_manager_state|actuated_pods_state|allocated_pods_state)": "pods",
    r"/var/lib/kubelet/(allocated|actuated)_pods_state": "pods, by their ids",
    r"/var/lib/kubelet/image_manager(/.*)?": "the kubelet notes who may use an image that it got itself",
    r"/var/lib/cni(/.*)?": "addresses of pods",
    r"/var/log(/.*)?": "what was said, and when",
    r"/var/lib/systemd/(timers|deb-systemd-helper-masked|catalog)(/.*)?": "when something ran last",
    r"/var/lib/(logrotate|private|misc|nginx)(/.*)?": "when something ran last",
    r"/var/tmp/systemd-private-.*": "of services that run, with names at random",  # noqa: S108  a path of the node
    r"/(root|home/vagrant)/\.ansible(/.*)?": "work folders of Ansible",
    r"/var/lib/slipway/(artifacts|files)\.json": "compared as what they say",
    r"/var/lib/slipway/settled\.json": "which inodes were written, and when",
    r"/var/lib/containerd(/.*)?": "compared as containerd's own lists: numbers of snapshots come as they are asked for",
    # How packages came: apt's lists and caches, and dpkg's copies of its state before.
    r"/var/lib/apt(/.*)?": "what apt has read",
    r"/var/cache/(apt|debconf|ldconfig)(/.*)?": "caches",
    r"/var/lib/dpkg/(.*-old|lock.*|triggers/Lock|updates|status)": "compared as a list of packages",
    # What a baked node has over one that was not.
    r"/usr/share/slipway/(baked\.json|containerd\.tar)": "what was baked, for people; the images that it began with",
}


@pytest.fixture(scope="module")
def lab(clone: Checkout) -> Iterator[Checkout]:
    """The clone with no machines, and a page of a mirror, a controller and a worker with nothing on top."""
    clone.make("down").expect()
    settings = {
        "cluster_baked": "auto",
        "cluster_workers": {"count": 1, "cpus": 2, "memory": 2048},
        "cluster_parts": dict.fromkeys(Parts.model_fields, False),
    }
    clone.page.write_text(rewrite_page(clone.settings, settings))
    yield clone
    clone.make("down").expect()
    clone.page.write_text(clone.settings)


def nodes(lab: Checkout) -> dict[str, Node]:
    """What is on the disks of the machines."""
    return {name: look(f"{lab.name}-{name}", runs_pods=name != "mirror-1") for name in MACHINES}


def images(lab: Checkout) -> dict[str, str]:
    """The image that each machine was made from."""
    return {name: docker("inspect", "--format", "{{.Config.Image}}", f"{lab.name}-{name}")[0] for name in MACHINES}


def packages(lab: Checkout) -> dict[str, str]:
    """The Debian packages of each machine, with their states."""
    ask = ("dpkg-query", "--show", "--showformat", "${Package} ${Version} ${db:Status-Status}\n")
    return {name: inside(f"{lab.name}-{name}", *ask) for name in MACHINES}


@pytest.fixture(scope="module")
def plain(lab: Checkout) -> tuple[dict[str, Node], dict[str, str]]:
    """The machines of a cluster whose nodes are not baked, which is gone by now."""
    lab.make("up", SLIPWAY_BAKED="false").expect()
    assert {image.partition(":")[0] for image in images(lab).values()} == {"slipway-node"}
    found = nodes(lab), packages(lab)
    lab.make("down").expect()
    return found


def baking() -> list[str]:
    """The containers in which images are made, and those that a kill has left."""
    return [name for name in docker("ps", "--all", "--format", "{{.Names}}") if name.startswith("slipway-baking-")]


def kill_while_it_bakes(lab: Checkout) -> None:
    """Bake as ``make up`` does, and ``kill -9`` that as soon as there is something half made."""
    python = str(lab.path / ".venv/bin/python")
    plan = lab.state / "plan.json"
    with plan.open("w") as file:
        subprocess.run([python, "-m", "slipway.lab.plan"], cwd=lab.path, env=lab.environment, check=True, stdout=file)
    with (
        plan.open() as file,
        subprocess.Popen(
            [python, "-m", "slipway.lab.bake"],
            cwd=lab.path,
            env=lab.environment,
            text=True,
            stdin=file,
            start_new_session=True,
        ) as process,
    ):
        try:
            eventually(baking, seconds=120, what="an image is half made")
        finally:
            kill(process)
            plan.unlink()


@pytest.fixture(scope="module")
def baked(lab: Checkout, plain: tuple[dict[str, Node], dict[str, str]]) -> dict[str, Node]:
    """The machines of the next cluster, whose nodes are baked: in a run that a kill has cut off, and the next one."""
    assert plain
    for image in docker("images", "--format", "{{.Repository}}:{{.Tag}}", "slipway-baked"):
        # One that the machines of another cluster use stays.
        subprocess.run(["docker", "rmi", image], capture_output=True, check=False)
    if not docker("images", "--quiet", "slipway-baked"):
        kill_while_it_bakes(lab)
        assert docker("images", "--quiet", "slipway-baked") == []
    lab.make("up").expect()
    return nodes(lab)


def test_machines_start_from_what_was_baked_and_nothing_of_a_kill_is_left(
    lab: Checkout, baked: dict[str, Node]
) -> None:
    kinds = {name: image.partition("-debian")[0] for name, image in images(lab).items()}
    expected = {"mirror-1": "mirror", "ctrl": "controller", "node-1": "worker"}
    assert kinds == {name: f"slipway-baked:{kind}" for name, kind in expected.items()}
    assert baking() == []
    assert all("/usr/share/slipway/baked.json" in node.files for node in baked.values())
    seen = json.loads(inside(f"{lab.name}-ctrl", "cat", "/usr/share/slipway/baked.json"))
    assert seen["key"] == images(lab)["ctrl"].rpartition("-")[2]


@pytest.mark.parametrize("machine", MACHINES)
def test_files_are_the_same(
    plain: tuple[dict[str, Node], dict[str, str]], baked: dict[str, Node], machine: str
) -> None:
    found = differences(plain[0][machine], baked[machine], OWN)
    assert found == [], "\n".join(["not baked / baked:", *found[:40]])
    # The comparison has seen a whole machine.
    assert len(baked[machine].files) > 5000


@pytest.mark.parametrize("machine", MACHINES)
def test_records_of_programs_files_and_packages_are_the_same(
    lab: Checkout, plain: tuple[dict[str, Node], dict[str, str]], baked: dict[str, Node], machine: str
) -> None:
    before = plain[0][machine]
    assert before.placed == baked[machine].placed
    assert before.written == baked[machine].written
    assert plain[1][machine] == packages(lab)[machine]


@pytest.mark.parametrize("machine", ["ctrl", "node-1"])
def test_containerd_has_the_same_images_in_the_same_snapshots(
    plain: tuple[dict[str, Node], dict[str, str]], baked: dict[str, Node], machine: str
) -> None:
    before, now = plain[0][machine], baked[machine]
    assert before.images == now.images
    assert before.pinned == now.pinned != set()
    assert before.blobs == now.blobs
    assert before.snapshots == now.snapshots


def test_machines_share_no_identity(lab: Checkout, baked: dict[str, Node]) -> None:
    for path in ("/etc/machine-id", "/etc/ssh/ssh_host_ecdsa_key", "/etc/ssh/ssh_host_ed25519_key"):
        sums = [node.files[path]["sum"] for node in baked.values() if path in node.files]
        assert len(set(sums)) == len(sums)
    uuid = "/var/lib/containerd/io.containerd.grpc.v1.introspection/uuid"
    assert len({inside(f"{lab.name}-{name}", "cat", uuid) for name in ("ctrl", "node-1")}) == 2


def test_roles_find_nothing_to_do_where_something_was_baked(lab: Checkout) -> None:
    """They did not fetch it again: it is older than the machine."""
    for name, program in {"ctrl": "kubelet", "node-1": "containerd", "mirror-1": "registry"}.items():
        container = f"{lab.name}-{name}"
        made = docker("inspect", "--format", "{{.Created}}", container)[0]
        at = int(inside(container, "stat", "--format", "%Y", f"/usr/local/bin/{program}"))
        began = int(inside(container, "date", "--date", made, "+%s"))
        assert at < began, program


@pytest.mark.usefixtures("baked")
def test_a_second_run_changes_nothing_and_the_next_cluster_takes_the_same_images(lab: Checkout) -> None:
    assert lab.make("up").expect().total("changed") == 0
    before = images(lab)
    lab.make("down").expect()
    assert set(before.values()) <= set(docker("images", "--format", "{{.Repository}}:{{.Tag}}", "slipway-baked"))
    up = lab.make("up").expect()
    assert images(lab) == before
    assert "baking it" not in up.output
    assert Path(lab.state, "kubeconfig").is_file()
