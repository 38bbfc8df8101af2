"""The contract of a pod network: each one keeps it, and nobody else knows one by name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_type_hints

import pytest
import yaml
from slipway.artifacts.catalog import Folder
from slipway.node import pod_network
from slipway.node.networks import OWN_DEVICES
from slipway.node.pod_network import NETWORKS, USED, PodNetwork, reset

from tests.support.plugins import load

ROOT = Path(__file__).parents[2]
CATALOG = Folder(ROOT / "artifacts").catalog
EXAMPLES = re.compile(r'^(?:DOCUMENTATION|EXAMPLES|RETURN) = r""".*?"""', re.DOTALL | re.MULTILINE)
CONTRACT = Path(pod_network.__file__).resolve()

each_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))


@each_network
def test_a_network_is_a_role_with_steps_for_a_node_and_for_the_cluster(network: PodNetwork) -> None:
    assert set(network) == set(get_type_hints(PodNetwork))
    role = ROOT / "roles" / network["role"]
    assert {"main.yml", "node.yml"} <= {path.name for path in (role / "tasks").iterdir()}
    assert any(network["part"] in image.parts for image in CATALOG.images.values())


@each_network
def test_its_link_is_one_of_its_own_devices_and_goes_with_a_reset(network: PodNetwork) -> None:
    assert all(re.fullmatch(network["devices"], link) for link in [network["link"], *network["left"]])
    assert re.fullmatch(r"[1-9]\d*/(udp|tcp)", network["port"])
    said = reset(network)
    assert said.startswith("sudo kubeadm reset --force; ")
    assert all(f"ip link delete {link}" in said for link in network["left"])


def test_the_devices_of_the_one_in_use_are_nobody_elses_networks() -> None:
    assert all(OWN_DEVICES.fullmatch(link) for link in (USED["link"], *USED["left"], "lo", "veth0"))
    assert not OWN_DEVICES.fullmatch("eth0")


def test_playbooks_read_the_contract_of_the_one_in_use() -> None:
    agreed = load("filter", "pod_network").FilterModule().filters()["pod_network_contract"]
    assert agreed("") == agreed(USED["role"]) == {**USED, "reset": reset()}


def test_modules_and_parameters_of_a_node_are_those_that_it_had() -> None:
    """A machine that is a node already finds the same files."""
    host = yaml.safe_load((ROOT / "roles/host/defaults/main.yml").read_text())
    modules = list(dict.fromkeys(host["host_modules"] + NETWORKS["flannel"]["modules"]))
    assert modules == ["overlay", "br_netfilter", "nf_conntrack", "vxlan"]
    sysctls = {**NETWORKS["flannel"]["sysctls"], **host["host_sysctls"]}
    assert list(sysctls.items()) == list(host["host_sysctls"].items())


def test_nobody_else_knows_a_network_by_name() -> None:
    """A second one is an entry in the contract: whatever else names the first would have to be found by hand."""
    names = re.compile("|".join(NETWORKS) + r"|vxlan|8472|cni0", re.IGNORECASE)
    library = [f"module_utils/slipway/{room}" for room in ("node", "parts", "cluster", "lab", "status", "page")]
    folders = [*(f"plugins/{one}" for one in (*library, "filter", "modules", "action")), "playbooks", "group_vars"]
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yml")]
    # Examples may name one, and so do the variables of its role.
    texts = {path: EXAMPLES.sub("", path.read_text()) for path in files if path != CONTRACT}
    own = tuple(f"{name}_" for name in NETWORKS)
    found = {
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path, text in texts.items()
        for line in text.splitlines()
        if names.search(line) and not line.startswith(own)
    }
    assert len(files) > 100
    assert found == set()
