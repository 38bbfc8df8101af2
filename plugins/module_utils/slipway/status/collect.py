"""Ask the API, and through it Prometheus and Alertmanager. What cannot be asked is noted, not raised."""

from __future__ import annotations

import base64
import json
import time
import urllib.parse
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..cluster.access import UnansweredError, without_quorum
from ..cluster.reader import Reader
from ..errors import SlipwayError
from ..lab.plan import make_plan, page_file
from ..page.model import Settings
from .facts import Facts, Object
from .judge import mail_failures

PROMETHEUS = "/api/v1/namespaces/monitoring/services/prometheus:http-web/proxy"
ALERTMANAGER = "/api/v1/namespaces/monitoring/services/alertmanager:http-web/proxy"
MAIL_FAILS = 'sum(increase(alertmanager_notifications_failed_total{integration="email"}[10m])) > 0'
BACKUPS = "/api/v1/namespaces/kube-system/configmaps?labelSelector=slipway.io%2Fbackup%3Dscheduled"
EXPIRY = "min by (node, path) (control_plane_certificate_expiry_timestamp_seconds)"


def ends(pem: str) -> float:
    """When the first certificate of a PEM text ends, in seconds since 1970. Raises ValueError."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc.timestamp()


def own_certificate(api: Reader) -> float:
    """When the API server's own certificate ends. Raises UnansweredError."""
    return ends(api.certificate())


def collect(state: Path, settings: Settings, other: Mapping[str, Any] | None = None) -> Facts:
    """Everything that the page shows. Raises SlipwayError when the API cannot be asked at all.

    ``other``: how a cluster is reached of which this checkout's page says nothing.
    """
    own = {"kubeconfig": str(state / "kubeconfig")}
    api = Reader(other or own)
    facts = Facts(now=time.time(), server=api.server)
    if other is None:
        _page(facts, settings, state)
    else:
        facts.cluster = str(other.get("context") or other.get("kubeconfig"))
    try:
        facts.version = api.get("/version")["gitVersion"]
    except UnansweredError as exc:
        if why := without_quorum(other or own):
            raise SlipwayError("no-quorum", why) from exc
        raise SlipwayError(exc.id, f"{exc.text}; are the machines up? `make up` brings them up") from exc
    questions: dict[str, Callable[[], None]] = {
        "nodes": lambda: setattr(facts, "nodes", api.items("/api/v1/nodes")),
        "pods": lambda: setattr(facts, "pods", api.items("/api/v1/pods")),
        "Services": lambda: setattr(facts, "services", api.items("/api/v1/services")),
        "gateways": lambda: setattr(facts, "gateways", api.items("/apis/networking.istio.io/v1/gateways")),
        "routes": lambda: setattr(facts, "virtual_services", api.items("/apis/networking.istio.io/v1/virtualservices")),
        "HTTPRoutes": lambda: setattr(facts, "http_routes", api.items("/apis/gateway.networking.k8s.io/v1/httproutes")),
        "Deployments": lambda: setattr(facts, "deployments", api.items("/apis/apps/v1/deployments")),
        "Ingresses": lambda: _ingresses(api, facts),
        "monitoring's instances": lambda: facts.instances.extend(_instances(api)),
        "certificates": lambda: facts.certificates.update(_certificates(api)),
        "backups": lambda: setattr(facts, "backups", api.items(BACKUPS) if facts.savers else []),
        "Prometheus": lambda: _prometheus(api, facts),
        "Alertmanager": lambda: _alertmanager(api, facts),
    }
    with ThreadPoolExecutor(len(questions)) as pool:
        asked = {name: pool.submit(question) for name, question in questions.items()}
        for name, answer in asked.items():
            try:
                answer.result()
            except UnansweredError as exc:
                facts.missing[name] = exc.text
    # Its version is all that an API server knows without etcd.
    if "nodes" in facts.missing and (why := without_quorum(other or own)):
        raise SlipwayError("no-quorum", why)
    return facts


def _page(facts: Facts, settings: Settings, state: Path) -> None:
    """Put in what this checkout knows: its page, its bundle, which machines the page has, and which it had."""
    facts.cluster = settings.cluster_name
    facts.pod_cidr = str(settings.cluster_pod_cidr)
    facts.parts = {name: bool(on) for name, on in settings.cluster_parts.model_dump().items()}
    with suppress(OSError, ValueError):
        facts.bundle = json.loads((state / "bundle.json").read_text(encoding="utf-8"))
    plan = make_plan(settings, page=page_file(), state=state)
    facts.listed = [machine["name"] for machine in (*plan["machines"], *plan["hosts"]) if machine["role"] != "mirror"]
    controllers = [one["name"] for one in (*plan["machines"], *plan["hosts"]) if one["role"] == "controller"]
    facts.savers = controllers if settings.cluster_backup.schedule else []
    facts.machines_left, facts.own_hosts = plan["left"], plan["provider"] == "hosts"


def _ingresses(api: Reader, facts: Facts) -> None:
    facts.ingresses = api.items("/apis/networking.k8s.io/v1/ingresses")
    facts.ingress_classes = api.items("/apis/networking.k8s.io/v1/ingressclasses") if facts.ingresses else []


def _instances(api: Reader) -> list[Object]:
    """What the operator of Prometheus is asked for; items of lists do not say their kind."""
    kinds = {"Alertmanager": "alertmanagers", "Prometheus": "prometheuses"}
    return [
        {**item, "kind": kind}
        for kind, plural in kinds.items()
        for item in api.items(f"/apis/monitoring.coreos.com/v1/{plural}")
    ]


def _certificates(api: Reader) -> dict[str, float]:
    """The API server's own, and those of Secrets that hold one for TLS."""
    found = {"API server": own_certificate(api)}
    for secret in api.items("/api/v1/secrets?fieldSelector=type%3Dkubernetes.io%2Ftls"):
        metadata = secret["metadata"]
        try:
            text = base64.b64decode(secret["data"]["tls.crt"]).decode()
            found[f"Secret {metadata['namespace']}/{metadata['name']}"] = ends(text)
        except (KeyError, ValueError):
            continue
    return found


def _there(api: Reader, service: str) -> bool:
    """Whether there is that Service of monitoring."""
    return bool(api.items(f"/api/v1/namespaces/monitoring/services?fieldSelector=metadata.name%3D{service}"))


def query(api: Reader, expression: str) -> list[Object]:
    """Samples of an expression. Raises UnansweredError."""
    return list(api.get(f"{PROMETHEUS}/api/v1/query?query={urllib.parse.quote(expression)}")["data"]["result"])


def _prometheus(api: Reader, facts: Facts) -> None:
    if not _there(api, "prometheus"):
        return
    facts.targets = api.get(f"{PROMETHEUS}/api/v1/targets?state=active")["data"]["activeTargets"]
    facts.alerts = api.get(f"{PROMETHEUS}/api/v1/alerts")["data"]["alerts"]
    for sample in query(api, EXPIRY):
        name = f"{sample['metric'].get('node', '')} {sample['metric'].get('path', '')}".strip()
        facts.certificates[name] = float(sample["value"][1])
    if query(api, MAIL_FAILS):
        facts.mail_failures = mail_failures(_log(api), _passwords(api))


def _alertmanager(api: Reader, facts: Facts) -> None:
    if _there(api, "alertmanager"):
        facts.received = api.get(f"{ALERTMANAGER}/api/v2/alerts")


def _log(api: Reader) -> list[str]:
    """The last lines of every Alertmanager pod."""
    selector = urllib.parse.quote("app.kubernetes.io/name=alertmanager")
    lines: list[str] = []
    for pod in api.items(f"/api/v1/namespaces/monitoring/pods?labelSelector={selector}"):
        path = f"/api/v1/namespaces/monitoring/pods/{pod['metadata']['name']}/log"
        lines += api.text(f"{path}?container=alertmanager&sinceSeconds=900&tailLines=500").splitlines()
    return lines


def _passwords(api: Reader) -> list[str]:
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
