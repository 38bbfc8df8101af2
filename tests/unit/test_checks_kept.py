"""A cluster gets a release of Kubernetes that is known, and keeps what it was founded with."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.errors import tells
from tests.support.settings import CTRL, FOUNDED, NODE, here, hosts


def version(text: str, source: str = "auto") -> dict[str, Any]:
    return {"cluster_kubernetes_version": text, "cluster_artifacts_from": source}


@pytest.mark.parametrize(
    ("values", "problem", "warning"),
    [
        (version("1.37.0"), "", ""),
        (version("1.36.3", "source"), "", ""),
        (version("1.37.5", "upstream"), "", ""),
        (version("1.37.5"), "", "kubernetes-not-built: 1.36.3, 1.37.0"),
        (version("1.37.5", "source"), "kubernetes-not-built: 1.36.3, 1.37.0", ""),
        (version("1.35.0"), "kubernetes-unknown: 1.36.3, 1.37.0", ""),
        (version("1.35.0", "upstream"), "kubernetes-unknown: 1.36.3, 1.37.0", ""),
        (version("1.3.0", "upstream"), "kubernetes-unknown: 1.36.3, 1.37.0", ""),
    ],
)
def test_a_kubernetes_release_must_be_known(values: dict[str, Any], problem: str, warning: str) -> None:
    report = here(values, kubernetes_releases=("1.36.3", "1.37.0"))
    for found, expected in ((report.problems, problem), (report.warnings, warning)):
        assert len(found) == bool(expected)
        for one in found:
            tells(one, expected)
            assert one.works == 'cluster_kubernetes_version: "1.36.3" or "1.37.0"'


def test_a_cluster_that_stands_keeps_its_release() -> None:
    """Only make upgrade changes it, which refuses by itself what cannot work."""
    around: dict[str, Any] = {"kubernetes_releases": ("1.36.3", "1.37.0", "1.37.2"), "kubernetes_running": "1.37.0"}
    stays = 'cluster_kubernetes_version: "1.37.0"'
    for asked, works in (("1.37.2", f"{stays}, or make upgrade"), ("1.36.3", stays)):
        (problem,) = here(version(asked), **around).problems
        assert (problem.key, problem.works) == ("cluster_kubernetes_version", works)
        tells(problem, f"kubernetes-upgrade: 1.37.0{' … `make upgrade`' if asked == '1.37.2' else ' … go back'}")
        assert here(version(asked), **around, upgrading=True).problems == []
    assert here(version("1.37.0"), **around).problems == []


BALANCED = {**FOUNDED, "cluster_api_endpoint": "api.example.org:6443"}


@pytest.mark.parametrize(
    ("values", "founded", "works"),
    [
        ({}, FOUNDED, ""),
        ({"cluster_name": "other"}, {}, ""),
        ({"cluster_name": "other"}, FOUNDED, "cluster_name: slipway"),
        ({"cluster_pod_cidr": "10.200.0.0/16"}, FOUNDED, "cluster_pod_cidr: 10.244.0.0/16"),
        ({"cluster_service_cidr": "10.112.0.0/16"}, FOUNDED, "cluster_service_cidr: 10.96.0.0/12"),
        ({"cluster_dns_domain": "k8s.local"}, FOUNDED, "cluster_dns_domain: cluster.local"),
        ({"cluster_api_endpoint": "api.example.org"}, FOUNDED, 'cluster_api_endpoint: ""'),
        ({"cluster_api_endpoint": "api.example.org"}, BALANCED, ""),
        ({"cluster_api_endpoint": "api.example.org:6443"}, BALANCED, ""),
        ({"cluster_api_endpoint": "api.example.org:443"}, BALANCED, "cluster_api_endpoint: api.example.org:6443"),
        ({}, BALANCED, "cluster_api_endpoint: api.example.org:6443"),
    ],
)
def test_a_cluster_that_stands_keeps_what_it_was_founded_with(
    values: dict[str, Any], founded: dict[str, str], works: str
) -> None:
    found = here(values, founded=founded).problems
    assert [problem.works for problem in found] == (
        [f"{works}, or `make down` before it is made anew"] if works else []
    )


def test_a_made_controller_keeps_its_address() -> None:
    """Its number follows from its name: another address is another node network."""
    moved = {"cluster_node_cidr": "192.168.99.0/24", "cluster_metallb_addresses": []}
    (problem,) = here(moved, controllers={"ctrl": "192.168.56.100"}).problems
    assert problem.key == "cluster_node_cidr"
    tells(problem, "controller-address-changed: ctrl … 192.168.56.100")
    assert problem.works == "cluster_node_cidr: 192.168.56.0/24, or `make down` before it is made anew"
    assert here({}, controllers={"ctrl": "192.168.56.100", "ctrl-2": "192.168.56.12"}).problems == []


def test_a_controller_that_is_a_host_keeps_its_address_and_a_worker_may_have_another() -> None:
    around = {"provider": "hosts", "controllers": {"ctrl": "192.168.56.100"}}
    (problem,) = here(hosts({**CTRL, "address": "192.168.56.77"}, NODE), **around).problems
    assert (problem.key, problem.value) == ("cluster_hosts[0].address", "192.168.56.77")
    assert problem.works.startswith(
        "address: 192.168.56.100, or `sudo kubeadm reset --force` on every host and `make down`"
    )
    assert here(hosts(CTRL, {**NODE, "address": "192.168.56.77"}), **around).problems == []


@pytest.mark.parametrize(
    ("addresses", "what"),
    [
        (["192.0.2.50"], ""),
        (["127.0.0.1", "192.0.2.50"], ""),
        ([], "endpoint-not-found: api.example.org"),
        (["127.0.1.1"], "special-address: 127.0.1.1 … api.example.org … (127.0.0.0/8)"),
        (["10.244.0.5"], "endpoint-handed-out: 10.244.0.5 … api.example.org … cluster_pod_cidr"),
    ],
)
def test_an_endpoint_that_leads_nowhere_is_refused_before_anything_is_founded(addresses: list[str], what: str) -> None:
    asked: list[str] = []

    def resolve(name: str) -> list[str]:
        asked.append(name)
        return addresses

    values = {"cluster_api_endpoint": "api.example.org:6443"}
    problems = here(values, resolve=resolve).problems
    assert asked == ["api.example.org"]
    assert [problem.key for problem in problems] == ["cluster_api_endpoint"] * bool(what)
    for problem in problems:
        tells(problem, what)
    assert all("cluster_api_endpoint: 192.168.56.100:6443" in problem.works for problem in problems)
    # A cluster that stands, and an endpoint without a name.
    assert here(values, founded=BALANCED, resolve=resolve).problems == []
    assert here({"cluster_api_endpoint": "192.168.56.100"}, resolve=resolve).problems == []
    assert asked == ["api.example.org"]


def test_a_cluster_that_stands_is_not_asked_for_other_networks() -> None:
    """What is there has the networks that it was founded with; whoever added a network since is told by nobody."""

    def look() -> list[dict[str, Any]]:
        raise AssertionError("looked")

    assert here({}, founded=FOUNDED, claimed=look).problems == []


def test_any_release_passes_where_none_is_known() -> None:
    report = here(version("1.99.0"), kubernetes_releases=())
    assert (report.problems, report.warnings) == ([], [])
