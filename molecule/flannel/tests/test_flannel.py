"""Pods reach each other and Services from every node, and are seen under their own addresses."""

from __future__ import annotations

import ipaddress
import itertools
import json
from typing import Any

from testinfra.host import Host

from tests.support.kube import Kube, eventually, ready
from tests.support.probe import PORT, Probes

testinfra_hosts = ["ansible://controllers"]


def test_every_node_is_ready(kube: Kube) -> None:
    eventually(lambda: all(ready(node) for node in kube.nodes()), seconds=120, what="every node is Ready")


def test_a_pod_is_seen_under_its_own_address_on_every_other_node(probes: Probes) -> None:
    for source, target in itertools.permutations(probes.all, 2):
        seen = probes.fetch(source, f"http://{target.address}:{PORT}/")
        assert seen == {"client": source.address, "node": target.node, "pod": f"probe-{target.node}"}


def test_a_service_keeps_the_address_of_the_pod_that_asks(probes: Probes) -> None:
    for source, target in itertools.permutations(probes.all, 2):
        assert probes.fetch_by_service(source, target)["client"] == source.address


def test_a_node_reaches_every_pod_under_an_address_of_its_own(host: Host, probes: Probes) -> None:
    own = {
        entry["local"]
        for interface in json.loads(host.check_output("ip -json -4 address"))
        for entry in interface["addr_info"]
    }
    for target in probes.all:
        url = f"http://{target.address}:{PORT}/"
        fetch = f"import urllib.request as r; print(r.urlopen('{url}', timeout=5).read().decode())"
        seen: dict[str, Any] = json.loads(host.check_output("env no_proxy='*' python3 -c %s", fetch))
        assert seen["client"] in own, f"asked the pod on {target.node}"


def test_every_pod_resolves_services(kube: Kube, probes: Probes, page: dict[str, Any]) -> None:
    # The role ends when Flannel is there; that DNS has come up on it is waited for by phase ready.
    eventually(
        lambda: kube("get", "deployment", "coredns", "--namespace=kube-system")["status"].get("readyReplicas"),
        seconds=120,
        what="CoreDNS is ready",
    )
    for probe in probes.all:
        for target in probes.all:
            name = f"probe-{target.node}.slipway-probe.svc.{page['cluster_dns_domain']}"
            # A new Service reaches every node's kube-proxy and CoreDNS a moment later.
            eventually(
                lambda probe=probe, name=name, target=target: probes.resolve(probe, name) == [target.service],  # type: ignore[misc]
                seconds=90,
                what=f"{name} resolves on {probe.node}",
            )


def test_pods_have_addresses_of_their_nodes_share(kube: Kube, probes: Probes) -> None:
    shares = {node["metadata"]["name"]: ipaddress.ip_network(node["spec"]["podCIDR"]) for node in kube.nodes()}
    assert [probe for probe in probes.all if ipaddress.ip_address(probe.address) not in shares[probe.node]] == []


def test_flannel_has_no_more_rights_than_it_needs(kube: Kube) -> None:
    daemons = kube("get", "daemonset", "kube-flannel", "--namespace=kube-flannel")
    (container,) = daemons["spec"]["template"]["spec"]["containers"]
    context = container["securityContext"]
    assert not context.get("privileged")
    assert set(context["capabilities"]["add"]) == {"NET_ADMIN", "NET_RAW"}
