"""All machines lose power at once; the cluster is back by itself, DNS and what runs in the mesh included.

Its workers run Debian 12 and Debian 13: the kubelet of a machine that boots has a resolver of its own, whichever
systemd starts it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.support.checkout import Checkout
from tests.support.kube import eventually, ready
from tests.support.probe import Probes
from tests.support.survivor import Survivor


def halt_and_up(clone: Checkout) -> None:
    clone.run("vagrant", "halt").expect()
    clone.run("vagrant", "up", "--no-provision").expect()


def kill_and_start(clone: Checkout) -> None:
    names = [f"{clone.name}-{machine}" for machine in ("mirror-1", "ctrl", "node-1", "node-2")]
    clone.run("docker", "kill", *names).expect()
    clone.run("docker", "start", *names).expect()


def test_both_systems_are_in_one_cluster(standing: Survivor) -> None:
    nodes = {node["metadata"]["name"]: node for node in standing.checkout.kube.nodes()}
    seen = {name: nodes[name]["status"]["nodeInfo"]["osImage"] for name in standing.systems}
    assert seen == standing.systems


def test_a_second_run_changes_nothing_on_either(standing: Survivor) -> None:
    again = standing.checkout.make("up").expect()
    assert {name: again.recap[name]["changed"] for name in standing.systems} == dict.fromkeys(standing.systems, 0)
    assert again.total("changed") == 0


@pytest.mark.parametrize("cut", [halt_and_up, kill_and_start])
def test_the_cluster_is_back_after(standing: Survivor, cut: Callable[[Checkout], None]) -> None:
    """Every node is Ready, DNS and pods answer on each, requests come through, and a run finds nothing to change."""
    clone = standing.checkout
    echo = standing.echo()
    cut(clone)
    began = time.monotonic()
    eventually(lambda: bool(clone.kube.nodes()), seconds=120, what="the API answers")
    probes = Probes(clone.kube, seconds=180)
    probes.resolve_everywhere(f"kubernetes.default.svc.{standing.page['cluster_dns_domain']}")
    print(f"the cluster was back after {time.monotonic() - began:.0f} s")
    eventually(lambda: echo.ask().status == 200, seconds=120, what="the gateway leads to what ran before")
    print(f"requests from outside were answered after {time.monotonic() - began:.0f} s")
    assert [node["metadata"]["name"] for node in clone.kube.nodes() if not ready(node)] == []
    assert {probe.node for probe in probes.all} >= set(standing.systems)
    probes.see_each_other()
    probes.stop()
    assert clone.make("up").expect().total("changed") == 0
