"""Approve the serving certificates of exactly our nodes' kubelets, and of nobody else.

A kubelet with ``serverTLSBootstrap`` asks for its certificate by a CertificateSigningRequest, when it starts and before
that certificate expires. kube-controller-manager signs what was approved, and nothing in Kubernetes approves it. Role
control_plane keeps ``python3 -m slipway.kubelet_serving`` running for that on each controller (standard library alone).
"""

from __future__ import annotations

import argparse
import base64
import ipaddress
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .kubeapi import Api, ApiError

SIGNER = "kubernetes.io/kubelet-serving"
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
USER = "system:node:"
GROUP = "system:nodes"
# An RSA key may encipher keys as well.
USAGES = {"digital signature", "server auth"}
RSA_USAGES = USAGES | {"key encipherment"}
# Seconds after which a watch is begun anew.
WATCH = 300

BOOLEAN, OCTETS, OID, SEQUENCE, SET, ATTRIBUTES, DNS, ADDRESS = 0x01, 0x04, 0x06, 0x30, 0x31, 0xA0, 0x82, 0x87
TEXTS = {0x0C: "utf-8", 0x13: "ascii"}
COMMON_NAME, ORGANIZATION = bytes.fromhex("550403"), bytes.fromhex("55040a")
EXTENSION_REQUEST, ALTERNATIVE_NAMES = bytes.fromhex("2a864886f70d01090e"), bytes.fromhex("551d11")


@dataclass(frozen=True)
class Wish:
    """What a certificate is asked for: the names of its subject and of what it may serve."""

    common_names: tuple[str, ...]
    organizations: tuple[str, ...]
    dns: tuple[str, ...]
    addresses: tuple[str, ...]


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Split DER into its elements, as (tag, content). Raises ValueError where it is not whole."""
    at = 0
    while at < len(data):
        tag, length, at = data[at], *_length(data, at + 1)
        if at + length > len(data):
            raise ValueError("is cut off")
        yield tag, data[at : at + length]
        at += length


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Read the length of an element: how many bytes, and where they begin."""
    if at >= len(data):
        raise ValueError("is cut off")
    first = data[at]
    if first < 0x80:
        return first, at + 1
    count = first & 0x7F
    if not 1 <= count <= 4 or at + count >= len(data):
        raise ValueError("has a length that cannot be")
    return int.from_bytes(data[at + 1 : at + 1 + count], "big"), at + 1 + count


def inside(element: tuple[int, bytes], *tags: int) -> list[tuple[int, bytes]]:
    """Open an element of one of the ``tags``. Raises ValueError for another one."""
    tag, content = element
    if tag not in tags:
        raise ValueError(f"has an element {tag:#04x} where {' or '.join(f'{t:#04x}' for t in tags)} belongs")
    return list(elements(content))


def exactly(count: int, items: Iterable[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Give the items, which are ``count``. Raises ValueError otherwise."""
    found = list(items)
    if len(found) != count:
        raise ValueError(f"has {len(found)} elements where {count} belong")
    return found


def read_request(pem: str) -> Wish:
    """Read a PKCS #10 request. Raises ValueError, saying what is wrong, for anything that a kubelet would not write."""
    found = re.fullmatch(
        r"\s*-----BEGIN CERTIFICATE REQUEST-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE REQUEST-----\s*", pem
    )
    if not found:
        raise ValueError("is no PEM of a certificate request")
    (whole,) = exactly(1, elements(base64.b64decode("".join(found.group(1).split()), validate=True)))
    information, _, _ = exactly(3, inside(whole, SEQUENCE))
    parts = inside(information, SEQUENCE)
    _, subject, _ = exactly(3, parts[:3])
    names = list(_subject(subject))
    others = [kind.hex() for kind, _ in names if kind not in (COMMON_NAME, ORGANIZATION)]
    if others:
        raise ValueError(f"has a subject with more than a name and an organization ({', '.join(others)})")
    dns, addresses = _alternative_names(parts[3:])
    return Wish(
        common_names=tuple(text for kind, text in names if kind == COMMON_NAME),
        organizations=tuple(text for kind, text in names if kind == ORGANIZATION),
        dns=tuple(dns),
        addresses=tuple(addresses),
    )


def _subject(subject: tuple[int, bytes]) -> Iterator[tuple[bytes, str]]:
    for part in inside(subject, SEQUENCE):
        for pair in inside(part, SET):
            (kind, oid), (text, value) = exactly(2, inside(pair, SEQUENCE))
            if kind != OID or text not in TEXTS:
                raise ValueError("has a subject that cannot be read")
            yield oid, value.decode(TEXTS[text])


def _alternative_names(attributes: list[tuple[int, bytes]]) -> tuple[list[str], list[str]]:
    """Read the DNS names and addresses out of the attributes of a request, and refuse all else in them."""
    dns, addresses = [], []
    for extension in (ext for group in attributes for ext in _extensions(group)):
        # An extension may say that it is critical, between its kind and its value.
        parts = [part for part in inside(extension, SEQUENCE) if part[0] != BOOLEAN]
        (_, oid), octets = exactly(2, parts)
        if oid != ALTERNATIVE_NAMES:
            raise ValueError(f"asks for an extension besides names ({oid.hex()})")
        (names,) = exactly(1, inside(octets, OCTETS))
        for kind, value in inside(names, SEQUENCE):
            if kind == DNS:
                dns.append(value.decode("ascii"))
            elif kind == ADDRESS:
                addresses.append(str(ipaddress.ip_address(value)))
            else:
                raise ValueError(f"asks for a name that is neither DNS name nor address ({kind:#04x})")
    return dns, addresses


def _extensions(group: tuple[int, bytes]) -> Iterator[tuple[int, bytes]]:
    for attribute in inside(group, ATTRIBUTES):
        (_, oid), values = exactly(2, inside(attribute, SEQUENCE))
        if oid != EXTENSION_REQUEST:
            raise ValueError(f"has an attribute besides extensions ({oid.hex()})")
        for extensions in inside(values, SET):
            yield from inside(extensions, SEQUENCE)


def is_pending(request: Mapping[str, Any]) -> bool:
    """Tell whether nobody has decided about a request yet."""
    status = request.get("status") or {}
    decided = {condition.get("type") for condition in status.get("conditions") or []}
    return not status.get("certificate") and decided.isdisjoint({"Approved", "Denied", "Failed"})


def refusal(request: Mapping[str, Any], nodes: Mapping[str, str]) -> str:
    """Say why a CertificateSigningRequest is not approved; ``""`` when it is.

    ``nodes`` are the addresses of the cluster's machines by name. Approved is what the kubelet of one of them asks for
    itself: its own name and address, no more and no less, to serve with.
    """
    spec = request.get("spec") or {}
    user, groups, usages = spec.get("username", ""), spec.get("groups") or [], spec.get("usages") or []
    if spec.get("signerName") != SIGNER:
        return f"it is for the signer {spec.get('signerName')!r}"
    if not user.startswith(USER) or GROUP not in groups:
        return f"{user!r} is no kubelet"
    name = user.removeprefix(USER)
    if name not in nodes:
        return f"{name!r} is no machine of the inventory"
    if set(usages) not in (USAGES, RSA_USAGES):
        return f"its usages are {', '.join(sorted(usages))!r}"
    try:
        wish = read_request(base64.b64decode(spec.get("request", ""), validate=True).decode("ascii"))
    except ValueError as exc:
        return f"its request {exc}"
    if wish.common_names != (user,) or wish.organizations != (GROUP,):
        return f"its subject is {wish.common_names} of {wish.organizations}"
    if wish.dns != (name,) or wish.addresses != (nodes[name],):
        return f"it asks for {', '.join([*wish.dns, *wish.addresses])!r}, and the node is {name} at {nodes[name]}"
    return ""


def approve(api: Api, request: Mapping[str, Any]) -> str:
    """Approve a request; says what came of it. Another controller may have been faster."""
    status = request.get("status") or {}
    condition = {
        "type": "Approved",
        "status": "True",
        "reason": "NodeOfTheInventory",
        "message": "Slipway: asked by the kubelet of this node for its own name and address",
    }
    body = {**request, "status": {**status, "conditions": [*(status.get("conditions") or []), condition]}}
    code, answer = api.request("PUT", f"{REQUESTS}/{request['metadata']['name']}/approval", body)
    if code in (200, 201):
        return "approved"
    if code in (404, 409):
        return "decided elsewhere"
    raise ApiError(f"approving is answered with {code}: {answer.get('message', '')}")


def attend(api: Api, nodes: Mapping[str, str], seconds: int = WATCH) -> None:
    """Decide about every pending request that is there or comes within ``seconds``; a refused one stays pending."""
    said = set()
    for kind, request in api.watch(f"{REQUESTS}?fieldSelector=spec.signerName%3D{SIGNER.replace('/', '%2F')}", seconds):
        if kind == "ERROR":
            raise ApiError(f"watching requests broke off: {request.get('message', '')}")
        if kind == "DELETED" or not is_pending(request):
            continue
        name, user = request["metadata"]["name"], request.get("spec", {}).get("username", "")
        reason = refusal(request, nodes)
        outcome = f"refused: {reason}" if reason else approve(api, request)
        if (name, outcome) not in said:
            print(f"{name} of {user!r}: {outcome}", flush=True)
            said.add((name, outcome))


def main(arguments: Sequence[str] | None = None) -> int:
    """Attend to requests until something breaks; systemd then begins anew, with files read anew."""
    parser = argparse.ArgumentParser(
        prog="slipway.kubelet_serving", description="Approve our kubelets' serving certificates."
    )
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--nodes", type=Path, required=True, help="JSON: address by name of each machine")
    parser.add_argument("--server", default="", help="host:port in the place of the one that the kubeconfig names")
    options = parser.parse_args(arguments)
    try:
        nodes = json.loads(options.nodes.read_text(encoding="utf-8"))
        api = Api(options.kubeconfig.read_text(encoding="utf-8"), options.server)
        while True:
            attend(api, nodes)
    except (OSError, ValueError, ApiError) as exc:
        print(f"{exc}; beginning anew", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
