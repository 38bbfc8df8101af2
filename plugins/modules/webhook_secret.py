# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: webhook_secret
short_description: The first certificate of a webhook that renews its own
description:
  - Makes the Secret in which a controller keeps an authority and a certificate for its webhook, as the library cert-controller does
    (C(ca.crt), C(ca.key), C(tls.crt), C(tls.key)), before the controller's first pod starts.
  - A controller that has to make it by itself waits for the kubelet to bring it into its pod, which takes up to 15 s.
  - A Secret that has values is left alone. The controller renews them.
  - No value is in the result, nor in what is printed. Runs on the computer that runs Ansible.
extends_documentation_fragment: [kubernetes.core.k8s_auth_options]
options:
  namespace:
    description: Namespace of the Secret. It is made if it is not there.
    type: str
    required: true
  name:
    description: Name of the Secret.
    type: str
    required: true
  service:
    description: Name of the webhook's Service in that namespace.
    type: str
    required: true
  authority:
    description: Name of the authority, by which the controller knows its own.
    type: str
    required: true
author: The Slipway authors
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Have a certificate for MetalLB's webhook
  webhook_secret:
    kubeconfig: .slipway/kubeconfig
    namespace: metallb-system
    name: metallb-webhook-cert
    service: metallb-webhook-service
    authority: cert
"""

RETURN = r"""
"""
