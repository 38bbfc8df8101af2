"""A turn among the controllers: what may happen on one of them at a time is done by who holds a Lease in the cluster.

Runs on the nodes (stdlib only).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from .kubeapi import Api, ApiError

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
# Seconds after which a Lease that nobody has touched is that of a controller which is gone.
GONE = 1800.0
PAUSE = 10.0


class TurnError(Exception):
    """Another controller has its turn, and does not end; the text says which."""


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _lease(name: str, holder: str) -> dict[str, Any]:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": int(GONE), "acquireTime": _stamp(), "renewTime": _stamp()}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-system"},
        "spec": spec,
    }


@contextmanager
def taken(
    api: Callable[[], Api],
    name: str,
    holder: str,
    seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold the Lease ``name`` meanwhile, after waiting for it for so many ``seconds``. Raises TurnError, ApiError.

    ``api`` is asked for anew at the end: what it shows may have been renewed. How long others have held it is measured
    here, so clocks of machines may differ and jump.
    """
    _take(api(), name, holder, seconds, clock, sleep)
    try:
        yield
    finally:
        # If this does not come through, the others take it when it has not been touched for long enough.
        with suppress(ApiError, OSError, ValueError):
            api().request("DELETE", f"{LEASES}/{name}")


def _take(
    api: Api, name: str, holder: str, seconds: float, clock: Callable[[], float], sleep: Callable[[float], None]
) -> None:
    until, seen, since = clock() + seconds, "", clock()
    while True:
        status, found = api.request("GET", f"{LEASES}/{name}")
        if status == 404:
            status, found = api.request("POST", LEASES, _lease(name, holder))
        elif status == 200:
            version = str(found["metadata"].get("resourceVersion", ""))
            if version != seen:
                seen, since = version, clock()
            other = str((found.get("spec") or {}).get("holderIdentity") or "")
            if other in ("", holder) or clock() - since >= GONE:
                made = _lease(name, holder)
                # Refused where somebody else has touched it since.
                made["metadata"]["resourceVersion"] = version
                status, found = api.request("PUT", f"{LEASES}/{name}", made)
            elif clock() >= until:
                raise TurnError(f"{other} has its turn (Lease kube-system/{name}), and has not ended in {seconds:g} s")
            else:
                status = 409
        if status in (200, 201):
            return
        if status != 409:
            raise ApiError(f"the Lease kube-system/{name} is answered with {status}: {found.get('message', '')}")
        if clock() >= until:
            raise TurnError(f"others take the Lease kube-system/{name} all the time")
        sleep(PAUSE)
