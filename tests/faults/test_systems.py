"""Workers with different systems in one cluster: Debian 12 beside Debian 13; any other one is refused by its name."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.checkout import Checkout
from tests.support.kube import ready
from tests.support.lab import rewrite_page
from tests.support.probe import PORT, Probes

SYSTEMS = {"node-1": "Debian GNU/Linux 12 (bookworm)", "node-2": "Debian GNU/Linux 13 (trixie)"}


@pytest.fixture(scope="module")
def mixed(clone: Checkout) -> Iterator[Checkout]:
    """The clone, from no machines, with a page on which one worker runs Debian 13."""
    clone.make("down").expect()
    page = clone.page.read_text()
    clone.page.write_text(rewrite_page(page, {"cluster_systems": {"node-2": "debian-13"}}))
    yield clone
    clone.make("down").expect()
    clone.page.write_text(page)


def test_both_systems_come_up_in_one_run(mixed: Checkout) -> None:
    mixed.make("up").expect()
    nodes = {node["metadata"]["name"]: node for node in mixed.kube.nodes()}
    assert {name: nodes[name]["status"]["nodeInfo"]["osImage"] for name in SYSTEMS} == SYSTEMS
    assert [name for name, node in nodes.items() if not ready(node)] == []


def test_pods_on_both_reach_each_other_and_dns(mixed: Checkout) -> None:
    page: dict[str, Any] = yaml.safe_load(mixed.page.read_text())
    probes = Probes(mixed.kube)
    try:
        assert {probe.node for probe in probes.all} >= set(SYSTEMS)
        for probe in probes.all:
            assert probes.resolve(probe, f"kubernetes.default.svc.{page['cluster_dns_domain']}")
        for source, target in itertools.permutations(probes.all, 2):
            assert probes.fetch(source, f"http://{target.address}:{PORT}/")["client"] == source.address
    finally:
        probes.stop()


def test_a_second_run_changes_nothing_on_either(mixed: Checkout) -> None:
    again = mixed.make("up").expect()
    assert {name: again.recap[name]["changed"] for name in SYSTEMS} == dict.fromkeys(SYSTEMS, 0)
    assert again.total("changed") == 0


def test_both_are_back_after_a_power_cut(mixed: Checkout) -> None:
    """The kubelet of a machine that boots has a resolver of its own, whichever systemd starts it."""
    names = [f"{mixed.name}-{name}" for name in SYSTEMS]
    mixed.run("docker", "kill", *names).expect()
    mixed.run("docker", "start", *names).expect()
    assert mixed.make("up").expect().total("changed") == 0
    test_pods_on_both_reach_each_other_and_dns(mixed)


def test_a_system_that_the_roles_do_not_know_is_refused_before_anything_changes(mixed: Checkout) -> None:
    node, file = f"{mixed.name}-node-2", "/usr/lib/os-release"
    kept = mixed.run("docker", "exec", node, "cat", file).expect().output
    other = 'ID=debian\nVERSION_ID="11"\nVERSION_CODENAME=bullseye\nPRETTY_NAME="Debian GNU/Linux 11 (bullseye)"\n'
    write = ("docker", "exec", node, "sh", "-c")
    mixed.run(*write, f"printf '%s' '{other}' > {file}").expect()
    try:
        refused = mixed.playbook("playbooks/site.yml")
    finally:
        mixed.run(*write, f"printf '%s' '{kept}' > {file}").expect()
    assert refused.status
    assert "this machine runs Debian GNU/Linux 11 (bullseye); the roles know debian 12" in refused.output
    assert (refused.recap["node-2"]["failed"], refused.recap["node-2"]["changed"]) == (1, 0)
