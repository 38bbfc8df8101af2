"""Pods, nodes and Services of the cluster reach each other by name, under their own addresses."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from testinfra.host import Host

from tests.support.kube import Kube, eventually, ready
from tests.support.probe import PORT, Probes


@pytest.fixture(scope="module")
def probes(kube: Kube) -> Iterator[Probes]:
    started = Probes(kube)
    yield started
    started.stop()


def test_every_node_is_ready(kube: Kube) -> None:
    assert [node["metadata"]["name"] for node in kube.nodes() if not ready(node)] == []


def test_every_pod_of_the_system_is_ready(kube: Kube) -> None:
    pods = kube("get", "pods", "--all-namespaces")["items"]
    assert [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] != "Running" or not ready(pod)] == []


def test_no_container_of_the_system_was_restarted(kube: Kube) -> None:
    """Nothing had to fail first: no loop in DNS, no probe that gave up."""
    restarts = {
        f"{pod['metadata']['name']}/{status['name']}": status["restartCount"]
        for pod in kube("get", "pods", "--namespace=kube-system")["items"]
        for status in pod["status"]["containerStatuses"]
        if status["restartCount"]
    }
    assert restarts == {}


def test_dns_answers_in_a_pod_on_each_node(probes: Probes, page: dict[str, Any]) -> None:
    first = probes.kube("get", "service", "kubernetes", "--namespace=default")["spec"]["clusterIP"]
    for probe in probes.all:
        name = f"kubernetes.default.svc.{page['cluster_dns_domain']}"
        assert probes.resolve(probe, name) == [first], f"asked on {probe.node}"
        assert probes.resolve(probe, "kubernetes.default") == [first], f"the short name, asked on {probe.node}"


def test_pods_see_each_others_own_address(probes: Probes) -> None:
    for source, target in itertools.permutations(probes.all, 2):
        assert probes.fetch(source, f"http://{target.address}:{PORT}/")["client"] == source.address
        assert probes.fetch_by_service(source, target)["client"] == source.address


def test_a_pod_sees_the_nodes_own_address(controller: Host, probes: Probes) -> None:
    own = {
        entry["local"]
        for interface in json.loads(controller.check_output("ip -json -4 address"))
        for entry in interface["addr_info"]
    }
    for target in probes.all:
        url = f"http://{target.address}:{PORT}/"
        fetch = f"import urllib.request as r; print(r.urlopen('{url}', timeout=5).read().decode())"
        seen = json.loads(controller.check_output("env no_proxy='*' python3 -c %s", fetch))
        assert seen["client"] in own, f"asked the pod on {target.node}"


def test_pods_see_a_changed_configmap_within_seconds(probes: Probes) -> None:
    """Prometheus learns of a release this way: left to itself, a kubelet looks every 60 to 90 s."""
    for word in ("one", "other"):
        probes.set("word", word)
        for probe in probes.all:
            read = functools.partial(probes.setting, probe, "word")
            eventually(functools.partial(same, read, word), seconds=30, what=f"the pod on {probe.node} reads {word}")


def same(read: Callable[[], str], wanted: str) -> bool:
    return read() == wanted
