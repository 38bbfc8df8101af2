"""What is kept of the cluster of a failed test."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import conftest
from tests.support import scene
from tests.support.lab import lab_name

KUBECTL = """#!/bin/sh
case "$*" in
  *--output=json*) cat "$(dirname "$0")/pods.json" ;;
  *) echo "kubectl $*" ;;
esac
"""


def pod(name: str, phase: str = "Running", ready: str = "True") -> dict[str, Any]:
    conditions = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": ready}]
    return {"metadata": {"name": name, "namespace": "shop"}, "status": {"phase": phase, "conditions": conditions}}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A lab with one node, whose kubectl names a pod that is not Ready; beside it one whose machines are gone."""
    state = tmp_path / ".slipway/test/faults/.slipway"
    (state / "bin").mkdir(parents=True)
    (tmp_path / ".slipway/test/gone/.slipway").mkdir(parents=True)
    kubectl = state / "bin/kubectl"
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    (state / "bin/pods.json").write_text(json.dumps({"items": [pod("web"), pod("late", "Pending", "False")]}))
    name = lab_name("faults")
    monkeypatch.setattr(scene, "ROOT", tmp_path)
    monkeypatch.setattr(scene, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(scene, "docker", lambda *_words: [f"{name}-ctrl", "somebody-else"])
    return name


def test_pods_that_should_serve_and_do_not_are_looked_at() -> None:
    pods = {"items": [pod("web"), pod("late", ready="False"), pod("done", "Succeeded", "False")]}
    assert scene.pods(json.dumps(pods)) == [("web", "shop", True), ("late", "shop", False), ("done", "shop", True)]
    assert scene.pods("The connection to the server was refused") == []


def test_what_a_cluster_can_tell_is_kept(lab: str) -> None:
    (folder,) = scene.keep("tests/faults/test_x.py::test_y[Machines-4.0]")
    assert folder.name == f"tests-faults-test-x-py-test-y-Machines-4-0.{lab}"
    found = {path.name: path.read_text() for path in folder.iterdir()}
    logs = {"shop.web.log.txt", "shop.late.log.txt"}
    assert set(found) == {"ctrl.txt", "nodes.txt", "pods.txt", "events.txt", "shop.late.txt", *logs}
    assert "get events --all-namespaces" in found["events.txt"]
    assert "describe pod late --namespace=shop" in found["shop.late.txt"]


def test_what_does_not_answer_is_said() -> None:
    assert "No such file" in scene.answer(["/no/such/program"])


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize(
    ("path", "failed", "kept"),
    [("tests/e2e/test_up.py", True, 1), ("tests/e2e/test_up.py", False, 0), ("tests/unit/test_page.py", True, 0)],
)
def test_only_a_failed_test_with_machines_keeps_something(path: str, failed: bool, kept: int, tmp_path: Path) -> None:
    item: Any = SimpleNamespace(path=tmp_path / path, nodeid=path, config=SimpleNamespace(rootpath=tmp_path))
    report: Any = SimpleNamespace(failed=failed, sections=[])
    hook = conftest.pytest_runtest_makereport(item)
    next(hook)
    with pytest.raises(StopIteration) as end:
        hook.send(report)
    assert end.value.value is report
    assert len(report.sections) == kept
