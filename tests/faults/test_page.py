"""What the page no longer has is named with the command that takes it away, and that command does it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.checkout import Run
from tests.support.lab import rewrite_page
from tests.support.survivor import Survivor


def written(standing: Survivor, **settings: object) -> None:
    """Put settings over those of the standing cluster's page."""
    clone = standing.checkout
    clone.page.write_text(rewrite_page(clone.settings, {"cluster_systems": {"node-2": "debian-13"}, **settings}))


def typed(standing: Survivor, line: str) -> Run:
    """Type a line as the run has said it, with the kubeconfig and the programs that it names."""
    state = standing.checkout.state
    paths = f"{state}/bin:{os.environ['PATH']}"
    return standing.checkout.run("sh", "-e", "-c", line, PATH=paths, KUBECONFIG=f"{state}/kubeconfig")


def sentence(run: Run, name: str) -> str:
    return next(line for line in run.output.splitlines() if line.startswith(f"{name} is "))


def test_a_part_that_is_off_is_named_and_goes_by_a_word(standing: Survivor) -> None:
    checkout, kube = standing.checkout, standing.checkout.kube
    parts = standing.page["cluster_parts"]
    written(standing, cluster_parts={**parts, "metrics_server": False})
    run = checkout.make("up").expect()
    assert "metrics_server is off on the page and still in the cluster; `make remove-parts` takes it away" in run.output
    assert kube("get", "deployments", "--namespace=kube-system", "--selector=slipway.io/part=metrics_server")["items"]
    assert "metrics_server is off on the page" in checkout.make("status").output
    # Check mode names what would go and takes nothing.
    assert checkout.playbook("playbooks/remove-parts.yml", "--check").expect().total("changed") == 1
    assert kube("get", "deployments", "--namespace=kube-system", "--selector=slipway.io/part=metrics_server")["items"]
    assert checkout.make("remove-parts").expect().total("changed") == 1
    left = kube(
        "get",
        "deployments,services,secrets,apiservices",
        "--all-namespaces",
        "--selector=slipway.io/part=metrics_server",
    )
    assert left["items"] == []
    assert checkout.make("remove-parts").expect().total("changed") == 0
    assert "metrics_server is off" not in checkout.make("status").output
    written(standing)
    checkout.make("up").expect()


def test_what_a_part_serves_keeps_it(standing: Survivor) -> None:
    checkout, kube = standing.checkout, standing.checkout.kube
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "mine", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    kube.apply([claim])
    written(standing, cluster_parts={**standing.page["cluster_parts"], "storage": False})
    try:
        refused = checkout.make("remove-parts")
    finally:
        written(standing)
        kube.text("delete", "persistentvolumeclaim", "mine")
    assert refused.status
    assert "the claim default/mine has its volume from it" in refused.output
    assert kube("get", "deployment", "local-path-provisioner", "--namespace=local-path-storage")


def test_another_size_is_given_to_a_container_node_while_it_runs(standing: Survivor) -> None:
    checkout = standing.checkout
    workers = standing.page["cluster_workers"]
    more = {**workers, "memory": workers["memory"] + 512}
    written(standing, cluster_workers=more)
    run = checkout.make("up").expect()
    limits = ("docker", "inspect", "--format", "{{.HostConfig.Memory}}", f"{checkout.name}-node-1")
    assert int(checkout.run(*limits).expect().output) == more["memory"] << 20
    assert "memory of node-1 is" in run.output
    written(standing)
    checkout.make("up").expect()
    assert int(checkout.run(*limits).expect().output) == workers["memory"] << 20


# What the page says of node-2, one after the other: given, changed, taken off.
NODE: tuple[dict[str, Any], ...] = (
    {"labels": {"disk": "ssd", "rack": "a"}, "taints": ["gpu=true:NoSchedule"], "memory": 512},
    {"labels": {"disk": "nvme"}, "taints": ["gpu=false:NoSchedule"], "memory": 1024},
    {},
)
FOREIGN = "team.example.org/owner"


@pytest.fixture
def owned(standing: Survivor) -> Iterator[None]:
    """node-2 with a label of somebody else, and as it was in the end."""
    kube = standing.checkout.kube
    kube.text("label", "node", "node-2", f"{FOREIGN}=ops")
    yield
    kube.text("label", "node", "node-2", f"{FOREIGN}-")
    written(standing)
    standing.checkout.make("up").expect()


@pytest.mark.usefixtures("owned")
def test_labels_taints_and_memory_of_one_node_follow_the_page(standing: Survivor) -> None:
    checkout, kube = standing.checkout, standing.checkout.kube
    workers = standing.page["cluster_workers"]["memory"]
    limits = ("docker", "inspect", "--format", "{{.HostConfig.Memory}}", f"{checkout.name}-node-2")
    before, other = kube("get", "node", "node-2"), kube("get", "node", "node-1")
    for said in NODE:
        memory = workers + said.get("memory", 0)
        written(standing, cluster_nodes={"node-2": {**said, "memory": memory}} if said else {})
        checkout.make("up").expect()
        node = kube("get", "node", "node-2")
        # What is not said any more is gone, and what somebody else has given is there.
        assert node["metadata"]["labels"] == {**before["metadata"]["labels"], **said.get("labels", {})}
        taints = [f"{one['key']}={one['value']}:{one['effect']}" for one in node["spec"].get("taints", [])]
        assert taints == said.get("taints", [])
        assert int(checkout.run(*limits).expect().output) == memory << 20
        same = kube("get", "node", "node-1")
        assert (same["metadata"]["labels"], same["spec"]) == (other["metadata"]["labels"], other["spec"])
        assert checkout.make("up").expect().total("changed") == 0


def test_a_worker_that_is_off_the_page_is_named_and_goes_as_it_is_said(standing: Survivor) -> None:
    checkout, kube = standing.checkout, standing.checkout.kube
    written(standing, cluster_systems={}, cluster_workers={**standing.page["cluster_workers"], "count": 1})
    run = checkout.make("up").expect()
    said = sentence(run, "node-2")
    assert said in checkout.make("status").output
    for step in said.partition("To take it away: ")[2].split("; "):
        typed(standing, step).expect()
    assert {node["metadata"]["name"] for node in kube.nodes()} == {"ctrl", "node-1"}
    assert (
        checkout.run("docker", "ps", "--all", "--quiet", f"--filter=name={checkout.name}-node-2").output.strip() == ""
    )
    run = checkout.make("up").expect()
    assert "node-2" not in run.output
    written(standing)
    added = checkout.make("add-nodes").expect()
    print(f"make add-nodes: {added.seconds:.0f} s")
    assert {node["metadata"]["name"] for node in kube.nodes()} == {"ctrl", "node-1", "node-2"}
    # It was looked at, and no more.
    assert added.recap["node-1"]["ok"] <= 2
    # With a second worker the gateway gets its second pod, by a run that looks at the parts, too.
    assert checkout.make("up").expect().total("changed") == 1
    assert checkout.make("up").expect().total("changed") == 0
