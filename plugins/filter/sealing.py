"""Filter sealing_steps: the steps that are left of a rotation of the key that encrypts Secrets."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from slipway.cluster.sealing import steps
from slipway.errors import SlipwayError

DOCUMENTATION = r"""
name: sealing_steps
short_description: Give the steps that are left of a rotation of the key that encrypts Secrets
description:
  - Gives a list of steps. Each has C(told), what it is for; C(rewrite), whether all Secrets are written again before
    it; and C(files), the EncryptionConfiguration of each controller.
options:
  _input: {description: "What each controller has: its name to the file in base64.", type: dict, required: true}
author: The Slipway authors
"""
EXAMPLES = r"""
- ansible.builtin.set_fact:
    rotate_steps: "{{ files | sealing_steps }}"
  no_log: true
"""
RETURN = r"""
_value: {description: The steps., type: list, elements: dict}
"""


def sealing_steps(files: Mapping[str, str]) -> list[dict[str, Any]]:
    """Give the steps; see :func:`slipway.cluster.sealing.steps`."""
    try:
        return steps({name: base64.b64decode(text).decode() for name, text in files.items()})
    except SlipwayError as exc:
        raise AnsibleFilterError(exc.message) from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {"sealing_steps": sealing_steps}
