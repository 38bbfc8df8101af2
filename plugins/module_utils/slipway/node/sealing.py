"""Secrets in etcd: written again with the key that is the first now, and the keys that they rest with.

Runs on the nodes (stdlib only).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from urllib.parse import quote

from .kubeapi import Api, ApiError

PREFIX = "/registry/secrets/"
_SEALED = re.compile(rb"k8s:enc:secretbox:v1:([A-Za-z0-9_-]+):")
# Secrets in one answer, and tries for one that somebody else writes meanwhile.
PAGE = 100
TRIES = 5
# Where a Secret rests without a key.
PLAIN = "no key"


def sealed(values: Iterable[tuple[str, bytes]]) -> Counter[str]:
    """Count the Secrets of each key."""
    found: Counter[str] = Counter()
    for _, value in values:
        match = _SEALED.match(value)
        found[match.group(1).decode() if match else PLAIN] += 1
    return found


def rewrite(api: Api) -> int:
    """Write every Secret again, as it is; give their number. Raises ApiError.

    The API server leaves out a change that is none, but for one that rests with another key than the first.
    """
    written, further = 0, ""
    while True:
        path = f"/api/v1/secrets?limit={PAGE}" + (f"&continue={quote(further, safe='')}" if further else "")
        status, found = api.request("GET", path)
        if status != 200:
            raise ApiError(f"the list of Secrets is answered with {status}: {found.get('message', '')}")
        for secret in found.get("items") or []:
            _write(api, secret["metadata"]["namespace"], secret["metadata"]["name"])
            written += 1
        further = found.get("metadata", {}).get("continue", "")
        if not further:
            return written


def _write(api: Api, namespace: str, name: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets/{name}"
    status, said = 0, ""
    for _ in range(TRIES):
        status, secret = api.request("GET", path)
        if status == 200:
            status, secret = api.request("PUT", f"{path}?fieldManager=slipway", secret)
        said = str(secret.get("message", ""))
        # Gone, or written by somebody else since it was read.
        if status in (200, 404):
            return
        if status != 409:
            break
    raise ApiError(f"the Secret {namespace}/{name} cannot be written again ({status}): {said}")
