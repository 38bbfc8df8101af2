# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_objects
short_description: Apply a list of objects to a cluster, or take it away
description:
  - Applies objects server-side under the field manager C(slipway), taking over fields that others have set, several at once.
    Namespaces and definitions come first and are waited for, pods after what they need, objects of new kinds last.
  - C(changed) is true when an object is another one afterwards; what the API server and controllers keep for themselves does not
    count. In check mode the API server is asked what it would do. Of Secrets only the keys are ever shown.
  - With C(state=absent) they are deleted in the order in which they are listed, neighbours of one kind at once, and with them what
    they own. What is not there, or of a kind that the cluster does not know, is no fault.
  - Runs on the computer that runs Ansible.
extends_documentation_fragment: [kubernetes.core.k8s_auth_options]
options:
  definition:
    description: Objects, a list of them, or YAML text with any number of documents. For C(state=absent) apiVersion, kind and metadata do.
    type: raw
    aliases: [resource_definition]
  src:
    description: File with the objects, in place of O(definition).
    type: path
  part:
    description:
      - Part of the cluster that they belong to, kept as their label C(slipway.io/part).
      - With C(state=absent) and no O(definition), everything that has that label goes, but for definitions of kinds, and namespaces in which
        somebody else has something or a claim holds data.
    type: str
    default: ""
  state:
    description: Whether they are to be there.
    type: str
    choices: [present, absent]
    default: present
  patience:
    description: Seconds for which to ask again where the API server or a webhook does not answer yet, or a kind is not served yet.
    type: float
    default: 10
  wait:
    description: Wait until the Deployments and DaemonSets among them are rolled out and the Pods Ready, or with C(state=absent) until all of it is gone? A pod
      that will never start ends the wait early, with the words of its state.
    type: bool
    default: false
  wait_timeout:
    description: Seconds until they have to be.
    type: int
    default: 180
author: The Slipway authors
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""

EXAMPLES = r"""
- name: Install it
  cluster_objects:
    kubeconfig: .slipway/kubeconfig
    definition: "{{ lookup('slipway_template', 'objects.yml.j2') }}"
    wait: true

- name: Take it away
  cluster_objects:
    kubeconfig: .slipway/kubeconfig
    state: absent
    definition: [{apiVersion: v1, kind: Namespace, metadata: {name: hello}}]
    wait: true
"""

RETURN = r"""
changes:
  description: What is another object now, each as C(Kind/namespace/name).
  returned: success
  type: list
  elements: str
kept:
  description: What stays of a part that was taken away, and why, each a sentence.
  returned: with O(part), C(state=absent) and no O(definition)
  type: list
  elements: str
result:
  description: What came of it.
  returned: success
  type: dict
  contains:
    results:
      description: The objects as the API server has them, in the order in which they were applied; definitions are left out, and what was
        taken away.
      type: list
      elements: dict
"""
