"""`make status` is right about a live cluster of which something is broken on purpose."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from tests.support.kube import Kube, eventually, ready
from tests.support.monitoring import MAIL, MAIL_PORT, Mailbox

testinfra_hosts = ["ansible://node-1"]

BROKEN = "slipway-test-status"
WRONG = "a-password-that-nobody-may-see"
PAGE = Path(__file__).parents[3] / "molecule/inventory/group_vars/all/cluster.yml"


class Status:
    """The command, on the lab."""

    def __init__(self, state: Path) -> None:
        self.environment = {**os.environ, "SLIPWAY_STATE": str(state), "SLIPWAY_PAGE": str(PAGE)}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "slipway.status", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def report(self) -> dict[str, Any]:
        done = self.run("--json")
        told: dict[str, Any] = json.loads(done.stdout)
        assert (done.returncode == 0) == told["healthy"], done.stderr
        return told

    def wrong(self, section: str) -> list[dict[str, str]]:
        return [row for row in self.report()[section] if row["state"] == "wrong"]


@pytest.fixture(scope="module")
def status(state: Path) -> Status:
    return Status(state)


def mail_with_a_wrong_password() -> list[dict[str, Any]]:
    """Mail for the alert that always fires, with a password that the server refuses."""
    metadata = {"name": "smtp", "namespace": BROKEN}
    mail = {
        "to": "ops@example.org",
        "from": "cluster@example.org",
        "smarthost": f"mail.{MAIL}.svc:{MAIL_PORT}",
        "authUsername": "cluster",
        "authPassword": {"name": "smtp", "key": "password"},
        "requireTLS": False,
    }
    route = {"receiver": "wrong", "groupWait": "1s", "groupInterval": "10s", "repeatInterval": "1m"}
    always = {"matchers": [{"name": "alertname", "matchType": "=", "value": "Watchdog"}]}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"password": WRONG}},
        {
            "apiVersion": "monitoring.coreos.com/v1alpha1",
            "kind": "AlertmanagerConfig",
            "metadata": metadata,
            "spec": {"route": {**route, **always}, "receivers": [{"name": "wrong", "emailConfigs": [mail]}]},
        },
    ]


@pytest.fixture(scope="module", autouse=True)
def broken(kube: Kube) -> Iterator[None]:
    """A pod that ends at once, a target at which nobody listens, and mail that is refused, all from the start."""
    pause = kube.bundle["images"]["pause"]
    metadata = {"namespace": BROKEN, "labels": {"app": "silent"}}
    things: list[dict[str, Any]] = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "failing", "namespace": BROKEN},
            "spec": {
                "containers": [
                    {"name": "app", "image": f"{pause['name']}:{pause['tag']}", "command": ["/no-such-program"]}
                ],
                "terminationGracePeriodSeconds": 0,
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "silent", **metadata},
            "spec": {
                "containers": [
                    {
                        "name": "app",
                        "image": f"{pause['name']}:{pause['tag']}",
                        "ports": [{"name": "http", "containerPort": 8080}],
                    }
                ],
                "terminationGracePeriodSeconds": 0,
            },
        },
        *mail_with_a_wrong_password(),
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PodMonitor",
            "metadata": {"name": "silent", **metadata},
            "spec": {"selector": {"matchLabels": {"app": "silent"}}, "podMetricsEndpoints": [{"port": "http"}]},
        },
    ]
    kube.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": BROKEN}}])
    eventually(lambda: kube.apply(things), seconds=180, what="what is broken is accepted")
    yield
    kube.text("delete", "namespace", BROKEN, "--ignore-not-found", "--wait=false")


def test_a_pod_that_cannot_run_is_told_with_its_reason(status: Status, broken: None) -> None:
    def told() -> bool:
        found = {(row["namespace"], row["pod"]): row["reason"] for row in status.wrong("pods")}
        return "/no-such-program" in found.get((BROKEN, "failing"), "")

    eventually(told, seconds=180, what=f"the pod in {BROKEN} is told, {broken}")


def test_a_target_that_is_down_is_told_with_prometheus_error(status: Status, broken: None) -> None:
    def told() -> bool:
        found = {row["job"]: row["error"] for row in status.wrong("targets")}
        return "connection refused" in found.get(f"{BROKEN}/silent", "")

    eventually(told, seconds=180, what=f"the target in {BROKEN} is told, {broken}")


def test_the_page_says_it_too_and_fails(status: Status, broken: None) -> None:
    done = status.run()
    assert done.returncode == 1, broken
    assert f"pod {BROKEN}/failing" in done.stdout
    assert "Certificates" in done.stdout


def test_mail_that_does_not_go_out_is_told_without_the_password(status: Status, broken: None, kube: Kube) -> None:
    def told() -> bool:
        done = status.run("--json")
        assert WRONG not in done.stdout + done.stderr
        problems = json.loads(done.stdout)["problems"]
        return any(f"mail does not go out ({BROKEN}/smtp/wrong)" in line and "535" in line for line in problems)

    eventually(told, seconds=300, what=f"mail that is refused is told, {broken}")
    assert Mailbox(kube).refused
    done = status.run()
    assert WRONG not in done.stdout + done.stderr


def test_a_node_that_is_down_is_told(status: Status, host: Host, kube: Kube) -> None:
    with host.sudo():
        host.run_expect([0], "systemctl stop kubelet")
    try:
        eventually(
            lambda: "node-1" in {row["name"] for row in status.wrong("nodes")}, seconds=180, what="node-1 is told"
        )
    finally:
        with host.sudo():
            host.run_expect([0], "systemctl start kubelet")
        eventually(lambda: all(ready(node) for node in kube.nodes()), seconds=180, what="every node is Ready again")
