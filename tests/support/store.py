"""A real S3 server for backups: a Go module that is built here, and listens on loopback alone."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from pathlib import Path

from slipway.artifacts import golang
from slipway.artifacts.cache import Cache, default_root

from .kube import eventually
from .lab import ROOT

PINNED = ROOT / "tests/backup/store"
MODULE = "github.com/johannesboyne/gofakes3/cmd/gofakes3"


def built(folder: Path) -> Path:
    """Build the server in a folder. ``SLIPWAY_TEST_STORE`` names one that was built before."""
    if named := os.environ.get("SLIPWAY_TEST_STORE"):
        return Path(named)
    cache = Cache(default_root())
    go = golang.bootstrap(cache, ROOT / "artifacts", folder / "build.log", threading.Event())
    line = [go, "build", "-trimpath", "-buildvcs=false", "-o", str(folder / "store"), MODULE]
    subprocess.run(line, cwd=PINNED, env=golang.environment(cache.root, cgo=False), check=True)
    return folder / "store"


class Server:
    """An S3 server, with its data in a folder."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.program, self.folder = program, folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return f"http://{self.host}/saves/sun"

    def start(self) -> None:
        # In a file, so that what was stored is there after it was away.
        kind = ("-backend", "bolt", "-bolt.db", str(self.folder / "store.db"), "-initialbucket", "saves")
        line = [str(self.program), "-quiet", "-host", self.host, *kind]
        self.process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self._listens, seconds=30, what="the store listens")

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = None
