# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: first_secrets
short_description: Secrets that pods would wait for
description:
  - Makes Secrets that a controller would make when it starts, before its pods do. A pod whose Secret is missing or empty waits for the
    kubelet to look again, up to 15 s.
  - A Secret that has values is left alone. Who renews them is the controller.
  - No value is in the result, nor in what is printed. Runs on the computer that runs Ansible.
extends_documentation_fragment: [kubernetes.core.k8s_auth_options]
options:
  namespace:
    description: Namespace of the Secrets. It is made if it is not there.
    type: str
    required: true
  secrets:
    description: What to make, each of one kind.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name of the Secret., type: str, required: true}
      random: {description: How many letters and digits a key is to have., type: dict}
      webhook:
        description:
          - C(service), a Service of the namespace, and C(authority), the name of the authority by which the controller knows its own.
          - The Secret gets an authority and a certificate of it for the Service, as the library cert-controller keeps them (C(ca.crt),
            C(ca.key), C(tls.crt), C(tls.key)).
        type: dict
      mesh:
        description:
          - C(root), the ConfigMap from which proxies learn whom to trust, and C(organization), which the authority is of.
          - The Secret gets an authority as istiod makes its own, and the ConfigMap its certificate. Neither is made if the namespace has the
            ConfigMap, or one of the Secrets C(unless), which bring an authority of somebody's own.
        type: dict
author: The Slipway authors
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Have the Secrets of MetalLB
  first_secrets:
    kubeconfig: .slipway/kubeconfig
    namespace: metallb-system
    secrets:
      - {name: memberlist, random: {secretkey: 32}}
      - {name: metallb-webhook-cert, webhook: {service: metallb-webhook-service, authority: cert}}
"""

RETURN = r"""
made:
  description: Names of the Secrets that were made (in check mode, that would be).
  returned: success
  type: list
  elements: str
"""
