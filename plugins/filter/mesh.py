"""Filters of role istio and playbooks/hosts.yml; the answers come from slipway.mesh."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from slipway.errors import SlipwayError
from slipway.mesh import certificate as mesh_tls
from slipway.mesh import manifests as mesh
from slipway.mesh import schema as mesh_schema
from slipway.paths import user_path

DOCUMENTATION = r"""
name: mesh_service_ports
short_description: Give the gateway's Service a port for each port of the page
description:
  - Each is named after its protocol, and has a listener of its own.
  - Beside it are mesh_unknown, mesh_address, mesh_has_address, mesh_no_address, mesh_hosts, certificate_files,
    certificate_faults and certificate_told.
options:
  _input: {description: Numbers of ports., type: list, elements: int, required: true}
author: The Slipway authors
"""
EXAMPLES = r"""
- ansible.builtin.debug:
    msg: "{{ [80, 443] | mesh_service_ports }}"
"""
RETURN = r"""
_value: {description: Ports of a Service., type: list, elements: dict}
"""

CHECKOUT = Path(__file__).resolve().parents[2]


def mesh_unknown(settings: Mapping[str, Any], istioctl: str) -> list[str]:
    """Say which keys of ``settings`` the program ``istioctl`` does not know."""
    return mesh.unknown_settings(settings, mesh_schema.read(Path(istioctl))) if settings else []


def mesh_address(services: Iterable[Mapping[str, Any]]) -> str:
    """Give the address of the one Service that was asked for; empty when there is none, or no Service."""
    return next((mesh.address_of(service) for service in services), "")


def mesh_has_address(services: Iterable[Mapping[str, Any]], wanted: str = "") -> bool:
    """Whether the Service has the address ``wanted``, or any when that is empty."""
    address = mesh_address(services)
    return address == wanted if wanted else bool(address)


def certificate_files(certificate: Mapping[str, str]) -> dict[str, str]:
    """Make the paths of ``cert`` and ``key`` absolute: ``~`` is the user's, relative ones count from the checkout."""
    return {what: str(user_path(CHECKOUT, certificate[what])) for what in ("cert", "key") if certificate.get(what)}


def certificate_told(certificate: str, folder: str) -> dict[str, str]:
    """Give annotations that say whom a certificate is for, and whether it is of the authority in ``folder``."""
    return mesh_tls.told(Path(certificate), Path(folder))


def certificate_faults(certificate: Mapping[str, str]) -> list[str]:
    """Say why the user's own certificate, absolute paths as ``{cert, key}``, cannot serve."""
    if set(certificate) != {"cert", "key"}:
        return ["istio_certificate: takes both, e.g. {cert: ~/tls/fullchain.pem, key: ~/tls/privkey.pem}."]
    now = dt.datetime.now(dt.UTC)
    return mesh_tls.faults(Path(certificate["cert"]), Path(certificate["key"]), now)


def _explained(answer: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(answer)
    def filtered(*arguments: Any, **keywords: Any) -> Any:
        try:
            return answer(*arguments, **keywords)
        except SlipwayError as exc:
            raise AnsibleFilterError(exc.message) from None

    return filtered


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        answers: dict[str, Callable[..., Any]] = {
            "mesh_service_ports": mesh.service_ports,
            "mesh_unknown": mesh_unknown,
            "mesh_address": mesh_address,
            "mesh_has_address": mesh_has_address,
            "mesh_no_address": mesh.no_address,
            "mesh_hosts": mesh.host_names,
            "certificate_files": certificate_files,
            "certificate_faults": certificate_faults,
            "certificate_told": certificate_told,
        }
        return {name: _explained(answer) for name, answer in answers.items()}
