"""Approve the serving certificates of exactly our nodes' kubelets, and of nobody else.

A kubelet with ``serverTLSBootstrap`` asks for its certificate by a CertificateSigningRequest, when it starts and before
that certificate expires. kube-controller-manager signs what was approved, and nothing in Kubernetes approves it. Role
control_plane keeps ``python3 -m slipway.kubelet_serving`` running for that on each controller. It needs Debian's
python3-cryptography there (role host), and nothing else of others.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from .kubeapi import Api, ApiError

SIGNER = "kubernetes.io/kubelet-serving"
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
USER = "system:node:"
GROUP = "system:nodes"
COMMON_NAME, ORGANIZATION = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME
# An RSA key may encipher keys as well.
USAGES = {"digital signature", "server auth"}
RSA_USAGES = USAGES | {"key encipherment"}
# Seconds after which a watch is begun anew.
WATCH = 300

PEM = re.compile(r"\s*-----BEGIN CERTIFICATE REQUEST-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE REQUEST-----\s*")
EXTENSION_REQUEST = x509.ObjectIdentifier("1.2.840.113549.1.9.14")


@dataclass(frozen=True)
class Wish:
    """What a certificate is asked for: the names of its subject and of what it may serve."""

    common_names: tuple[str, ...]
    organizations: tuple[str, ...]
    dns: tuple[str, ...]
    addresses: tuple[str, ...]


def read_request(pem: str) -> Wish:
    """Read a PKCS #10 request. Raises ValueError, saying what is wrong, for anything that a kubelet would not write."""
    # One request and nothing beside it: others who read the text could take another one of several.
    if not PEM.fullmatch(pem):
        raise ValueError("is no PEM of a certificate request")
    try:
        request = x509.load_pem_x509_csr(pem.encode("ascii"))
        subject, extensions, attributes = list(request.subject), list(request.extensions), list(request.attributes)
        signed = request.is_signature_valid
    except Exception as exc:
        raise ValueError(f"cannot be read: {exc}") from exc
    if not signed:
        raise ValueError("is not signed with its own key")
    others = [part.oid.dotted_string for part in subject if part.oid not in (COMMON_NAME, ORGANIZATION)]
    if others:
        raise ValueError(f"has a subject with more than a name and an organization ({', '.join(others)})")
    more = [one.oid.dotted_string for one in attributes if one.oid != EXTENSION_REQUEST]
    if more:
        raise ValueError(f"has an attribute besides extensions ({', '.join(more)})")
    dns, addresses = _alternative_names(extensions)
    return Wish(
        common_names=tuple(str(part.value) for part in subject if part.oid == COMMON_NAME),
        organizations=tuple(str(part.value) for part in subject if part.oid == ORGANIZATION),
        dns=tuple(dns),
        addresses=tuple(addresses),
    )


def _alternative_names(extensions: Iterable[x509.Extension[x509.ExtensionType]]) -> tuple[list[str], list[str]]:
    """Give the DNS names and addresses that a request is for, and refuse all else in its extensions."""
    dns, addresses = [], []
    for extension in extensions:
        if not isinstance(extension.value, x509.SubjectAlternativeName):
            raise ValueError(f"asks for an extension besides names ({extension.oid.dotted_string})")  # noqa: TRY004
        for name in extension.value:
            if isinstance(name, x509.DNSName):
                dns.append(name.value)
            elif isinstance(name, x509.IPAddress):
                addresses.append(str(name.value))
            else:
                raise ValueError(f"asks for a name that is neither DNS name nor address ({type(name).__name__})")  # noqa: TRY004
    return dns, addresses


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
