# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_drain
short_description: Take a node out of service, or put it back
description:
  - Drains a node as C(kubectl drain) does, and looks at what serves meanwhile. First the node is cordoned, and MetalLB announces its
    addresses from other nodes. Then its pods are evicted, each only while the other pods of its workload can serve. The only pod of a
    Deployment is replaced by a roll-out, so another one is Ready before it ends. At the end, all of it has to serve on other nodes.
  - Static pods and pods of DaemonSets stay. Data in C(emptyDir) volumes is lost with its pod.
  - Runs on the computer that runs Ansible.
extends_documentation_fragment: [kubernetes.core.k8s_auth_options]
options:
  node:
    description: Name of the node.
    type: str
    required: true
  state:
    description:
      - V(drained) drains it. V(open) lets pods come again. V(absent) removes the Node object.
    type: str
    choices: [drained, open, absent]
    default: drained
  force:
    description:
      - Drain it also if pods would not be made anew, if volumes are lost, or if no other node takes its pods. Pods that are still there
        after O(timeout) are deleted, whatever their PodDisruptionBudget says.
    type: bool
    default: false
  losing:
    description: Whether the node does not come back, so that the volumes on its disk are lost. Then they need O(force).
    type: bool
    default: false
  gateway:
    description: C(host:port) of a gateway. If it answers HTTP before, it has to answer afterwards, too.
    type: str
    default: ""
  timeout:
    description: Seconds for the evictions, and half of it at least for their replacements to serve.
    type: int
    default: 300
"""

RETURN = r"""
plan:
  description: In check mode, what would be done, and what would be lost.
  returned: always
  type: list
  elements: str
left:
  description: The pods that have left, as C(namespace/name).
  returned: always
  type: list
  elements: str
"""

EXAMPLES = r"""
- name: Drain a worker before its kernel is renewed
  node_drain:
    kubeconfig: "{{ slipway_kubernetes_api.kubeconfig }}"
    node: node-2
    gateway: 192.168.56.92:80
"""
