"""A second registry on the machine of the mirror: it has the images of the mirror, and asks for a password."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from .kube import eventually
from .releases import Stage
from .traffic import asked

PORT, USER = 5001, "bot"
# The password key-of-this-test (SPAM_API_KEY of releases.SECRETS), as the registry keeps it (bcrypt).
KEPT = "$2b$05$IyI/gLdiE5oh7R9nxS00eer1yF2q.f72uroZ1FqnMDUslZKsPHi7u"
UNIT, FOLDER = "slipway-test-registry", "/run/slipway-test-registry"
HOSTS = "/etc/containerd/certs.d"
IMAGES = "ctr --namespace=k8s.io images"


def _on(machine: str, script: str, given: str = "") -> str:
    command = ["docker", "exec", "--interactive", machine, "sh", "-e", "-c", script]
    done = subprocess.run(command, check=False, capture_output=True, text=True, input=given, timeout=60)
    assert done.returncode == 0, f"{machine}: {script}: {done.stderr.strip() or done.stdout.strip()}"
    return done.stdout


def _forget(nodes: list[str], registry: str) -> None:
    """Take the images of a registry off the nodes, so that they are pulled anew, and what says how to ask it."""
    for node in nodes:
        _on(node, f"{IMAGES} list --quiet | {{ grep -F '{registry}/' || true; }} | xargs -r {IMAGES} remove --sync")
        _on(node, f"rm -rf '{HOSTS}/{registry}'")


@contextmanager
def guarded(stage: Stage) -> Iterator[str]:
    """Run it, and tell the nodes that it has no TLS; gives its name as images have it (address:port)."""
    cluster = yaml.safe_load(stage.checkout.page.read_text())["cluster_name"]
    mirror = f"{cluster}-mirror-1"
    nodes = [f"{cluster}-{node['metadata']['name']}" for node in stage.kube.nodes()]
    said = _on(nodes[0], f"cat {HOSTS}/registry.k8s.io/hosts.toml")
    address = re.findall(r'host\."http://([0-9.]+)/', said)[0]
    registry = f"{address}:{PORT}"
    config: dict[str, Any] = yaml.safe_load(_on(mirror, "cat /etc/slipway/registry.yml"))
    config["http"] = {"addr": registry}
    config["auth"] = {"htpasswd": {"realm": UNIT, "path": f"{FOLDER}/users"}}
    stop = f"systemctl stop {UNIT} 2>/dev/null || true; rm -rf {FOLDER}"
    run = f"systemd-run --quiet --collect --unit={UNIT} --setenv=OTEL_TRACES_EXPORTER=none"
    try:
        _on(mirror, f"{stop}; mkdir {FOLDER}; cat > {FOLDER}/users", f"{USER}:{KEPT}\n")
        _on(mirror, f"cat > {FOLDER}/registry.yml", yaml.safe_dump(config))
        _on(mirror, f"{run} /usr/local/bin/registry serve {FOLDER}/registry.yml")
        eventually(
            lambda: asked(address, registry, "/v2/", port=PORT).status == "401", seconds=30, what="it asks who is there"
        )
        _forget(nodes, registry)
        for node in nodes:
            way = f'server = "http://{registry}"\n\n[host."http://{registry}"]\n  capabilities = ["pull", "resolve"]\n'
            _on(node, f"mkdir -p '{HOSTS}/{registry}'; cat > '{HOSTS}/{registry}/hosts.toml'", way)
        yield registry
    finally:
        _on(mirror, stop)
        _forget(nodes, registry)
