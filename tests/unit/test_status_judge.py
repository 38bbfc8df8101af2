"""What `make status` calls wrong, and the words it has for it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console
from slipway.cluster.nodes import node_trouble
from slipway.status.facts import Facts
from slipway.status.judge import DAY, Report, judge, mail_failures, pod_trouble
from slipway.status.page import draw

NOW = 1_800_000_000.0
STAMP = {0: "2027-01-15T08:00:00Z", 60: "2027-01-15T07:59:00Z", 600: "2027-01-15T07:50:00Z"}
"""Times so many seconds before NOW, as the API writes them."""


def node(name: str = "node-1", *, ready: str = "True", message: str = "", **more: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready, "message": message}]
    conditions += [{"type": kind, "status": "True"} for kind in more.get("pressed", ())]
    return {
        "metadata": {"name": name, "labels": more.get("labels", {})},
        "spec": {"unschedulable": more.get("cordoned", False)},
        "status": {
            "conditions": conditions,
            "addresses": [{"type": "InternalIP", "address": "192.0.2.101"}],
            "nodeInfo": {"kubeletVersion": "v1.37.0", "osImage": "Debian"},
        },
    }


def pod(
    *,
    phase: str = "Running",
    ready: bool = True,
    since: int = 600,
    containers: list[dict[str, Any]] | None = None,
    **more: Any,
) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": str(ready), "lastTransitionTime": STAMP[since], **more.get("said", {})}]
    return {
        "metadata": {"name": "app-1", "namespace": "shop", "creationTimestamp": STAMP[600], **more.get("metadata", {})},
        "spec": {"nodeName": "node-1", "containers": [{"image": more.get("image", "docker.io/app:1")}]},
        "status": {
            "phase": phase,
            "conditions": [*conditions, *more.get("conditions", [])],
            "containerStatuses": containers or [],
            **more.get("status", {}),
        },
    }


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    return {"name": "app", "state": {"waiting": {"reason": reason, "message": message}}, **more}


CRASHED: dict[str, Any] = {"restartCount": 7, "lastState": {"terminated": {"reason": "Error", "exitCode": 3}}}
KILLED: dict[str, Any] = {"restartCount": 2, "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}
UNREADY = {"message": "unready: [app]"}
UNSCHEDULED = [
    {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: 3 Insufficient memory."}
]


@pytest.mark.parametrize(
    ("thing", "state", "words"),
    [
        (pod(), "ok", ""),
        (pod(phase="Succeeded", ready=False), "ok", ""),
        (
            pod(ready=False, containers=[waiting("CrashLoopBackOff", "back-off 5m0s", **CRASHED)]),
            "wrong",
            "app: CrashLoopBackOff, 7 restarts, last Error, exit code 3",
        ),
        (
            pod(ready=False, containers=[waiting("CrashLoopBackOff", **KILLED)]),
            "wrong",
            "app: CrashLoopBackOff, 2 restarts, last OOMKilled, exit code 137",
        ),
        (
            pod(phase="Pending", ready=False, containers=[waiting("ImagePullBackOff", 'Back-off pulling image "x:1"')]),
            "wrong",
            'app: ImagePullBackOff, Back-off pulling image "x:1"',
        ),
        (
            pod(phase="Pending", ready=False, containers=[waiting("CreateContainerConfigError", 'no secret "s"')]),
            "wrong",
            'app: CreateContainerConfigError, no secret "s"',
        ),
        (pod(phase="Pending", ready=False, since=60, containers=[waiting("ContainerCreating")]), "note", "is starting"),
        (pod(phase="Pending", ready=False, containers=[waiting("ContainerCreating")]), "wrong", "not ready for 600 s"),
        (
            pod(phase="Pending", ready=False, since=60, conditions=UNSCHEDULED),
            "wrong",
            "no node takes it: 0/3 nodes are available: 3 Insufficient memory.",
        ),
        (
            pod(ready=False, containers=[{"name": "app", "state": {"running": {"startedAt": ""}}}], said=UNREADY),
            "wrong",
            "not ready for 600 s: unready: [app]",
        ),
        (
            pod(phase="Failed", ready=False, status={"reason": "Evicted", "message": "The node was low on resource"}),
            "wrong",
            "Evicted: The node was low on resource",
        ),
        (
            pod(ready=False, containers=[{"name": "app", "state": {"terminated": {"reason": "Error", "exitCode": 1}}}]),
            "wrong",
            "app: Error, exit code 1",
        ),
        (pod(metadata={"deletionTimestamp": STAMP[0]}), "note", "is ending"),
        (pod(metadata={"deletionTimestamp": STAMP[600]}), "wrong", "should have ended 600 s ago"),
    ],
)  # fmt: skip
def test_a_pod_and_its_reason(thing: dict[str, Any], state: str, words: str) -> None:
    assert pod_trouble(thing, NOW) == (state, words)


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (node(), ""),
        (node(ready="False", message="container runtime is down."), "container runtime is down"),
        (node(ready="Unknown", message="Kubelet stopped posting node status."), "Kubelet stopped posting node status"),
        (node(pressed=("DiskPressure", "PIDPressure")), "DiskPressure, PIDPressure"),
    ],
)
def test_a_node_and_its_reason(thing: dict[str, Any], words: str) -> None:
    assert node_trouble(thing) == words


def report(**facts: Any) -> Report:
    return judge(Facts(now=NOW, cluster="lab", version="v1.37.0", **{"nodes": [node()], **facts}))


def rows(made: Report, name: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = made.as_json()[name]
    return found


def test_a_cluster_of_which_all_is_well_is_healthy() -> None:
    made = report(pods=[pod()], targets=[], alerts=[], received=[])
    assert made.problems == ["Prometheus has no target"]
    up = {"labels": {"job": "app", "instance": "a"}, "health": "up", "lastError": ""}
    made = report(pods=[pod()], targets=[up], alerts=[], received=[])
    assert made.healthy
    assert made.as_json()["healthy"] is True


def test_a_node_that_is_down_and_one_that_takes_no_pods() -> None:
    made = report(nodes=[node("gone", ready="Unknown", message="silent."), node("kept", cordoned=True)])
    assert made.problems == ["node gone: silent; look at: kubectl describe node gone"]
    assert [(row["name"], row["state"]) for row in rows(made, "nodes")] == [("gone", "wrong"), ("kept", "note")]


def test_a_column_and_the_judgement_do_not_share_a_name() -> None:
    """In JSON the state of a row stands beside its cells."""
    made = report()
    for section in made.sections:
        assert len(set(section.columns)) == len(section.columns)
    assert rows(made, "nodes")[0]["condition"] == "Ready"


def test_no_nodes_is_not_healthy() -> None:
    assert report(nodes=[]).problems == ["the cluster has no nodes"]


def test_what_could_not_be_asked_is_not_healthy() -> None:
    made = report(nodes=[], missing={"nodes": "forbidden"})
    assert made.problems == ["nodes could not be asked: forbidden"]


def test_images_say_where_they_are_from() -> None:
    held = {"app": {"name": "docker.io/app", "tag": "1", "source": "built"}}
    made = report(pods=[pod(), pod(image="docker.io/other:2")], bundle={"images": held})
    assert [(row["image"], row["from"]) for row in rows(made, "images")] == [
        ("docker.io/app:1", "built from source"),
        ("docker.io/other:2", "not of the bundle"),
    ]


def test_parts_and_what_the_bundle_lacks() -> None:
    made = report(parts={"istio": True, "monitoring": False}, bundle={"missing": [{"name": "grafana", "reason": "no"}]})
    assert [(row["part"], row["is"]) for row in rows(made, "parts")] == [
        ("istio", "on"),
        ("monitoring", "off"),
        ("grafana", "not in the bundle: no"),
    ]
    assert made.healthy


def test_a_console_that_is_left_out_says_why_in_its_own_row() -> None:
    zipkin = {"name": "docker.io/openzipkin/zipkin", "tag": "3.6.1", "source": "built"}
    bundle = {"images": {"zipkin": zipkin}, "missing": [{"name": "kiali", "reason": "no pages"}]}
    made = report(parts={"kiali": True, "tracing": True}, bundle=bundle)
    assert [(row["part"], row["is"], row["state"]) for row in rows(made, "parts")] == [
        ("kiali", "left out: the bundle has no kiali: no pages", "note"),
        ("tracing", "on", "ok"),
    ]


def service(address: str = "") -> dict[str, Any]:
    ingress = [{"ip": address}] if address else []
    return {
        "metadata": {"name": "gateway", "namespace": "istio-system"},
        "spec": {
            "type": "LoadBalancer",
            "selector": {"istio": "ingressgateway", "app": "x"},
            "ports": [{"port": 80}, {"port": 443}],
        },
        "status": {"loadBalancer": {"ingress": ingress}},
    }


def routed(gateway: str, *hosts: str) -> dict[str, Any]:
    return {"metadata": {"name": "r", "namespace": "shop"}, "spec": {"gateways": [gateway], "hosts": list(hosts)}}


def test_addresses_are_told_with_the_hosts_that_lead_there() -> None:
    gateways = [
        {"metadata": {"name": "shop", "namespace": "shop"}, "spec": {"selector": {"istio": "ingressgateway"}}},
        {"metadata": {"name": "other", "namespace": "shop"}, "spec": {"selector": {"istio": "another"}}},
    ]
    routes = [
        routed("shop", "b.local"),
        routed("shop/shop", "a.local"),
        routed("other", "c.local"),
        routed("x/shop", "d"),
    ]
    made = report(services=[service("192.0.2.92")], gateways=gateways, virtual_services=routes)
    (row,) = rows(made, "addresses")
    assert (row["address"], row["ports"], row["hosts"]) == ("192.0.2.92", "80, 443", "a.local, b.local")
    of_routes = {"parentRefs": [{"namespace": "istio-system", "name": "slipway"}], "hostnames": ["e.local"]}
    led = [{"kind": "HTTPRoute", "metadata": {"name": "r", "namespace": "shop"}, "spec": of_routes}]
    ours = service("192.0.2.92")
    ours["metadata"]["name"] = "istio-ingressgateway"
    (row, other) = rows(report(services=[ours, service("192.0.2.93")], http_routes=led), "addresses")
    assert (row["hosts"], other["hosts"]) == ("e.local", "")
    made = report(services=[service()])
    assert made.problems == ["Service istio-system/gateway has no address; look at: kubectl describe service"]


def ingress(age: int = 600, kind: str = "", address: str = "") -> dict[str, Any]:
    given = [{"ip": address}] if address else []
    return {
        "metadata": {"name": "web", "namespace": "shop", "creationTimestamp": STAMP[age]},
        "spec": {"rules": [{"host": "web.local"}, {}], **({"ingressClassName": kind} if kind else {})},
        "status": {"loadBalancer": {"ingress": given}},
    }


NGINX = {"metadata": {"name": "nginx"}}
DEFAULT = {"metadata": {"name": "nginx", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}}


@pytest.mark.parametrize(
    ("thing", "classes", "state", "why"),
    [
        (ingress(address="192.0.2.9"), [NGINX], "ok", ""),
        (ingress(age=60), [], "note", ""),
        (ingress(), [], "wrong", "it has no class, and there is no default"),
        (ingress(), [NGINX], "wrong", "it has no class, and there is no default"),
        (ingress(kind="nginx"), [], "wrong", "its class is nginx, which this cluster does not have"),
        (ingress(kind="nginx"), [NGINX], "wrong", "nothing has taken up its class nginx"),
        (ingress(), [DEFAULT], "wrong", "nothing has taken up its class nginx"),
    ],
)
def test_an_ingress_that_no_controller_sees_to_is_told(
    thing: dict[str, Any], classes: list[dict[str, Any]], state: str, why: str
) -> None:
    made = report(ingresses=[thing], ingress_classes=classes)
    (row,) = rows(made, "addresses")
    assert (row["service"], row["hosts"], row["state"]) == ("Ingress shop/web", "web.local", state)
    told = f"Ingress shop/web leads nowhere: no controller sees to it ({why}); here a page in releases/"
    assert [problem.startswith(told) for problem in made.problems] == ([True] if why else [])


def instance(age: int = 600, **said: Any) -> dict[str, Any]:
    metadata = {"name": "mine", "namespace": "shop", "creationTimestamp": STAMP[age], "generation": 2}
    conditions = [{"type": "Reconciled", **said}] if said else []
    return {"kind": "Alertmanager", "metadata": metadata, "status": {"conditions": conditions}}


@pytest.mark.parametrize(
    ("thing", "states", "why"),
    [
        (instance(status="True", observedGeneration=2), [], ""),
        (instance(age=60), ["note"], ""),
        (instance(), ["wrong"], "no operator has looked at it"),
        (instance(status="True", observedGeneration=1), ["wrong"], "no operator has looked at it since it was changed"),
        (instance(status="False", observedGeneration=2, message="no Secret mail"), ["wrong"], "no Secret mail"),
    ],
)
def test_an_alertmanager_that_nobody_sees_to_is_told(thing: dict[str, Any], states: list[str], why: str) -> None:
    made = report(instances=[thing])
    assert [row["state"] for row in rows(made, "instances")] == states
    told = f"Alertmanager shop/mine does not run as it says: {why}; look at:"
    assert [problem.startswith(told) for problem in made.problems] == ([True] if why else [])


def test_a_prometheus_that_nobody_sees_to_says_where_it_would_be_seen() -> None:
    made = report(instances=[{**instance(), "kind": "Prometheus"}])
    assert "needs its namespace in monitoring_instance_namespaces" in made.problems[0]


def test_a_target_that_is_down_is_told_with_its_error() -> None:
    labels = {"job": "app", "instance": "10.0.0.1:80"}
    down = {"labels": labels, "health": "down", "lastError": "connection refused"}
    made = report(targets=[down, {"labels": labels, "health": "up"}, {"labels": labels, "health": "unknown"}])
    assert made.problems == ["target app 10.0.0.1:80: connection refused"]
    assert [row["state"] for row in rows(made, "targets")] == ["wrong"]


def alert(name: str, severity: str, state: str = "firing") -> dict[str, Any]:
    labels = {"alertname": name, "severity": severity}
    return {"labels": labels, "annotations": {"summary": f"{name}!"}, "state": state}


def test_alerts_that_fire_stand_by_their_weight_and_the_watchdog_is_none() -> None:
    firing = [alert("Mine", "info"), alert("Disk", "warning"), alert("Down", "critical"), alert("Watchdog", "none")]
    made = report(alerts=[*firing, alert("Soon", "critical", "pending")], received=firing)
    assert [row["alert"] for row in rows(made, "alerts")] == ["Down", "Disk", "Mine"]
    assert made.problems == ["alert Down: Down!", "alert Disk: Disk!"]


def test_alerts_that_do_not_arrive_are_told() -> None:
    made = report(alerts=[alert("Watchdog", "none")], received=[])
    assert made.problems == ["alerts do not reach Alertmanager: Watchdog fires and is not there"]


@pytest.mark.parametrize(
    ("days", "state", "left"), [(365, "ok", "365 days"), (29, "wrong", "29 days"), (-2, "wrong", "ended 2 days ago")]
)
def test_certificates_by_the_days_that_are_left(days: int, state: str, left: str) -> None:
    made = report(certificates={"API server": NOW + days * DAY})
    (row,) = rows(made, "certificates")
    assert (row["state"], row["left"]) == (state, left)
    assert made.healthy == (state == "ok")


LOG = r"""
level=WARN msg="Notify attempt failed, will retry later" receiver=shop/mail/mail integration=email[0] err="auth: 535 no hunter2"
level=ERROR msg="Notify for alerts failed" num_alerts=1 err="monitoring/mail/mail/email[0]: notify retry canceled after 2 attempts: dial tcp: lookup mail: no such host \"hunter2\""
level=ERROR msg="Notify for alerts failed" err="x/y/webhook[0]: refused"
not a line of a log
""".splitlines()  # noqa: E501 - Alertmanager's lines are long


def test_mail_that_fails_is_told_with_alertmanagers_words_and_without_the_password() -> None:
    said = mail_failures(LOG, ["hunter2", ""])
    assert said == {
        "shop/mail/mail": "auth: 535 no …",
        "monitoring/mail/mail": 'dial tcp: lookup mail: no such host "…"',
    }
    made = report(alerts=[], mail_failures=said)
    assert "mail does not go out (shop/mail/mail): auth: 535 no …" in made.problems
    assert "hunter2" not in str(made.as_json())


def test_mail_that_fails_without_a_word_is_told_as_well() -> None:
    assert list(mail_failures([], [])) == ["email"]


def drawn(made: Report, width: int = 140) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    draw(made, console)
    return console.export_text()


def test_the_page_begins_with_the_verdict_and_ends_with_what_is_wrong() -> None:
    made = report(pods=[pod(ready=False, containers=[waiting("CrashLoopBackOff", **CRASHED)])])
    text = drawn(made)
    first, *_, last = text.strip().splitlines()
    assert first.startswith("Cluster lab, v1.37.0")
    assert first.endswith("1 thing wrong")
    assert last == "✗ pod shop/app-1: app: CrashLoopBackOff, 7 restarts, last Error, exit code 3"
    assert "there is no Prometheus here" in text


def test_a_narrow_terminal_loses_no_reason() -> None:
    made = report(pods=[pod(ready=False, containers=[waiting("CrashLoopBackOff", **CRASHED)])])
    assert "exit code 3" in drawn(made, width=60).replace("\n", " ")


def told(error: str = "", due: str = STAMP[0], **more: str) -> dict[str, Any]:
    data = {"node": "ctrl", "error": error, "next": due, "newest": "/x.tar.age", "bytes": "2500000", "kept": "3"}
    return {"metadata": {"name": "slipway-backup-ctrl"}, "data": {**data, **more}}


@pytest.mark.parametrize(
    ("given", "state", "words"),
    [
        ([told()], "ok", "well"),
        ([], "note", "none was made yet"),
        ([told("no space left on device")], "wrong", "no space left on device"),
        # The timer has stopped, or the controller cannot tell.
        ([told(due="2027-01-15T05:00:00+00:00")], "wrong", "one was due at 2027-01-15T05:00:00+00:00"),
        ([told(due="")], "ok", "well"),
        # Its clock, or that of this computer, has jumped.
        ([told(due="2031-01-01T00:00:00+00:00", tried="2030-12-31T00:00:00+00:00")], "wrong", "the last one says 2030"),
        ([told(due="2027-01-15T09:00:00+00:00", tried="2027-01-15T08:01:00+00:00")], "ok", "well"),
        ([told(tried="2026-01-15T08:00:00+00:00")], "ok", "well"),
    ],
)
def test_backups_that_controllers_make_by_themselves(given: list[dict[str, Any]], state: str, words: str) -> None:
    made = report(savers=["ctrl"], backups=given)
    (row,) = rows(made, "backups")
    assert row["state"] == state
    assert row["is"].startswith(words)
    assert made.healthy == (state != "wrong")
    if state == "wrong":
        (problem,) = made.problems
        assert problem.startswith(f"backup on ctrl: {words}")
    if given:
        assert (row["newest"], row["kept"]) == ("/x.tar.age (2.5 MB)", "3")


def test_without_a_schedule_no_backup_is_missed() -> None:
    assert rows(report(backups=[told("full")]), "backups") == []
