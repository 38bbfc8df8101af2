"""What Prometheus sees, what it says, and that it is heard, under a strict mesh."""

from __future__ import annotations

import functools
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slipway.release.environment import Environment
from slipway.release.planner import plan
from slipway.release.spec import load

from tests.support.dashboards import faults, held
from tests.support.kube import Kube, eventually
from tests.support.mesh import NAMESPACE, Echo, gateway_address, routes
from tests.support.monitoring import MAIL, MAIL_PORT, Mailbox, Monitoring, show
from tests.support.release import page

testinfra_hosts = ["ansible://controllers"]

APPS = "slipway-test-metrics"
OWN = "slipway-test-own"
HOST = "echo.monitoring.test"
JOBS = {
    *("kubelet", "cadvisor", "apiserver", "kube-dns", "node-exporter", "metallb", "istiod", "monitoring/mesh"),
    *("prometheus", "alertmanager", "prometheus-operator"),
}

# Metrics on the very port that the app serves.
SERVER = r"""
import http.server

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        metrics = self.path == "/metrics"
        data = b"# TYPE test_answers_total counter\ntest_answers_total 7\n" if metrics else b"{}"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4" if metrics else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass

http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


def busy() -> bool:
    """Whether this machine has so much else to do that it says little about times."""
    return os.getloadavg()[0] > 2 * (os.cpu_count() or 1)


def app(name: str, image: str, *, command: list[str], labels: dict[str, str]) -> dict[str, Any]:
    """A pod: the node's own Python in the empty pause image."""
    mounts = {"usr": ("/usr", "/usr"), "lib": ("/usr/lib", "/lib"), "lib64": ("/usr/lib64", "/lib64")}
    container = {
        "name": "app",
        "image": image,
        "command": command,
        "ports": [{"name": "http", "containerPort": 8080}],
        "volumeMounts": [{"name": key, "mountPath": to, "readOnly": True} for key, (_, to) in mounts.items()],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": APPS, "labels": {"app": name, **labels}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
            "volumes": [{"name": key, "hostPath": {"path": path}} for key, (path, _) in mounts.items()],
        },
    }


def monitored(name: str, image: str, *, mode: str, labels: dict[str, str]) -> list[dict[str, Any]]:
    """An app with its Service, its plain ServiceMonitor and its mode of mutual TLS."""
    metadata = {"name": name, "namespace": APPS}
    return [
        app(name, image, command=["/usr/bin/python3", "-c", SERVER], labels=labels),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {**metadata, "labels": {"app": name}},
            "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        },
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "ServiceMonitor",
            "metadata": metadata,
            "spec": {"selector": {"matchLabels": {"app": name}}, "endpoints": [{"port": "http"}]},
        },
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "PeerAuthentication",
            "metadata": metadata,
            "spec": {"selector": {"matchLabels": {"app": name}}, "mtls": {"mode": mode}},
        },
    ]


@pytest.fixture(scope="module")
def monitoring(kube: Kube) -> Monitoring:
    return Monitoring(kube)


@pytest.fixture(scope="module")
def apps(kube: Kube) -> Iterator[Kube]:
    """Apps with metrics: strict, permissive, outside of the mesh; and one that fails."""
    pause = kube.bundle["images"]["pause"]
    image = f"{pause['name']}:{pause['tag']}"
    out = {"sidecar.istio.io/inject": "false"}
    rule = {"name": "mine", "rules": [{"alert": "FromAnywhere", "expr": "vector(1)", "labels": {"severity": "info"}}]}
    things = [
        *monitored("strict", image, mode="STRICT", labels={}),
        *monitored("permissive", image, mode="PERMISSIVE", labels={}),
        *monitored("outside", image, mode="STRICT", labels=out),
        app("failing", image, command=["/usr/bin/python3", "-c", "raise SystemExit(1)"], labels=out),
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": "mine", "namespace": APPS, "labels": {"release": "somebody-elses"}},
            "spec": {"groups": [rule]},
        },
    ]
    metadata = {"name": APPS, "labels": {"istio-injection": "enabled"}}
    kube.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}])
    eventually(lambda: kube.apply(things), seconds=180, what="the apps are accepted")
    yield kube
    kube.text("delete", "namespace", APPS, "--ignore-not-found", "--wait=false")


def with_an_own_alertmanager(folder: Path, image: str) -> list[dict[str, Any]]:
    """What a release with an Alertmanager of its own has of monitoring, in a namespace of its own."""
    secret = {"smtp": {"keys": {"password": {"environment": "NOT_READ"}}}}
    written = page(
        folder,
        {
            "name": OWN,
            "hosts": ["own.monitoring.test"],
            "services": {"web": {"versions": {"v1": "example.org/web:1"}}},
            "secrets": secret,
            "alerts": {"OnlyByItsOwn": {"promql": "vector(1)", "for": "5s", "summary": "OnlyByItsOwn"}},
            "mail": {
                "to": "team@example.org",
                "from": "own@example.org",
                "server": f"mail.{MAIL}:{MAIL_PORT}",
                "user": "cluster",
                "password": {"secret": "smtp", "key": "password"},
                "tls": False,
            },
            "alertmanager": "own",
            "dashboards": {},
        },
    )
    kinds = ("RoleBinding", "Alertmanager", "AlertmanagerConfig", "PrometheusRule")
    made = plan(load(written), Environment(alertmanager_image=image)).objects
    metadata = {"name": "smtp", "namespace": OWN}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"password": "of-the-scenario"}},
        *(item for item in made if item["kind"] in kinds),
    ]


@pytest.fixture(scope="module")
def own(kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A release with an Alertmanager of its own; how many mails there were before."""
    image = kube.bundle["images"]["alertmanager"]
    things = with_an_own_alertmanager(tmp_path_factory.mktemp("own"), f"{image['name']}:{image['tag']}")
    before = len(Mailbox(kube).mails)
    kube.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OWN}}])
    # One of an earlier run may still be going.
    eventually(lambda: kube.apply(things), seconds=120, what="the release's monitoring is accepted")
    yield before
    kube.text("delete", "namespace", OWN, "--ignore-not-found", "--wait=false")


@pytest.fixture(scope="module")
def echo(kube: Kube) -> Iterator[Echo]:
    started = Echo(kube, gateway_address(kube), HOST)
    yield started
    started.stop()


@pytest.fixture(scope="module", autouse=True)
def begun(apps: Kube, own: int, echo: Echo) -> None:
    """All of it runs from the start: what takes its time does so side by side."""


@pytest.fixture
def mailbox(kube: Kube) -> Mailbox:
    """The server that the scenario's converge sends mail to."""
    return Mailbox(kube)


def test_every_target_is_up_within_a_minute(monitoring: Monitoring) -> None:
    eventually(lambda: not monitoring.down(), seconds=60, what="every target is up")
    assert {target["labels"]["job"] for target in monitoring.targets()} >= JOBS


def test_the_watchdog_reaches_alertmanager(monitoring: Monitoring) -> None:
    eventually(
        lambda: "Watchdog" in {alert["labels"]["alertname"] for alert in monitoring.received()},
        seconds=90,
        what="Alertmanager has the Watchdog",
    )


def test_etcd_and_the_control_plane_are_seen_without_a_port_or_a_certificate_of_theirs(monitoring: Monitoring) -> None:
    def seen() -> bool:
        assert [value for _, value in monitoring.query("etcd_server_has_leader")] == [1.0]
        parts = {labels["component"] for labels, value in monitoring.query("control_plane_component_healthy == 1")}
        assert parts == {"etcd", "kube-controller-manager", "kube-scheduler"}
        dates = monitoring.query("control_plane_certificate_expiry_timestamp_seconds - time() > 86400")
        return {labels["path"].rpartition("/")[2] for labels, _ in dates} >= {
            "apiserver.crt",
            "server.crt",
            "admin.conf",
        }

    eventually(seen, seconds=90, what="the file of the controller is scraped")


def test_a_plain_service_monitor_is_enough_whatever_the_mesh_asks(apps: Kube, monitoring: Monitoring) -> None:
    def scraped() -> bool:
        found = monitoring.query(f'test_answers_total{{namespace="{APPS}"}}')
        return {labels["job"]: value for labels, value in found} == {"strict": 7, "permissive": 7, "outside": 7}

    eventually(scraped, seconds=120, what="strict, permissive and outside are scraped")
    pods = {pod["metadata"]["name"]: pod for pod in apps("get", "pods", f"--namespace={APPS}")["items"]}
    for labels, _ in monitoring.query(f'test_answers_total{{namespace="{APPS}"}}'):
        assert labels["instance"] == f"{pods[labels['pod']]['status']['podIP']}:8080"
    # The other side of it: without a certificate of the mesh the strict one says nothing.
    with pytest.raises(AssertionError):
        apps.text("get", "--raw", f"/api/v1/namespaces/{APPS}/pods/strict:8080/proxy/metrics")
    assert "test_answers_total" in apps.text(
        "get", "--raw", f"/api/v1/namespaces/{APPS}/pods/permissive:8080/proxy/metrics"
    )


def test_each_change_of_what_is_scraped_is_taken_at_once(apps: Kube, monitoring: Monitoring) -> None:
    """Not only the first one: the file that Prometheus' reloader looks at is replaced with each."""
    for path in ("/one", "/two", "/three"):
        monitor = {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "ServiceMonitor",
            "metadata": {"name": "changing", "namespace": APPS},
            "spec": {"selector": {"matchLabels": {"app": "nothing"}}, "endpoints": [{"port": "http", "path": path}]},
        }
        apps.apply([monitor])
        loaded = re.compile(rf"serviceMonitor/{APPS}/changing/0\b(?:(?!job_name).)*metrics_path: {path}\b", re.DOTALL)
        eventually(
            functools.partial(taken, monitoring, loaded), seconds=45, what=f"Prometheus has loaded the path {path}"
        )


def taken(monitoring: Monitoring, wanted: re.Pattern[str]) -> bool:
    return bool(wanted.search(monitoring.settings))


def test_a_rule_of_somebody_elses_chart_is_taken(apps: Kube, monitoring: Monitoring) -> None:
    eventually(lambda: monitoring.firing("FromAnywhere"), seconds=120, what=f"the rule in {apps and APPS} fires")


def test_requests_through_the_gateway_are_recorded_by_service_and_version(echo: Echo, monitoring: Monitoring) -> None:
    called = f'namespace="{NAMESPACE}", service="echo", source="istio-ingressgateway"'

    def recorded() -> bool:
        for _ in range(20):
            assert echo.ask().status == 200
        assert monitoring.value(f'sum(slipway:requests:rate1m{{{called}, code="200"}})') > 0
        assert monitoring.value(f'max(slipway:errors:ratio1m{{namespace="{NAMESPACE}", service="echo"}})') == 0
        assert monitoring.value(f'max(slipway:latency_ms:p95_5m{{namespace="{NAMESPACE}", service="echo"}})') > 0
        return monitoring.value('sum(slipway:gateway_requests:rate1m{class="2xx"})') > 0

    eventually(recorded, seconds=120, what="requests are recorded")


def test_an_answer_that_no_service_gave_is_an_error_of_the_one_that_was_asked(
    echo: Echo, monitoring: Monitoring
) -> None:
    # Nobody is behind the Service, so the gateway answers itself.
    host = f"nobody.{HOST}"
    alone = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "nobody", "namespace": NAMESPACE},
        "spec": {"selector": {"app": "nobody"}, "ports": [{"name": "http", "port": 8080}]},
    }
    way: list[dict[str, Any]] = json.loads(json.dumps(routes(host)).replace('"echo"', '"nobody"'))
    echo.kube.apply([alone, *way])
    called = f'namespace="{NAMESPACE}", service="nobody"'

    def recorded() -> bool:
        seen = {echo.ask(host=host).status for _ in range(20)}
        assert seen <= {404, 503}
        assert monitoring.value(f'sum(slipway:requests:rate1m{{{called}, code="503"}})') > 0
        return monitoring.value(f"max(slipway:errors:ratio1m{{{called}}})") == 1

    eventually(recorded, seconds=120, what="what the gateway answers is recorded")


def of_a_release(folder: Path) -> dict[str, dict[str, Any]]:
    """Every dashboard that needs no query, as a release would have it whose service is the echo."""
    shows = {"shows": ["traffic", "versions", "limits"]}
    values = {
        "name": NAMESPACE,
        "hosts": [HOST],
        "services": {"echo": {"versions": {"v1": "example.org/echo:1"}}},
        "dashboards": {"all": shows},
    }
    made = plan(load(page(folder, values)), Environment()).objects
    return {
        f"{item['metadata']['name']}/{key}": json.loads(text)
        for item in made
        if item["kind"] == "ConfigMap" and item["metadata"]["labels"].get("grafana_dashboard") == "1"
        for key, text in item["data"].items()
    }


def test_every_panel_of_every_dashboard_has_something_to_show(
    echo: Echo, kube: Kube, monitoring: Monitoring, tmp_path: Path
) -> None:
    dashboards = {**held(kube), **of_a_release(tmp_path)}
    assert {"monitoring/dashboard-cluster/cluster.json", "monitoring/dashboard-mesh/mesh.json"} <= set(dashboards)

    def shown() -> bool:
        for _ in range(20):
            assert echo.ask().status == 200
        found = faults(monitoring, dashboards)
        assert found == []
        return True

    eventually(shown, seconds=180, what="every query of a dashboard is answered")


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("disks.yaml", "{}", "ends in .json, and these do not: disks.yaml"),
        ("disks.json", "title: Disks", "a JSON object, and these are none: disks.json"),
    ],
)
def test_a_dashboard_that_grafana_would_not_show_is_refused(kube: Kube, key: str, text: str, says: str) -> None:
    def config_map(name: str, held_by: str) -> dict[str, Any]:
        metadata = {"name": name, "namespace": "default", "labels": {"grafana_dashboard": "1"}}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {held_by: text}}

    def refused() -> bool:
        try:
            kube.apply([config_map("slipway-test-dashboard", key)])
        except AssertionError as exc:
            return says in str(exc)
        kube.text("delete", "configmap", "slipway-test-dashboard", "--namespace=default")
        return False

    # A policy holds a moment after it is there.
    eventually(refused, seconds=60, what=f"{key} is refused by its name")


def test_an_alert_comes_as_mail(mailbox: Mailbox, apps: Kube) -> None:
    def mailed() -> bool:
        return any("FromAnywhere" in mail["text"] for mail in mailbox.mails)

    eventually(mailed, seconds=240, what=f"mail about the alert of {apps and APPS}")
    mail = next(mail for mail in mailbox.mails if "FromAnywhere" in mail["text"])
    assert (mail["from"], mail["to"], mail["user"]) == ("cluster@example.org", ["ops@example.org"], "cluster")
    assert not [mail for mail in mailbox.mails if "alertname = Watchdog" in mail["text"]]


def test_a_releases_own_alertmanager_runs_and_alone_mails_its_alerts(
    own: int, mailbox: Mailbox, monitoring: Monitoring
) -> None:
    def mails() -> list[dict[str, Any]]:
        return [mail for mail in mailbox.mails[own:] if "OnlyByItsOwn" in mail["text"]]

    eventually(mails, seconds=240, what="the release's own Alertmanager mails")

    def shown() -> list[str]:
        alerts = [one for one in monitoring.received() if one["labels"]["alertname"] == "OnlyByItsOwn"]
        return [receiver["name"] for alert in alerts for receiver in alert["receivers"]]

    # The cluster's has it too, and no mail among those it tells of it.
    receivers = eventually(shown, seconds=60, what="the cluster's Alertmanager shows it")
    assert not [name for name in receivers if name.endswith("mail")]
    assert [(mail["from"], mail["to"]) for mail in mails()] == [("own@example.org", ["team@example.org"])]


def test_a_pod_that_keeps_failing_is_named(apps: Kube, monitoring: Monitoring) -> None:
    def named() -> bool:
        alerts = monitoring.firing("PodCrashLooping")
        # Of the others here nothing fails, so none of them is named.
        return {labels["pod"] for labels in alerts if labels["namespace"] == APPS} == {"failing"}

    eventually(named, seconds=420, what=f"PodCrashLooping names the pod in {apps and APPS}")


def test_a_killed_prometheus_keeps_its_data_and_scrapes_again(kube: Kube, monitoring: Monitoring) -> None:
    before = time.time() - 60
    samples = monitoring.value("count(up)")
    kube.text("delete", "pod", "prometheus-main-0", "--namespace=monitoring", "--grace-period=0", "--force")
    began = time.time()

    def scraping() -> bool:
        return monitoring.value(f"count(timestamp(up) > {began})") > 0

    eventually(scraping, seconds=60, what="Prometheus scrapes again")
    seconds = time.time() - began
    show({"seconds until scraping again": round(seconds, 1)})
    assert seconds <= 30 or busy()
    assert len(monitoring.query("up", at=before)) >= samples / 2


def test_it_is_no_burden(monitoring: Monitoring) -> None:
    def measured() -> bool:
        return bool(monitoring.query('rate(process_cpu_seconds_total{job="prometheus", endpoint="web"}[2m])'))

    eventually(measured, seconds=180, what="Prometheus has been scraped for two minutes")
    memory = monitoring.value('max(process_resident_memory_bytes{job="prometheus", pod="prometheus-main-0"})') / 2**20
    cpu = monitoring.value('sum(rate(process_cpu_seconds_total{job="prometheus", pod="prometheus-main-0"}[2m]))')
    series = monitoring.value("max(prometheus_tsdb_head_series)")
    show({"MiB": round(memory), "cores": round(cpu, 3), "series": series, "targets": len(monitoring.targets())})
    assert memory <= 400
    assert cpu <= 0.2 or busy()
