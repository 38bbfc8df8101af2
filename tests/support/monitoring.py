"""Questions to the Prometheus and the Alertmanager of a cluster, and to the mail sink that gets what they mail."""

from __future__ import annotations

import json
import urllib.parse
from typing import Any

from .kube import Kube

# Where the role prove puts it.
MAIL = "slipway-mail"
MAIL_PORT = 2525


class Mailbox:
    """What the mail sink of the cluster got."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube

    def _read(self) -> dict[str, Any]:
        held: dict[str, Any] = self.kube.raw(f"/api/v1/namespaces/{MAIL}/services/mail:http/proxy/")
        return held

    @property
    def mails(self) -> list[dict[str, Any]]:
        """Every mail: from, to, user, text."""
        return list(self._read()["mails"])

    @property
    def refused(self) -> list[str]:
        """Users whose password was wrong, once for each try."""
        return list(self._read()["refused"])


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
        found = self.query(expression)
        assert len(found) == 1, f"{expression}: {found}"
        return found[0][1]

    def targets(self) -> list[dict[str, Any]]:
        """Every target that Prometheus scrapes."""
        return list(self._ask("prometheus", "/api/v1/targets?state=active")["data"]["activeTargets"])

    @property
    def settings(self) -> str:
        """The configuration that Prometheus has loaded."""
        return str(self._ask("prometheus", "/api/v1/status/config")["data"]["yaml"])

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
