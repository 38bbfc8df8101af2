"""Services answer on addresses of the node network, and go on answering when a node is gone."""

from __future__ import annotations

import ipaddress
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slipway.page.model import address_range
from testinfra.host import Host

from tests.support.kube import Kube, eventually, ready
from tests.support.outside import Balanced, answers, ask, ask_from, card, route, until_it_answers
from tests.support.probe import Probes

# The mirror is on the node network and no node of the cluster: a neighbour.
testinfra_hosts = ["ansible://mirror"]

ROOT = Path(__file__).parents[3]
# What a node that loses its power may cost; MetalLB's speakers need about 5 s to agree that one of them is gone.
FAILOVER = 10


@pytest.fixture
def balanced(probes: Probes) -> Iterator[Balanced]:
    """Services for the pods of ``probes``."""
    services = Balanced(probes.kube)
    yield services
    services.stop()


@pytest.fixture(scope="module")
def workers(kube: Kube) -> list[str]:
    controllers = "node-role.kubernetes.io/control-plane"
    return [node["metadata"]["name"] for node in kube.nodes() if controllers not in node["metadata"]["labels"]]


def pool(page: dict[str, Any]) -> list[str]:
    """Every address that may be handed out."""
    first, last = address_range(page["cluster_metallb_addresses"][0])
    return [str(ipaddress.IPv4Address(number)) for number in range(int(first), int(last) + 1)]


def play(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook of this scenario on the lab."""
    return subprocess.run(
        ["ansible-playbook", "--inventory=molecule/inventory", f"molecule/metallb/{name}.yml", *arguments],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_a_service_answers_from_outside_on_an_address_of_the_pool(
    balanced: Balanced, page: dict[str, Any], workers: list[str]
) -> None:
    balanced.make("outside", workers[0])
    address = balanced.address("outside")
    assert address in pool(page)
    there = route(address)
    assert "gateway" not in there, "the node network is one of ours"
    assert there["dev"] == route(page_address(page))["dev"]
    assert answers(lambda: ask(address))["node"] == workers[0]


def page_address(page: dict[str, Any]) -> str:
    """The first controller's address."""
    return str(ipaddress.IPv4Network(page["cluster_node_cidr"])[100])


def test_a_pod_sees_who_asks(host: Host, balanced: Balanced, workers: list[str], page: dict[str, Any]) -> None:
    # An address that no other Service had a moment ago: kube-proxy may send requests on by its rules for a second.
    address = pool(page)[-3]
    balanced.make("local", workers[0], policy="Local", wanted=address)
    assert balanced.address("local") == address
    eventually(lambda: balanced.announcer("local") == workers[0], seconds=30, what="announced only where the pod is")
    assert answers(lambda: ask(address))["client"] == route(address)["prefsrc"]
    own = host.ansible.get_variables()["node_address"]
    assert answers(lambda: ask_from(host, address))["client"] == own


def test_a_neighbour_reaches_a_pod_on_another_node_than_the_one_that_announces(
    host: Host, balanced: Balanced, probes: Probes
) -> None:
    controller = next(probe.node for probe in probes.all if probe.node.startswith("ctrl"))
    balanced.make("elsewhere", controller)
    address = balanced.address("elsewhere")
    assert balanced.announcer("elsewhere") != controller, "a controller is kept free of it"
    assert answers(lambda: ask_from(host, address))["node"] == controller


def test_an_address_can_be_asked_for(balanced: Balanced, workers: list[str], page: dict[str, Any]) -> None:
    balanced.make("asking", workers[0], wanted=pool(page)[-2])
    assert balanced.address("asking") == pool(page)[-2]


def test_an_address_outside_the_pool_is_named_at_the_end_of_a_run(
    balanced: Balanced, workers: list[str], page: dict[str, Any]
) -> None:
    wrong = str(ipaddress.IPv4Network(page["cluster_node_cidr"])[200])
    balanced.make("wrong", workers[0], wanted=wrong)
    said = eventually(lambda: told(play("services"), wrong), seconds=60, what="the run names the address")
    assert re.search(rf"Service \S+/wrong has no address: .*{re.escape(wrong)}.*not allowed", said)


def told(run: subprocess.CompletedProcess[str], text: str) -> str:
    assert run.returncode == 0, run.stdout
    return run.stdout if text in run.stdout else ""


def test_a_pool_that_is_used_up_is_named_at_the_end_of_a_run(
    balanced: Balanced, workers: list[str], page: dict[str, Any]
) -> None:
    names = [f"many-{number}" for number in range(len(pool(page)) + 1)]
    for name in names:
        balanced.make(name, workers[0])
    said = eventually(lambda: told(play("services"), "no available IPs"), seconds=60, what="the run names the Service")
    assert re.search(r"Service \S+/many-\d+ has no address: .*no available IPs", said)
    # One goes, and one that had to wait gets its address.
    waiting = [name for name in names if not has_address(balanced, name)]
    first = next(name for name in names if name not in waiting)
    balanced.kube.text("delete", "service", "--namespace=slipway-probe", first)
    eventually(
        lambda: sum(has_address(balanced, name) for name in waiting) == 1, seconds=30, what="one more has an address"
    )


def has_address(balanced: Balanced, name: str) -> bool:
    service = balanced.kube("get", "service", name, "--namespace=slipway-probe")
    return bool(service["status"]["loadBalancer"])


def test_the_controller_refuses_what_cannot_work(kube: Kube, page: dict[str, Any]) -> None:
    metadata = {"name": "overlapping", "namespace": "metallb-system"}
    spec = {"addresses": page["cluster_metallb_addresses"]}
    with pytest.raises(AssertionError, match="overlaps"):
        kube.apply([{"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": metadata, "spec": spec}])


def test_peers_of_either_version_can_be_read(kube: Kube) -> None:
    """The API server asks the controller to convert them."""
    spec = {"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"}
    metadata = {"name": "test", "namespace": "metallb-system"}
    kube.apply([{"apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer", "metadata": metadata, "spec": spec}])
    try:
        old = kube.raw("/apis/metallb.io/v1beta1/namespaces/metallb-system/bgppeers/test")
        assert old["spec"]["peerASN"] == spec["peerASN"]
    finally:
        kube.text("delete", "bgppeer", "test", "--namespace=metallb-system")


def test_an_address_that_metallb_announces_is_not_in_the_way_of_a_run(balanced: Balanced, workers: list[str]) -> None:
    balanced.make("announced", workers[0])
    address = balanced.address("announced")
    answers(lambda: ask(address))
    assert play("probe").returncode == 0


def test_an_address_that_a_neighbour_has_is_refused(host: Host, page: dict[str, Any]) -> None:
    taken = pool(page)[-1]
    own = host.ansible.get_variables()["node_address"]
    with host.sudo():
        device = host.check_output("ip -oneline address show to %s", own).split()[1]
        mac = host.file(f"/sys/class/net/{device}/address").content_string.strip()
        host.check_output("ip address add %s/32 dev %s", taken, device)
        try:
            run = play("probe")
        finally:
            host.check_output("ip address del %s/32 dev %s", taken, device)
    assert run.returncode != 0
    assert f"{taken} is answered by {mac}" in run.stdout
    assert "Leave them out of cluster_metallb_addresses" in run.stdout.replace("\n", " ")
    assert play("probe").returncode == 0, "and not any longer"


def test_nobody_of_metallb_may_do_everything(kube: Kube) -> None:
    for account in ("controller", "speaker"):
        who = f"--as=system:serviceaccount:metallb-system:{account}"
        for verb, what in (("delete", "nodes"), ("get", "secrets"), ("create", "pods"), ("*", "*")):
            answer = kube_can(kube, verb, what, who)
            assert answer == "no", f"{account} may {verb} {what}"


def kube_can(kube: Kube, verb: str, what: str, who: str) -> str:
    done = subprocess.run(
        [str(kube.program), f"--kubeconfig={kube.config}", "auth", "can-i", verb, what, "--all-namespaces", who],
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip().split()[0]


def test_a_service_answers_again_soon_after_its_node_has_lost_its_power(
    balanced: Balanced, probes: Probes, kube: Kube, page: dict[str, Any], workers: list[str]
) -> None:
    controller = next(probe.node for probe in probes.all if probe.node.startswith("ctrl"))
    balanced.make("surviving", controller)
    address = balanced.address("surviving")
    answers(lambda: ask(address))
    before, node = card(address), balanced.announcer("surviving")
    assert node in workers
    container = f"{page['cluster_name']}-{node}"
    docker("kill", container)
    try:
        seconds = until_it_answers(lambda: ask(address, seconds=0.5), seconds=60)
        print(f"the address answered again {seconds:.1f} s after {node} had lost its power")
        assert card(address) != before, "another node's card answers"
    finally:
        docker("start", container)
        eventually(
            lambda: all(ready(one) for one in kube.nodes()) and speakers_ready(kube),
            seconds=180,
            what="the node is back",
        )
    assert seconds <= FAILOVER


def docker(*arguments: str) -> None:
    subprocess.run(["docker", *arguments], check=True, capture_output=True)


def speakers_ready(kube: Kube) -> bool:
    status = kube("get", "daemonset", "speaker", "--namespace=metallb-system")["status"]
    return bool(status["numberReady"] == status["desiredNumberScheduled"])
