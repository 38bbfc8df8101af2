"""Filters that say what the releases of a cluster's page need; the answers come from slipway.release.listed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible.errors import AnsibleFilterError
from slipway.errors import SlipwayError
from slipway.release import listed as releases

DOCUMENTATION = r"""
name: releases_hosts
short_description: Name all that the releases of a page answer on
description:
  - Their hosts, those that show one version, and those of tools, sorted, each once.
  - Beside it is releases_parts, which names the parts of artifacts/catalog.yml that hold images of these releases, and
    images_parts, which names those that hold images of a bundle.
options:
  _input: {description: Pages of releases, as cluster_releases lists them., type: list, elements: str, required: true}
author: The Slipway authors
"""
EXAMPLES = r"""
- ansible.builtin.debug:
    msg: "{{ ['releases/sms-checker.yml'] | releases_hosts }}"
"""
RETURN = r"""
_value: {description: Hosts., type: list, elements: str}
"""


def releases_hosts(pages: Iterable[str]) -> list[str]:
    """Name all that the gateway has to answer for."""
    try:
        return releases.hosts(map(str, pages))
    except SlipwayError as exc:
        raise AnsibleFilterError(exc.message) from None


def releases_parts(pages: Iterable[str]) -> list[str]:
    """Name the parts of the catalog that hold images of these releases."""
    try:
        return releases.parts(map(str, pages))
    except SlipwayError as exc:
        raise AnsibleFilterError(exc.message) from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {
            "releases_hosts": releases_hosts,
            "releases_parts": releases_parts,
            "images_parts": releases.parts_of_images,
        }
