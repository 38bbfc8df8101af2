"""A stand-in for upstream on loopback, with upstream's paths: files over HTTP, images in a real registry."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.artifacts.cache import Cache, default_root
from slipway.artifacts.catalog import Folder
from slipway.artifacts.engine import Outcome, run
from slipway.artifacts.golang import REQUIREMENTS
from slipway.artifacts.jobs import Jobs
from slipway.artifacts.lock import Lock
from slipway.artifacts.plan import BundleSettings

from tests.support.kubernetes import SHIPPED

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


@dataclass
class Upstream:
    """Files by ``host/path``. ``cuts`` closes the connection after so many bytes, once per entry; ``codes`` answers
    with an HTTP status instead, once per entry (the last one for good)."""

    prefix: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    codes: dict[str, list[int]] = field(default_factory=dict)
    ranges: bool = True
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def publish(self, address: str, content: bytes, checksum: str = "") -> str:
        """Serve a file and, when ``checksum`` names one, its publisher's list with its sum; returns the sum."""
        sha256 = hashlib.sha256(content).hexdigest()
        self.files[address] = content
        if checksum:
            self.files[checksum] = f"{sha256}  {address.rpartition('/')[2]}\n".encode()
        return sha256

    def fetched(self, address: str) -> list[str]:
        """The Range header of each GET of ``address``."""
        return [wanted for method, path, wanted in self.asked if method == "GET" and path == address]


def _handler(upstream: Upstream) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_HEAD(self) -> None:
            self._answer()

        def _answer(self) -> None:
            address = self.path.lstrip("/")
            wanted = self.headers.get("Range", "")
            upstream.asked.append((self.command, address, wanted))
            codes = upstream.codes.get(address, [])
            content = upstream.files.get(address)
            code = (codes.pop(0) if len(codes) > 1 else codes[0]) if codes else 0
            if code or content is None:
                self._send(code or 404, b"", {})
                return
            first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and upstream.ranges else 0
            if wanted and first >= len(content):
                self._send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            elif first:
                self._send(206, content[first:], {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"})
            else:
                self._send(200, content, {})

        def _send(self, code: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            cuts = upstream.cuts.get(self.path.lstrip("/"), [])
            if cuts and body:
                self.wfile.write(body[: cuts.pop(0)])
                self.wfile.flush()
                self.close_connection = True
            else:
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  its name in the base class
            pass

    return Handler


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    served = Upstream()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(served))
    served.prefix = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait as often, but not as long."""
    monkeypatch.setattr("slipway.artifacts.download.FIRST_WAIT", 0.01)


@dataclass
class Yard:
    """A small checkout of its own: one file, maybe one image, the user's real recipes."""

    folder: Path
    state: Path
    cache: Path
    lines: list[str] = field(default_factory=list)

    def catalog(self, **parts: Any) -> None:
        # The user's recipes go by the user's releases of Kubernetes.
        releases = yaml.safe_load((ROOT / "artifacts" / "catalog.yml").read_text())["kubernetes"]
        nothing: dict[str, Any] = {"files": {}, "images": {}, "packages": {"suites": {}, "sets": {}}}
        nothing["kubernetes"] = releases
        (self.folder / "catalog.yml").write_text(yaml.safe_dump(nothing | parts))

    def lock(self, **parts: Any) -> None:
        (self.folder / "lock.yml").write_text(yaml.safe_dump(parts))

    def locked(self) -> dict[str, dict[str, str]]:
        value: dict[str, dict[str, str]] = yaml.safe_load((self.folder / "lock.yml").read_text())
        return value

    def settings(self, **changes: Any) -> BundleSettings:
        known: dict[str, Any] = {
            "source": "upstream",
            "kubernetes_version": SHIPPED,
            "parts": ["kubernetes"],
            "suites": [],
            "folder": self.folder,
            "state": self.state,
            "cache": self.cache,
        }
        return BundleSettings(**(known | changes))

    def run(self, *, check: bool = False, **changes: Any) -> Outcome:
        self.lines.clear()
        return run(self.settings(**changes), self.lines.append, check=check)

    def left_behind(self) -> list[str]:
        """Half-made things in the cache."""
        return sorted(str(path.relative_to(self.cache)) for path in self.cache.rglob("*.new"))


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    folder = tmp_path / "artifacts"
    folder.mkdir()
    (folder / "go").symlink_to(ROOT / "artifacts" / "go")
    (folder / "images").symlink_to(ROOT / "artifacts" / "images")
    for name in REQUIREMENTS.values():
        (folder / name).symlink_to(ROOT / "artifacts" / name)
    return Yard(folder, tmp_path / "state", tmp_path / "cache")


@pytest.fixture
def share_go(yard: Yard) -> Yard:
    """The yard, compiling with what the user's cache already has."""
    (default_root() / "go").mkdir(parents=True, exist_ok=True)
    yard.cache.mkdir(parents=True, exist_ok=True)
    (yard.cache / "go").symlink_to(default_root() / "go")
    return yard


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The programs registry and crane, out of the user's cache (built into it where it has none)."""
    folder = ROOT / "artifacts"
    settings = BundleSettings(
        kubernetes_version=SHIPPED,
        parts=[],
        suites=[],
        folder=folder,
        state=tmp_path_factory.mktemp("state"),
        cache=default_root(),
    )
    jobs = Jobs(Folder(folder), settings, Lock(folder / "lock.yml"), lambda _line: None, threading.Event())
    found = {}
    for name in ("registry", "crane"):
        job = jobs.program(name, settings.here)
        found[name] = (job.found or job.make({})).path / name
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


Serve = Callable[[Path, bool], str]


@pytest.fixture
def serve(tools: dict[str, Path], tmp_path: Path) -> Iterator[Serve]:
    """Start the distribution registry on a storage folder; returns its address."""
    running: list[subprocess.Popen[bytes]] = []

    def start(storage: Path, readonly: bool) -> str:
        port = free_port()
        config = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(storage)},
                "maintenance": {"readonly": {"enabled": readonly}, "uploadpurging": {"enabled": False}},
            },
            "http": {"addr": f"127.0.0.1:{port}"},
        }
        file = tmp_path / f"registry-{port}.yml"
        file.write_text(yaml.safe_dump(config))
        environ = os.environ | {"OTEL_TRACES_EXPORTER": "none"}
        log = (tmp_path / f"registry-{port}.log").open("wb")
        with log:
            running.append(subprocess.Popen([tools["registry"], "serve", file], env=environ, stdout=log, stderr=log))
        for _try in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return f"127.0.0.1:{port}"
            time.sleep(0.05)
        raise AssertionError(f"the registry did not start, see {tmp_path}/registry-{port}.log")

    yield start
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture
def real_cache() -> Cache:
    return Cache(default_root())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not shutil.which("mount"):
        pytest.fail("mount is not installed")
    subprocess.run([*sudo, "mount", "-t", "tmpfs", "-o", "size=4m,mode=0777", "tmpfs", folder], check=True)
    yield folder
    subprocess.run([*sudo, "umount", folder], check=True)
