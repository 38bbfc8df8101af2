"""Filters that give programs of proofs, which run in pods."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: prove_packages
short_description: Give what a program of proofs imports as one archive
description: The archive is a zip that Python imports from, in base64; the same packages give the same bytes.
options:
  _input: {description: "Name of the program: C(sink).", type: str, required: true}
author: The Slipway authors
"""
EXAMPLES = r"""
- ansible.builtin.debug:
    msg: "{{ 'sink' | prove_packages }}"
"""
RETURN = r"""
_value: {description: The archive., type: str}
"""


def prove_packages(name: str) -> str:
    """Pack what a program imports; the error says what is missing."""
    from slipway.errors import SlipwayError
    from slipway.prove import packing

    try:
        return packing.packages(str(name))
    except SlipwayError as exc:
        raise AnsibleFilterError(exc.message) from None


def prove_program(name: str) -> str:
    """Give the text of a program."""
    from slipway.prove import packing

    return packing.program(str(name))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {"prove_packages": prove_packages, "prove_program": prove_program}
