"""Rules about ``cluster_api_endpoint``: every node reaches the controllers by it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address as Address

from ..node import networks
from .addresses import overlap
from .form import Fault
from .machines import members
from .model import Settings, address_range, works
from .rules import ENDPOINT, NETWORK_USERS, OF_PODS_AND_SERVICES, Surroundings, local_rule, rule

LONGEST_NAME = 253
LOCAL_NAME = re.compile(r"(.+\.)?localhost(\.localdomain)?|(ip6-)?loopback")


@rule(*NETWORK_USERS)
def endpoint_reaches_controllers(settings: Settings) -> Iterator[Fault]:
    key = ("cluster_api_endpoint",)
    host, _, port = settings.cluster_api_endpoint.partition(":")
    if port and int(port) > 65535:
        yield Fault("endpoint-port", key, "has a port above 65535", f"cluster_api_endpoint: {host}:6443")
    if not host:
        return
    everyone = members(settings, with_mirror=settings.cluster_mirror is not False)
    example = _endpoint_that_works(settings)
    if not re.fullmatch(r"[\d.]+", host):
        if len(host) > LONGEST_NAME:
            what = f"has {len(host)} characters, and a name of DNS has {LONGEST_NAME} at most"
            yield Fault("too-long", key, what, example)
        elif LOCAL_NAME.fullmatch(host):
            yield Fault(
                "endpoint-no-controller",
                key,
                f"{host} is each machine itself, and every node is to reach the controllers by it",
                example,
            )
        return
    try:
        address = Address(host)
    except ValueError:
        yield Fault("not-an-address", key, f"{host} is not an IPv4 address", example)
        return
    if means := networks.special(host):
        yield Fault("special-address", key, f"is {means}, and every node is to reach the controllers by it", example)
        return
    other = [member.name for member in everyone if member.role != "controller" and member.address == host]
    inside = _handed_out(settings, address)
    if other:
        yield Fault("endpoint-no-controller", key, f"is the address of {other[0]}, which is no controller", example)
    elif inside:
        yield Fault("endpoint-handed-out", key, f"lies in {inside[0]}, which is the cluster's to hand out", example)


@local_rule(*NETWORK_USERS)
def endpoint_is_found(settings: Settings, around: Surroundings) -> Iterator[Fault]:
    host = settings.cluster_api_endpoint.partition(":")[0]
    # Of what is no name, and of names that are wrong in themselves, their own rule tells.
    is_name = (
        host and not re.fullmatch(r"[\d.]+", host) and not LOCAL_NAME.fullmatch(host) and len(host) <= LONGEST_NAME
    )
    if not is_name or ENDPOINT in around.founded:
        return
    example = f"{_endpoint_that_works(settings)}, or an entry for {host} in DNS or in /etc/hosts here and on every node"
    found = around.resolve(host)
    wrong = [
        ("special-address", address, f"is {networks.special(address)}")
        for address in found
        if networks.special(address)
    ]
    for address in found:
        wrong += [
            ("endpoint-handed-out", address, f"lies in {text}, which is the cluster's to hand out")
            for text in _handed_out(settings, Address(address))
        ]
    if not found:
        what = f"this computer finds no IPv4 address for {host}, and the cluster is reached by it"
        yield Fault("endpoint-not-found", (ENDPOINT,), what, example)
    elif {address for _, address, _ in wrong} == set(found):
        error_id, address, why = wrong[0]
        what = f"this computer finds {address} for {host}, which {why}"
        yield Fault(error_id, (ENDPOINT,), what, example)


def _endpoint_that_works(settings: Settings) -> str:
    controllers = [member.address for member in members(settings, with_mirror=False) if member.role == "controller"]
    return works((ENDPOINT,), f"{controllers[0]}:6443" if controllers else None)


def _handed_out(settings: Settings, address: Address) -> list[str]:
    """Name the networks of the page in which the cluster gives addresses to pods and Services, and ``address`` lies."""
    ranges = [(name, getattr(settings, name)) for name in OF_PODS_AND_SERVICES]
    ranges += [("cluster_metallb_addresses", text) for text in settings.cluster_metallb_addresses]
    return [f"{name} {text}" for name, text in ranges if overlap(address_range(text), (address, address))]
