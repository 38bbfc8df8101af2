"""A cluster of many machines that are not there: each module is answered with what a real node has answered."""

from __future__ import annotations

import base64
import copy
import ipaddress
import json
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .checkout import Checkout, Run

# A network of nodes with room for a thousand, and what goes with it.
FIRST = ipaddress.ip_address("192.168.48.10")
VALUES = {
    "cluster_provider": "hosts",
    "cluster_node_cidr": "192.168.48.0/21",
    "cluster_pod_cidr": "10.240.0.0/13",
    "cluster_metallb_addresses": ["192.168.55.0/28"],
    "cluster_gateway": {"address": "", "ports": [80]},
    "cluster_api_endpoint": "",
    "cluster_releases": [],
}
CONTROLLERS = ("ctrl", "ctrl-2", "ctrl-3")
NEW, MIRROR = "new", "mirror-1"
# What a worker that is in the cluster already may be asked at most. A controller gets to know the new node.
OF_WORKER, OF_CONTROLLER = 3, 19
# Seconds until a machine answers: the network, and Python's start.
DELAY = 0.05
JOIN = f"kubeadm join api:6443 --token abcdef.0123456789abcdef --discovery-token-ca-cert-hash sha256:{'0' * 64}"


@dataclass(frozen=True)
class Replayed:
    """What a run has asked: of each machine, how often which module."""

    run: Run
    asked: dict[str, Counter[str]]


@dataclass(frozen=True)
class Crowd:
    """``workers`` that are in the cluster of ``checkout`` below ``folder``, with three controllers and one new worker.

    ``facts``: what node_state has said of a controller, of a worker, and of a machine that is in no cluster.
    """

    checkout: Checkout
    folder: Path
    workers: int
    facts: Mapping[str, Any]

    def play(self, playbook: str) -> Replayed:
        """Play a playbook on the machines; plays on this computer are left out."""
        names = [*CONTROLLERS, *(f"worker-{number}" for number in range(self.workers)), NEW, MIRROR]
        addresses = {name: str(FIRST + number) for number, name in enumerate(names)}
        log = self.folder / "log"
        log.touch()
        answers = {address: self._answers(name, address) for name, address in addresses.items()}
        replay = self.folder / "replay.json"
        replay.write_text(json.dumps({"delay": DELAY, "log": str(log), "answers": answers}))
        run = self.checkout.run(
            *(".venv/bin/ansible-playbook", "-i", str(self._inventory(addresses)), playbook),
            *("--limit", "nodes:mirror"),
            REPLAY=str(replay),
            ANSIBLE_CONNECTION_PLUGINS=str(self.checkout.path / "tests/support/connection"),
            ANSIBLE_TRANSPORT="replay",
            ANSIBLE_PYTHON_INTERPRETER="/usr/bin/python3",
        ).expect()
        found: dict[str, Counter[str]] = {name: Counter() for name in names}
        by_address = {address: name for name, address in addresses.items()}
        for line in log.read_text().splitlines():
            address, module = line.split()
            found[by_address[address]][module] += 1
        return Replayed(run, found)

    def _inventory(self, addresses: Mapping[str, str]) -> Path:
        """Write the inventory of the machines, as that of a second cluster of the checkout."""
        variables = self.folder / "inventory/group_vars"
        (variables / "all").mkdir(parents=True)
        ours = self.checkout.path / "group_vars"
        for name in ("all/wiring.yml", "all/cluster_environment.yml", "controllers.yml", "mirror.yml"):
            (variables / name).symlink_to(ours / name)
        page = yaml.safe_load((ours / "all/cluster.yml").read_text())
        hosts = [
            {"name": name, "address": address, "user": "debian", "role": _role(name)}
            for name, address in addresses.items()
        ]
        (variables / "all/cluster.yml").write_text(yaml.safe_dump({**page, **VALUES, "cluster_hosts": hosts}))
        state = self.folder / "state"
        state.mkdir()
        shutil.copy(self.checkout.state / "bundle.json", state)
        file = self.folder / "inventory/cluster.slipway.yml"
        file.write_text(f"plugin: slipway\npage: group_vars/all/cluster.yml\nstate: {state}\n")
        return file.parent

    def _answers(self, name: str, address: str) -> dict[str, Any]:
        kind = {NEW: "none", MIRROR: "none"}.get(name, _role(name))
        looked = copy.deepcopy(self.facts[kind])
        node = looked["slipway_node"]
        node |= {"container": False, "swap": [], "swap_masked": True, "memory_withheld": 0}
        node["packages_asked"] = True
        if node["kubernetes"]["joined"]:
            node["kubernetes"] |= {"address": address, "node": name, "pod_cidr": ""}
        ca = self.facts["controller"]["slipway_node"]["kubernetes"]["ca"]
        joined = {"slipway_joined": True, "slipway_ca": ca}
        given: dict[str, dict[str, Any]] = {
            "node_state": {"ansible_facts": looked},
            "node_service": {"installed": [], "written": [], "actions": []},
            "etcd_user": {"moved": False},
            "api_server": {"arguments": []},
            "kubeadm_node": {"changed": True, "began": True, "ansible_facts": joined},
            "command": {"changed": True, "rc": 0, "stdout": JOIN, "stderr": "", "cmd": ""},
            "slurp": {"content": base64.b64encode(KUBECONFIG.encode()).decode(), "encoding": "base64"},
            "stat": {"stat": {"exists": True}},
            "port_probe": {"open": [], "taken": {}, "unreached": {}},
            "pod_network": {"question": {}, "answers": {}},
            "address_probe": {"strangers": {}},
            "shared_folder": {"mounted": True},
        }
        return {module: {"changed": False, **answer} for module, answer in given.items()}


def _role(name: str) -> str:
    return "controller" if name in CONTROLLERS else "mirror" if name == MIRROR else "worker"


def add_a_node(checkout: Checkout, facts: Mapping[str, Any], folder: Path, workers: int) -> float:
    """Add a node to so many workers, which are only looked at, and give the seconds that it took."""
    done = Crowd(checkout, folder, workers, facts).play("playbooks/add-nodes.yml")
    most = {
        kind: max(sum(modules.values()) for name, modules in done.asked.items() if name.startswith(kind))
        for kind in ("worker", "ctrl")
    }
    print(f"add a node to {workers} workers: {done.run.seconds:.1f} s, modules on one of them: {most}")
    assert done.asked[NEW]["kubeadm_node"] == 1
    assert most["worker"] <= OF_WORKER
    assert most["ctrl"] <= OF_CONTROLLER
    assert {done.asked[name]["kubeadm_node"] for name in CONTROLLERS} == {0}
    return done.run.seconds


def recorded(checkout: Checkout) -> dict[str, Any]:
    """Give the facts that node_state reads on a controller, on a worker, and on the mirror, which is no node."""
    names = {"controller": "ctrl", "worker": "node-1", "none": "mirror-1"}
    module = ("-m", "node_state", "-a", "address={{ node_address }} node={{ inventory_hostname }}", "--become")
    found = {}
    for kind, name in names.items():
        said = checkout.run(".venv/bin/ansible", name, *module, ANSIBLE_CALLBACK_RESULT_FORMAT="json").expect().output
        found[kind] = json.loads(said[said.index("{") :])["ansible_facts"]
    return found


KUBECONFIG = """\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Q0E=
    server: https://api.slipway.internal:6443
  name: slipway
contexts:
- context: {cluster: slipway, user: kubernetes-admin}
  name: kubernetes-admin@slipway
current-context: kubernetes-admin@slipway
kind: Config
users:
- name: kubernetes-admin
  user: {}
"""
