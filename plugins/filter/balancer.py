"""Filters of role metallb: addresses, CustomResourceDefinitions, Services without an address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from slipway.errors import SlipwayError
from slipway.page.form import plain
from slipway.parts import balancer


def balancer_ranges(values: Mapping[str, Any]) -> list[str]:
    """Ranges that MetalLB hands out; see :func:`slipway.parts.balancer.ranges`."""
    try:
        return balancer.ranges(values)
    except ValueError as exc:
        raise AnsibleFilterError(f"the cluster_* settings are wrong: run playbooks/validate.yml\n{exc}") from exc


def custom_resources(text: str, conversions: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The CustomResourceDefinitions in ``text``; see :func:`slipway.parts.balancer.custom_resources`."""
    try:
        return balancer.custom_resources(text, plain(conversions or {}))
    except ValueError as exc:
        what = f"{exc}; the bundle's item is not what its name says"
        raise AnsibleFilterError(SlipwayError("wrong-artifact-file", what).message) from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {
            "balancer_ranges": balancer_ranges,
            "custom_resources": custom_resources,
            "services_without_address": balancer.without_address,
            "services_explained": balancer.explained,
        }
