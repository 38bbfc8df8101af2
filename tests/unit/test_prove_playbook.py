"""The action plugins of a proof in a play, with an API server and pods that are programs on loopback."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from slipway.release.planner import plan as planned
from slipway.release.spec import load

from tests.support.prove import Shop, gateway_service, ready_pod, served, service
from tests.support.release import page

pytestmark = pytest.mark.slow

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
VERSIONS: Json = {"v1": {}, "v2": {}}
RELEASE: Json = {
    "name": "shop",
    "hosts": ["shop.local"],
    "weights": {"v1": 90, "v2": 10},
    "sticky": "cookie",
    "limits": {"per_client": "10/minute"},
    "services": {
        "front": {"calls": ["back"], "image": "slipway.local/apps/frontend:1.0.0", "versions": VERSIONS},
        "back": {"image": "slipway.local/apps/model:1.0.0", "versions": VERSIONS},
    },
}
KUBECTL = """#!{python}
import json, sys, urllib.request
given = {{"argv": sys.argv[1:], "stdin": sys.stdin.read() if "--stdin" in sys.argv else ""}}
opener = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
print(opener.open("http://127.0.0.1:{port}/", json.dumps(given).encode()).read().decode())
"""
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - prove_plan: {facts: "{{ promised }}", kubeconfig: "{{ folder }}/kubeconfig"}
      register: made
    - prove_run:
        plan: "{{ made.plan }}"
        targets: "{{ made.targets }}"
        namespace: "{{ made.namespace }}"
        kubeconfig: "{{ folder }}/kubeconfig"
        kubectl: "{{ folder }}/kubectl"
        folder: "{{ folder }}/report"
        sink: "{{ made.sink }}"
        alertmanager: "{{ made.alertmanager }}"
      register: said
    - ansible.builtin.debug: {msg: "{{ [made.clients, made.stale, said.lines] }}"}
"""


@contextmanager
def answering(answer: Callable[[str, bytes], tuple[int, Any]]) -> Iterator[int]:
    """Answer requests on loopback: path and body in, status and JSON out; gives the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, found = answer(self.path, self.rfile.read(int(self.headers.get("Content-Length", "0"))))
            data = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET  # noqa: N815  the base class looks for this name

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def cluster(promised: Json) -> Json:
    """What the API server lists."""
    images = {name: str(each["image"]) for name, each in RELEASE["services"].items()}
    own = [(name, str(each["deployment"])) for name, declared in promised["services"].items()
           for each in declared["versions"].values()]  # fmt: skip
    return {
        "/api/v1/services": [gateway_service(), *(service("shop", name, clusterIP="10.96.0.1") for name in images)],
        "/api/v1/namespaces": [{"metadata": {"name": "shop"}}],
        "/apis/apps/v1/namespaces/shop/deployments": [
            {
                "metadata": {"name": deployment},
                "spec": {"template": {"spec": {"containers": [{"image": images[name]}]}}},
            }
            for name, deployment in own
        ],
        "/api/v1/namespaces/shop/pods": [ready_pod(f"{name}-5d4f-abcde", f"{name}-5d4f") for _, name in own],
        "/api/v1/namespaces/istio-system/pods?labelSelector=istio%3Dingressgateway": [ready_pod("gateway")],
    }


def proved(folder: Path, promised: Json, shop: Shop) -> subprocess.CompletedProcess[str]:
    """Run the play."""
    listed = cluster(promised)
    accounts = {
        str(promised["services"][row["service"]]["versions"][row["version"]]["deployment"]): [
            promised["services"][each["service"]]["versions"][each["version"]]["account"] for each in row["callers"]
        ]
        or ["istio-ingressgateway"]
        for row in promised["access"]
    }

    def api(path: str, _: bytes) -> tuple[int, Any]:
        return (200, {"items": listed[path]}) if path in listed else (404, {"message": f"no {path}"})

    with served(shop) as send:

        def pods(_: str, body: bytes) -> tuple[int, Any]:
            given = json.loads(body)
            words = given["argv"]
            if "pilot-agent" in words:
                names = accounts[words[3].removesuffix("-5d4f-abcde")]
                return 200, {"principals": [f"x/ns/shop/sa/{name}" for name in names]}
            return 200, send(words[4], json.loads(given["stdin"]))

        with answering(api) as port, answering(pods) as other:
            user = {"clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                    "users": [{"name": "u", "user": {}}], "current-context": "c"}  # fmt: skip
            (folder / "kubeconfig").write_text(json.dumps(user))
            (folder / "kubectl").write_text(KUBECTL.format(python=sys.executable, port=other))
            # Far from every network of this machine, so that it sends nothing itself.
            (folder / "ip").write_text('#!/bin/sh\necho \'[{"gateway": "10.0.2.2"}]\'\n')
            for name in ("kubectl", "ip"):
                (folder / name).chmod(0o755)
            (folder / "play.yml").write_text(PLAY)
            given = json.dumps({"promised": promised, "folder": str(folder)})
            (folder / "given.json").write_text(given)
            program = str(Path(sys.executable).parent / "ansible-playbook")
            return subprocess.run(
                [program, "--inventory=localhost,", f"--extra-vars=@{folder / 'given.json'}", str(folder / "play.yml")],
                cwd=folder,
                check=False,
                capture_output=True,
                text=True,
                timeout=120,
                env={
                    **os.environ,
                    "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
                    "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                    "ANSIBLE_LOG_PATH": str(folder / "log"),
                    "ANSIBLE_FORCE_COLOR": "0",
                    "PYTHONPATH": str(ROOT / "plugins/module_utils"),
                },
            )


@pytest.fixture
def promised(tmp_path: Path) -> Json:
    made: Json = planned(load(page(tmp_path, RELEASE))).facts
    return made


def test_a_play_ends_well_and_tells_each_claim(tmp_path: Path, promised: Json) -> None:
    done = proved(tmp_path, promised, Shop(promised))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "shop: 6 passed, 0 failed, 1 configured" in done.stdout
    assert "mutual TLS is strict" in done.stdout
    assert "changed=0" in done.stdout
    report = json.loads((tmp_path / "report/shop/report.json").read_text())
    assert report["counts"]["passed"] == 6
    names = {path.name for path in (tmp_path / "report/shop").iterdir()}
    assert names == {"report.json", "report.html", "plan.json", "observations.json"}


def test_a_play_fails_and_names_the_claim(tmp_path: Path, promised: Json) -> None:
    shop = Shop(promised)
    shop.shares = {"v1": 50, "v2": 50}
    done = proved(tmp_path, promised, shop)
    assert done.returncode == 2
    assert "/ is shared 90 % v1, 10 % v2" in done.stdout
    assert "look at: kubectl -n shop get virtualservice,destinationrule" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
