"""A renewal of certificates that a controller does by itself, when its timer says so: one controller at a time.

Role control_plane keeps ``python3 -m slipway.scheduled_renewal`` with its timer, if the page asks for it. Runs on the
nodes (stdlib only), as root.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import lock, renewal, turns
from .authority import FOLDER, NEXT
from .certificates import due, put_back
from .kubeapi import Api, ApiError
from .lock import run
from .well import ADMIN

CONFIG = "/etc/slipway/renewal.json"
LEASE = "slipway-renewal"
# Seconds for what else is at work on this machine, and for the turns of other controllers.
BUSY = 900.0
TURNS = 7200.0


def _do(config: Mapping[str, Any]) -> str:
    with lock.taken(BUSY) as held:
        done = renewal.work(
            lambda command: run(command, held), config["address"], float(config["days"]), float(config["timeout"])
        )
    said = f"renewed: {', '.join(done.renewed) or 'nothing'}; started again: {', '.join(done.restarted) or 'nothing'}"
    return f"{said}; the first certificate ends in {done.days} days"


def renew(config: Mapping[str, Any], root: str = "") -> str:
    """Renew what ends soon, in the turn of this controller, and say what was done.

    Raises RenewalError, TurnError, BusyError, ApiError.
    """
    if os.path.isdir(f"{root}{FOLDER}/{NEXT}"):
        return "the CAs are being replaced (make rotate-ca), which renews all certificates: nothing was done"
    with lock.taken(BUSY):
        # What a renewal that was cut off has left may be half of what the API is asked with.
        begun = bool(put_back(root))
    there = renewal.look(run)
    if not begun and not due(there, float(config["days"])):
        return f"no certificate ends within {config['days']} days"
    over = any(one.seconds <= 0 for one in there)

    def api() -> Api:
        return Api(Path(f"{root}{ADMIN}").read_text(encoding="utf-8"), server=f"{config['address']}:6443")

    try:
        with turns.taken(api, LEASE, config["node"], TURNS):
            return _do(config)
    except ApiError:
        # With certificates that have ended nobody is answered here, and nothing is served that could stop.
        if not over:
            raise
        return _do(config)


def main() -> int:
    """Do what the service does."""
    began = time.monotonic()
    try:
        print(
            f"{renew(json.loads(Path(CONFIG).read_text(encoding='utf-8')))} ({time.monotonic() - began:.0f} s)",
            flush=True,
        )
    except renewal.RenewalError as exc:
        print(f"{exc} [{exc.id}]", flush=True)
    except (turns.TurnError, lock.BusyError, ApiError, OSError) as exc:
        print(f"nothing was renewed: {exc}", flush=True)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
