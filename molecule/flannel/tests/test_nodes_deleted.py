"""Nodes that somebody deleted come back by a run, and their pods are reached as before."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

from testinfra.host import Host

from tests.support.kube import Kube, eventually, ready
from tests.support.probe import NAMESPACE, PORT, Probes

testinfra_hosts = ["ansible://controllers"]

ROOT = Path(__file__).resolve().parents[3]


def play(host: Host, *playbooks: str) -> None:
    """Run playbooks on the lab as a user would, without molecule's settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_"))}
    command = [Path(sys.executable).parent / "ansible-playbook", "--inventory", host.backend.ansible_inventory]
    done = subprocess.run(
        [*command, *(ROOT / "playbooks/phases" / name for name in playbooks)],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def pod_networks(kube: Kube) -> dict[str, str]:
    return {node["metadata"]["name"]: node["spec"]["podCIDR"] for node in kube.nodes()}


def test_nodes_that_were_deleted_come_back_with_the_network_of_their_pods(host: Host, kube: Kube) -> None:
    own, groups = host.ansible.get_variables()["inventory_hostname"], host.ansible.get_variables()["groups"]
    before = pod_networks(kube)
    kube.text("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true", timeout=180)
    kube.text("delete", "node", own, groups["workers"][0])
    play(host, "nodes.yml", "control-plane.yml")
    eventually(lambda: all(ready(node) for node in kube.nodes()), seconds=120, what="every node is Ready")
    assert pod_networks(kube) == before
    assert "node-role.kubernetes.io/control-plane" in kube("get", "node", own)["metadata"]["labels"]
    probes = Probes(kube)
    try:
        for source, target in itertools.permutations(probes.all, 2):
            url = f"http://{target.address}:{PORT}/"
            seen = eventually(
                lambda source=source, url=url: probes.fetch(source, url),  # type: ignore[misc]
                seconds=60,
                what=f"{target.node} answers {source.node}",
            )
            assert seen["client"] == source.address
    finally:
        probes.stop()
