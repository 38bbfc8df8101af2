"""A report tells all that is wrong with a page at once, with its line and what would work, and shows no secret."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.page.examine import examine, examine_page
from slipway.page.form import ELSEWHERE, Fault
from slipway.page.model import Settings
from slipway.page.read import Page, SettingsError, flow, read_page

from tests.support.errors import tells
from tests.support.settings import HOST, only


def test_everything_wrong_is_said_at_once_in_the_order_of_the_page(tmp_path: Path) -> None:
    path = tmp_path / "page.yml"
    path.write_text(
        "cluster_box: 1\ncluster_name: A\ncluster_name: B\ncluster_x: 1\ncluster_workers:\n  count: x\n  cpus: 0\n"
    )
    report = examine_page(path)
    assert [(p.line, p.key) for p in report.problems] == [
        (1, "cluster_box"),
        (3, "cluster_name"),
        (3, "cluster_name"),
        (4, "cluster_x"),
        (5, "cluster_workers.memory"),
        (6, "cluster_workers.count"),
        (7, "cluster_workers.cpus"),
    ]
    assert report.settings is None
    with pytest.raises(SettingsError) as caught:
        report.accepted()
    assert caught.value.problems == report.problems
    assert caught.value.message.startswith("These settings cannot work (7 problems):\n")
    assert (
        f"{path}:1: cluster_box: 1 [needs-quotes]\n    must be a text, in quotes\n"
        "    would work: cluster_box: bento/ubuntu-24.04"
    ) in str(caught.value)


def test_one_problem_is_counted_as_one() -> None:
    with pytest.raises(SettingsError, match=r"\(1 problem\)"):
        examine({"cluster_name": ""}).accepted()


def test_an_override_is_said_to_be_one(tmp_path: Path) -> None:
    path = tmp_path / "page.yml"
    path.write_text("cluster_name: fine\n")
    problem = only({"cluster_name": "Not Fine"}, read_page(path))
    assert (problem.where, problem.line) == (ELSEWHERE, 0)
    assert problem.works == "cluster_name: slipway"


@pytest.mark.parametrize(
    ("given", "works"),
    [
        ({"cluster_workers": "3"}, """-e '{"cluster_workers": {"count": 2, "cpus": 2, "memory": 6144}}'"""),
        ({"cluster_mirror": "false"}, """-e '{"cluster_mirror": false}'"""),
        ({"cluster_accept_unverified": "true"}, """-e '{"cluster_accept_unverified": false}'"""),
        ({"cluster_provider": "true"}, "cluster_provider: auto"),
        ({"cluster_name": "A"}, "cluster_name: slipway"),
    ],
)
def test_an_override_that_cannot_be_a_text_is_shown_as_json(given: dict[str, Any], works: str) -> None:
    assert only(given).works == works


def test_a_truth_value_in_quotes_on_the_page_loses_them() -> None:
    problem = only({"cluster_mirror": "yes"}, Page(Path("page.yml"), {"cluster_mirror": "yes"}))
    tells(problem, "not-one-of: without quotes")
    assert problem.works == "cluster_mirror: true"


SECRETS: list[tuple[str, str]] = [
    ("cluster_proxy: {http: 'http://me:pw1@proxy:3128', https: '', no_proxy: []}\n", "cluster_proxy.http"),
    ("cluster_ssh_keys: ['-----BEGIN OPENSSH PRIVATE KEY----- pw1']\n", "cluster_ssh_keys[0]"),
    ("cluster_box: $ANSIBLE_VAULT;pw1\n", "cluster_box"),
]


@pytest.mark.parametrize(("text", "key"), SECRETS)
def test_a_secret_on_the_page_is_refused_and_not_shown(tmp_path: Path, text: str, key: str) -> None:
    path = tmp_path / "page.yml"
    path.write_text(text)
    (problem,) = examine_page(path).problems
    assert problem.key == key
    assert problem.id == "secret-on-page"
    assert ("~/.ssh/id_ed25519.pub" if key.startswith("cluster_ssh") else "-e @secrets.yml") in problem.works
    assert "pw1" not in str(problem)


def test_a_proxy_with_a_password_may_come_from_a_vault_file(tmp_path: Path) -> None:
    path = tmp_path / "page.yml"
    path.write_text("cluster_name: lab\n")
    proxy = {"http": "http://me:pw1@proxy:3128", "https": "", "no_proxy": []}
    assert examine({"cluster_proxy": proxy}, read_page(path)).problems == []


@pytest.mark.parametrize(
    ("line", "key", "value", "read", "works"),
    [
        ("cluster_workers: {count: 010, cpus: 2, memory: 2048}", "cluster_workers.count", "010", "8", "count: 10"),
        (
            "cluster_gateway: {address: '', ports: [80, 0443]}",
            "cluster_gateway.ports[1]",
            "0443",
            "291",
            "ports: [80, 443]",
        ),
        (f"cluster_hosts: [{flow({**HOST, 'port': 1})}]", "cluster_hosts[0].port", "0022", "18", "port: 22"),
        (f"cluster_hosts: [{flow({**HOST, 'port': 1})}]", "cluster_hosts[0].port", "22:22", "1342", "port: 22"),
        (f"cluster_hosts: [{flow({**HOST, 'port': 1})}]", "cluster_hosts[0].port", "1:0", "60", "port: 1"),
    ],
)
def test_a_number_that_yaml_reads_as_another_is_refused(
    tmp_path: Path, line: str, key: str, value: str, read: str, works: str
) -> None:
    path = tmp_path / "page.yml"
    path.write_text(line.replace("port: 1}", f"port: {value}}}"))
    (problem,) = examine_page(path).problems
    assert (problem.key, problem.value, problem.line, problem.works) == (key, value, 1, works)
    tells(problem, f"misread-number: {read}")
    path.write_text("cluster_workers: {count: 1_0, cpus: 0x2, memory: +2_048}\n")
    assert examine_page(path).accepted().cluster_workers.memory == 2048


@pytest.mark.parametrize("text", ["{{ lookup('pipe', 'id') }}", "{% if 1 %}x{% endif %}", "a {# b #}"])
@pytest.mark.parametrize("key", ["cluster_ssh_keys[0]", "cluster_hosts[0].key", "cluster_box"])
def test_a_template_on_the_page_is_refused_and_never_worked_out(tmp_path: Path, text: str, key: str) -> None:
    values: dict[str, dict[str, Any]] = {
        "cluster_ssh_keys[0]": {"cluster_ssh_keys": [text]},
        "cluster_hosts[0].key": {"cluster_hosts": [{**HOST, "key": text}]},
        "cluster_box": {"cluster_box": text},
    }
    path = tmp_path / "page.yml"
    path.write_text(yaml.safe_dump(values[key]))
    (problem,) = examine_page(path).problems
    assert problem.key == key
    assert problem.id == ("wrong-form" if key == "cluster_box" else "template-on-page")
    # What comes with -e has been worked out by then.
    assert key == "cluster_box" or examine(values[key]).problems == []


def test_a_check_sees_defaults_where_a_value_is_wrong() -> None:
    seen: list[tuple[str, frozenset[str]]] = []

    def check(settings: Settings, wrong: frozenset[str]) -> Iterator[Fault]:
        seen.append((settings.cluster_name, wrong))
        yield Fault("a-rule", ("cluster_box",), "one", "x")
        yield Fault("a-rule", ("cluster_box",), "one", "x")
        yield Fault("a-rule", ("cluster_hosts", 4, "name"), "two", "y", warning=True)

    report = examine({"cluster_name": "NO"}, check=check)
    assert seen == [("slipway", frozenset({"cluster_name"}))]
    assert [(p.key, p.value) for p in report.problems] == [
        ("cluster_box", "auto"),
        ("cluster_name", '"NO"'),
    ]
    assert [(p.key, p.value) for p in report.warnings] == [("cluster_hosts[4].name", "")]
