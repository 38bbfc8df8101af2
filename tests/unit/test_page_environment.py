"""Settings from the environment: which variable is which key, how it is read, and what a message says of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.page.environment import OTHERS, changes, overlaid, settings_of, variables
from slipway.page.examine import examine
from slipway.page.model import PAGE, Settings
from slipway.page.read import Page, read_page
from slipway.paths import ROOT


def said(tmp_path: Path, text: str, **environ: str) -> Page:
    path = tmp_path / "page.yml"
    path.write_text(text)
    return overlaid(read_page(path), {f"SLIPWAY_{name}": value for name, value in environ.items()})


def test_every_key_and_entry_has_a_variable_of_its_own() -> None:
    known = variables()
    assert len(set(known.values())) == len(known)
    assert {key[0] for key in known.values()} == set(Settings.model_fields)
    assert known["WORKERS"] == ("cluster_workers",)
    assert known["WORKERS_MEMORY"] == ("cluster_workers", "memory")
    assert known["PARTS_METRICS_SERVER"] == ("cluster_parts", "metrics_server")
    assert not set(known) & OTHERS


@pytest.mark.parametrize(
    ("name", "text", "key", "value"),
    [
        ("WORKERS", "3", "cluster_workers", {"count": 3, "cpus": 4, "memory": 6144}),
        ("WORKERS", "{count: 3, memory: 8192}", "cluster_workers", {"count": 3, "cpus": 4, "memory": 8192}),
        ("WORKERS_MEMORY", "8192", "cluster_workers", {"count": 2, "cpus": 4, "memory": 8192}),
        ("CONTROLLERS", "3", "cluster_controllers", {"count": 3, "cpus": 2, "memory": 4096}),
        ("PROVIDER", "libvirt", "cluster_provider", "libvirt"),
        ("KUBERNETES_VERSION", "1.37", "cluster_kubernetes_version", "1.37"),
        ("MIRROR", "true", "cluster_mirror", True),
        ("API_ENDPOINT", '""', "cluster_api_endpoint", ""),
        (
            "SSH_KEYS",
            "~/.ssh/a.pub,ssh-ed25519 AA me: home",
            "cluster_ssh_keys",
            ["~/.ssh/a.pub", "ssh-ed25519 AA me: home"],
        ),
        (
            "PROXY_NO_PROXY",
            "*.corp,localhost",
            "cluster_proxy",
            {"http": "", "https": "", "no_proxy": ["*.corp", "localhost"]},
        ),
        (
            "METALLB_ADDRESSES",
            "[192.168.56.90-192.168.56.95]",
            "cluster_metallb_addresses",
            ["192.168.56.90-192.168.56.95"],
        ),
        ("HOSTS", "[{name: a, role: worker}]", "cluster_hosts", [{"name": "a", "role": "worker"}]),
        ("RELEASES", "a.yml,b.yml", "cluster_releases", ["a.yml", "b.yml"]),
        ("RELEASES", "[]", "cluster_releases", []),
        ("GATEWAY_PORTS", "80", "cluster_gateway", {"address": "192.168.56.92", "ports": [80]}),
        ("SYSTEMS", "{node-2: debian-13}", "cluster_systems", {"node-2": "debian-13"}),
    ],
)
def test_a_variable_is_read_as_the_page_is(tmp_path: Path, name: str, text: str, key: str, value: Any) -> None:
    page = said(tmp_path, "cluster_workers: {count: 2, cpus: 4, memory: 6144}\n", **{name: text})
    assert page.values[key] == value
    assert not page.problems


def test_an_entry_wins_over_its_map(tmp_path: Path) -> None:
    page = said(tmp_path, "", WORKERS_COUNT="5", WORKERS="{count: 3, cpus: 1}")
    assert page.values["cluster_workers"] == {"count": 5, "cpus": 1, "memory": 6144}


def test_what_is_empty_or_no_setting_changes_nothing(tmp_path: Path) -> None:
    page = said(tmp_path, "cluster_name: shop\n", WORKERS="", NAME="", STATE="/x", TEST_TOKEN="t", FUZZ_SEED="1")
    assert page.values == {"cluster_name": "shop"}
    assert not page.problems


@pytest.mark.parametrize(
    ("error_id", "name", "text", "where", "key", "works"),
    [
        ("unknown-variable", "WORKER", "3", "SLIPWAY_WORKER", "the environment", "SLIPWAY_WORKERS"),
        ("unknown-variable", "QQQQ", "3", "SLIPWAY_QQQQ", "the environment", "unset SLIPWAY_QQQQ"),
        (
            "yaml-syntax",
            "WORKERS",
            "{",
            "SLIPWAY_WORKERS",
            "cluster_workers",
            "SLIPWAY_WORKERS='{count: 2, cpus: 2, memory: 6144}'",
        ),
        ("misread-number", "WORKERS", "012", "SLIPWAY_WORKERS", "cluster_workers.count", "count: 12"),
        (
            "yaml-syntax",
            "WORKERS",
            "2024-13-45",
            "SLIPWAY_WORKERS",
            "cluster_workers",
            "SLIPWAY_WORKERS='{count: 2, cpus: 2, memory: 6144}'",
        ),
        (
            "wrong-type",
            "WORKERS",
            "many",
            "SLIPWAY_WORKERS",
            "cluster_workers",
            "cluster_workers: {count: 2, cpus: 2, memory: 6144}",
        ),
        ("too-small", "WORKERS", "-1", "SLIPWAY_WORKERS", "cluster_workers.count", "count: 2"),
        ("too-small", "WORKERS_MEMORY", "64", "SLIPWAY_WORKERS_MEMORY", "cluster_workers.memory", "memory: 6144"),
        ("not-one-of", "PROVIDER", "qemu", "SLIPWAY_PROVIDER", "cluster_provider", "cluster_provider: auto"),
        ("wrong-form", "NAME", "{{ x }}", "SLIPWAY_NAME", "cluster_name", "cluster_name: slipway"),
    ],
)
def test_what_is_wrong_is_said_of_the_variable(
    tmp_path: Path, error_id: str, name: str, text: str, where: str, key: str, works: str
) -> None:
    page = said(tmp_path, "cluster_workers: {count: 2, cpus: 4, memory: 6144}\n", **{name: text})
    (problem,) = examine(page.values, page).problems
    assert (problem.id, problem.where, problem.key, problem.works) == (error_id, where, key, works)


def test_what_stays_of_a_map_is_said_of_its_line(tmp_path: Path) -> None:
    page = said(tmp_path, "---\ncluster_workers: {count: 2, cpus: 0, memory: 6144}\n", WORKERS="3")
    (problem,) = examine(page.values, page).problems
    assert (problem.where.endswith("page.yml:2"), problem.key) == (True, "cluster_workers.cpus")


def test_an_entry_of_a_map_that_the_page_leaves_out_is_its_default(tmp_path: Path) -> None:
    path = tmp_path / "page.yml"
    # As a page of before a key was there, or as an error says it.
    path.write_text("cluster_backup: {folder: ~/saved, recipients: [age1one], keep: 2}\ncluster_workers: {count: 3}\n")
    found = settings_of(path)
    assert found["cluster_backup"] == {**Settings().as_values()["cluster_backup"], "folder": "~/saved",
                                       "recipients": ["age1one"], "keep": 2}  # fmt: skip
    assert found["cluster_workers"]["count"] == 3


def test_settings_are_read_anew_when_page_or_environment_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "page.yml"
    path.write_text("cluster_name: one\n")
    assert settings_of(path) == {**Settings().as_values(), "cluster_name": "one"}
    settings_of(path)["cluster_name"] = "spoilt"
    path.write_text("cluster_name: two\n")
    os.utime(path, ns=(1, 1))
    assert settings_of(path)["cluster_name"] == "two"
    monkeypatch.setenv("SLIPWAY_NAME", "three")
    assert settings_of(path)["cluster_name"] == "three"


def test_ansible_has_every_setting_from_there() -> None:
    """A key that is not listed would keep the page's value for the playbooks alone."""
    listed = yaml.safe_load((ROOT / "group_vars/all/cluster_environment.yml").read_text())
    assert listed.pop("slipway_settings") == "{{ slipway_page | page_settings }}"
    assert listed == {key: f"{{{{ slipway_settings.{key} }}}}" for key in Settings.model_fields}
    # Ansible reads them in the order of their names, and the last one wins.
    assert PAGE.name < "cluster_environment.yml" < "wiring.yml"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("TOKEN", "hunter2"),
        ("PROXY_HTTP", "me:hunter2@proxy:3128"),
        ("PROXY_HTTP", "http://me:hun@ter2hunter2@proxy:3128"),
        ("PROXY", "{http: http://me:hunter2@proxy:3128, https: ''}"),
    ],
)
def test_no_message_shows_a_secret(tmp_path: Path, name: str, text: str) -> None:
    page = said(tmp_path, "", **{name: text})
    problems = examine(page.values, page).problems
    assert problems
    assert all(problem.where.startswith("SLIPWAY_") for problem in problems)
    assert "hunter2" not in "\n".join([*map(str, problems), *changes(page, page.values)])


def test_what_wins_over_the_environment_is_not_listed_as_its_own(tmp_path: Path) -> None:
    page = said(tmp_path, "", WORKERS="3", NAME="sun")
    assert changes(page, {**page.values, "cluster_workers": {"count": 5}})[2:] == [
        "  SLIPWAY_NAME: cluster_name is sun"
    ]
