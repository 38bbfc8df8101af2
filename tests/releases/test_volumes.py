"""Claims of others, parts of volumes, and folders that a pod makes on its node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
        assert empty.release(VOLUMES, prove="never").expect().total("changed") == 0
        empty.release(VOLUMES, release_state="absent", release_delete_claims=["*"]).expect()
        claims = [item["metadata"]["name"] for item in kube("get", "persistentvolumeclaims", where)["items"]]
        assert claims == ["old-data"]
    finally:
        empty.take_away((VOLUMES,))
        kube.text("delete", "namespace", NAME, "--ignore-not-found", "--timeout=120s", timeout=150)
