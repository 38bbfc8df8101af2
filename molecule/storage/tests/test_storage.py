"""Claims bind and keep what is written to them; all nodes have the same shared folder."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.kube import Kube, eventually, ready

testinfra_hosts = ["ansible://controllers[0]"]

NAMESPACE = "slipway-storage"
# Nobody special: what an application's image runs as.
USER = 10001


class Pods:
    """Pods with a shell in a namespace of their own."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        helper = kube.bundle["images"]["local-path-helper"]
        self.image = f"{helper['name']}:{helper['tag']}"
        self.make({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})

    def make(self, *objects: dict[str, Any]) -> None:
        # A namespace is of use a moment after it is there: its service account has to be made.
        eventually(lambda: self.kube.apply(list(objects)), seconds=30, what="the objects are accepted")

    def claim(self, name: str) -> None:
        """A claim that names no StorageClass."""
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}}
        metadata = {"name": name, "namespace": NAMESPACE}
        self.make({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})

    def start(self, name: str, volume: dict[str, Any], node: str = "") -> None:
        """A pod that has ``volume`` at /data, and waits for questions."""
        container = {
            "name": "shell",
            "image": self.image,
            "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            "securityContext": {"runAsUser": USER, "runAsNonRoot": True},
        }
        spec: dict[str, Any] = {
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            "volumes": [{"name": "data", **volume}],
            "nodeSelector": {"kubernetes.io/hostname": node} if node else {"kubernetes.io/os": "linux"},
            "tolerations": [{"operator": "Exists"}],
        }
        metadata = {"name": name, "namespace": NAMESPACE}
        self.make({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        eventually(lambda: ready(self.get("pod", name)), seconds=90, what=f"the pod {name} is Ready")

    def get(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.kube("get", kind, name, f"--namespace={NAMESPACE}")
        return found

    def run(self, pod: str, command: str) -> str:
        """What a command in the pod prints."""
        return self.kube.text("exec", pod, f"--namespace={NAMESPACE}", "--", "sh", "-c", command).strip()

    def delete(self, kind: str, name: str) -> None:
        self.kube.text("delete", kind, name, f"--namespace={NAMESPACE}", "--ignore-not-found", timeout=120)


@pytest.fixture(scope="module")
def pods(kube: Kube) -> Iterator[Pods]:
    started = Pods(kube)
    yield started
    kube.text("delete", "namespace", NAMESPACE, "--ignore-not-found", timeout=180)


def test_a_claim_keeps_what_is_written_longer_than_its_pod(pods: Pods) -> None:
    pods.claim("kept")
    assert pods.get("pvc", "kept")["status"]["phase"] == "Pending", "until a pod says on which node"
    volume = {"persistentVolumeClaim": {"claimName": "kept"}}
    pods.start("first", volume)
    assert pods.get("pvc", "kept")["status"]["phase"] == "Bound"
    assert pods.get("pvc", "kept")["spec"]["storageClassName"] == "local-path"
    pods.run("first", "umask 077; mkdir /data/mine; echo kept > /data/mine/file")
    node = pods.get("pod", "first")["spec"]["nodeName"]
    pods.delete("pod", "first")
    pods.start("second", volume)
    assert pods.run("second", "cat /data/mine/file") == "kept"
    assert pods.get("pod", "second")["spec"]["nodeName"] == node, "where the volume is"


def test_a_claim_keeps_what_is_written_when_its_node_starts_anew(pods: Pods, kube: Kube, page: dict[str, Any]) -> None:
    node = pods.get("pod", "second")["spec"]["nodeName"]
    boot = node_info(kube, node)["bootID"]
    started = pods.get("pod", "second")["status"]["containerStatuses"][0]["restartCount"]
    subprocess.run(["docker", "restart", f"{page['cluster_name']}-{node}"], check=True, capture_output=True)
    eventually(
        lambda: pods.get("pod", "second")["status"]["containerStatuses"][0]["restartCount"] > started,
        seconds=120,
        what=f"the pod runs again on {node} (boot {boot})",
    )
    eventually(lambda: ready(pods.get("pod", "second")), seconds=120, what="the pod is Ready")
    eventually(lambda: all(ready(one) for one in kube.nodes()), seconds=120, what="every node is Ready")
    assert eventually(lambda: pods.run("second", "cat /data/mine/file"), seconds=60, what="the file is read") == "kept"


def node_info(kube: Kube, node: str) -> dict[str, Any]:
    found: dict[str, Any] = kube("get", "node", node)["status"]["nodeInfo"]
    return found


def test_a_claim_that_is_gone_leaves_nothing_behind(pods: Pods, kube: Kube, page: dict[str, Any]) -> None:
    node = pods.get("pod", "second")["spec"]["nodeName"]
    volume = pods.get("pvc", "kept")["spec"]["volumeName"]
    path = kube("get", "pv", volume)["spec"]["hostPath"]["path"]
    assert path.startswith("/var/lib/slipway/storage/")
    container = f"{page['cluster_name']}-{node}"
    assert "mine" in listed(container, path)
    pods.delete("pod", "second")
    pods.delete("pvc", "kept")
    eventually(lambda: not listed(container, path), seconds=90, what="the folder is removed, its owner's files too")


def listed(container: str, path: str) -> list[str]:
    """Names in a folder of a node; none when there is no such folder."""
    done = subprocess.run(["docker", "exec", container, "ls", path], check=False, capture_output=True, text=True)
    return done.stdout.split()


def test_what_one_node_writes_to_the_shared_folder_the_others_read(pods: Pods, kube: Kube) -> None:
    names = [str(node["metadata"]["name"]) for node in kube.nodes()]
    folder = {"hostPath": {"path": "/mnt/shared", "type": "Directory"}}
    for node in names:
        pods.start(f"shared-{node}", folder, node)
    for node in names:
        pods.run(f"shared-{node}", f"echo {node} > /data/from-{node}")
    for reader in names:
        for writer in names:
            assert pods.run(f"shared-{reader}", f"cat /data/from-{writer}") == writer, f"{reader} reads"
    for node in names:
        pods.run(f"shared-{node}", f"rm /data/from-{node}")


def test_the_provisioner_may_not_look_into_secrets(kube: Kube) -> None:
    who = "--as=system:serviceaccount:local-path-storage:local-path-provisioner"
    for verb, what in (("get", "secrets"), ("create", "pods"), ("delete", "nodes")):
        done = subprocess.run(
            [str(kube.program), f"--kubeconfig={kube.config}", "auth", "can-i", verb, what, "--namespace=default", who],
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.stdout.strip().startswith("no"), f"{verb} {what}"
