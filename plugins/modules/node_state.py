#!/usr/bin/python
"""Look at a machine once, for every role that follows."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_state
short_description: Look at a machine once, for every role that follows
description:
  - Reads what the roles need to know about a machine from its own files and sets it as the fact C(slipway_node).
  - Changes nothing; one call costs as much as one ordinary task, where gathering facts and a stat per file would cost ten.
options:
  address:
    description: The machine's address on the node network; names the interface that holds it.
    type: str
    required: true
  node:
    description: Name of its node; whether the cluster that this machine is in has that node is then asked there. Empty for no question.
    type: str
    default: ""
  endpoint:
    description: Name by which nodes are to reach the API; a machine that is in no cluster yet looks it up. Empty for no question.
    type: str
    default: ""
  packages:
    description: Debian packages that a role is going to ask for; those not installed are named in RV(ansible_facts.slipway_node.packages_missing).
    type: list
    elements: str
    default: []
  known_systems:
    description: Systems as C(id version); a machine that runs another one is refused. Empty for no check.
    type: list
    elements: str
    default: []
  architecture:
    description: Architecture that the page says; a machine that has another one is refused. Empty for no check.
    type: str
    default: ""
  role:
    description:
      - What a machine that somebody else has made is to become; all that keeps it from that is then named.
      - Empty for no question. Nothing is asked of one that is in a cluster already.
    type: str
    default: ""
    choices: ["", controller, worker, mirror]
  made_for:
    description:
      - What a machine that Slipway made is to become. Only disks that are full, and a clock that is apart, are named.
      - Empty for no question. Nothing is asked of one that is in a cluster already.
    type: str
    default: ""
    choices: ["", controller, worker]
  ask:
    description:
      - Addresses that nobody but O(members) is to have, each C(first-last) or a network. They are asked for by ARP meanwhile, as
        P(address_probe#module) does, and who else answered is in RV(ansible_facts.slipway_node.strangers). Empty for no question.
    type: list
    elements: str
    default: []
  members:
    description: Addresses of the cluster's nodes on that network, for O(ask).
    type: list
    elements: str
    default: []
  paths:
    description: Patterns of files; those that there are stand in RV(ansible_facts.slipway_node.present).
    type: list
    elements: str
    default: []
  sums:
    description: Files; what each is, as one text, stands in RV(ansible_facts.slipway_node.sums).
    type: list
    elements: str
    default: []
  clock:
    description: Seconds since 1970 on the machine that runs Ansible; a clock that is apart from it is named. 0 for no question.
    type: float
    default: 0
author: The Slipway authors
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Look at the machine
  node_state:
    address: 192.0.2.100
    packages: [conntrack]

- name: Name all that keeps a host from becoming a worker
  node_state:
    address: 192.0.2.101
    role: worker
    clock: "{{ now().timestamp() }}"
"""

RETURN = r"""
ansible_facts:
  description: The fact C(slipway_node).
  returned: always
  type: dict
  contains:
    slipway_node:
      description: >-
        os, os_version, os_codename, os_name, architecture (amd64 or arm64), container, cgroup (1 or 2), may_raise_limits (has CAP_SYS_RESOURCE), memory_withheld
        (MiB that /proc/meminfo names beyond the limit of its control group), interface, swap, swap_masked, packages_asked, packages_missing,
        dpkg_interrupted, nameservers, nameservers_useless (those that it names where pods can use none), networks (what it has and reaches,
        each with network, what and route), endpoint (the addresses of O(endpoint) by that name), clock (the process that keeps the time, or empty),
        hosts_template (the file that cloud-init writes /etc/hosts from, or empty), user (who logged in), role (as given), settled (calls of P(node_service#module) that are still in effect), strangers (MACs by address
        of O(ask) that another machine answers for; null where nobody was asked), present (files of
        O(paths), null where none were asked for), sums (permissions, owner, group and SHA-256 of O(sums), by path; those that are there),
        kubernetes (joined, controller, interrupted,
        founding, foreign, remains, etcd, sealed, node, ca, version, kubelet, parts, pod_cidr, address, admin (sum of admin.conf), registered, marked, moved, settings). V(registered) is whether
        the cluster has this node with all that its kubelet and the pod network told of it, V(marked) whether as a controller, V(moved) whether
        the pod network told of another address, V(settings) whether the page has given it labels or taints; null when there was no telling.
      type: dict
      returned: always
"""

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from glob import glob
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.errors import marked, told
from ansible.module_utils.slipway.node.architecture import of_this_computer
from ansible.module_utils.slipway.node.arp import strangers_at
from ansible.module_utils.slipway.node.fitness import disks_of, hindrances, other_architecture, strains
from ansible.module_utils.slipway.node.kubeapi import find_node
from ansible.module_utils.slipway.node.settled import RECORD, command, still
from ansible.module_utils.slipway.node.state import (
    KUBELET_CONF,
    describe,
    interface_of,
    read,
    registration,
    resolve,
    summed,
)


def ip(module: AnsibleModule, what: str) -> list[dict[str, Any]]:
    """Give what ``ip`` knows of its addresses or IPv4 routes."""
    code, out, err = module.run_command(["ip", "-json", what])
    if code:
        said = f"ip -json {what} failed ({err.strip()}); the package iproute2 has to be on the machine"
        module.fail_json(**told("program-missing", said))
    found: list[dict[str, Any]] = json.loads(out or "[]")
    return found


def troubles(node: dict[str, Any], links: list[dict[str, Any]], asked: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Say why this machine cannot be worked on, all at once: the id of each error, and what is wrong."""
    known = asked["known_systems"]
    if known and f"{node['os']} {node['os_version']}" not in known:
        what = f"this machine runs {node['os_name'] or 'an unknown system'}; the roles know {', '.join(known)}"
        yield "unknown-system", what
    yield from other_architecture(node["architecture"], asked["architecture"], asked["node"])
    if node["kubernetes"]["foreign"]:
        what = (
            "this machine is in a cluster that Slipway did not make (/etc/kubernetes/kubelet.conf is there, our record is not); "
            "run `kubeadm reset` on it if that cluster is to go, or take the machine out of group_vars/all/cluster.yml"
        )
        yield "foreign-cluster", what
    name, known_as = asked["node"], node["kubernetes"]["node"]
    if name and known_as and name != known_as:
        what = (
            f"this machine is in the cluster as {known_as}, and nodes cannot be renamed; call it {known_as} in "
            f"group_vars/all/cluster.yml, or take it out of the cluster first (kubectl delete node {known_as}; kubeadm reset on it)"
        )
        yield "node-renamed", what
    if not node["interface"]:
        local = [str(info.get("local", "")) for link in links for info in link.get("addr_info", [])]
        seen = ", ".join(address for address in local if address and not address.startswith("fe80:"))
        what = (
            f"no interface holds {asked['address']}, this machine's address on the node network (it has {seen}); "
            "set the right address or cluster_node_cidr in group_vars/all/cluster.yml"
        )
        yield "address-not-here", what
    apart = time.time() - asked["clock"] if asked["clock"] else 0
    if asked["role"]:
        cpus = len(os.sched_getaffinity(0))
        yield from hindrances("/", node, asked["role"], disks=disks_of(asked["role"]), cpus=cpus, apart=apart)
    elif asked["made_for"]:
        yield from strains("/", node, asked["made_for"], disks=disks_of(asked["made_for"]), apart=apart)


class Others:
    """Asks who has addresses, while other things are read."""

    def __init__(self, interface: str, ranges: list[str], members: list[str]) -> None:
        self.asking = ThreadPoolExecutor(1).submit(strangers_at, interface, ranges, members) if ranges else None

    def found(self) -> dict[str, list[str]] | None:
        """Give who else answered, MACs by address; None: nobody was asked, or nobody can be asked from here."""
        with suppress(OSError, ValueError):
            return self.asking.result() if self.asking else None
        return None


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "node": {"type": "str", "default": ""},
            "endpoint": {"type": "str", "default": ""},
            "packages": {"type": "list", "elements": "str", "default": []},
            "known_systems": {"type": "list", "elements": "str", "default": []},
            "architecture": {"type": "str", "default": ""},
            "role": {"type": "str", "default": "", "choices": ["", "controller", "worker", "mirror"]},
            "made_for": {"type": "str", "default": "", "choices": ["", "controller", "worker"]},
            "ask": {"type": "list", "elements": "str", "default": []},
            "members": {"type": "list", "elements": "str", "default": []},
            "paths": {"type": "list", "elements": "str", "default": []},
            "sums": {"type": "list", "elements": "str", "default": []},
            "clock": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    links, routes = (ip(module, what) for what in ("address", "route"))
    wanted = module.params["address"]
    others = Others(interface_of(links, wanted), module.params["ask"], module.params["members"])
    node = describe("/", links, wanted, module.params["packages"], routes)
    node["architecture"] = of_this_computer()
    found = list(troubles(node, links, module.params))
    if found:
        module.fail_json(msg="\n".join(marked(what, error_id) for error_id, what in found), error_id=found[0][0])
    endpoint = module.params["endpoint"]
    node["endpoint"] = {endpoint: resolve(endpoint)} if endpoint and not node["kubernetes"]["joined"] else {}
    asked = module.params["node"] if node["kubernetes"]["joined"] else ""
    there = find_node(read(f"/{KUBELET_CONF}"), asked) if asked else None
    # Who logs in is for ssh to say, which Ansible does not read: sudo tells.
    node["user"] = os.environ.get("SUDO_USER") or "root"
    node["settled"] = still(RECORD, lambda names: module.run_command(command(names))[1])
    paths = module.params["paths"]
    node["present"] = sorted(path for pattern in paths for path in glob(pattern)) if paths else None
    node["sums"] = {path: about for path in module.params["sums"] if (about := summed(path))}
    node["strangers"] = others.found()
    # Who has not asked for packages knows of none that is missing.
    node["packages_asked"] = bool(module.params["packages"])
    # Who looks for another role has asked other questions.
    node["role"] = module.params["role"]
    node["kubernetes"] |= registration(there, bool(node["kubernetes"]["pod_cidr"]), wanted)
    if node["nameservers_useless"]:
        module.warn(
            f"{module.params['node'] or wanted} names no name server that pods can use "
            f"({', '.join(node['nameservers_useless'])}: pods have IPv4 addresses alone, and neither the machine's loopback "
            f"nor its zones), so cluster DNS asks {', '.join(node['nameservers'])}; name an IPv4 one in /etc/resolv.conf there"
        )
    module.exit_json(changed=False, ansible_facts={"slipway_node": node})


if __name__ == "__main__":
    main()
