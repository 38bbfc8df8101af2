"""Releases that are manifests, or a kustomization: released as they are, proved, changed and removed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kube import eventually
from tests.support.mesh import gateway_address
from tests.support.releases import Stage
from tests.support.traffic import asked

HERE = Path(__file__).parent / "manifests"
SPACE = "--namespace=kiosk"


@pytest.fixture
def folder(empty: Stage, tmp_path: Path) -> Iterator[Path]:
    """A copy of the pages and their manifests; what they release is gone at the end."""
    made = Path(shutil.copytree(HERE, tmp_path / "manifests"))
    yield made
    empty.release(str(made / "manifests.yml"), release_state="absent")


def names(stage: Stage, kind: str) -> set[str]:
    return {item["metadata"]["name"] for item in stage.kube("get", kind, SPACE)["items"]}


def test_manifests_are_released_changed_and_followed_by_a_kustomization_of_them(empty: Stage, folder: Path) -> None:
    page, over = str(folder / "manifests.yml"), str(folder / "kustomized.yml")
    empty.release(page, prove="always").expect()
    empty.passed("kiosk")
    assert "answer" in empty.kinds("kiosk", "passed")
    assert empty.release(page, prove="never").expect().total("changed") == 0
    assert "kiosk-hours" in names(empty, "configmaps")
    address = gateway_address(empty.kube)
    assert asked(address, "kiosk.local", "/").version == "v1"
    # A file that goes takes its objects with it, and what is wrong in one is named with the file.
    (folder / "k8s" / "extra.yaml").write_text("apiVersion: v1\nkind: Service\nmetadata: {name: Not-A-Name}\n")
    refused = empty.release(page, prove="never")
    assert refused.status != 0
    assert "Not-A-Name" in refused.output
    assert "k8s/extra.yaml" in refused.output
    (folder / "k8s" / "extra.yaml").unlink()
    empty.release(page, prove="never").expect()
    assert "kiosk-hours" not in names(empty, "configmaps")
    # The same release, from a kustomization: only what that says otherwise changes.
    before = empty.kube("get", "deployment", "brain", SPACE)["metadata"]["uid"]
    empty.release(over, prove="always").expect()
    empty.passed("kiosk")
    assert empty.kube("get", "deployment", "kiosk-v1", SPACE)["status"]["readyReplicas"] == 2
    assert empty.kube("get", "deployment", "brain", SPACE)["metadata"]["uid"] == before
    assert any(name.startswith("kiosk-prices-") for name in names(empty, "configmaps"))
    assert empty.release(over, prove="never").expect().total("changed") == 0
    empty.release(over, release_state="absent").expect()
    eventually(
        lambda: "kiosk" not in {item["metadata"]["name"] for item in empty.kube("get", "namespaces")["items"]},
        seconds=90,
        what="its namespace is gone",
    )
    assert asked(address, "kiosk.local", "/").status != "200"
