"""Questions to the Prometheus and the Alertmanager of a cluster, and a mail server for their alerts, in the cluster."""

from __future__ import annotations

import json
import urllib.parse
from typing import Any

from slipway.prove.packing import packages, program

from .kube import Kube, eventually, ready

MAIL = "slipway-test-mail"
MAIL_PORT = 2525
READ_PORT = 8025


def mail_server(image: str, password: str) -> list[dict[str, Any]]:
    """Namespace, pod and Service of the mail server; ``image`` may be empty, Python is the node's."""
    mounts = {"usr": ("/usr", "/usr"), "lib": ("/usr/lib", "/lib"), "lib64": ("/usr/lib64", "/lib64")}
    metadata: dict[str, Any] = {"name": "mail", "namespace": MAIL, "labels": {"app": "mail"}}
    container = {
        "name": "mail",
        "image": image,
        "command": ["/usr/bin/python3", "/packages/sink.py"],
        "env": [
            {"name": "PYTHONPATH", "value": "/packages/packages.zip"},
            {"name": "PASSWORD_FILE", "value": "/packages/password"},
        ],
        "ports": [{"name": "smtp", "containerPort": MAIL_PORT}, {"name": "http", "containerPort": READ_PORT}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
        "volumeMounts": [
            {"name": "packages", "mountPath": "/packages"},
            *({"name": name, "mountPath": inside, "readOnly": True} for name, (_, inside) in mounts.items()),
        ],
    }
    volumes: list[dict[str, Any]] = [{"name": "packages", "configMap": {"name": "packages"}}]
    volumes += [{"name": name, "hostPath": {"path": outside}} for name, (outside, _) in mounts.items()]
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": MAIL}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "packages", "namespace": MAIL},
            "data": {"sink.py": program("sink"), "password": password},
            "binaryData": {"packages.zip": packages("sink")},
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [container], "volumes": volumes},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            # By this label a proof knows that it may read the mails here.
            "metadata": {**metadata, "labels": {**metadata["labels"], "slipway.io/mail-sink": "true"}},
            "spec": {
                "selector": {"app": "mail"},
                "ports": [
                    {"name": "smtp", "port": MAIL_PORT, "targetPort": "smtp"},
                    {"name": "http", "port": READ_PORT, "targetPort": "http"},
                ],
            },
        },
    ]


class Mailbox:
    """A mail server in the cluster, and what it got."""

    def __init__(self, kube: Kube, password: str) -> None:
        self.kube = kube
        pause = kube.bundle["images"]["pause"]
        things = mail_server(f"{pause['name']}:{pause['tag']}", password)
        eventually(lambda: kube.apply(things), seconds=120, what="the mail server is accepted")
        eventually(
            lambda: ready(kube("get", "pod", "mail", f"--namespace={MAIL}")),
            seconds=90,
            what="the mail server is Ready",
        )

    def _read(self) -> dict[str, Any]:
        held: dict[str, Any] = self.kube.raw(f"/api/v1/namespaces/{MAIL}/pods/mail:{READ_PORT}/proxy/")
        return held

    @property
    def mails(self) -> list[dict[str, Any]]:
        """Every mail: from, to, user, text."""
        return list(self._read()["mails"])

    @property
    def refused(self) -> list[str]:
        """Users whose password was wrong, once for each try."""
        return list(self._read()["refused"])

    def stop(self) -> None:
        self.kube.text("delete", "namespace", MAIL, "--ignore-not-found", "--wait=false")


class Monitoring:
    """Prometheus and Alertmanager, asked through the API server."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube

    def _ask(self, service: str, path: str) -> Any:
        return self.kube.raw(f"/api/v1/namespaces/monitoring/services/{service}:http-web/proxy{path}")

    def query(self, expression: str, at: float | None = None) -> list[tuple[dict[str, str], float]]:
        """The samples of an expression: labels and value."""
        given = {"query": expression, **({"time": str(at)} if at else {})}
        answer = self._ask("prometheus", f"/api/v1/query?{urllib.parse.urlencode(given)}")
        assert answer["status"] == "success", answer
        return [(sample["metric"], float(sample["value"][1])) for sample in answer["data"]["result"]]

    def value(self, expression: str) -> float:
        """The one sample of an expression."""
        ((_, number),) = self.query(expression)
        return number

    def targets(self) -> list[dict[str, Any]]:
        """Every target that Prometheus scrapes."""
        return list(self._ask("prometheus", "/api/v1/targets?state=active")["data"]["activeTargets"])

    def down(self) -> dict[str, str]:
        """Targets that are not up, with what Prometheus says of them."""
        return {
            f"{target['labels']['job']} {target['labels']['instance']}": target["lastError"] or target["health"]
            for target in self.targets()
            if target["health"] != "up"
        }

    def firing(self, name: str) -> list[dict[str, str]]:
        """Labels of the alerts of that name that fire in Prometheus."""
        return [labels for labels, _ in self.query(f'ALERTS{{alertname="{name}", alertstate="firing"}}')]

    def received(self) -> list[dict[str, Any]]:
        """Alerts that Alertmanager has."""
        return list(self._ask("alertmanager", "/api/v2/alerts"))

    def rule_groups(self) -> list[dict[str, Any]]:
        """Rule groups that Prometheus has loaded."""
        return list(self._ask("prometheus", "/api/v1/rules")["data"]["groups"])


def show(figures: dict[str, object]) -> None:
    """Print figures of a live test, so that they stand in its log."""
    print(json.dumps(figures))
