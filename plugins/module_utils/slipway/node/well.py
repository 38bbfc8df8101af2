"""Whether the control plane of this controller is well: its etcd, and its API server.

Runs on the nodes (stdlib only).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from .certificates import processes
from .etcd import Etcd, EtcdError
from .kubeapi import Api, ApiError

ADMIN = "/etc/kubernetes/admin.conf"
PAUSE = 0.5
# Seconds that a part has to end by itself: as many as the kubelet gives it.
GRACE = 30.0


def etcd_is_well() -> str:
    """Say which members of etcd are not healthy; empty: all of them are."""
    try:
        silent = [member.told for member in Etcd().members() if not member.healthy]
    except EtcdError as exc:
        return str(exc)
    return f"not healthy: {', '.join(silent)}" if silent else ""


def api_is_well(address: str) -> str:
    """Say how the API server of this controller fails; empty: it is ready."""
    try:
        with open(ADMIN, encoding="utf-8") as file:
            # From etcd, and for somebody who shows a certificate.
            status, _ = Api(file.read(), server=f"{address}:6443").request("GET", "/api/v1/nodes?limit=1")
    except (OSError, ValueError, ApiError) as exc:
        return str(exc)
    return "" if status == 200 else f"https://{address}:6443/api/v1/nodes is answered with {status}"


def wait_until(well: Callable[[], str], seconds: float) -> str:
    """Say why something is not well after so many seconds; empty: it is."""
    until = time.monotonic() + seconds
    while (why := well()) and time.monotonic() < until:
        time.sleep(PAUSE)
    return why


def restart(
    part: str,
    process: int,
    well: Callable[[], str],
    seconds: float,
    *,
    running: Callable[[], Mapping[str, int]] = processes,
    grace: float = GRACE,
    pause: float = PAUSE,
) -> str:
    """End a part's process, which the kubelet starts again; say why it is not well after so many seconds."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)
    until, patience = time.monotonic() + seconds, time.monotonic() + grace
    why = "it did not start again"
    while time.monotonic() < until:
        if time.monotonic() > patience:
            # An API server waits for requests in flight, one minute and then another.
            patience = until
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if running().get(part, process) != process:
            why = well()
            if not why:
                return ""
        time.sleep(pause)
    return why
