"""What kubeadm needs to find is there and of the right version."""

from __future__ import annotations

import ipaddress
from typing import Any

from testinfra.host import Host

testinfra_hosts = ["ansible://nodes"]


def test_kubeadm_and_kubelet_are_the_version_of_the_page(host: Host, page: dict[str, Any]) -> None:
    wanted = f"v{page['cluster_kubernetes_version']}"
    assert host.check_output("/usr/local/bin/kubeadm version --output short") == wanted
    assert host.check_output("/usr/local/bin/kubelet --version") == f"Kubernetes {wanted}"


def test_the_kubelet_comes_with_the_machine(host: Host) -> None:
    assert host.service("kubelet").is_enabled


def test_pods_get_name_servers_that_they_can_reach(host: Host) -> None:
    lines = host.file("/etc/kubernetes/resolv.conf").content_string.splitlines()
    servers = [ipaddress.ip_address(line.split()[1]) for line in lines if line.startswith("nameserver")]
    assert servers
    assert [str(server) for server in servers if server.is_loopback] == []


def test_the_plugins_of_the_network_are_executable(host: Host) -> None:
    for plugin in ("bridge", "host-local", "loopback", "portmap"):
        assert host.file(f"/opt/cni/bin/{plugin}").mode & 0o111 == 0o111, plugin


def test_kubeadm_has_nothing_against_this_machine(host: Host) -> None:
    """Its preflight checks pass but for those that the wiring names, with their reasons."""
    variables = host.ansible("debug", "msg={{ slipway_ignore_preflight | default([]) | join(',') }}", check=False)
    ignored = ",".join(
        filter(None, [variables["msg"] if isinstance(variables.get("msg"), str) else "", "SystemVerification,Swap"])
    )
    with host.sudo():
        joined = host.file("/etc/kubernetes/kubelet.conf").exists
        done = host.run(f"kubeadm init phase preflight --dry-run --ignore-preflight-errors={ignored} 2>&1")
        assert joined or done.rc == 0, done.stdout
