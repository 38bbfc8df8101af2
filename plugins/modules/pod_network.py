#!/usr/bin/python
"""Ask cluster DNS and pods on other nodes, from a node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pod_network
short_description: Ask cluster DNS and pods on other nodes, from a node
description:
  - Asks, from the machine that it runs on, the DNS server of the cluster by its Service and by the address of its pods, and opens a TCP
    connection to pods on other nodes. A connection that is refused has reached its pod.
  - Changes nothing and starts nothing. What does not answer is no failure of this module; the filter P(pod_network_troubles#filter) judges.
options:
  question:
    description: What to ask, as the filter P(pod_network_question#filter) gives it.
    type: dict
    required: true
    suboptions:
      name: {description: Name to resolve., type: str, required: true}
      service: {description: Address of cluster DNS; empty for none., type: str, default: ""}
      pods:
        description: Pods to reach.
        type: list
        elements: dict
        default: []
        suboptions:
          name: {description: Namespace and name., type: str, required: true}
          node: {description: Its node., type: str, default: ""}
          address: {description: Its address., type: str, required: true}
          port: {description: A port., type: int, required: true}
          dns: {description: Whether it is one of CoreDNS., type: bool, default: false}
  patience:
    description: Seconds for which to ask again what has not answered.
    type: float
    default: 0
author: The Slipway authors
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Ask cluster DNS and the pods of the other nodes
  pod_network:
    question: "{{ pods.resources | pod_network_question(inventory_hostname, groups.nodes, '10.96.0.0/12', 'cluster.local') }}"
"""

RETURN = r"""
question:
  description: What was asked.
  returned: success
  type: dict
answers:
  description: How each question failed; empty where it was answered.
  returned: success
  type: dict
  sample: {service: "", "pod kube-system/coredns-x": no answer}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.node.reach import ask


def main() -> None:
    pod = {
        "name": {"type": "str", "required": True},
        "node": {"type": "str", "default": ""},
        "address": {"type": "str", "required": True},
        "port": {"type": "int", "required": True},
        "dns": {"type": "bool", "default": False},
    }
    question = {
        "name": {"type": "str", "required": True},
        "service": {"type": "str", "default": ""},
        "pods": {"type": "list", "elements": "dict", "default": [], "options": pod},
    }
    module = AnsibleModule(
        argument_spec={
            "question": {"type": "dict", "required": True, "options": question},
            "patience": {"type": "float", "default": 0.0},
        },
        supports_check_mode=True,
    )
    asked = module.params["question"]
    module.exit_json(changed=False, question=asked, answers=ask(asked, module.params["patience"]))


if __name__ == "__main__":
    main()
