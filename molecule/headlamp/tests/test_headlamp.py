"""Headlamp where the bundle has it; where not, that the API server would take it, and what its accounts may do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.consoles import Gateway, applied, may, needed, refused, rendered
from tests.support.kube import Kube, eventually

testinfra_hosts = ["ansible://controllers"]

LOOKS = ("pods", "nodes", "deployments.apps", "virtualservices.networking.istio.io")
RIGHTS = ("Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding")


@pytest.fixture
def running(kube: Kube) -> None:
    needed(kube, "headlamp", "Headlamp")


def objects(page: dict[str, Any]) -> list[dict[str, Any]]:
    return rendered("headlamp", headlamp_host=f"headlamp.{page['cluster_name']}.local", headlamp_mesh=True)


def test_the_api_server_takes_all_of_it(kube: Kube, page: dict[str, Any]) -> None:
    made = objects(page)
    # What lies in it can only be judged where there is a namespace.
    with applied(kube, [one for one in made if one["kind"] == "Namespace"]):
        assert refused(kube, made) == ""


def test_a_viewer_may_look_and_change_nothing(kube: Kube, page: dict[str, Any]) -> None:
    with applied(kube, [one for one in objects(page) if one["kind"] in RIGHTS]):
        viewer, own = "headlamp:viewer", "headlamp:headlamp"
        eventually(lambda: all(may(kube, viewer, "list", one) for one in LOOKS), seconds=30, what="it may look")
        assert [one for one in LOOKS if may(kube, own, "list", one)] == []
        for verb, resource in (
            ("get", "secrets"),
            ("create", "pods"),
            ("delete", "deployments.apps"),
            ("patch", "nodes"),
        ):
            assert not may(kube, viewer, verb, resource), f"{verb} {resource}"


@pytest.mark.usefixtures("running")
def test_nobody_sees_anything_without_a_token(kube: Kube, page: dict[str, Any]) -> None:
    gateway = Gateway(kube, page["cluster_name"])
    host = gateway.host("headlamp")
    eventually(lambda: gateway.ask(host).status == 200, seconds=60, what="the gateway leads to Headlamp")
    assert gateway.ask(host, "/clusters/main/api/v1/pods").status in (401, 403)
