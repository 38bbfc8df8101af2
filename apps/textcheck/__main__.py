"""``python3 -m textcheck``: answer until SIGTERM. Ends with 0, or 1 (no model, requests cut) or 2 (settings)."""

from __future__ import annotations

import os
import signal
import sys
import threading

from .app import App
from .model import ModelError
from .server import Server
from .settings import SettingsError, from_env

DRAIN_SECONDS = 10
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def main() -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # before any thread begins, so that all of them inherit it
    threading.stack_size(256 * 1024)
    try:
        settings = from_env(os.environ)
        server = Server(App(settings))
    except (SettingsError, OSError) as exc:
        print(f"textcheck: {exc}", file=sys.stderr)
        return 2
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    try:
        server.app.load()
    except ModelError as exc:
        print(f"textcheck: {exc}", file=sys.stderr)
        return 1
    server.log(event="ready", port=server.server_address[1], model=server.app.source)
    signal.sigwait(SIGNALS)
    complete = server.drain(DRAIN_SECONDS)
    server.log(event="stopped", complete=complete)
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
