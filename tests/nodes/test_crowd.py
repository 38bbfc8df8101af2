"""A hundred nodes more in a live cluster, as the API server sees them: a run takes no longer, and changes nothing.

The nodes are kwok's: objects whose heartbeats and pods a program of this machine keeps up.
"""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.kube import eventually, ready
from tests.support.releases import Stage, made

from .test_nodes import PARTS, WORKERS

COUNT = 100
# Behind those of machines.
FIRST = 120
SELECTOR = "kwok.x-k8s.io/node=fake"
FOLDER = Path(__file__).parent / "kwok"


@pytest.fixture(scope="module")
def kwok() -> Path:
    """The program, built of the modules that are pinned beside this file."""
    go = shutil.which("go", path=f"{os.environ['PATH']}:/usr/local/go/bin:/usr/lib/go-1.26/bin")
    if not go:
        pytest.skip("there is no go on this machine to build kwok with: setup installs it where programs are built")
    folder = Path(tempfile.mkdtemp(prefix="slipway-kwok-"))
    target = folder / "kwok"
    command = [go, "build", "-o", str(target), "sigs.k8s.io/kwok/cmd/kwok"]
    subprocess.run(command, cwd=FOLDER, check=True, timeout=900, env={**os.environ, "CGO_ENABLED": "0"})
    return target


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with made("crowd", mail=False, cluster_parts=PARTS, cluster_workers={**WORKERS, "count": 1}) as there:
        yield there


def fake(number: int, network: ipaddress.IPv4Network) -> dict[str, object]:
    """A node object of kwok's, with an address of the lab's own network that no machine has: some ask each node."""
    name, address = f"fake-{number}", str(network[FIRST + number])
    size = {"cpu": "8", "memory": "16Gi", "pods": "110"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"},
        },
        "spec": {"taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]},
        "status": {
            "allocatable": size,
            "capacity": size,
            "nodeInfo": {"kubeletVersion": "kwok", "osImage": "none"},
            "addresses": [{"type": "InternalIP", "address": address}],
        },
    }


def test_a_run_takes_no_longer(stage: Stage, kwok: Path, tmp_path: Path) -> None:
    checkout, kube = stage.checkout, stage.kube
    network = ipaddress.IPv4Network(yaml.safe_load(checkout.page.read_text())["cluster_node_cidr"])
    alone = checkout.make("up").expect()
    file = tmp_path / "nodes.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [fake(n, network) for n in range(COUNT)]}))
    command = [str(kwok), f"--kubeconfig={kube.config}", f"--manage-nodes-with-annotation-selector={SELECTOR}"]
    log = (tmp_path / "kwok.log").open("w")
    with log, subprocess.Popen([*command, "--manage-all-nodes=false"], stdout=log, stderr=log) as process:
        try:
            # They say nothing of their kernel.
            kube.text("create", "--validate=false", f"--filename={file}")
            eventually(
                lambda: sum(map(ready, kube.nodes())) == COUNT + 2, seconds=120, what=f"{COUNT} more nodes are Ready"
            )
            eventually(lambda: everywhere(stage), seconds=180, what="pods of each DaemonSet are Ready on all of them")
            together = checkout.make("up").expect()
        finally:
            process.terminate()
            process.wait(10)
    print(f"make up with 2 nodes: {alone.seconds:.0f} s, with {COUNT} more: {together.seconds:.0f} s")
    assert together.total("changed") == 0
    assert together.seconds <= 1.5 * alone.seconds + 5


def everywhere(stage: Stage) -> bool:
    """Whether DaemonSets that go to every node have their pods Ready there."""
    found = [one["status"] for one in stage.kube("get", "daemonsets", "--all-namespaces")["items"]]
    return all(one.get("numberReady", 0) == one["desiredNumberScheduled"] > COUNT for one in found)
