"""Filters that answer what a bundle holds; the answers come from slipway.artifacts.manifest."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from ansible.errors import AnsibleFilterError
from slipway.artifacts import manifest
from slipway.errors import SlipwayError


def _plain(value: Any) -> Any:
    """Turn Ansible's lazy containers into ordinary ones; pydantic reads containers past their Python interface."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _explained(answer: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(answer)
    def filtered(*arguments: Any, **keywords: Any) -> Any:
        try:
            return answer(*(_plain(argument) for argument in arguments), **keywords)
        except SlipwayError as exc:
            raise AnsibleFilterError(exc.message) from None

    return filtered


class FilterModule:
    """`manifest | bundle_files(names, prefix)`, and the like."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        answers = (
            manifest.bundle_files,
            manifest.bundle_images,
            manifest.bundle_packages,
            manifest.bundle_hosts,
            manifest.image_references,
        )
        return {answer.__name__: _explained(answer) for answer in answers}
