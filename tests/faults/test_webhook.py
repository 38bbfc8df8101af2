"""If MetalLB breaks, the run soon names the cause, and not only its webhook that does not answer."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.support.checkout import Checkout
from tests.support.survivor import Survivor

RULE = ("INPUT", "--protocol", "udp", "--dport", "8472", "--jump", "DROP")
# Seconds: pods that are Ready and not reached are given half a minute, and each try of the API server takes ten.
SOON = 120


def tables(checkout: Checkout, action: str) -> None:
    """Put a rule into the firewall of the workers, or take it out again."""
    for name in ("node-1", "node-2"):
        subprocess.run(["docker", "exec", f"{checkout.name}-{name}", "iptables", action, *RULE], check=True)


@pytest.fixture
def closed(standing: Survivor) -> Iterator[Checkout]:
    """The cluster, with workers that take no packets of pods from other machines."""
    tables(standing.checkout, "--insert")
    yield standing.checkout
    tables(standing.checkout, "--delete")


def test_a_firewall_between_the_nodes_is_named(closed: Checkout) -> None:
    refused = closed.playbook("playbooks/phases/balancer.yml")
    assert refused.status
    assert refused.seconds < SOON
    end = refused.output.partition("FAILED on")[2]
    assert "the pods behind Service metallb-system/metallb-webhook-service are Ready" in end
    assert "8472/udp (VXLAN)" in end
    assert end.count("does not answer: ") == 1


def test_without_it_the_same_run_passes(standing: Survivor) -> None:
    assert standing.checkout.playbook("playbooks/phases/balancer.yml").expect().total("changed") == 0
