"""The model of the page explains each key, takes good values, and refuses bad ones and unknown keys by name."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from slipway.page.examine import examine, examine_page
from slipway.page.form import ELSEWHERE, map_of
from slipway.page.model import PAGE, Settings, address_range, field_at, works
from slipway.page.read import Page, read_page

from tests.support.errors import tells
from tests.support.kubernetes import SHIPPED as KUBERNETES
from tests.support.settings import HOST, only


def fields(model: type[BaseModel] = Settings, above: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        yield f"{above}{name}", field
        inner = map_of(field)
        if inner:
            yield from fields(inner, f"{above}{name}.")


# It is the shipped page's, and no default: it needs a mirror, which not everybody has.
SHIPPED = ["releases/sms-checker.yml"]


def test_the_page_as_shipped_is_valid_and_holds_the_defaults() -> None:
    assert examine_page(PAGE).accepted() == Settings(cluster_releases=SHIPPED)
    assert list(read_page(PAGE).values) == list(Settings.model_fields)


def test_the_page_names_its_schema_on_the_first_line() -> None:
    first = PAGE.read_text(encoding="utf-8").splitlines()[0]
    prefix = "# yaml-language-server: $schema="
    assert first.startswith(prefix)
    assert (PAGE.parent / first.removeprefix(prefix)).is_file()


def test_every_key_of_the_page_has_a_comment_above_it() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    bare = [line for before, line in itertools.pairwise(lines) if line[:1].isalpha() and not before.startswith("# ")]
    assert bare == []


@pytest.mark.parametrize("field", [field for _, field in fields()], ids=[name for name, _ in fields()])
def test_every_key_says_what_it_does_and_shows_an_example(field: FieldInfo) -> None:
    assert field.description
    assert field.description.endswith(".")
    assert field.examples
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    if field.annotation is int:
        assert extra["x-unit"]
    if "pattern" in str(field.metadata):
        assert str(extra["patternErrorMessage"]).startswith("must ")


@pytest.mark.parametrize(("name", "field"), [(n, f) for n, f in fields() if "." not in n])
def test_every_example_is_valid(name: str, field: FieldInfo) -> None:
    for example in field.examples or []:
        assert examine({name: example}).problems == []


def test_no_values_give_the_defaults() -> None:
    assert examine({}).accepted() == Settings()


def test_every_key_must_be_set_where_completeness_is_asked_for() -> None:
    given = Settings().as_values()
    del given["cluster_mirror"]
    (problem,) = examine(given, complete=True).problems
    assert (problem.key, problem.id) == ("cluster_mirror", "missing-key")
    assert problem.works == "cluster_mirror: auto"


def test_settings_are_given_back_as_plain_values() -> None:
    assert Settings(cluster_releases=SHIPPED).as_values() == yaml.safe_load(PAGE.read_text(encoding="utf-8"))


GOOD: list[dict[str, Any]] = [
    {"cluster_dns_domain": f"{'a' * 63}.local"},
    {"cluster_hosts": [{**HOST, "name": name} for name in ("local", "mirror-1", "a" * 63)]},
    {"cluster_name": "a"},
    {"cluster_provider": "libvirt"},
    {"cluster_controllers": {"count": 3, "cpus": 2, "memory": 1700}},
    {"cluster_workers": {"count": 0, "cpus": 1, "memory": 700}},
    {"cluster_hosts": [HOST, {**HOST, "user": "me", "port": 2222, "key": "~/.ssh/id"}]},
    {"cluster_metallb_addresses": ["192.168.56.80/30", "192.168.56.90 - 192.168.56.99"]},
    {"cluster_api_endpoint": "api.example.org"},
    {"cluster_api_endpoint": "192.168.56.50:6443"},
    {"cluster_hosts": [{**HOST, "architecture": "arm64"}], "cluster_architecture": "amd64"},
    {"cluster_mirror": True},
    {"cluster_mirror": False},
    {"cluster_box": "debian/bookworm64"},
    {"cluster_systems": {"node-1": "debian-12", "node-2": "debian-13"}},
    {"cluster_proxy": {"http": "http://p:3128", "https": "", "no_proxy": ["10.0.0.0/8", ".lan"]}},
    {"cluster_ssh_keys": ["ssh-ed25519 AAAA me"]},
]


@pytest.mark.parametrize("values", GOOD)
def test_good_values_are_taken(values: dict[str, Any]) -> None:
    assert examine(values).problems == []


# values, key, part of the message, part of what would work
BAD: list[tuple[dict[str, Any], str, str, str]] = [
    (
        {"cluster_architecture": "x86_64"},
        "cluster_architecture",
        "not-one-of: auto, amd64, arm64",
        "cluster_architecture: auto",
    ),
    (
        {"cluster_hosts": [{**HOST, "architecture": "aarch64"}]},
        "cluster_hosts[0].architecture",
        "not-one-of: auto, amd64, arm64",
        "architecture: arm64",
    ),
    (
        {"cluster_systems": {"node-2": "fedora"}},
        "cluster_systems.node-2",
        "not-one-of: debian-12, debian-13, u",
        "debian-13",
    ),
    (
        {"cluster_workers": {"count": 10**9, "cpus": 2, "memory": 2048}},
        "cluster_workers.count",
        "too-large: 5000",
        "count: 2",
    ),
    (
        {"cluster_controllers": {"count": 10**7, "cpus": 2, "memory": 2048}},
        "cluster_controllers.count",
        "too-large: 5000",
        "count: 1",
    ),
    (
        {"cluster_hosts": [HOST] * 5001},
        "cluster_hosts",
        "too-long: 5000",
        "cluster_hosts: [",
    ),
    ({"cluster_dns_domain": f"{'a' * 64}.local"}, "cluster_dns_domain", "wrong-form: 63", "cluster.local"),
    ({"cluster_dns_domain": ".".join(["a" * 63] * 4)}, "cluster_dns_domain", "too-long: 253", "cluster.local"),
    ({"cluster_api_endpoint": f"a.{'b' * 64}:6443"}, "cluster_api_endpoint", "wrong-form: 63", "6443"),
    *(
        ({"cluster_hosts": [{**HOST, "name": name}]}, "cluster_hosts[0].name", "reserved-name", f"name: {good}")
        for name, good in {
            "localhost": "localhost-1",
            "all": "all-1",
            "ungrouped": "ungrouped-1",
            "nodes": "nodes-1",
            "controllers": "controllers-1",
            "workers": "workers-1",
            "mirror": "mirror-1",
        }.items()
    ),
    ({"cluster_name": "My Lab"}, "cluster_name", "wrong-form", "cluster_name: slipway"),
    ({"cluster_name": "-a"}, "cluster_name", "wrong-form", "slipway"),
    ({"cluster_name": "a\n"}, "cluster_name", "wrong-form", "slipway"),
    ({"cluster_name": "a" * 33}, "cluster_name", "too-long: 32", "slipway"),
    ({"cluster_name": 7}, "cluster_name", "needs-quotes", "slipway"),
    ({"cluster_name": None}, "cluster_name", "wrong-type", "slipway"),
    (
        {"cluster_provider": "vmware"},
        "cluster_provider",
        "not-one-of: auto, virtualbox, libvirt, docker, hosts",
        "auto",
    ),
    (
        {"cluster_controllers": {"count": 0, "cpus": 2, "memory": 4096}},
        "cluster_controllers.count",
        "too-small: 1",
        "count: 1",
    ),
    (
        {"cluster_controllers": {"count": 1, "cpus": 1, "memory": 4096}},
        "cluster_controllers.cpus",
        "too-small: 2",
        "cpus: 2",
    ),
    (
        {"cluster_controllers": {"count": 1, "cpus": 2, "memory": 1699}},
        "cluster_controllers.memory",
        "too-small: 1700",
        "memory: 4096",
    ),
    (
        {"cluster_workers": {"count": 2, "cpus": 2, "memory": 699}},
        "cluster_workers.memory",
        "too-small: 700",
        "memory: 6144",
    ),
    (
        {"cluster_workers": {"count": "2", "cpus": 2, "memory": 700}},
        "cluster_workers.count",
        "wrong-type",
        "count: 2",
    ),
    (
        {"cluster_workers": {"count": 1.5, "cpus": 2, "memory": 700}},
        "cluster_workers.count",
        "wrong-type",
        "count: 2",
    ),
    (
        {"cluster_workers": {"count": True, "cpus": 2, "memory": 700}},
        "cluster_workers.count",
        "wrong-type",
        "count: 2",
    ),
    ({"cluster_workers": {"count": -1, "cpus": 2, "memory": 700}}, "cluster_workers.count", "too-small: 0", "count: 2"),
    (
        {"cluster_workers": {"count": 2, "cpus": 2}},
        "cluster_workers.memory",
        "missing-key",
        "memory: 6144",
    ),
    ({"cluster_workers": 3}, "cluster_workers", "wrong-type: count, cpus, memory", "count: 2"),
    ({"cluster_hosts": HOST}, "cluster_hosts", "wrong-type", "address: 192"),
    (
        {"cluster_hosts": ["ctrl"]},
        "cluster_hosts[0]",
        "wrong-type: name, address, role",
        "address: 192.168.56.100",
    ),
    ({"cluster_hosts": [{**HOST, "name": "Node"}]}, "cluster_hosts[0].name", "wrong-form", "name: node-1"),
    (
        {"cluster_hosts": [{**HOST, "address": "node.lan"}]},
        "cluster_hosts[0].address",
        "not-an-address",
        "address: 192",
    ),
    (
        {"cluster_hosts": [{**HOST, "address": "fe80::1"}]},
        "cluster_hosts[0].address",
        "not-an-address",
        "address: 192",
    ),
    ({"cluster_hosts": [{**HOST, "port": 70000}]}, "cluster_hosts[0].port", "too-large: 65535", "port: 22"),
    (
        {"cluster_hosts": [{**HOST, "role": "etcd"}]},
        "cluster_hosts[0].role",
        "not-one-of: controller, worker, mirror",
        "role: worker",
    ),
    ({"cluster_hosts": [{**HOST, "user": "a b"}]}, "cluster_hosts[0].user", "wrong-form", "user: debian"),
    ({"cluster_hosts": [{"name": "a", "role": "worker"}]}, "cluster_hosts[0].address", "missing-key", "address: 192"),
    ({"cluster_node_cidr": "192.168.56.7/24"}, "cluster_node_cidr", "host-bits-set: 192.168.56.0/24", "/24"),
    ({"cluster_node_cidr": "192.168.56.0"}, "cluster_node_cidr", "not-a-network", "/24"),
    ({"cluster_node_cidr": "fd00::/64"}, "cluster_node_cidr", "not-a-network", "/24"),
    (
        {"cluster_pod_cidr": "10.244.0.0/255.255.0.0"},
        "cluster_pod_cidr",
        "not-a-network: 10.244.0.0/16",
        "10.244.0.0/16",
    ),
    (
        {"cluster_metallb_addresses": ["192.168.56.92"]},
        "cluster_metallb_addresses[0]",
        "not-a-network: 192.168.56.92/32",
        "192.168.56.90-192.168.56.99",
    ),
    ({"cluster_pod_cidr": "10.244.0.0/33"}, "cluster_pod_cidr", "not-a-network", "10.244.0.0/16"),
    ({"cluster_service_cidr": "ten"}, "cluster_service_cidr", "not-a-network", "10.96.0.0/12"),
    ({"cluster_dns_domain": "Cluster.Local"}, "cluster_dns_domain", "wrong-form", "cluster.local"),
    (
        {"cluster_gateway": {"address": "", "ports": []}},
        "cluster_gateway.ports",
        "empty-value",
        "[80, 443, 8080]",
    ),
    ({"cluster_metallb_addresses": "a-b"}, "cluster_metallb_addresses", "wrong-type", "[192.168.56.90"),
    (
        {"cluster_metallb_addresses": ["1.2.3.4-x"]},
        "cluster_metallb_addresses[0]",
        "not-a-range",
        "[192.168.56.90",
    ),
    (
        {"cluster_metallb_addresses": ["1.2.3.4/8"]},
        "cluster_metallb_addresses[0]",
        "not-a-range",
        "[192.168.56.90",
    ),
    (
        {"cluster_metallb_addresses": ["192.168.56.99-192.168.56.90"]},
        "cluster_metallb_addresses[0]",
        "not-a-range: 192.168.56.99",
        "[192.168.56.90",
    ),
    (
        {"cluster_api_endpoint": "https://api:6443"},
        "cluster_api_endpoint",
        "wrong-form",
        "192.168.56.50:6443",
    ),
    ({"cluster_api_endpoint": "api:0"}, "cluster_api_endpoint", "wrong-form", "192.168.56.50:6443"),
    ({"cluster_kubernetes_version": 1.37}, "cluster_kubernetes_version", "needs-quotes", KUBERNETES),
    ({"cluster_kubernetes_version": "v1.37.0"}, "cluster_kubernetes_version", "wrong-form", KUBERNETES),
    ({"cluster_kubernetes_version": "1.37"}, "cluster_kubernetes_version", "wrong-form", KUBERNETES),
    ({"cluster_artifacts_from": "internet"}, "cluster_artifacts_from", "not-one-of: auto, upstream, source", "auto"),
    ({"cluster_accept_unverified": 1}, "cluster_accept_unverified", "wrong-type", "false"),
    ({"cluster_mirror": "maybe"}, "cluster_mirror", "not-one-of: auto, true, false", "auto"),
    ({"cluster_mirror": ["auto"]}, "cluster_mirror", "not-one-of: auto, true, false", "auto"),
    ({"cluster_mirror": 1}, "cluster_mirror", "not-one-of: auto, true, false", "auto"),
    (
        {"cluster_systems": {"node-2": "debian-11"}},
        "cluster_systems.node-2",
        "not-one-of: debian-12, debian-13",
        "debian-13",
    ),
    ({"cluster_systems": ["debian-13"]}, "cluster_systems", "wrong-type", "node-2: debian-13"),
    ({"cluster_box": "{{ box }}"}, "cluster_box", "wrong-form", "bento/ubuntu-24.04"),
    (
        {"cluster_proxy": {"http": "proxy:3128", "https": "", "no_proxy": []}},
        "cluster_proxy.http",
        "wrong-form",
        "http: http://proxy.example.org:3128",
    ),
    (
        {"cluster_proxy": {"http": "", "https": "", "no_proxy": ["a, b"]}},
        "cluster_proxy.no_proxy[0]",
        "wrong-form",
        "no_proxy: [example.org]",
    ),
    ({"cluster_proxy": {"http": "", "https": ""}}, "cluster_proxy.no_proxy", "missing-key", "no_proxy: [example.org]"),
    ({"cluster_ssh_keys": "~/.ssh/id.pub"}, "cluster_ssh_keys", "wrong-type", "[~/.ssh/id_ed25519.pub]"),
    ({"cluster_ssh_keys": [1]}, "cluster_ssh_keys[0]", "needs-quotes", "[~/.ssh/id_ed25519.pub]"),
]


@pytest.mark.parametrize(("values", "key", "what", "good"), BAD)
def test_bad_values_are_refused_by_name(values: dict[str, Any], key: str, what: str, good: str) -> None:
    page = Page(Path("page.yml"), values, {(name,): 7 for name in values})
    problem = only(values, page)
    assert problem.key == key
    tells(problem, what)
    assert good in problem.works
    assert problem.where.endswith("page.yml:7")


# unknown key, the nearest one
UNKNOWN: list[tuple[dict[str, Any], str, str, str]] = [
    ({"cluster_worker": 1}, "cluster_worker", "unknown-key: cluster_workers", "cluster_workers: {count: 2"),
    ({"cluster_pods_cidr": 1}, "cluster_pods_cidr", "unknown-key: cluster_pod_cidr", "10.244.0.0/16"),
    ({"workers": 1}, "workers", "unknown-key: cluster_workers", "cluster_workers"),
    ({"cluster_zzzzzz": 1}, "cluster_zzzzzz", "unknown-key", "one of cluster_name, cluster_provider"),
    ({"kubelet_max_pods": 1}, "kubelet_max_pods", "unknown-key", "group_vars/all/"),
    (
        {"cluster_workers": {"count": 1, "cpus": 1, "memory": 700, "memry": 1}},
        "cluster_workers.memry",
        "unknown-key",
        "memory: 6144",
    ),
    (
        {"cluster_proxy": {"http": "", "https": "", "no_proxy": [], "no": []}},
        "cluster_proxy.no",
        "unknown-key: no_proxy",
        "no_proxy: [",
    ),
    ({"cluster_hosts": [{**HOST, "adress": "x"}]}, "cluster_hosts[0].adress", "unknown-key", "address: 192"),
    ({"cluster_hosts": [{**HOST, "zz": "x"}]}, "cluster_hosts[0].zz", "unknown-key", "one of name, address, role"),
    (
        {"cluster_hosts": [{**HOST, "password": "pw1"}]},
        "cluster_hosts[0].password",
        "secret-on-page",
        "-e @secrets.yml",
    ),
    ({"cluster_api_token": "pw1"}, "cluster_api_token", "secret-on-page", "-e @secrets.yml"),
]


@pytest.mark.parametrize(("values", "key", "what", "good"), UNKNOWN)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(
    values: dict[str, Any], key: str, what: str, good: str
) -> None:
    problem = only(values)
    assert problem.key == key
    tells(problem, what)
    assert good in problem.works
    assert "pw1" not in str(problem)


def test_the_provider_of_the_command_line_wins(tmp_path: Path) -> None:
    path = tmp_path / "page.yml"
    path.write_text("cluster_provider: hosts\n")
    assert examine_page(path, provider="docker").accepted().cluster_provider == "docker"
    (problem,) = examine_page(path, provider="qemu").problems
    assert problem.where == ELSEWHERE


def test_a_host_is_reached_by_port_22_as_sshs_own_choice() -> None:
    (host,) = examine({"cluster_hosts": [HOST]}).accepted().cluster_hosts
    assert (host.port, host.user, host.key) == (22, "", "")
    for port in (1, 65535):
        assert examine({"cluster_hosts": [{**HOST, "port": port, "name": "n" * 63}]}).problems == []
    assert [p.key for p in examine({"cluster_hosts": [{**HOST, "port": 0, "name": "n" * 64}]}).problems] == [
        "cluster_hosts[0].name",
        "cluster_hosts[0].port",
    ]


class Tagged(str):
    """A text like Ansible's own: a subclass."""

    __slots__ = ()


def test_ansibles_texts_and_numbers_are_taken_as_what_they_are() -> None:
    given = {"cluster_name": Tagged("lab"), "cluster_ssh_keys": (Tagged("a"),)}
    settings = examine(given).accepted()
    assert type(settings.cluster_name) is str
    assert settings.cluster_ssh_keys == ["a"]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [("10.0.0.0/30", "10.0.0.0", "10.0.0.3"), ("10.0.0.5-10.0.0.5", "10.0.0.5", "10.0.0.5")],
)
def test_a_range_has_a_first_and_a_last_address(text: str, first: str, last: str) -> None:
    assert tuple(map(str, address_range(text))) == (first, last)


def test_a_line_that_works_can_be_written_for_any_key() -> None:
    assert works(("cluster_hosts", 0, "port")) == "port: 22"
    assert works(("cluster_name",), "x") == "cluster_name: x"
    assert works(("cluster_nothing",)) == "cluster_nothing: null"
    assert field_at(("cluster_name", "deeper")) is None
