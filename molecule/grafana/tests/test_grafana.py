"""Grafana where the bundle has it; where not, that the API server would take all of it, and what its account may do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.consoles import Gateway, applied, may, needed, refused, rendered, secret
from tests.support.dashboards import held
from tests.support.kube import Kube, eventually

testinfra_hosts = ["ansible://controllers"]

ACCOUNT = "monitoring:grafana"


@pytest.fixture
def running(kube: Kube) -> None:
    needed(kube, "grafana", "Grafana")


def test_the_api_server_takes_all_of_it(kube: Kube, page: dict[str, Any]) -> None:
    assert refused(kube, rendered("grafana", grafana_host=f"grafana.{page['cluster_name']}.local")) == ""
    # And would not take just anything.
    broken = rendered("grafana", grafana_host="not a host")
    assert "spec.hosts" in refused(kube, broken) or "domain name" in refused(kube, broken)


def test_it_may_read_dashboards_and_nothing_secret(kube: Kube) -> None:
    rights = [
        one for one in rendered("grafana") if one["kind"] in ("ServiceAccount", "ClusterRole", "ClusterRoleBinding")
    ]
    with applied(kube, rights):
        eventually(lambda: may(kube, ACCOUNT, "list", "configmaps"), seconds=30, what="it may read dashboards")
        for verb, resource in (
            ("get", "secrets"),
            ("list", "pods"),
            ("create", "configmaps"),
            ("delete", "configmaps"),
        ):
            assert not may(kube, ACCOUNT, verb, resource), f"{verb} {resource}"


@pytest.mark.usefixtures("running")
def test_nobody_comes_in_without_the_password_and_dashboards_are_there(kube: Kube, page: dict[str, Any]) -> None:
    gateway = Gateway(kube, page["cluster_name"])
    host = gateway.host("grafana")
    eventually(lambda: gateway.ask(host, "/api/health").status == 200, seconds=60, what="the gateway leads to Grafana")
    assert gateway.ask(host, "/api/search").status == 401
    assert gateway.ask(host, "/api/search", user=("admin", "admin")).status == 401
    admin = ("admin", secret(kube, "monitoring", "grafana-admin", "admin-password"))
    wanted = {dashboard["uid"] for dashboard in held(kube).values()}
    assert wanted

    def found() -> bool:
        listed = gateway.ask(host, "/api/search?type=dash-db", user=admin).json()
        return wanted <= {entry["uid"] for entry in listed}

    eventually(found, seconds=60, what=f"Grafana has {', '.join(sorted(wanted))}")
    asked = gateway.ask(host, "/api/datasources/uid/prometheus/health", user=admin)
    assert asked.json()["status"] == "OK"
