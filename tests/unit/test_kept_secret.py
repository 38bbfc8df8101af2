"""The action plugin kept_secret as a task calls it: values stay, and labels are those that the task has."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import ApiServer
from tests.support.plugins import load, run_action

PATH = "/api/v1/namespaces/monitoring/secrets/grafana-admin"
LABELS = {"app": "grafana", "slipway.io/part": "grafana"}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    started = ApiServer(tmp_path, monkeypatch)
    started.put("/api/v1", {"resources": [{"name": "secrets", "kind": "Secret", "namespaced": True}]})
    yield started
    started.stop()


def kept(server: ApiServer, *, check: bool = False, **more: Any) -> dict[str, Any]:
    arguments = {"namespace": "monitoring", "name": "grafana-admin", "labels": LABELS, "random": {"password": 32}}
    given = {"kubeconfig": str(server.kubeconfig), **arguments, "values": {"user": "admin"}, **more}
    return run_action(load("action", "kept_secret"), given, check=check)


def patches(server: ApiServer) -> int:
    return [method for method, _, _ in server.asked].count("PATCH")


def test_values_are_made_once(server: ApiServer) -> None:
    first = kept(server)
    assert (first["changed"], first["keys"]) == (True, ["password", "user"])
    made = server.objects[PATH]
    assert made["metadata"]["labels"] == LABELS
    assert len(base64.b64decode(made["data"]["password"])) == 32
    second = kept(server)
    assert (second["changed"], second["keys"], second["sha1"]) == (False, [], first["sha1"])
    assert (server.objects[PATH], patches(server)) == (made, 1)


@pytest.mark.parametrize(
    "labels", [None, {}, {"app": "grafana"}, {**LABELS, "slipway.io/part": "monitoring"}, {"mine": "1"}]
)
def test_a_label_that_is_missing_or_another_is_set_and_the_values_stay(
    server: ApiServer, labels: dict[str, str] | None
) -> None:
    first = kept(server)
    data = server.objects[PATH]["data"]
    metadata = server.objects[PATH]["metadata"]
    metadata.pop("labels")
    if labels is not None:
        metadata["labels"] = labels
    before = patches(server)
    checked = kept(server, check=True)
    assert (checked["changed"], checked["keys"], patches(server)) == (True, [], before)
    again = kept(server)
    assert (again["changed"], again["keys"], again["sha1"]) == (True, [], first["sha1"])
    assert server.objects[PATH]["metadata"]["labels"] == LABELS
    assert server.objects[PATH]["data"] == data
    assert not kept(server)["changed"]


def test_labels_that_others_have_added_are_no_difference(server: ApiServer) -> None:
    kept(server)
    server.objects[PATH]["metadata"]["labels"] = {**LABELS, "mine": "1"}
    assert not kept(server)["changed"]
    assert not kept(server, labels={})["changed"]
