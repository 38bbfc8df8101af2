"""Every machine of the page is a node of one cluster."""

from __future__ import annotations

from typing import Any

from testinfra.host import Host

from tests.support.kube import Kube, eventually

testinfra_hosts = ["ansible://nodes"]


def test_the_cluster_has_the_nodes_of_the_page_and_no_more(kube: Kube, page: dict[str, Any]) -> None:
    assert len(kube.nodes()) == page["cluster_controllers"]["count"] + page["cluster_workers"]["count"]


def test_the_node_is_registered_with_its_address_of_the_node_network(host: Host, kube: Kube) -> None:
    variables = host.ansible.get_variables()
    node = kube("get", "node", variables["inventory_hostname"])
    addresses = [entry["address"] for entry in node["status"]["addresses"] if entry["type"] == "InternalIP"]
    assert addresses == [variables["node_address"]]


def test_the_kubelet_is_the_version_of_the_page(host: Host, kube: Kube, page: dict[str, Any]) -> None:
    node = kube("get", "node", host.ansible.get_variables()["inventory_hostname"])
    assert node["status"]["nodeInfo"]["kubeletVersion"] == f"v{page['cluster_kubernetes_version']}"


def test_the_kubelet_reports_to_the_api(host: Host, kube: Kube) -> None:
    name = host.ansible.get_variables()["inventory_hostname"]
    eventually(
        lambda: kube("get", "lease", name, "--namespace=kube-node-lease")["spec"]["renewTime"],
        seconds=60,
        what=f"the kubelet of {name} has reported",
    )
    assert host.service("kubelet").is_running


def test_the_token_is_not_left_on_the_node(host: Host) -> None:
    with host.sudo():
        assert not host.file("/etc/kubernetes/bootstrap-kubelet.conf").exists
        found = host.run(
            "grep --recursive --files-with-matches 'token: [a-z0-9]' /etc/kubernetes /run/slipway /var/lib/slipway"
        )
    assert found.stdout == ""


def test_the_key_of_the_kubelet_is_for_root_alone(host: Host) -> None:
    with host.sudo():
        assert host.check_output("find /var/lib/kubelet/pki -name '*.pem' -type f -perm /077") == ""
