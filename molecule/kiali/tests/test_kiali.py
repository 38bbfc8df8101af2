"""Kiali where the bundle has it; where not, that the API server would take all of it, and what its account may do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.consoles import Gateway, applied, may, needed, refused, rendered
from tests.support.kube import Kube, eventually

testinfra_hosts = ["ansible://controllers"]

ACCOUNT = "istio-system:kiali"
LOOKS = ("pods", "services", "namespaces", "configmaps", "virtualservices.networking.istio.io")
CHANGES = (
    *(
        ("get", "secrets"),
        ("list", "secrets"),
        ("create", "pods"),
        ("create", "pods/portforward"),
        ("create", "pods/exec"),
    ),
    *(("patch", "services"), ("delete", "virtualservices.networking.istio.io"), ("patch", "namespaces")),
)


@pytest.fixture
def running(kube: Kube) -> None:
    needed(kube, "kiali", "Kiali")


def test_the_api_server_takes_all_of_it(kube: Kube, page: dict[str, Any]) -> None:
    assert refused(kube, rendered("kiali", kiali_host=f"kiali.{page['cluster_name']}.local")) == ""


def test_it_may_look_and_change_nothing(kube: Kube) -> None:
    rights = [
        one for one in rendered("kiali") if one["kind"] in ("ServiceAccount", "ClusterRole", "ClusterRoleBinding")
    ]
    with applied(kube, rights):
        eventually(lambda: all(may(kube, ACCOUNT, "list", one) for one in LOOKS), seconds=30, what="it may look")
        for verb, resource in CHANGES:
            assert not may(kube, ACCOUNT, verb, resource), f"{verb} {resource}"


@pytest.mark.usefixtures("running")
def test_nobody_comes_in_without_a_token(kube: Kube, page: dict[str, Any]) -> None:
    gateway = Gateway(kube, page["cluster_name"])
    host = gateway.host("kiali")
    eventually(lambda: gateway.ask(host, "/healthz").status == 200, seconds=60, what="the gateway leads to Kiali")
    assert gateway.ask(host, "/api/namespaces").status == 401
    assert gateway.ask(host, "/api/auth/info").json()["strategy"] == "token"
