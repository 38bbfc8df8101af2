"""What says Ready and does not pass: another CNI plugin's file, and a firewall between nodes."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

from tests.support.survivor import Survivor

FOREIGN = {
    "cniVersion": "1.0.0",
    "name": "foreign",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni-foreign",
            "isGateway": True,
            "ipMasq": True,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/16"}]]},
        }
    ],
}
# What a firewall of a machine looks like that lets in SSH and answers alone.
CLOSED = """
table inet closed {
  chain input {
    type filter hook input priority -10; policy drop;
    iif lo accept
    ct state established,related accept
    tcp dport 22 accept
  }
}
"""


def on(survivor: Survivor, node: str, script: str) -> None:
    """Run a script as root on a container node."""
    survivor.checkout.run("docker", "exec", f"{survivor.checkout.name}-{node}", "sh", "-e", "-c", script).expect()


def pods(survivor: Survivor, selector: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = survivor.checkout.kube(
        "get", "pods", "--namespace=kube-system", f"--selector={selector}"
    )["items"]
    return found


def test_another_cni_plugins_file_gives_no_pod_an_address(standing: Survivor) -> None:
    kube = standing.checkout.kube
    for node in ("ctrl", "node-1", "node-2"):
        on(
            standing,
            node,
            f"mkdir -p /etc/cni/net.d; echo '{json.dumps(FOREIGN)}' > /etc/cni/net.d/00-foreign.conflist",
        )
    try:
        kube.text(
            "delete", "pods", "--namespace=kube-system", "--selector=k8s-app=kube-dns", "--wait=true", timeout=120
        )
        kube.text("rollout", "status", "deployment/coredns", "--namespace=kube-system", "--timeout=120s", timeout=150)
    finally:
        for node in ("ctrl", "node-1", "node-2"):
            on(standing, node, "rm /etc/cni/net.d/00-foreign.conflist")
    network = ipaddress.ip_network(standing.page["cluster_pod_cidr"])
    addresses = [one["status"]["podIP"] for one in pods(standing, "k8s-app=kube-dns")]
    assert addresses
    assert [address for address in addresses if ipaddress.ip_address(address) not in network] == []


def test_a_firewall_on_a_worker_is_named_by_a_run_and_by_status(standing: Survivor) -> None:
    checkout = standing.checkout
    on(standing, "node-1", f"echo '{CLOSED}' | nft --file -")
    try:
        run, status = checkout.make("up"), checkout.make("status")
    finally:
        on(standing, "node-1", "nft delete table inet closed")
    end = run.output.partition("FAILED on")[2]
    assert run.status
    assert "from node-1 no pod on" in end
    assert "UDP port 8472 (VXLAN)" in end
    assert "webhook" not in end
    assert status.status
    assert "from node-1 no pod on" in status.output
    checkout.make("up").expect()
    assert "answer all 3 nodes" in checkout.make("status").output
