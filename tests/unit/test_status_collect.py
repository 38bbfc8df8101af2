"""What `make status` asks, of an API server that stands here, and how it ends."""

from __future__ import annotations

import base64
import http.server
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from slipway.page.model import Settings
from slipway.status import __main__ as command
from slipway.status import collect as asking

from tests.support.errors import refused

NODE = {
    "metadata": {"name": "ctrl", "labels": {"node-role.kubernetes.io/control-plane": ""}},
    "spec": {},
    "status": {
        "conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": "192.0.2.100"}],
        "nodeInfo": {"kubeletVersion": "v1.37.0", "osImage": "Debian"},
    },
}
UP = {"labels": {"job": "app", "instance": "a"}, "health": "up", "lastError": ""}
WATCHDOG = {"labels": {"alertname": "Watchdog", "severity": "none"}, "state": "firing", "annotations": {}}
LOG = (
    'level=ERROR msg="Notify for alerts failed" err="monitoring/mail/mail/email[0]: notify retry canceled after 2 '
    'attempts: auth: 535 hunter2 is wrong"\n'
)


def listed(*things: Any) -> dict[str, Any]:
    return {"items": list(things)}


def named(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "monitoring"}}


def answers() -> dict[str, Any]:
    """Answers by path; a text is given as it is. What is not here is not found."""
    return {
        "/version": {"gitVersion": "v1.37.0"},
        "/api/v1/nodes": listed(NODE),
        "/api/v1/pods": listed(),
        "/api/v1/services": listed(),
        "/api/v1/secrets": listed(),
        "/api/v1/namespaces/monitoring/services": listed(named("x")),
        f"{asking.PROMETHEUS}/api/v1/targets": {"data": {"activeTargets": [UP]}},
        f"{asking.PROMETHEUS}/api/v1/alerts": {"data": {"alerts": [WATCHDOG]}},
        f"{asking.PROMETHEUS}/api/v1/query": {"data": {"result": []}},
        f"{asking.ALERTMANAGER}/api/v2/alerts": [WATCHDOG],
        "/api/v1/namespaces/monitoring/pods": listed(named("alertmanager-main-0")),
        "/api/v1/namespaces/monitoring/pods/alertmanager-main-0/log": LOG,
        "/apis/monitoring.coreos.com/v1alpha1/alertmanagerconfigs": listed(
            {
                **named("mail"),
                "spec": {"receivers": [{"emailConfigs": [{"authPassword": {"name": "mail", "key": "password"}}]}]},
            }
        ),
        "/api/v1/namespaces/monitoring/secrets/mail": {"data": {"password": base64.b64encode(b"hunter2").decode()}},
    }


class Server:
    """An API server that gives the answers it has."""

    def __init__(self, folder: Path) -> None:
        self.answers = answers()
        self.asked: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                where = urlsplit(self.path)
                outer.asked.append(self.path)
                answer = outer.answers.get(where.path, {"status": 404, "message": "not found"})
                if callable(answer):
                    answer = answer(parse_qs(where.query))
                data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
                status = answer.get("status", 200) if isinstance(answer, dict) else 200
                self.send_response(status if isinstance(status, int) else 200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "u", "user": {"token": "of-the-test"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (folder / "kubeconfig").write_text(yaml.safe_dump(config))

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("SLIPWAY_STATE", str(tmp_path))
    monkeypatch.setattr(asking, "own_certificate", lambda _: 4_000_000_000.0)
    monkeypatch.setattr(command, "ask_nodes", lambda *_: None)
    started = Server(tmp_path)
    yield started
    started.stop()


def test_a_healthy_cluster_ends_with_0(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 0
    said = capsys.readouterr().out
    assert "healthy" in said
    assert "ctrl" in said
    assert server.asked


def test_for_machines_it_is_json(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.answers["/api/v1/nodes"] = listed({**NODE, "status": {**NODE["status"], "conditions": []}})  # type: ignore[dict-item]
    assert command.main(["--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["healthy"] is False
    assert told["nodes"][0]["state"] == "wrong"
    assert told["problems"] == ["node ctrl: it never reported; look at: kubectl describe node ctrl"]


def test_what_asks_for_a_controller_is_collected(server: Server, tmp_path: Path) -> None:
    server.answers["/apis/networking.k8s.io/v1/ingresses"] = listed(named("web"))
    server.answers["/apis/networking.k8s.io/v1/ingressclasses"] = listed(named("nginx"))
    server.answers["/apis/monitoring.coreos.com/v1/alertmanagers"] = listed(named("mine"))
    facts = asking.collect(tmp_path, Settings())
    assert [item["metadata"]["name"] for item in (*facts.ingresses, *facts.ingress_classes)] == ["web", "nginx"]
    assert [(item["kind"], item["metadata"]["name"]) for item in facts.instances] == [("Alertmanager", "mine")]


def test_a_cluster_without_mesh_and_monitoring_has_nothing_missing(server: Server, tmp_path: Path) -> None:
    server.answers["/api/v1/namespaces/monitoring/services"] = listed()
    facts = asking.collect(tmp_path, Settings())
    assert facts.missing == {}
    assert (facts.targets, facts.alerts, facts.received) == (None, None, None)


def test_a_prometheus_that_does_not_answer_is_told(server: Server, tmp_path: Path) -> None:
    sick = {"status": 503, "message": "no endpoints available for service"}
    server.answers[f"{asking.PROMETHEUS}/api/v1/targets"] = sick
    assert asking.collect(tmp_path, Settings()).missing == {"Prometheus": "no endpoints available for service"}


def test_failing_mail_is_told_without_the_password(server: Server, tmp_path: Path) -> None:
    def result(query: dict[str, list[str]]) -> dict[str, Any]:
        fails = query["query"] == [asking.MAIL_FAILS]
        return {"data": {"result": [{"metric": {}, "value": [0, "2"]}] if fails else []}}

    server.answers[f"{asking.PROMETHEUS}/api/v1/query"] = result
    facts = asking.collect(tmp_path, Settings())
    assert facts.mail_failures == {"monitoring/mail/mail": "auth: 535 … is wrong"}


def test_mail_that_goes_out_needs_no_look_at_secrets(server: Server, tmp_path: Path) -> None:
    asking.collect(tmp_path, Settings())
    assert not [path for path in server.asked if path.endswith("/secrets/mail") or "/log" in path]


def test_certificates_are_those_of_secrets_and_of_controllers(server: Server, tmp_path: Path) -> None:
    made = subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            *("-days", "30", "-subj", "/CN=x", "-keyout", "-"),
        ],
        check=True,
        capture_output=True,
    ).stdout
    good = {"metadata": {"name": "tls", "namespace": "shop"}, "data": {"tls.crt": base64.b64encode(made).decode()}}
    empty = {"metadata": {"name": "none", "namespace": "shop"}, "data": {"tls.crt": ""}}
    server.answers["/api/v1/secrets"] = listed(good, empty)
    sample = {"metric": {"node": "ctrl", "path": "/a.crt"}, "value": [0, "1900000000"]}
    server.answers[f"{asking.PROMETHEUS}/api/v1/query"] = lambda query: {
        "data": {"result": [sample] if query["query"] == [asking.EXPIRY] else []}
    }
    facts = asking.collect(tmp_path, Settings())
    assert set(facts.certificates) == {"API server", "Secret shop/tls", "ctrl /a.crt"}
    assert abs(facts.certificates["Secret shop/tls"] - facts.now - 30 * 86400) < 300


def test_without_a_kubeconfig_it_says_what_makes_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLIPWAY_STATE", str(tmp_path))
    assert command.main([]) == command.UNASKED
    said = capsys.readouterr().out
    assert "there is no cluster here" in said
    assert "make up" in said


def test_an_api_that_is_not_there_is_told_in_a_sentence(server: Server, tmp_path: Path) -> None:
    server.stop()
    with refused("api-silent: 127.0.0.1: … are the machines up? `make up`"):
        asking.collect(tmp_path, Settings())


def test_backups_are_asked_for_where_controllers_make_some(server: Server, tmp_path: Path) -> None:
    path = urlsplit(asking.BACKUPS).path
    server.answers[path] = listed({"metadata": {"name": "x"}, "data": {"node": "ctrl"}})
    key = "age1ncvql6ns2hv3kg2cdkymdrd4p7ntr2txpdwh0g5vmq94autxp4xsydmktc"
    for schedule, savers, found in (("", [], 0), ("daily", ["ctrl"], 1)):
        backup = {"folder": "~/x", "recipients": [key], "keep": 3, "schedule": schedule}
        facts = asking.collect(tmp_path, Settings.model_validate({"cluster_backup": backup}))
        assert (facts.savers, len(facts.backups)) == (savers, found)
    assert [one for one in server.asked if one.startswith(path)] == [asking.BACKUPS]
