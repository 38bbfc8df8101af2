"""Filter audit_policy: the text of the audit policy that the page asks for."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from slipway.errors import SlipwayError
from slipway.page.audit import policy

DOCUMENTATION = r"""
name: audit_policy
short_description: Give the audit policy that the page asks for
description: Gives the text of the policy for C(cluster_audit); empty for V(off).
options:
  _input: {description: "V(off), V(metadata), or a file.", type: str, required: true}
author: The Slipway authors
"""
EXAMPLES = r"""
control_plane_audit_policy: "{{ cluster_audit | audit_policy }}"
"""
RETURN = r"""
_value: {description: The text., type: str}
"""


def audit_policy(setting: str | bool) -> str:
    """Give the text of the policy; see :func:`slipway.page.audit.policy`."""
    try:
        return policy(setting)
    except SlipwayError as exc:
        raise AnsibleFilterError(exc.message) from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {"audit_policy": audit_policy}
