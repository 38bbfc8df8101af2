"""Istio's manifests, rendered by a stand-in for istioctl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail

from tests.support.errors import refused
from tests.support.plugins import load, run_action

# Prints a Deployment named by what it is asked for, then a Namespace, and counts how often it ran.
ISTIOCTL = """#!/bin/sh
echo x >> "$0.ran"
read -r asked
case "$asked" in *refused*) echo 'Error: unknown field "spec.refused"' >&2; exit 1;; esac
echo "{apiVersion: apps/v1, kind: Deployment, metadata: {name: made, annotations: {asked: '$asked'}}}"
echo ---
echo "{apiVersion: v1, kind: Namespace, metadata: {name: made}}"
"""
OPERATOR = "kind: IstioOperator\nspec: {meshConfig: {a: 1}}\n"


@pytest.fixture
def istioctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "istioctl"
    path.write_text(ISTIOCTL)
    path.chmod(0o755)
    return path


def made(istioctl: Path, **values: Any) -> list[Any]:
    given = {"istioctl": str(istioctl), "operator": OPERATOR, "values": values}
    result = run_action(load("action", "mesh_manifests"), given)
    assert result["changed"] is False
    found: list[Any] = json.loads(Path(result["path"]).read_text())
    return found


def times(istioctl: Path) -> int:
    return len(istioctl.with_name("istioctl.ran").read_text().split())


def test_it_is_rendered_once_for_each_program_and_its_settings(istioctl: Path) -> None:
    first = made(istioctl)
    assert [item["kind"] for item in first] == ["Namespace", "Deployment"]
    assert made(istioctl) == first
    assert times(istioctl) == 1
    (_, other) = made(istioctl, meshConfig={"b": 2})
    asked = json.loads(other["metadata"]["annotations"]["asked"])
    assert asked["spec"] == {"meshConfig": {"a": 1, "b": 2}}
    assert times(istioctl) == 2
    istioctl.write_text(ISTIOCTL + "# another one\n")
    made(istioctl)
    assert times(istioctl) == 3


def test_a_refusal_is_told_and_not_kept(istioctl: Path) -> None:
    for _ in range(2):
        with refused("istioctl-refuses: refuses istio_values … spec.refused", AnsibleActionFail):
            made(istioctl, refused=1)
    assert times(istioctl) == 2


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with refused("istioctl-refuses: cannot be run", AnsibleActionFail):
        made(tmp_path / "nothing")
