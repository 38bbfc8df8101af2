"""Claims of others, parts of volumes, and folders that a pod makes on its node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.support.kube import eventually
from tests.support.mesh import gateway_address
from tests.support.releases import Stage
from tests.support.traffic import asked

VOLUMES = str(Path(__file__).parent / "pages/volumes.yml")
NAME = "volumes"
SPACE: dict[str, Any] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME}}
CLAIM: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "old-data", "namespace": NAME},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}},
}


ELSEWHERE: dict[str, Any] = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "elsewhere"},
    "provisioner": "disks.example.org",
    "volumeBindingMode": "WaitForFirstConsumer",
}
CLAIM_ELSEWHERE: dict[str, Any] = {
    **CLAIM,
    "metadata": {"name": "one-node", "namespace": NAME},
    "spec": {**CLAIM["spec"], "storageClassName": "elsewhere"},
}
# What a pod is told when it writes.
WRITE = "try: open('/seen/mine', 'w')\nexcept OSError as exc: print(exc.errno)"
READ_ONLY = "30"


def test_a_claim_of_somebody_else_and_a_folder_that_is_made_are_written_to_and_kept(empty: Stage) -> None:
    kube = empty.kube
    where = f"--namespace={NAME}"
    kube.apply([SPACE])
    try:
        refused = empty.release(VOLUMES, prove="never")
        assert refused.status != 0
        assert "claim-not-in-cluster" in refused.output
        assert kube("get", "deployments", where)["items"] == []
        kube.apply([CLAIM])
        empty.release(VOLUMES, prove="never").expect()
        address = gateway_address(kube)
        eventually(lambda: asked(address, "volumes.local", "/").status == "200", seconds=60, what="it answers")
        inside = ("exec", where, "deployment/back-v1", "--container=back", "--", "/usr/bin/python3.11", "-c")
        look = "import os; print(os.stat('/made-for-it').st_uid, os.getuid(), bool(os.listdir('/data')))"
        assert kube.text(*inside, look).split() == ["65532", "65532", "True"]
        kube.text(*inside, "open('/made-for-it/kept', 'w').close()")
        reader = ("exec", where, "deployment/front-v1", "--container=front", "--", "/usr/bin/python3.11", "-c")
        assert kube.text(*reader, "import os; print(os.listdir('/seen'))").strip() == "['models']"
        assert kube.text(*reader, WRITE).strip() == READ_ONLY
        assert empty.release(VOLUMES, prove="never").expect().total("changed") == 0
        empty.release(VOLUMES, release_state="absent", release_delete_claims=["*"]).expect()
        claims = [item["metadata"]["name"] for item in kube("get", "persistentvolumeclaims", where)["items"]]
        assert claims == ["old-data"]
    finally:
        empty.take_away((VOLUMES,))
        kube.text("delete", "namespace", NAME, "--ignore-not-found", "--timeout=120s", timeout=150)


def test_a_claim_for_one_node_that_versions_share_is_told_by_the_plan(empty: Stage, tmp_path: Path) -> None:
    kube = empty.kube
    page = yaml.safe_load(Path(VOLUMES).read_text())
    page["weights"] = {"v1": 50, "v2": 50}
    for service in page["services"].values():
        service["versions"] = {"v1": {}, "v2": {}}
    page["volumes"] = {name: {"claim": "one-node"} for name in page["volumes"]}
    written = tmp_path / "volumes.yml"
    written.write_text(yaml.safe_dump(page))
    try:
        kube.apply([SPACE, ELSEWHERE])
        eventually(lambda: kube.apply([CLAIM_ELSEWHERE]), seconds=30, what="the claim is accepted")
        said = empty.play("playbooks/plan.yml", str(written)).expect().output
        assert "volumes.data is ReadWriteOnce, and back v1, back v2 share it" in " ".join(said.split())
        # Volumes of this class are on one node, and all pods come there.
        page["volumes"] = {name: {"size": "16Mi"} for name in page["volumes"]}
        written.write_text(yaml.safe_dump(page))
        assert "is ReadWriteOnce, and" not in empty.play("playbooks/plan.yml", str(written)).expect().output
    finally:
        kube.text("delete", "storageclass", "elsewhere", "--ignore-not-found")
        kube.text("delete", "namespace", NAME, "--ignore-not-found", "--timeout=120s", timeout=150)
