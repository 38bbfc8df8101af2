"""A cluster that somebody else names: by a token, by a program that prints one, by a context, behind a path prefix."""

from __future__ import annotations

import base64
import http.server
import json
import ssl
import stat
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from slipway.cluster.client import BusyError, Cluster, UnansweredError

from tests.support.checkout import Checkout
from tests.support.kube import Kube

NAME = "slipway-test-access"
ADMIN = ("clusterrolebinding", NAME, "--clusterrole=cluster-admin", f"--serviceaccount=default:{NAME}")
NOWHERE = "https://127.0.0.1:9"


@pytest.fixture(scope="module")
def token(kube: Kube) -> Iterator[str]:
    """The token of a ServiceAccount that may do everything, and goes with the tests."""
    for what in (("serviceaccount", NAME), ADMIN):
        kube.text("create", *what)
    yield kube.text("create", "token", NAME, "--duration=1h").strip()
    kube.text("delete", "clusterrolebinding", NAME)
    kube.text("delete", "serviceaccount", NAME)


@pytest.fixture(scope="module")
def cluster(kube: Kube) -> dict[str, Any]:
    """What the cluster's own kubeconfig says of the API server."""
    found: dict[str, Any] = yaml.safe_load(kube.config.read_text())["clusters"][0]["cluster"]
    return found


def written(path: Path, cluster: dict[str, Any], user: dict[str, Any]) -> Path:
    """Write a kubeconfig whose current context is another cluster's, which is nowhere."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "other", "cluster": {"server": NOWHERE}}, {"name": "lab", "cluster": cluster}],
        "users": [{"name": "nobody", "user": {}}, {"name": "admin", "user": user}],
        "contexts": [
            {"name": "first", "context": {"cluster": "other", "user": "nobody"}},
            {"name": "second", "context": {"cluster": "lab", "user": "admin"}},
        ],
        "current-context": "first",
    }
    path.write_text(yaml.safe_dump(content))
    path.chmod(0o600)
    return path


def nodes(kubeconfig: Path) -> list[str]:
    found = Cluster({"kubeconfig": str(kubeconfig), "context": "second"}).listed("v1", "Node")
    return sorted(node["metadata"]["name"] for node in found or [])


def expected(kube: Kube) -> list[str]:
    return sorted(node["metadata"]["name"] for node in kube("get", "nodes")["items"])


def test_a_token_and_the_context_that_is_named(kube: Kube, cluster: dict[str, Any], token: str, tmp_path: Path) -> None:
    kubeconfig = written(tmp_path / "kubeconfig", cluster, {"token": token})
    assert nodes(kubeconfig) == expected(kube)
    with pytest.raises(BusyError, match="does not answer"):
        Cluster(kubeconfig).listed("v1", "Node")
    with pytest.raises(UnansweredError, match="401"):
        nodes(written(tmp_path / "wrong", cluster, {"token": "wrong"}))


def test_a_program_that_prints_a_token(kube: Kube, cluster: dict[str, Any], token: str, tmp_path: Path) -> None:
    version = "client.authentication.k8s.io/v1"
    said = {"apiVersion": version, "kind": "ExecCredential", "status": {"token": token}}
    (tmp_path / "said").write_text(json.dumps(said))
    program = tmp_path / "plugin"
    program.write_text(f"#!/bin/sh\nexec cat '{tmp_path / 'said'}'\n")
    program.chmod(stat.S_IRWXU)
    user = {"exec": {"apiVersion": version, "command": str(program), "interactiveMode": "Never"}}
    assert nodes(written(tmp_path / "kubeconfig", cluster, user)) == expected(kube)


@pytest.fixture
def prefixed(cluster: dict[str, Any], tmp_path: Path) -> Iterator[str]:
    """A reverse proxy on loopback that hands on what is below a prefix."""
    authority = tmp_path / "ca.crt"
    authority.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    context = ssl.create_default_context(cafile=str(authority))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.removeprefix("/clusters/lab")
            if path == self.path:
                self.send_error(404)
                return
            asked = urllib.request.Request(f"{cluster['server']}{path}")
            for name in ("Accept", "Authorization"):
                if self.headers[name]:
                    asked.add_header(name, self.headers[name])
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
            )
            try:
                with opener.open(asked, timeout=10) as answer:
                    status, said = answer.status, answer.read()
            except urllib.error.HTTPError as exc:
                status, said = exc.code, exc.read()
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/clusters/lab"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_server_behind_a_path_prefix(kube: Kube, prefixed: str, token: str, tmp_path: Path) -> None:
    kubeconfig = written(tmp_path / "kubeconfig", {"server": prefixed}, {"token": token})
    assert nodes(kubeconfig) == expected(kube)
    other = f"http://127.0.0.1:{urlsplit(prefixed).port}"
    with pytest.raises(UnansweredError, match="404"):
        nodes(written(tmp_path / "other", {"server": other}, {"token": token}))


def test_a_release_is_planned_and_the_cluster_is_told_of_by_that_kubeconfig(
    checkout: Checkout, kube: Kube, cluster: dict[str, Any], token: str, tmp_path: Path
) -> None:
    kubeconfig = written(tmp_path / "kubeconfig", cluster, {"token": token})
    there = ("-e", f"kubeconfig={kubeconfig}", "-e", "kube_context=second")
    page = ("-e", "release=releases/hello.yml", "-e", "release_name=elsewhere", "-e", "release_namespace=elsewhere")
    planned = checkout.playbook("playbooks/plan.yml", *page, *there).expect()
    assert "Namespace/elsewhere" in planned.output
    refused = checkout.playbook("playbooks/plan.yml", *page, "-e", f"kubeconfig={kubeconfig}")
    assert refused.status != 0
    assert "does not answer at https://127.0.0.1:9" in refused.output
    told = checkout.make("status", f"KUBECONFIG={kubeconfig}", "KUBE_CONTEXT=second")
    assert all(name in told.output for name in expected(kube))
    assert token not in planned.output + refused.output + told.output
