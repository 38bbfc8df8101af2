"""Every machine of the page is a node of one cluster."""

from __future__ import annotations

import socket
from typing import Any

from slipway.node.kubeapi import tls
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


def test_pods_are_offered_no_more_memory_than_the_node_has(host: Host, kube: Kube, page: dict[str, Any]) -> None:
    """A container node sees all the memory of the machine it runs on; what the page gives it is what counts."""
    name = host.ansible.get_variables()["inventory_hostname"]
    role = "cluster_workers" if name.startswith("node-") else "cluster_controllers"
    own = page[role]["memory"] * 2**20
    offered = kube("get", "node", name)["status"]["allocatable"]["memory"]
    assert offered.endswith("Ki")
    assert own / 2 < int(offered.removesuffix("Ki")) * 1024 < own


def test_the_kubelet_finds_the_folder_that_it_looks_into_every_second(host: Host) -> None:
    with host.sudo():
        assert host.file("/etc/kubernetes/manifests").mode == 0o700


def test_the_kubelet_serves_with_a_certificate_that_the_cluster_signed_for_its_address(host: Host, kube: Kube) -> None:
    address = host.ansible.get_variables()["node_address"]
    # It trusts the cluster's CA alone, and wants the certificate to be for the address that it asks.
    trust = tls(kube.config.read_text())

    def served() -> bool:
        with socket.create_connection((address, 10250), 5) as plain:
            try:
                with trust.wrap_socket(plain, server_hostname=address):
                    return True
            except OSError as exc:
                raise AssertionError(f"{exc}") from exc

    eventually(served, seconds=60, what="the kubelet's request is approved and signed")


def test_what_a_pod_writes_can_be_read_through_the_api(host: Host, kube: Kube) -> None:
    name = host.ansible.get_variables()["inventory_hostname"]
    chosen = ("--namespace=kube-system", "--selector=k8s-app=kube-proxy", f"--field-selector=spec.nodeName={name}")

    def logs() -> str:
        (pod,) = kube("get", "pods", *chosen)["items"]
        return kube.text("logs", pod["metadata"]["name"], "--namespace=kube-system", "--tail=1")

    eventually(logs, seconds=60, what=f"kubectl logs of kube-proxy on {name}")


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
