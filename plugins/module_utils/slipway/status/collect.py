"""Ask the API, and through it Prometheus and Alertmanager. What cannot be asked is noted, not raised."""

from __future__ import annotations

import base64
import json
import ssl
import time
import urllib.parse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..errors import SlipwayError
from ..lab.plan import make_plan, page_file
from ..page.model import Settings
from .facts import Facts, Object
from .judge import mail_failures

CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0
PROMETHEUS = "/api/v1/namespaces/monitoring/services/prometheus:http-web/proxy"
ALERTMANAGER = "/api/v1/namespaces/monitoring/services/alertmanager:http-web/proxy"
MAIL_FAILS = 'sum(increase(alertmanager_notifications_failed_total{integration="email"}[10m])) > 0'
EXPIRY = "min by (node, path) (control_plane_certificate_expiry_timestamp_seconds)"


class UnansweredError(Exception):
    """A question got no good answer; the text says why. ``status`` is that of HTTP, 0 for none."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """GET on the API server of a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        from kubernetes import client, config

        if not kubeconfig.is_file():
            raise SlipwayError(f"there is no cluster here: {kubeconfig} does not exist; `make up` makes one")
        self._settings = client.Configuration()
        try:
            config.load_kube_config(str(kubeconfig), client_configuration=self._settings)
        except config.ConfigException as exc:
            raise SlipwayError(f"{kubeconfig} cannot be read: {exc}; `make up` writes it anew") from exc
        # The API is on the node network, whatever proxy this machine's user goes through.
        self._settings.proxy = None
        self._settings.retries = False
        self._client = client.ApiClient(self._settings)
        self.server = str(self._settings.host)

    def text(self, path: str) -> str:
        """The answer to ``path``. Raises UnansweredError."""
        import urllib3

        token = self._settings.get_api_key_with_prefix("BearerToken") or self._settings.get_api_key_with_prefix(
            "authorization"
        )
        try:
            answer = self._client.rest_client.pool_manager.request(
                "GET",
                self.server + path,
                headers={"Accept": "application/json", **({"Authorization": token} if token else {})},
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
                retries=False,
            )
        except urllib3.exceptions.HTTPError as exc:
            raise UnansweredError(f"{self.server} does not answer ({type(exc).__name__})") from exc
        if answer.status != 200:
            raise UnansweredError(_said(answer.data, answer.status), answer.status)
        return str(answer.data.decode(errors="replace"))

    def get(self, path: str) -> Any:
        """The JSON at ``path``. Raises UnansweredError."""
        return json.loads(self.text(path))

    def items(self, path: str) -> list[Object]:
        """The objects of a list; none where the API has no such kind. Raises UnansweredError."""
        try:
            return list(self.get(path)["items"])
        except UnansweredError as exc:
            if exc.status == 404:
                return []
            raise

    def certificate(self) -> float:
        """When the API server's own certificate ends. Raises UnansweredError."""
        where = urllib.parse.urlsplit(self.server)
        try:
            return ends(ssl.get_server_certificate((str(where.hostname), where.port or 443), timeout=CONNECT_SECONDS))
        except OSError as exc:
            raise UnansweredError(f"{self.server} shows no certificate ({exc})") from exc


def _said(data: bytes, status: int) -> str:
    """What an error of the API says."""
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP status {status}"


def ends(pem: str) -> float:
    """When the first certificate of a PEM text ends, in seconds since 1970. Raises ValueError."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc.timestamp()


def collect(state: Path, settings: Settings) -> Facts:
    """Everything that the page shows. Raises SlipwayError when the API cannot be asked at all."""
    api = Api(state / "kubeconfig")
    facts = Facts(now=time.time(), cluster=settings.cluster_name, server=api.server)
    facts.pod_cidr = str(settings.cluster_pod_cidr)
    facts.parts = {name: bool(on) for name, on in settings.cluster_parts.model_dump().items()}
    _plan(facts, settings, state)
    try:
        facts.version = api.get("/version")["gitVersion"]
    except UnansweredError as exc:
        raise SlipwayError(f"{exc}; are the machines up? `make up` brings them up") from exc
    try:
        facts.bundle = json.loads((state / "bundle.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        facts.bundle = {}
    questions: dict[str, Callable[[], None]] = {
        "nodes": lambda: setattr(facts, "nodes", api.items("/api/v1/nodes")),
        "pods": lambda: setattr(facts, "pods", api.items("/api/v1/pods")),
        "Services": lambda: setattr(facts, "services", api.items("/api/v1/services")),
        "gateways": lambda: setattr(facts, "gateways", api.items("/apis/networking.istio.io/v1/gateways")),
        "routes": lambda: setattr(facts, "virtual_services", api.items("/apis/networking.istio.io/v1/virtualservices")),
        "Deployments": lambda: setattr(facts, "deployments", api.items("/apis/apps/v1/deployments")),
        "Ingresses": lambda: _ingresses(api, facts),
        "monitoring's instances": lambda: facts.instances.extend(_instances(api)),
        "certificates": lambda: facts.certificates.update(_certificates(api)),
        "Prometheus": lambda: _prometheus(api, facts),
        "Alertmanager": lambda: _alertmanager(api, facts),
    }
    with ThreadPoolExecutor(len(questions)) as pool:
        asked = {name: pool.submit(question) for name, question in questions.items()}
        for name, answer in asked.items():
            try:
                answer.result()
            except UnansweredError as exc:
                facts.missing[name] = str(exc)
    return facts


def _plan(facts: Facts, settings: Settings, state: Path) -> None:
    """Put in which machines the page has, and which it had."""
    plan = make_plan(settings, page=page_file(), state=state)
    facts.listed = [machine["name"] for machine in (*plan["machines"], *plan["hosts"]) if machine["role"] != "mirror"]
    facts.machines_left, facts.own_hosts = plan["left"], plan["provider"] == "hosts"


def _ingresses(api: Api, facts: Facts) -> None:
    facts.ingresses = api.items("/apis/networking.k8s.io/v1/ingresses")
    facts.ingress_classes = api.items("/apis/networking.k8s.io/v1/ingressclasses") if facts.ingresses else []


def _instances(api: Api) -> list[Object]:
    """What the operator of Prometheus is asked for; items of lists do not say their kind."""
    kinds = {"Alertmanager": "alertmanagers", "Prometheus": "prometheuses"}
    return [
        {**item, "kind": kind}
        for kind, plural in kinds.items()
        for item in api.items(f"/apis/monitoring.coreos.com/v1/{plural}")
    ]


def _certificates(api: Api) -> dict[str, float]:
    """The API server's own, and those of Secrets that hold one for TLS."""
    found = {"API server": api.certificate()}
    for secret in api.items("/api/v1/secrets?fieldSelector=type%3Dkubernetes.io%2Ftls"):
        metadata = secret["metadata"]
        try:
            text = base64.b64decode(secret["data"]["tls.crt"]).decode()
            found[f"Secret {metadata['namespace']}/{metadata['name']}"] = ends(text)
        except (KeyError, ValueError):
            continue
    return found


def _there(api: Api, service: str) -> bool:
    """Whether there is that Service of monitoring."""
    return bool(api.items(f"/api/v1/namespaces/monitoring/services?fieldSelector=metadata.name%3D{service}"))


def query(api: Api, expression: str) -> list[Object]:
    """Samples of an expression. Raises UnansweredError."""
    return list(api.get(f"{PROMETHEUS}/api/v1/query?query={urllib.parse.quote(expression)}")["data"]["result"])


def _prometheus(api: Api, facts: Facts) -> None:
    if not _there(api, "prometheus"):
        return
    facts.targets = api.get(f"{PROMETHEUS}/api/v1/targets?state=active")["data"]["activeTargets"]
    facts.alerts = api.get(f"{PROMETHEUS}/api/v1/alerts")["data"]["alerts"]
    for sample in query(api, EXPIRY):
        name = f"{sample['metric'].get('node', '')} {sample['metric'].get('path', '')}".strip()
        facts.certificates[name] = float(sample["value"][1])
    if query(api, MAIL_FAILS):
        facts.mail_failures = mail_failures(_log(api), _passwords(api))


def _alertmanager(api: Api, facts: Facts) -> None:
    if _there(api, "alertmanager"):
        facts.received = api.get(f"{ALERTMANAGER}/api/v2/alerts")


def _log(api: Api) -> list[str]:
    """The last lines of every Alertmanager pod."""
    selector = urllib.parse.quote("app.kubernetes.io/name=alertmanager")
    lines: list[str] = []
    for pod in api.items(f"/api/v1/namespaces/monitoring/pods?labelSelector={selector}"):
        path = f"/api/v1/namespaces/monitoring/pods/{pod['metadata']['name']}/log"
        lines += api.text(f"{path}?container=alertmanager&sinceSeconds=900&tailLines=500").splitlines()
    return lines


def _passwords(api: Api) -> list[str]:
    """What must not be shown: every value of the Secrets that AlertmanagerConfigs name."""
    found: list[str] = []
    for config in api.items("/apis/monitoring.coreos.com/v1alpha1/alertmanagerconfigs"):
        namespace = config["metadata"]["namespace"]
        for receiver in config["spec"].get("receivers", []):
            for mail in receiver.get("emailConfigs", []):
                name = mail.get("authPassword", {}).get("name")
                if name:
                    secret = api.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
                    found += [base64.b64decode(value).decode(errors="replace") for value in secret["data"].values()]
    return found
