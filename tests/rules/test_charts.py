"""Charts rendered by the catalog's Helm: what comes out, what is switched off, what is refused by name."""

from __future__ import annotations

import shutil
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slipway.contents import chart, claims
from slipway.contents.chart import Asked, ChartError, Rendered
from slipway.contents.keys import Contents
from slipway.contents.plan import Known, plan
from slipway.contents.source import Source
from slipway.contents.told import World

from tests.support import program
from tests.support.contents import CHARTS, scope
from tests.support.ingresses import AT

Render = Callable[..., Rendered]


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program.have("helm", tmp_path_factory.mktemp("helm"))


@pytest.fixture
def render(helm: Path) -> Render:
    def made(path: Path, **more: Any) -> Rendered:
        return chart.render(Asked("shop", "team", path, kubernetes="v1.37.0", **more), helm)

    return made


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A copy of the chart shop, to be broken."""
    return shutil.copytree(CHARTS / "shop", tmp_path / "shop")


def names(found: Rendered) -> set[str]:
    return {f"{one.item['kind']}/{one.item['metadata']['name']}" for one in found.read}


def refused(render: Render, path: Path, **more: Any) -> tuple[str, str]:
    with pytest.raises(ChartError) as caught:
        render(path, **more)
    return caught.value.fault.id, f"{caught.value.fault.what}; {caught.value.fault.works}"


def test_a_chart_is_rendered_without_the_stack_that_the_cluster_has(render: Render) -> None:
    found = render(CHARTS / "shop", set={"canary.canary": 30, "canary.stable": 70})
    assert found.about["version"] == "0.3.0"
    assert [each.name for each in found.off] == ["kube-prometheus-stack"]
    assert {"VirtualService/shop", "Job/shop-migrate", "Secret/shop-smtp"} <= names(found)
    assert not {"Secret/shop-grafana", "Prometheus/shop-kube-prometheus-stack-prometheus"} & names(found)
    (route,) = (
        one for one in found.read if one.item["metadata"]["name"] == "shop" and one.source.endswith("istio.yaml")
    )
    assert [to["weight"] for to in route.item["spec"]["http"][-1]["route"]] == [70, 30]
    assert found.warnings == []


def test_a_subchart_that_is_kept_is_rendered_and_what_it_makes_up_is_refused(render: Render) -> None:
    kept = {"keep": ["kube-prometheus-stack"], "set": {"kube-prometheus-stack": {"grafana": {"adminPassword": "a"}}}}
    assert "Prometheus/shop-kube-prometheus-stack-prometheus" in names(render(CHARTS / "shop", **kept))
    error, text = refused(
        render, CHARTS / "shop", keep=kept["keep"], set={"kube-prometheus-stack.grafana.adminPassword": ""}
    )
    assert error == "not-repeatable"
    assert "randAlphaNum at charts/kube-prometheus-stack/templates/stack.yaml:" in text


def test_a_stack_that_nobody_has_fetched_does_not_matter_and_another_dependency_does(
    render: Render, tmp_path: Path
) -> None:
    assert "StatefulSet/shop" in names(render(CHARTS / "poll"))
    poll = shutil.copytree(CHARTS / "poll", tmp_path / "poll")
    text = (poll / "Chart.yaml").read_text()
    (poll / "Chart.yaml").write_text(text.replace("name: kube-prometheus-stack", "name: postgresql"))
    error, text = refused(render, poll)
    assert error == "chart-incomplete"
    assert "helm dependency build" in text


def test_an_archive_is_as_good_as_its_folder(render: Render, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "notes.tgz", "w:gz") as archive:
        archive.add(CHARTS / "notes", "notes")
    assert names(render(tmp_path / "notes.tgz")) == names(render(CHARTS / "notes"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            'a: {{ lookup "v1" "Secret" .Release.Namespace "a" | toJson }}',
            "lookup at templates/more.yaml:5 reads the cluster",
        ),
        ("a: {{ uuidv4 }}", "uuidv4 at templates/more.yaml:5 gives another value each time"),
        ("a: {{ now | date `2006` | quote }}", "now at templates/more.yaml:5 reads the clock"),
        ('a: {{ (genCA "ca" 365).Cert | b64enc }}', "genCA at templates/more.yaml:5"),
        ('a: {{ include "shop.password" . }}', "randAlphaNum at templates/_helpers.tpl:9"),
    ],
)
def test_what_is_another_one_each_time_is_refused_with_its_line(
    render: Render, shop: Path, line: str, words: str
) -> None:
    head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\ndata:\n"
    (shop / "templates/more.yaml").write_text(f"{head}  {line}\n")
    error, text = refused(render, shop)
    assert error == "not-repeatable"
    assert words in text


def test_a_text_by_chance_that_goes_nowhere_does_no_harm(render: Render, shop: Path) -> None:
    head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\ndata:\n"
    (shop / "templates/more.yaml").write_text(f"{head}  a: {{{{ .Values.host | default (randAlphaNum 9) }}}}\n")
    assert "ConfigMap/more" in names(render(shop))


def test_a_chart_that_fails_by_itself_says_why(render: Render, shop: Path) -> None:
    (shop / "templates/more.yaml").write_text('{{ fail "set a colour" }}\n')
    error, text = refused(render, shop)
    assert error == "chart-fails"
    assert "set a colour" in text
    assert str(shop.parent) not in text.partition(";")[0]


def test_a_chart_for_upgrades_is_rendered_as_for_an_installation_and_that_is_said(render: Render, shop: Path) -> None:
    head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\ndata:\n"
    (shop / "templates/more.yaml").write_text(f"{head}  a: '{{{{ .Release.IsUpgrade }}}}'\n")
    found = render(shop)
    assert "renders another way for an upgrade" in found.warnings[0]
    (more,) = (one.item for one in found.read if one.item["metadata"]["name"] == "more")
    assert more["data"] == {"a": "false"}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda path: path / "nowhere", "chart-missing"),
        (lambda path: path / "templates", "chart-missing"),
        (lambda path: path / "values.yaml", "chart-missing"),
    ],
)
def test_what_is_no_chart_is_refused(render: Render, shop: Path, change: Callable[[Path], Path], error: str) -> None:
    assert refused(render, change(shop))[0] == error


def test_a_file_of_values_that_is_not_there_is_refused(render: Render, shop: Path) -> None:
    assert refused(render, shop, values=[shop / "values-lab.yaml"])[0] == "file-missing"


def test_the_cluster_s_kinds_are_known_to_a_chart(render: Render, shop: Path) -> None:
    text = '{{ if .Capabilities.APIVersions.Has "monitoring.coreos.com/v1/ServiceMonitor" }}\n' + "{}\n{{ end }}"
    text = text.replace("{}", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: seen}")
    (shop / "templates/more.yaml").write_text(text)
    assert "ConfigMap/seen" not in names(render(shop))
    assert "ConfigMap/seen" in names(render(shop, versions=["monitoring.coreos.com/v1/ServiceMonitor"]))


def test_a_chart_for_nginx_becomes_routes_of_the_mesh(render: Render) -> None:
    found = render(CHARTS / "desk", set={"limit": 60, "allowed": "10.0.0.0/8", "tls": True})
    page = Contents.model_validate({"name": "shop", "namespace": "team", "chart": {"path": "./desk"}})
    made = plan(page, Source(found.read), scope, Known(entrance=AT))
    assert made.faults == []
    kinds = Counter(item["kind"] for item in made.objects)
    assert {kind: kinds[kind] for kind in ("Ingress", "Gateway", "VirtualService", "EnvoyFilter")} == {
        "Ingress": 0,
        "Gateway": 2,
        "VirtualService": 2,
        "EnvoyFilter": 1,
    }
    facts = claims.facts(page, made, World())
    assert facts["routes"][0]["shares"] == {"v1": 80, "v2": 20}
    assert [claim["kind"] for claim in facts["claims"]][:4] == ["share", "counted", "override", "override"]
