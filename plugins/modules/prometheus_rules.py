#!/usr/bin/python
"""Refuse rules that Prometheus could not read, before they are applied."""

from __future__ import annotations

DOCUMENTATION = r"""
module: prometheus_rules
short_description: Refuse rules that Prometheus could not read, before they are applied
description:
  - Holds rule groups against promtool, which has Prometheus' own parser, and fails with the set, group, rule and reason of each that is wrong.
  - Changes nothing. Runs where promtool is.
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

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.errors import SlipwayError
from ansible.module_utils.slipway.parts.rules import faults


def main() -> None:
    module = AnsibleModule(
        argument_spec={"promtool": {"type": "path", "required": True}, "rules": {"type": "dict", "required": True}},
        supports_check_mode=True,
    )
    try:
        found = faults(Path(module.params["promtool"]), module.params["rules"])
    except SlipwayError as exc:
        module.fail_json(msg=exc.message, error_id=exc.id)
    if found:
        error = SlipwayError("wrong-rules", "\n".join(["Prometheus could not read these rules:", *found]))
        module.fail_json(msg=error.message, error_id=error.id)
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
