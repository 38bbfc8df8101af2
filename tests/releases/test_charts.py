"""Charts in the style of teams: released as they are, proved, changed and removed."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.breaks import are_named
from tests.support.kube import eventually
from tests.support.mesh import gateway_address
from tests.support.releases import Stage
from tests.support.traffic import asked

CHARTS = Path(__file__).parent / "charts"
Pages = dict[str, str]


@pytest.fixture
def pages(empty: Stage, tmp_path: Path) -> Iterator[Pages]:
    """The three pages, one of them with an archive; what they release is gone at the end."""
    with tarfile.open(tmp_path / "notes-0.1.0.tgz", "w:gz") as archive:
        archive.add(CHARTS / "notes", "notes")
    (tmp_path / "notes.yml").write_text("name: notes\nchart: notes-0.1.0.tgz\n")
    # The one that this cluster's mirror has.
    (own,) = empty.kube("get", "alertmanagers", "--namespace=monitoring")["items"]
    values = {"alertmanager": own["spec"]["image"]}
    (tmp_path / "poll.yml").write_text(f"name: poll\nchart: {{path: {CHARTS / 'poll'}, set: {values}}}\n")
    made = {"shop": str(CHARTS / "shop.yml"), "poll": str(tmp_path / "poll.yml"), "notes": str(tmp_path / "notes.yml")}
    yield made
    for page in made.values():
        empty.release(page, release_state="absent")


def changed(page: str, values: dict[str, Any], folder: Path) -> str:
    """Write a page of the same release with other values."""
    name = Path(page).stem
    path = folder / "notes-0.1.0.tgz" if name == "notes" else CHARTS / name
    chart = yaml.safe_load(Path(page).read_text())["chart"]
    values = {**(chart.get("set", {}) if isinstance(chart, dict) else {}), **values}
    text = f"name: {name}\nchart: {{path: {path}, set: {values}}}\n"
    (folder / "changed").mkdir(exist_ok=True)
    made = folder / "changed" / f"{name}.yml"
    made.write_text(text)
    return str(made)


def names(stage: Stage, kind: str, namespace: str) -> set[str]:
    return {item["metadata"]["name"] for item in stage.kube("get", kind, f"--namespace={namespace}")["items"]}


def ready(stage: Stage, name: str, namespace: str) -> bool:
    """Tell whether a StatefulSet has all its pods."""
    found = {
        item["metadata"]["name"]: item
        for item in stage.kube("get", "statefulsets", f"--namespace={namespace}")["items"]
    }
    return name in found and found[name]["status"].get("readyReplicas") == found[name]["spec"]["replicas"]


def gone(stage: Stage, name: str) -> None:
    """Wait until nothing of a release is left, its namespace included."""
    eventually(lambda: name not in names(stage, "namespaces", "default"), seconds=90, what="its namespace is gone")
    kinds = "clusterroles,clusterrolebindings,virtualservices,gateways.networking.istio.io,envoyfilters"
    left = stage.kube("get", kinds, "--all-namespaces", f"--selector=slipway.io/release={name}")["items"]
    assert left == []


def states(stage: Stage, name: str, kind: str) -> dict[str, str]:
    """Give the states of claims about something with a name of its own, by the first word of the title."""
    return {one["title"].partition(" ")[0]: one["state"] for one in stage.claims(name) if one["kind"] == kind}


def inside(stage: Stage, pod: str, url: str) -> str:
    """Ask from a pod of the shop, and give the status."""
    ask = f"import urllib.request; print(urllib.request.urlopen('{url}', timeout=10).status)"
    command = ("exec", "--namespace=shop", pod, "--", "/usr/bin/python3.11", "-c", ask)
    return stage.kube.text(*command).strip()


def test_a_chart_with_a_stack_of_its_own_is_released_proved_changed_and_removed(
    empty: Stage, pages: Pages, tmp_path: Path
) -> None:
    page = pages["shop"]
    run = empty.release(page, prove="always").expect()
    assert "subchart kube-prometheus-stack is switched off" in run.output
    assert "here that is grafana.monitoring:80" in run.output
    assert "ConfigMap/shop/shop-dashboard-later is a dashboard without any content" in run.output
    assert "shop-dashboard-later" in names(empty, "configmaps", "shop")
    assert "change-me" not in run.output
    assert not names(empty, "prometheus", "shop")
    # The hook was run, as a Job, before the pods.
    (job,) = empty.kube("get", "jobs", "--namespace=shop")["items"]
    assert job["status"]["succeeded"] == 1
    assert {"share", "override", "chain", "metrics", "rules", "queries"} <= empty.kinds("shop", "passed")
    # Its Grafana and its Prometheus are the subchart's, which is off. The cluster has one of the two.
    assert states(empty, "shop", "tool") == {"shop-grafana": "skipped", "shop-prometheus": "passed"}
    there = "shop-kube-prometheus-stack-prometheus"
    assert f"Service/shop/{there} is made, another name of it" in run.output
    assert names(empty, "services", "shop") >= {there}
    assert "shop-grafana" not in names(empty, "services", "shop")
    address = gateway_address(empty.kube)
    # From outside by the gateway, and from a pod of the namespace by its sidecar, or without one.
    assert asked(address, "prometheus.shop.local", "/-/ready").status == "200"
    assert inside(empty, "deployment/shop-frontend-v1", f"http://{there}:9090/-/ready") == "200"
    assert empty.release(page, prove="never").expect().total("changed") == 0
    assert empty.kube("get", "jobs", "--namespace=shop")["items"][0]["metadata"]["uid"] == job["metadata"]["uid"]
    # Another share: only what is about it changes, and the hook is run again.
    other = changed(page, {"canary.stable": 0, "canary.canary": 100, "frontend.replicas": 2}, tmp_path)
    empty.release(other, prove="always").expect()
    assert {"default", "override"} <= empty.kinds("shop", "passed")
    assert empty.kube("get", "jobs", "--namespace=shop")["items"][0]["metadata"]["uid"] != job["metadata"]["uid"]
    empty.release(page, release_state="absent").expect()
    gone(empty, "shop")


def test_a_hook_that_fails_leaves_the_pods_as_they_were(empty: Stage, pages: Pages, tmp_path: Path) -> None:
    assert pages
    hook = Path(shutil.copytree(CHARTS / "shop", tmp_path / "shop")) / "templates/migrate.yaml"
    page, values, well = tmp_path / "shop.yml", tmp_path / "values.yaml", hook.read_text()
    page.write_text("name: shop\nchart: {path: ./shop, values: values.yaml}\n")

    def replicas() -> int:
        return int(empty.kube("get", "deployment", "shop-frontend-v1", "--namespace=shop")["spec"]["replicas"])

    values.write_text("frontend: {replicas: 2}\n")
    empty.release(str(page), prove="never").expect()
    assert replicas() == 2
    values.write_text("frontend: {replicas: 1}\n")
    hook.write_text(well.replace("print('migrated')", "import sys; print('no such table'); sys.exit(3)"))
    refused = empty.release(str(page), prove="never")
    assert refused.status != 0
    assert "job-ended-badly" in refused.output
    assert "| no such table" in refused.output
    assert replicas() == 2
    hook.write_text(well)
    empty.release(str(page), prove="never").expect()
    assert replicas() == 1


def test_what_does_nothing_in_a_chart_is_told_and_the_rest_works(empty: Stage, pages: Pages, tmp_path: Path) -> None:
    page = pages["poll"]
    run = empty.release(page, prove="always").expect()
    for words in (
        "subchart monitoring is switched off",
        "port 80, where it does not listen",
        "named for namespace istio-system",
        "Gateway/poll/poll-other is for pods with istio: ingress",
        "selects no Service",
        "Ingress/poll/poll is of class nginx",
        "Alertmanager/poll/poll",
    ):
        assert words in run.output, words
    assert "answer" in empty.kinds("poll", "passed")
    assert "polls.poll.example.org" in names(empty, "customresourcedefinitions", "default")
    assert names(empty, "polls.poll.example.org", "poll") == {"lunch"}
    assert empty.release(page, prove="never").expect().total("changed") == 0
    # The definition stays, and what was made of it goes.
    assert names(empty, "envoyfilters", "istio-system") >= {"poll-limit"}
    # Its Alertmanager is there by the rights that the release gives the operator.
    eventually(lambda: ready(empty, "alertmanager-poll", "poll"), seconds=120, what="the chart's Alertmanager is ready")
    other = changed(page, {"question": "And for dinner?"}, tmp_path)
    empty.release(other, prove="always").expect()
    assert "answer" in empty.kinds("poll", "passed")
    assert not empty.kinds("poll", "failed")
    (poll,) = empty.kube("get", "polls.poll.example.org", "--namespace=poll")["items"]
    assert poll["spec"]["question"] == "And for dinner?"
    empty.release(page, release_state="absent").expect()
    assert "polls.poll.example.org" in names(empty, "customresourcedefinitions", "default")
    assert "poll-limit" not in names(empty, "envoyfilters", "istio-system")
    gone(empty, "poll")


def test_sticky_versions_of_an_archive_are_proved_along_their_chain(empty: Stage, pages: Pages, tmp_path: Path) -> None:
    page = pages["notes"]
    run = empty.release(page, prove="always").expect()
    assert "subchart kube-prometheus-stack is switched off (monitoring.enabled: false)" in run.output
    assert {"share", "sticky", "chain", "mtls", "access"} <= empty.kinds("notes", "passed")
    assert empty.release(page, prove="never").expect().total("changed") == 0
    # A chart that fails to come up leaves users where they were.
    address = gateway_address(empty.kube)
    broken = changed(page, {"tag": "9.9.9"}, tmp_path)
    refused = empty.release(broken, prove="never")
    assert refused.status != 0
    assert "image-not-on-mirror" in refused.output
    assert asked(address, "notes.local", "/").status == "200"
    single = changed(page, {"sticky": False}, tmp_path)
    empty.release(single, prove="always").expect()
    assert "sticky" not in {claim["kind"] for claim in empty.claims("notes")}
    assert "share" in empty.kinds("notes", "passed")
    empty.release(page, release_state="absent").expect()
    gone(empty, "notes")
    assert asked(address, "notes.local", "/").status != "200"


def test_versions_that_do_not_tell_who_they_are_are_counted(empty: Stage) -> None:
    page = str(CHARTS / "quiet.yml")
    try:
        empty.release(page, prove="always").expect()
        empty.passed("quiet")
        assert "counted" in empty.kinds("quiet", "passed")
        are_named(empty, page)
    finally:
        empty.release(page, release_state="absent")
    gone(empty, "quiet")


def test_a_chart_that_helm_has_installed_is_taken_over(empty: Stage, pages: Pages, tmp_path: Path) -> None:
    # Helm wants dependencies in charts/, those that are switched off, too.
    chart = Path(shutil.copytree(CHARTS / "notes", tmp_path / "notes"))
    about = (chart / "Chart.yaml").read_text()
    (chart / "Chart.yaml").write_text(about.partition("dependencies:")[0])
    helm = empty.checkout.state / "bin" / "helm"
    kubeconfig = empty.checkout.state / "kubeconfig"
    empty.checkout.run(
        str(helm), "install", "notes", str(chart), "--namespace=notes", "--create-namespace",
        f"--kubeconfig={kubeconfig}",
    ).expect()  # fmt: skip
    refused = empty.release(pages["notes"], prove="never")
    assert refused.status != 0
    assert "Helm release notes/notes" in refused.output
    empty.release(pages["notes"], prove="never", release_adopt=True).expect()
    assert empty.release(pages["notes"], prove="never").expect().total("changed") == 0
    empty.release(pages["notes"], release_state="absent").expect()
    empty.kube.text("delete", "namespace", "notes", "--ignore-not-found", "--timeout=120s", timeout=150)
