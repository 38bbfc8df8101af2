"""Hosts that the gateway's certificate is not for: refused with what would work, or added where that can be done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway.page.read import SettingsError
from slipway.release.certificate import GATEWAY_TLS, covers, names
from slipway.release.environment import Environment
from slipway.release.planner import plan
from slipway.release.routing_keys import Tls
from slipway.release.spec import load

from tests.support.release import page

Json = dict[str, Any]
LAB = ("*.lab.local", "lab.local", "192.0.2.92")


def made(folder: Path, names: Any, *, renewable: tuple[str, ...] = (), **values: Any) -> Any:
    base: Json = {"name": "shop", "hosts": ["shop.local"], "gateway": {"tls": {}}}
    base["services"] = {"web": {"versions": {"v1": "example.org/web:1"}}}
    known = Environment.of({"certificates": {GATEWAY_TLS: names}, "renewable": renewable} if names else {})
    return plan(load(page(folder, {**base, **values})), known)


def refused(folder: Path, names: Any, **values: Any) -> list[tuple[str, str, str]]:
    with pytest.raises(SettingsError) as caught:
        made(folder, names, **values)
    assert {problem.id for problem in caught.value.problems} == {"certificate-not-for-host"}
    return [(problem.key, problem.what, problem.works) for problem in caught.value.problems]


def test_the_secret_is_the_one_that_pages_mean_without_naming_one() -> None:
    assert Tls().secret == GATEWAY_TLS


@pytest.mark.parametrize(
    ("name", "host", "good"),
    [
        ("shop.local", "shop.local", True),
        ("Shop.local", "shop.LOCAL", True),
        ("*.lab.local", "shop.lab.local", True),
        ("*.lab.local", "canary.shop.lab.local", False),
        ("*.lab.local", "lab.local", False),
        ("*.lab.local", "*.lab.local", True),
        ("*.local", "shop.local", False),
        ("192.0.2.1", "192.0.2.1", True),
    ],
)
def test_a_name_covers_what_browsers_take_it_for(name: str, host: str, good: bool) -> None:
    assert covers(name, host) is good


def test_a_host_that_the_certificate_is_not_for_is_refused_with_one_that_works(tmp_path: Path) -> None:
    ((key, what, works),) = refused(tmp_path, LAB)
    assert key == "hosts[0]"
    for fact in ("shop.local", "Secret istio-system/slipway-gateway-tls", "*.lab.local"):
        assert fact in what
    assert works.startswith("shop.lab.local, or ")
    made(tmp_path, LAB, hosts=["shop.lab.local"])


def test_names_of_versions_and_tools_are_hosts_too(tmp_path: Path) -> None:
    more = {"weights": {"v1": 100}, "override": {"hosts": {"canary": "v1"}}, "tools": {"grafana": {"host": "grafana"}}}
    found = refused(tmp_path, LAB, hosts=["shop.lab.local"], **more)
    assert [(key, works.partition(",")[0]) for key, _, works in found] == [
        ("override.hosts.canary", "canary-shop.lab.local"),
        ("tools.grafana.host", "grafana-shop.lab.local"),
    ]


def test_a_certificate_without_a_wildcard_offers_its_names(tmp_path: Path) -> None:
    ((_, _, works),) = refused(tmp_path, ("www.example.org",))
    assert works.startswith("www.example.org, or ")
    ((_, _, works),) = refused(tmp_path, ("192.0.2.1",))
    assert works.startswith("a certificate for it in istio-system")


@pytest.mark.parametrize(
    "values",
    [{"gateway": {}}, {"gateway": {"tls": {"secret": "of-mine"}}}, {"hosts": ["lab.local"]}],
)
def test_nothing_is_refused_without_tls_or_where_the_certificate_fits_or_is_not_known(
    tmp_path: Path, values: Json
) -> None:
    assert made(tmp_path, LAB, **values).certificate == []
    assert made(tmp_path, None, hosts=["any.example.org"]).certificate == []


def test_the_clusters_own_certificate_gets_what_it_lacks(tmp_path: Path) -> None:
    found = made(tmp_path, LAB, renewable=(GATEWAY_TLS,), hosts=["shop.local", "shop.lab.local"])
    assert found.certificate == ["shop.local"]
    assert any("is not for shop.local yet" in text for text in found.warnings)
    assert made(tmp_path, ("shop.local",), renewable=(GATEWAY_TLS,)).certificate == []


def test_a_secret_says_itself_whom_its_certificate_is_for() -> None:
    assert names({"slipway.io/certified": "a.local,192.0.2.1"}) == ("a.local", "192.0.2.1")
    assert names({"cert-manager.io/alt-names": "a.local,*.b.local", "cert-manager.io/ip-sans": ""}) == (
        "a.local",
        "*.b.local",
    )
    assert names({"other": "x"}) is None
