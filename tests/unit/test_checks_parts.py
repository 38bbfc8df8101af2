"""The checks know what each part, the gateway and a release need, and name what the page lacks of it."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.page.model import Settings

from tests.support.errors import tells
from tests.support.settings import here, page


def parts(**values: bool) -> dict[str, Any]:
    return {"cluster_parts": {**Settings().cluster_parts.model_dump(), **values}}


def test_the_gateway_has_an_address_of_the_pool() -> None:
    for address, ranges in (("192.168.56.92", []), ("", []), ("192.168.56.200", ["192.168.56.200/32"])):
        gateway = {"address": address, "ports": [80]}
        assert page(cluster_gateway=gateway, cluster_metallb_addresses=ranges).problems == []
    (problem,) = page(cluster_gateway={"address": "192.168.56.89", "ports": [80]}).problems
    assert problem.key == "cluster_gateway.address"
    tells(problem, "gateway-not-in-metallb: 192.168.56.90-192.168.56.99")
    assert problem.works == "address: 192.168.56.92"
    elsewhere = {"address": "10.0.0.1", "ports": [80]}
    assert page(cluster_gateway=elsewhere, **parts(istio=False)).problems == []


def test_the_gateway_has_each_port_once() -> None:
    (problem,) = page(cluster_gateway={"address": "", "ports": [80, 443, 80]}).problems
    assert (problem.key, problem.works) == ("cluster_gateway.ports", "ports: [80, 443]")


@pytest.mark.parametrize(
    ("ports", "index", "what", "fix"),
    [
        ([80, 443, 10080], 2, "port-taken: 10080 … 80", "ports: [80, 443]"),
        ([15021], 0, "port-taken: 15021", "ports: [80]"),
    ],
)
def test_a_port_that_the_gateway_cannot_open_is_refused_before_there_is_one(
    ports: list[int], index: int, what: str, fix: str
) -> None:
    (problem,) = page(cluster_gateway={"address": "", "ports": ports}).problems
    assert (problem.key, problem.value, problem.works) == (f"cluster_gateway.ports[{index}]", str(ports[index]), fix)
    tells(problem, what)


def test_backups_by_a_timer_need_somebody_who_can_read_them() -> None:
    key = "age1ncvql6ns2hv3kg2cdkymdrd4p7ntr2txpdwh0g5vmq94autxp4xsydmktc"
    backup = {"folder": "~/x", "recipients": [], "keep": 3}
    assert page(cluster_backup=backup).problems == []
    assert page(cluster_backup={**backup, "recipients": [key], "schedule": "03:00"}).problems == []
    (problem,) = page(cluster_backup={**backup, "schedule": "daily"}).problems
    assert problem.key == "cluster_backup.recipients"
    tells(problem, "no-recipients: nobody could read")
    for wrong in ("3:00", "24:00", "12:60", "monthly", "*-*-* 03:00:00", 780):
        (problem,) = page(cluster_backup={**backup, "recipients": [key], "schedule": wrong}).problems
        assert problem.key == "cluster_backup.schedule"


def test_when_controllers_renew_certificates_is_a_time_or_never() -> None:
    for good in ("", "daily", "weekly", "hourly", "03:00", "23:59"):
        assert page(cluster_renew_certificates=good).problems == []
    for wrong in ("3:00", "24:00", "monthly", True, 780):
        (problem,) = page(cluster_renew_certificates=wrong).problems
        assert problem.key == "cluster_renew_certificates"


@pytest.mark.parametrize(
    ("values", "key", "what", "fix"),
    [
        (
            {"cluster_ingress_classes": ["istio", "nginx", "istio"]},
            "cluster_ingress_classes",
            "duplicate-value: istio",
            "cluster_ingress_classes: [istio, nginx]",
        ),
        (
            {"cluster_ingress_classes": ["public", "nginx"], "cluster_ingress_default": "ngins"},
            "cluster_ingress_default",
            "ingress-class-unknown: public, nginx",
            "cluster_ingress_default: public",
        ),
        (
            {"cluster_ingress_classes": [], "cluster_ingress_default": "istio"},
            "cluster_ingress_default",
            "ingress-class-unknown: empty",
            'cluster_ingress_default: ""',
        ),
        (
            {"cluster_ingress_classes": ["Nginx"]},
            "cluster_ingress_classes[0]",
            "wrong-form: IngressClass",
            "cluster_ingress_classes: [istio, nginx]",
        ),
    ],
)
def test_classes_that_cannot_be_are_refused(values: dict[str, Any], key: str, what: str, fix: str) -> None:
    (problem,) = page(**values).problems
    assert (problem.key, problem.works) == (key, fix)
    tells(problem, what)


def test_a_gateway_without_port_80_serves_no_ingress_and_that_is_said() -> None:
    gateway = {"address": "", "ports": [8080]}
    report = page(cluster_gateway=gateway)
    (warning,) = report.warnings
    assert (report.problems, warning.works) == ([], "ports: [80, 8080]")
    tells(warning, "ingress-without-port: no port 80")
    assert page(cluster_gateway=gateway, cluster_ingress_classes=[]).warnings == []
    assert page(cluster_gateway=gateway, **parts(istio=False)).warnings == []


def test_the_gateway_api_needs_a_gateway() -> None:
    assert page(cluster_gateway_api=True).problems == []
    (problem,) = page(cluster_gateway_api=True, **parts(istio=False)).problems
    assert (problem.key, problem.works) == ("cluster_gateway_api", "istio: true")
    tells(problem, "part-needs-part: istio")


def test_a_mesh_needs_addresses() -> None:
    assert page(**parts(metallb=False, istio=False)).problems == []
    (problem,) = page(**parts(metallb=False)).problems
    assert (problem.key, problem.works) == ("cluster_parts.istio", "metallb: true")


@pytest.mark.parametrize(
    ("on", "off", "works"),
    [
        ("grafana", {"monitoring": False}, ["monitoring: true"]),
        ("kiali", {"monitoring": False}, ["monitoring: true"]),
        ("kiali", {"monitoring": False, "istio": False}, ["istio: true", "monitoring: true"]),
        ("kiali", {"monitoring": True}, []),
        ("tracing", {"istio": False}, ["istio: true"]),
        ("tracing", {}, []),
        ("headlamp", {"istio": False}, []),
    ],
)
def test_a_console_needs_what_it_shows(on: str, off: dict[str, bool], works: list[str]) -> None:
    problems = page(**parts(**{on: True, **off})).problems
    assert [(problem.key, problem.works) for problem in problems] == [(f"cluster_parts.{on}", one) for one in works]


def test_a_page_of_before_there_were_consoles_still_works() -> None:
    before = ("metallb", "istio", "storage", "metrics_server", "monitoring")
    assert page(cluster_parts=dict.fromkeys(before, True)).problems == []


def test_a_listed_release_has_what_it_needs() -> None:
    sms: dict[str, Any] = {"cluster_releases": ["releases/sms-checker.yml"]}
    assert here({**sms, **parts(monitoring=True)}).problems == []
    (problem,) = here({**sms, **parts(monitoring=True)}, with_mirror=False).problems
    assert (problem.key, problem.works) == ("cluster_releases[0]", "cluster_mirror: true, or cluster_releases: []")
    (warning,) = here({**sms, **parts(monitoring=False)}).warnings
    assert (warning.key, warning.works) == ("cluster_releases[0]", "monitoring: true")
    (problem,) = here({**sms, **parts(monitoring=True, istio=False, metallb=False)}).problems
    assert (problem.key, problem.works) == ("cluster_releases", "cluster_parts: {istio: true}")
    (problem,) = here({"cluster_releases": ["releases/sms-checker"]}).problems
    assert problem.id == "wrong-form"
