"""The settings that a run uses: the page with what -e or the inventory put in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipway.lab import surroundings
from slipway.page import validation
from slipway.page.examine import Report
from slipway.page.form import ELSEWHERE
from slipway.page.model import Settings

from tests.support.errors import tells


@pytest.fixture(autouse=True)
def _ample(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("VAGRANT_DOTFILE_PATH", raising=False)
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(surroundings, "memory", lambda: (64000, 60000))
    monkeypatch.setattr(surroundings, "free_space", lambda _: 10**12)


def run(folder: Path, text: str = "cluster_provider: docker\n", **overrides: Any) -> Report:
    page = folder / "page.yml"
    page.write_text(text)
    variables = {**Settings(cluster_provider="docker").as_values(), **overrides}
    return validation.examine_variables(variables, page, folder / "state")


def test_a_page_without_overrides_is_taken(tmp_path: Path) -> None:
    report = run(tmp_path, ansible_user="me", kubelet_x=1)
    assert (report.problems, report.warnings) == ([], [])
    assert report.accepted() == Settings(cluster_provider="docker")


def test_an_override_is_checked(tmp_path: Path) -> None:
    (problem,) = run(tmp_path, cluster_pod_cidr="10.96.0.0/16").problems
    assert (problem.where, problem.key) == (str(tmp_path / "page.yml"), "cluster_service_cidr")
    (problem,) = run(tmp_path, cluster_dns_domain="NO").problems
    assert (problem.where, problem.key) == (ELSEWHERE, "cluster_dns_domain")


def test_a_value_of_the_page_has_its_line(tmp_path: Path) -> None:
    (problem,) = run(
        tmp_path, "# x\ncluster_provider: docker\ncluster_dns_domain: A_b\n", cluster_dns_domain="A_b"
    ).problems
    assert problem.where.endswith("page.yml:3")


@pytest.mark.parametrize("name", ["cluster_metalb_addresses", "cluster_metallb_adresses"])
def test_an_unknown_variable_is_refused_with_the_nearest_one(tmp_path: Path, name: str) -> None:
    overrides: dict[str, Any] = {name: []}
    (problem,) = run(tmp_path, **overrides).problems
    assert (problem.where, problem.key) == (ELSEWHERE, name)
    tells(problem, "unknown-key: cluster_metallb_addresses")


def test_what_else_is_wrong_with_the_page_is_said_too(tmp_path: Path) -> None:
    text = "cluster_provider: docker\ncluster_provider: docker\nkubelet_x: 1\n"
    assert [problem.key for problem in run(tmp_path, text).problems] == ["cluster_provider", "kubelet_x"]


def test_a_setting_that_is_set_nowhere_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.yml"
    page.write_text("cluster_name: slipway\n")
    report = validation.examine_variables({"cluster_name": "slipway"}, page, tmp_path)
    assert {problem.id for problem in report.problems} == {"missing-key"}
    assert len(report.problems) == len(Settings.model_fields) - 1


def test_this_computer_is_looked_at(tmp_path: Path) -> None:
    assert [p.key for p in run(tmp_path, cluster_ssh_keys=["nobody"]).problems] == ["cluster_ssh_keys[0]"]


def test_an_override_that_does_not_reach_the_machines_is_warned_of(tmp_path: Path) -> None:
    more = {"count": 4, "cpus": 2, "memory": 6144}
    report = run(tmp_path, cluster_workers=more, cluster_dns_domain="example.org")
    assert report.problems == []
    (warning,) = report.warnings
    assert (warning.where, warning.key) == (ELSEWHERE, "cluster_workers")
    tells(warning, "no-effect: {count: 2, cpus: 2, memory: 6144}")
    assert str(tmp_path / "page.yml") in warning.works


def test_every_key_of_the_machines_is_a_setting() -> None:
    assert set(validation.OF_THE_MACHINES) <= set(Settings.model_fields)
