"""Filters about the page of settings; the answers come from slipway.page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from slipway.errors import SlipwayError
from slipway.page import environment
from slipway.page.addresses import first_address

DOCUMENTATION = r"""
name: page_settings
short_description: Read the settings of a page, with what the environment has in their place
description:
  - What neither has is its default. Nothing is checked here.
  - Beside it is first_address of a network in CIDR notation (C(kubernetes) has that of C(cluster_service_cidr)).
options:
  _input: {description: Page of settings (slipway_page)., type: path, required: true}
author: The Slipway authors
"""
EXAMPLES = r"""
- ansible.builtin.debug:
    msg: "{{ (slipway_page | page_settings).cluster_name }}"
"""
RETURN = r"""
_value: {description: The settings., type: dict}
"""


def page_settings(page: str) -> dict[str, Any]:
    """Read the settings; the same page is read once per process."""
    try:
        return environment.settings_of(Path(page))
    except SlipwayError as exc:
        raise AnsibleFilterError(exc.message) from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {"page_settings": page_settings, "first_address": first_address}
