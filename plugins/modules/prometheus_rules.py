# SPDX-License-Identifier: Apache-2.0
"""Documentation of the action plugin of the same name; nothing here runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: prometheus_rules
short_description: Refuse rules that Prometheus could not read, before they are applied
description:
  - Holds rule groups against promtool, which has Prometheus' own parser, and fails with the set, group, rule and reason of each that is wrong.
  - Rules that the same program has read once are not held against it again.
  - Changes nothing. Runs on the computer that runs Ansible.
options:
  promtool:
    description: The program, of the release of Prometheus that gets the rules.
    type: path
    required: true
  rules:
    description: Rule groups by the name of their set, as under C(spec.groups) of a PrometheusRule.
    type: dict
    required: true
author: The Slipway authors
attributes:
  check_mode: {support: full}
"""

EXAMPLES = r"""
- name: Make sure that Prometheus can read every rule
  prometheus_rules:
    promtool: .slipway/bin/promtool
    rules:
      disks:
        - name: disks
          rules:
            - {alert: Full, expr: node_filesystem_avail_bytes == 0}
"""

RETURN = r"""
"""
