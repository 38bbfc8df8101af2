"""All machines lose power at once; the cluster is back by itself, DNS included."""

from __future__ import annotations

import time
from typing import Any

import yaml

from tests.support.checkout import Checkout
from tests.support.kube import eventually, ready
from tests.support.probe import Probes


def test_the_cluster_is_back_after_halt_and_up(bare: Checkout) -> None:
    bare.make("up").expect()
    bare.run("vagrant", "halt").expect()
    bare.run("vagrant", "up", "--no-provision").expect()
    assert_back(bare)


def test_the_cluster_is_back_after_a_kill_of_all_machines(clone: Checkout) -> None:
    names = [f"{clone.name}-{machine}" for machine in ("mirror-1", "ctrl", "node-1", "node-2")]
    clone.run("docker", "kill", *names).expect()
    clone.run("docker", "start", *names).expect()
    assert_back(clone)


def assert_back(checkout: Checkout) -> None:
    """Every node is Ready, DNS answers in a pod on each, and a run finds nothing to change."""
    page: dict[str, Any] = yaml.safe_load(checkout.page.read_text())
    began = time.monotonic()
    eventually(lambda: bool(checkout.kube.nodes()), seconds=120, what="the API answers")
    probes = Probes(checkout.kube, seconds=180)
    name = f"kubernetes.default.svc.{page['cluster_dns_domain']}"
    for probe in probes.all:
        eventually(lambda probe=probe: probes.resolve(probe, name), seconds=120, what=f"DNS answers on {probe.node}")  # type: ignore[misc]
    print(f"the cluster was back after {time.monotonic() - began:.0f} s")
    assert [node["metadata"]["name"] for node in checkout.kube.nodes() if not ready(node)] == []
    probes.stop()
    assert checkout.make("up").expect().total("changed") == 0
