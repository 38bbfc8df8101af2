"""A thousand broken pages of settings: each is refused with file, line, key, value and what works, or is a plan."""

from __future__ import annotations

import copy
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from slipway.lab import decide
from slipway.lab.inventory import make_inventory, render_inventory_cfg
from slipway.lab.plan import make_plan
from slipway.page.checks import on_this_computer
from slipway.page.examine import examine_page
from slipway.page.model import PAGE, Settings
from slipway.page.read import Problem, SettingsError
from slipway.page.rules import Surroundings
from slipway.paths import ROOT

from tests.support.fuzz import broken, changed, fuzz, judged, junk, keys
from tests.support.kubernetes import SHIPPED

pytestmark = pytest.mark.slow

HOSTS = """\
cluster_name: own
cluster_provider: hosts
cluster_node_cidr: 192.0.2.0/24
cluster_hosts:
  - {name: ctrl, address: 192.0.2.10, role: controller, user: debian, port: 22, key: ""}
  - {name: node-1, address: 192.0.2.11, role: worker}
  - {name: store, address: 192.0.2.12, role: mirror}
cluster_metallb_addresses: [192.0.2.240-192.0.2.250]
cluster_gateway: {address: 192.0.2.240, ports: [80, 443, 8080]}
cluster_api_endpoint: api.example.org:6443
cluster_proxy: {http: "http://proxy.example.org:3128", https: "", no_proxy: [example.org]}
cluster_mirror: auto
cluster_releases: []
"""
LARGE = """\
cluster_provider: docker
cluster_controllers: &all {count: 3, cpus: 2, memory: 2048}
cluster_workers: *all
cluster_systems: {node-2: debian-13}
cluster_node_cidr: 10.0.0.0/8
cluster_pod_cidr: 172.20.0.0/14
cluster_service_cidr: 192.168.0.0/20
cluster_metallb_addresses: []
cluster_gateway: {address: "", ports: [80]}
"""
PAGES = [PAGE.read_text(encoding="utf-8"), HOSTS, LARGE]
VALUES = [yaml.safe_load(text) for text in PAGES]
NAMES = sorted({str(key[-1]) for value in VALUES for key in keys(value)})
NEAR = [
    *(
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.96.0.0/12",
        "192.168.56.0/24",
        "192.168.56.0/32",
        "255.255.255.255/32",
        "1.2.3.4/0",
    ),
    *("192.168.56.90-192.168.56.99", "0.0.0.0-255.255.255.255", "192.168.56.92", "192.0.2.10", "256.1.1.1", "::1"),
    *(
        "localhost",
        "all",
        "docker",
        "hosts",
        "true",
        "1.36.0",
        "node-1:22",
        "api:65536",
        "ssh-ed25519 AAAA",
        "/dev/null",
    ),
    *(0, 1, 2, 254, 4999, 5000, 10**7, 10**9, 22.0, -1),
]
JUNK = junk(NAMES, NEAR)
AMPLE = Surroundings(memory_total=10**6, memory_available=10**6, cache_free=10**12, kubernetes_releases=(SHIPPED,))


@pytest.fixture(autouse=True)
def _nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "upstream_answers", lambda *_: True)
    for name in ("SLIPWAY_PAGE", "SLIPWAY_STATE", "VAGRANT_DOTFILE_PATH"):
        monkeypatch.delenv(name, raising=False)


def refusal(path: Path) -> list[Problem]:
    """Make plan and inventory of a page, and give what is wrong with it; empty when they could be made."""
    check = on_this_computer(lambda settings: replace(AMPLE, provider=settings.cluster_provider, root=ROOT))
    try:
        settings = examine_page(path, check=check).accepted()
    except SettingsError as exc:
        return exc.problems
    plan = make_plan(settings, page=path, state=path.parent)
    json.dumps(plan)
    json.dumps(make_inventory(plan, {}, settings.as_values()).groups)
    render_inventory_cfg(plan, {})
    assert Settings.model_validate(settings.as_values()) == settings
    return []


@fuzz(700)
@given(st.data())
def test_a_page_with_wrong_values_is_refused_in_words(data: st.DataObject) -> None:
    value = copy.deepcopy(VALUES[data.draw(st.integers(0, len(PAGES) - 1))])
    with tempfile.TemporaryDirectory() as folder:
        judged(Path(folder) / "page.yml", changed(data, value, JUNK), refusal)


@fuzz(300)
@given(st.data())
def test_a_page_with_broken_text_is_refused_in_words(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        judged(Path(folder) / "page.yml", broken(data, data.draw(st.sampled_from(PAGES))), refusal)


@pytest.mark.parametrize("number", range(len(PAGES)))
def test_the_pages_that_are_broken_are_good(number: int, tmp_path: Path) -> None:
    (tmp_path / "page.yml").write_text(PAGES[number], encoding="utf-8")
    assert refusal(tmp_path / "page.yml") == []
