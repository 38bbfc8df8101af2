"""Lookup: a rendered template, without a copy of all variables for each."""

from __future__ import annotations

from typing import Any

from ansible.plugins.lookup import template

DOCUMENTATION = r"""
name: slipway_template
short_description: Render a template as C(ansible.builtin.template) does, sooner
description:
  - C(ansible.builtin.template) copies all variables for each template, with all that they hold (objects that a run has
    read from a cluster, for example). This one gives the template the variables as they are.
  - It takes the options of C(ansible.builtin.template).
options:
  _terms: {description: Templates to render., required: true}
  variable_start_string: {description: What begins a print statement., type: str, default: "{{"}
  variable_end_string: {description: What ends a print statement., type: str, default: "}}"}
  comment_start_string: {description: What begins a comment., type: str, default: "{#"}
  comment_end_string: {description: What ends a comment., type: str, default: "#}"}
  template_vars: {description: More variables for the template., type: dict, default: {}}
  trim_blocks: {description: Whether the first newline after a block is removed., type: bool, default: true}
author: The Slipway authors
"""
EXAMPLES = r"""
- name: Write a file of a machine
  node_service:
    files:
      - {path: /etc/thing.conf, content: "{{ lookup('slipway_template', 'thing.conf.j2') }}"}
"""
RETURN = r"""
_raw: {description: The texts., type: list, elements: str}
"""


class _Variables(dict[str, Any]):
    """Variables of which a deep copy is a flat one: a template changes none."""

    def __deepcopy__(self, memo: object) -> dict[str, Any]:
        return dict(self)


class LookupModule(template.LookupModule):
    """That of Ansible's own, which asks for a deep copy of what it is given."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **options: Any) -> list[str]:
        """Give the texts of the templates."""
        texts: list[str] = super().run(terms, _Variables(variables or {}), **options)
        return texts
