"""make up takes a machine to a running cluster, from nothing."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.checkout import Checkout, Run, listed
from tests.support.kube import Kube, ready
from tests.support.lab import shipped
from tests.support.mesh import gateway_address
from tests.support.releases import EXERCISED, SMS
from tests.support.traffic import asked


@pytest.fixture(scope="module")
def run(checkout: Checkout) -> Run:
    """``make up`` in a fresh clone, on no machines, with all that the shipped page has on."""
    checkout.fresh(**shipped("cluster_parts", "cluster_releases"))
    assert checkout.left() == {}
    return checkout.make("up", timeout=5400)


def test_it_ends_well(run: Run) -> None:
    assert run.expect().total("failed") == 0


def test_every_node_is_ready_when_it_ends(run: Run, kube: Kube) -> None:
    run.expect()
    assert {node["metadata"]["name"]: ready(node) for node in kube.nodes()} == {
        "ctrl": True,
        "node-1": True,
        "node-2": True,
    }


def test_its_last_lines_say_what_stands_and_how_to_reach_it(run: Run, checkout: Checkout) -> None:
    end = "\n".join(run.expect().output.splitlines()[-40:])
    assert re.search(rf"export KUBECONFIG=.*{re.escape(str(checkout.path.name))}/\.slipway/kubeconfig", end)
    for name in ("ctrl", "node-1", "node-2"):
        assert name in end


def test_it_ends_with_the_release_answering_on_its_hosts(run: Run, kube: Kube) -> None:
    run.expect()
    address = gateway_address(kube)
    for host, port in (("team8.local", 80), ("canary.team8.local", 80), ("team8.local", 8080)):
        assert asked(address, host, "/", port=port).status == "200", (host, port)


def test_the_release_was_proved(run: Run, checkout: Checkout) -> None:
    run.expect()
    claims = json.loads((checkout.state / f"report/{SMS}/report.json").read_text())["claims"]
    assert [claim["id"] for claim in claims if claim["state"] == "failed"] == []
    # But for what takes minutes.
    assert {claim["kind"] for claim in claims if claim["state"] == "passed"} >= EXERCISED[SMS] - {"alert"}


def test_it_says_how_long_each_phase_took(run: Run) -> None:
    for phase in ("Mirror", "Nodes", "Control plane", "Pod network", "Workers", "Monitoring", "Ready", "Release"):
        assert re.search(rf"^{phase}\s+\d+\.\d\s+\d+$", run.expect().output, re.MULTILINE), phase


def test_no_secret_is_in_its_output_or_its_log(run: Run, checkout: Checkout) -> None:
    log = (checkout.state / "log/ansible.log").read_text(errors="replace")
    for text in (run.output, log):
        assert not re.search(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b", text), "a bootstrap token"
        assert not re.search(r"-----BEGIN [A-Z ]*PRIVATE KEY-----", text)
        assert not re.search(r"client-key-data: \S", text)


def test_nothing_of_the_run_is_seen_by_git(run: Run, checkout: Checkout) -> None:
    run.expect()
    assert set(listed("--others", folder=checkout.path)) - checkout.untracked == set()
