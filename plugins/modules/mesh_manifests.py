# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mesh_manifests
short_description: Render Istio's manifests
description:
  - Has C(istioctl manifest generate) render an IstioOperator, and keeps the objects in the user's cache, under a sum of the program and
    of all settings. With the same program and settings they are taken from there.
  - Namespaces and definitions are the first of them. The field that istiod sets itself is left out.
  - Changes nothing. Runs on the computer that runs Ansible.
options:
  istioctl:
    description: Path of the program.
    type: path
    required: true
  operator:
    description: The IstioOperator, as YAML text.
    type: str
    required: true
  values:
    description: What is laid on its C(spec), key by key.
    type: dict
    default: {}
author: The Slipway authors
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""

EXAMPLES = r"""
- name: Render Istio's manifests
  mesh_manifests:
    istioctl: .slipway/bin/istioctl
    operator: "{{ lookup('slipway_template', 'operator.yml.j2') }}"
    values: {meshConfig: {enableTracing: true}}
  register: rendered

- name: Apply them
  cluster_objects:
    definition: "{{ lookup('ansible.builtin.file', rendered.path) }}"
"""

RETURN = r"""
path:
  description: File with the objects, a list in JSON.
  returned: success
  type: str
"""
