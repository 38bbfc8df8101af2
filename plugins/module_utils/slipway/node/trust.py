"""Whom certificates vouch for: PEM texts, the CA in a kubeconfig, and whether a CA has signed a certificate.

Runs on the nodes (stdlib only).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
import tempfile
from collections.abc import Iterable
from typing import Any

_BLOCK = re.compile(r"-----BEGIN (CERTIFICATE|PUBLIC KEY|RSA PUBLIC KEY)-----([A-Za-z0-9+/=\s]+)-----END \1-----")
_AUTHORITY = re.compile(r"(?m)^(\s*certificate-authority-data:[ \t]*)(\S+)[ \t]*$")
# Messages of a handshake that have to go to and fro until it is done or has failed.
_ROUNDS = 8


def blocks(pem: str) -> list[str]:
    """Give the certificates, or public keys, of a text, each in one form, whatever stands between them."""
    found = []
    for kind, body in _BLOCK.findall(pem):
        text = "".join(body.split())
        lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
        found.append(f"-----BEGIN {kind}-----\n{lines}\n-----END {kind}-----\n")
    return found


def bundle(parts: Iterable[str]) -> str:
    """Put certificates, or public keys, into one text, each once."""
    return "".join(dict.fromkeys(parts))


def der(block: str) -> bytes:
    """Give what a block encodes."""
    return base64.b64decode("".join(block.splitlines()[1:-1]))


def fingerprint(block: str) -> str:
    """Give the sha256 sum of what a block encodes."""
    return hashlib.sha256(der(block)).hexdigest()


def key_id(public: str) -> str:
    """Give the id that Kubernetes gives the key of service accounts, of its public half (PKIX)."""
    return base64.urlsafe_b64encode(hashlib.sha256(der(public)).digest()).decode().rstrip("=")


def signed_with(token: str) -> str:
    """Give the id of the key that has signed a token of a service account; empty where it is none."""
    parts = token.strip().split(".")
    if len(parts) != 3:
        return ""
    try:
        header = json.loads(base64.urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4)))
    except ValueError:
        return ""
    return str(header.get("kid", "")) if isinstance(header, dict) else ""


def trusted(kubeconfig: str) -> list[str]:
    """Give the CAs that a kubeconfig has in it."""
    found = _AUTHORITY.search(kubeconfig)
    return blocks(base64.b64decode(found.group(2)).decode("ascii")) if found else []


def trusting(kubeconfig: str, authorities: str) -> str:
    """Give a kubeconfig with these CAs in the place of those that are in it."""
    data = base64.b64encode(authorities.encode("ascii")).decode("ascii")
    return _AUTHORITY.sub(rf"\g<1>{data}", kubeconfig)


def vouches(authority: str, certificate: str, key: str = "", *, server: bool = False) -> bool:
    """Tell whether a CA has signed a certificate, which is in a file with its key, or beside it.

    By a handshake with itself, in memory: the standard library reads no certificates. ``server``: it is one to serve
    with, else one of a client.
    """
    try:
        mine = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        mine.load_cert_chain(certificate, key or None)
        other = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        other.check_hostname = False
        judge = other if server else mine
        if not server:
            other.verify_mode = ssl.CERT_NONE
            other.load_cert_chain(certificate, key or None)
        judge.verify_mode = ssl.CERT_REQUIRED
        judge.load_verify_locations(cadata=authority)
        # Python 3.13 wants extensions that not every CA of kubeadm's has.
        judge.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return _shakes_hands(mine, other)
    except (OSError, ValueError):
        return False


def _shakes_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> bool:
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends: list[Any] = [client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True)]
    for _ in range(_ROUNDS):
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                continue
        if not ends:
            return True
    return False


def client_of(kubeconfig: str) -> str:
    """Give certificate and key of the client that a kubeconfig has in it; empty: it has none."""
    found = [re.search(rf"(?m)^\s*client-{name}-data:[ \t]*(\S+)", kubeconfig) for name in ("certificate", "key")]
    return "".join(base64.b64decode(one.group(1)).decode("ascii") for one in found if one)


def vouches_for_kubeconfig(authority: str, kubeconfig: str) -> bool:
    """Tell whether a CA has signed the certificate of the client in a kubeconfig."""
    # ssl reads from files alone; this one is for its owner alone, and gone at once.
    with tempfile.NamedTemporaryFile("w", encoding="ascii") as file:
        file.write(client_of(kubeconfig))
        file.flush()
        return vouches(authority, file.name)
