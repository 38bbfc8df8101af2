"""What the wiring makes of what was found out about the machines, in Ansible's own templating."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from slipway.artifacts.local import LocalImage, record
from slipway.lab import image as debian
from slipway.node.architecture import of_this_computer
from slipway.page.addresses import balancer_addresses
from slipway.page.model import Settings, System

from tests.support.wiring import ADDRESSES, GROUPS, ROOT, wired

KNOWN_SYSTEMS = yaml.safe_load((ROOT / "roles/host/vars/main.yml").read_text())["__host_known_systems"]
CATALOG = yaml.safe_load((ROOT / "artifacts/catalog.yml").read_text())


def seen(version: str = "", controller: bool = False, ca: str = "", kubelet: str = "") -> dict[str, Any]:
    known = {"version": version, "controller": controller, "ca": ca, "kubelet": kubelet or version}
    return {"slipway_node": {"kubernetes": known}}


@pytest.mark.parametrize(
    "values", [{}, {"cluster_api_endpoint": "192.168.56.95:6443"}, {"cluster_node_cidr": "10.7.0.0/25"}]
)
def test_metallb_gets_the_range_that_was_checked(values: dict[str, Any]) -> None:
    settings = Settings.model_validate({"cluster_metallb_addresses": [], **values})
    assert wired("metallb_addresses", **settings.as_values()) == balancer_addresses(settings)


@pytest.mark.parametrize(("mirrors", "there"), [(["mirror-1"], True), ([], False)])
def test_what_is_built_is_built_for_a_mirror(mirrors: list[str], there: bool) -> None:
    assert wired("artifacts_mirror", groups={**GROUPS, "mirror": mirrors}) is there


@pytest.mark.parametrize(
    ("facts", "versions"),
    [
        ({}, []),
        ({"ctrl": seen(), "node-1": seen()}, []),
        ({"ctrl": seen("1.37.0", True), "ctrl-2": seen("1.37.0", True), "node-1": seen("1.37.0")}, ["1.37.0"]),
        # The controllers decide: a worker with another kubelet is brought back to what they run.
        ({"ctrl": seen("1.37.0", True), "node-1": seen("1.38.0")}, ["1.37.0"]),
        # None of them could be asked.
        ({"node-1": seen("1.37.0")}, ["1.37.0"]),
        # An upgrade was cut off: before the kubelet of the controller, before that of a worker.
        ({"ctrl": seen("1.37.0", True, kubelet="1.36.3"), "node-1": seen("1.37.0")}, ["1.37.0", "1.36.3"]),
        ({"ctrl": seen("1.37.0", True), "node-1": seen("1.36.3")}, ["1.37.0", "1.36.3"]),
        ({"ctrl": seen("1.37.0", True, "new"), "node-1": seen("1.36.3", ca="new")}, ["1.37.0", "1.36.3"]),
        # A worker of another cluster, of which another message tells.
        ({"ctrl": seen("1.37.0", True, "new"), "node-1": seen("1.36.3", ca="old")}, ["1.37.0"]),
    ],
)
def test_the_releases_that_a_cluster_runs(facts: dict[str, dict[str, Any]], versions: list[str]) -> None:
    assert wired("kubelet_running_versions", facts, cluster_kubernetes_version="1.37.0") == versions


@pytest.mark.parametrize(
    ("facts", "ca"),
    [
        ({}, ""),
        ({"ctrl": seen("1.37.0", True, "old")}, "old"),
        # Founded or seen by this very run.
        ({"ctrl": {**seen(), "slipway_joined": True, "slipway_ca": "new"}, "ctrl-2": seen(ca="old")}, "new"),
        ({"ctrl": seen(), "ctrl-2": seen("1.37.0", True, "second")}, "second"),
    ],
)
def test_the_ca_of_the_cluster_is_that_of_a_controller_that_is_in(facts: dict[str, dict[str, Any]], ca: str) -> None:
    assert wired("worker_ca", facts) == ca


@pytest.mark.parametrize(
    ("endpoint", "asked"),
    [
        ("", ""),
        ("192.0.2.50:6443", ""),
        ("lb.example.org:6443", "lb.example.org"),
        # Those that the role itself writes into /etc/hosts.
        ("ctrl:6443", ""),
        ("api.lab.internal", ""),
    ],
)
def test_machines_look_up_an_endpoint_that_is_a_name_of_somebody_elses(endpoint: str, asked: str) -> None:
    page: dict[str, Any] = {"cluster_name": "lab", "cluster_api_endpoint": endpoint, "inventory_hostname": "node-1"}
    assert wired("host_endpoint", **page) == asked


def with_pods(network: str) -> dict[str, Any]:
    return {"slipway_node": {"kubernetes": {"pod_cidr": network}}}


@pytest.mark.parametrize(
    ("others", "kept"),
    [({}, "10.244.2.0/24"), ({"ctrl": with_pods("10.244.2.0/24")}, ""), ({"ctrl": with_pods("")}, "10.244.2.0/24")],
)
def test_a_node_keeps_its_pod_network_unless_another_one_has_it(others: dict[str, Any], kept: str) -> None:
    own = with_pods("10.244.2.0/24")
    assert wired("kubelet_pod_cidr", {"node-1": own, **others}, inventory_hostname="node-1", **own) == kept


@pytest.mark.parametrize(("away", "complete"), [(False, True), (True, False)])
def test_interfaces_are_all_of_them_when_every_machine_was_seen(away: bool, complete: bool) -> None:
    facts: dict[str, dict[str, Any]] = {name: {"slipway_node": {"interface": "eth1"}} for name in ADDRESSES}
    if away:
        facts["node-1"] = {}
    assert wired("metallb_interfaces", facts) == ["eth1"]
    assert wired("metallb_interfaces_complete", facts) is complete


def test_every_node_has_its_address_and_the_mirror_is_none() -> None:
    nodes = {name: address for name, address in ADDRESSES.items() if name != "mirror-1"}
    assert wired("control_plane_nodes") == nodes


@pytest.mark.parametrize(
    ("provider", "mirror", "suites"),
    [
        ("docker", "192.0.2.10", ["bookworm"]),
        ("docker", "", []),
        ("hosts", "192.0.2.10", ["bookworm", "trixie"]),
        ("virtualbox", "", []),
    ],
)
def test_the_bundle_has_packages_for_what_may_stand_behind_its_mirror(
    provider: str, mirror: str, suites: list[str]
) -> None:
    page: dict[str, Any] = {"slipway_provider": provider, "slipway_mirror": mirror, "cluster_systems": {}}
    assert wired("artifacts_suites", **page) == suites


@pytest.fixture(scope="module")
def _plugins() -> None:
    init_plugin_loader()


def facts_of(name: str, architecture: str) -> dict[str, Any]:
    address = f"example.org/{architecture}/{name}"
    return {"version": "1", "address": address, "sha256": "0", "size": 1, "source": "built"}


MIXED = [{"name": "ctrl"}, {"name": "ctrl-2"}, {"name": "node-1", "architecture": "arm64"}, {"name": "mirror-1"}]
TAKEN = {
    "containerd_files": ["containerd", "runc", "cni-plugins"],
    "kubelet_files": ["kubeadm", "kubelet"],
    "flannel_files": ["cni-plugin-flannel"],
    "mirror_files": ["registry"],
}


@pytest.mark.usefixtures("_plugins")
@pytest.mark.parametrize("variable", TAKEN)
@pytest.mark.parametrize(("host", "architecture"), [("ctrl", "amd64"), ("node-1", "arm64"), ("mirror-1", "amd64")])
def test_each_machine_takes_the_files_of_its_own_architecture(variable: str, host: str, architecture: str) -> None:
    every = [name for names in TAKEN.values() for name in names]
    files = {name: facts_of(name, "amd64") for name in every}
    files |= {f"{name}-arm64": facts_of(name, "arm64") for name in every}
    given: dict[str, Any] = {
        "inventory_hostname": host,
        "slipway_provider": "hosts",
        "cluster_architecture": "amd64",
        "cluster_hosts": MIXED,
        "slipway_prefix": "http://mirror/",
        "slipway_bundle": {"id": "0", "files": files},
    }
    found = {one["name"]: one["url"] for one in wired(variable, **given)}
    assert list(found) == TAKEN[variable]
    assert all(url.endswith(f"example.org/{architecture}/{name}") for name, url in found.items())
    assert wired("host_architecture", **given) == architecture
    assert wired("flannel_architecture", **given) == architecture


@pytest.mark.usefixtures("_plugins")
@pytest.mark.parametrize(
    ("provider", "said", "hosts", "architectures"),
    [
        ("hosts", "amd64", MIXED, ["amd64", "arm64"]),
        ("hosts", "arm64", [{"name": "ctrl"}], ["arm64"]),
        ("hosts", "auto", [], [of_this_computer()]),
        # The mirror alone: it needs files, too.
        ("hosts", "amd64", [{"name": "mirror-1", "architecture": "arm64"}], ["amd64", "arm64"]),
        # What is made here is as this computer is; hosts of the page are not used.
        ("docker", "auto", MIXED, [of_this_computer()]),
    ],
)
def test_a_bundle_is_for_the_architectures_of_all_machines(
    provider: str, said: str, hosts: list[dict[str, str]], architectures: list[str]
) -> None:
    page: dict[str, Any] = {"slipway_provider": provider, "cluster_architecture": said, "cluster_hosts": hosts}
    assert wired("artifacts_architectures", **page) == architectures


@pytest.mark.usefixtures("_plugins")
def test_an_image_that_is_loaded_is_for_the_nodes_and_not_for_the_mirror() -> None:
    page: dict[str, Any] = {"slipway_provider": "hosts", "cluster_architecture": "amd64"}
    page["cluster_hosts"] = [{"name": "mirror-1", "architecture": "arm64"}]
    assert wired("slipway_node_architectures", **page) == ["amd64"]
    assert wired("slipway_architecture_here", **page) == of_this_computer()


@pytest.mark.usefixtures("_plugins")
@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_the_plugin_of_flannel_is_taken_by_the_name_that_it_has_for_the_machine(architecture: str) -> None:
    loader = DataLoader()
    variables = {
        **loader.load_from_file(str(ROOT / "roles/flannel/vars/main.yml"), trusted_as_template=True),
        "flannel_architecture": architecture,
    }
    (place,) = (
        Templar(loader=loader, variables=variables).template(trust_as_template("{{ __flannel_places }}")).values()
    )
    name = f"flannel-{architecture}"
    assert place == {"dest": "/opt/cni/bin", "archive": True, "only": [name], "rename": {name: "flannel"}}


def test_the_bundle_has_packages_for_the_systems_of_container_nodes() -> None:
    page: dict[str, Any] = {"slipway_provider": "docker", "slipway_mirror": "192.0.2.10"}
    systems = {"node-1": "debian-12", "node-2": "debian-13", "node-3": "debian-13"}
    assert wired("artifacts_suites", cluster_systems=systems, **page) == ["bookworm", "trixie"]
    assert wired("slipway_suites") == debian.SUITES
    assert set(debian.SUITES) == set(get_args(System))
    assert {name.replace("-", " ") for name in debian.SUITES} == set(KNOWN_SYSTEMS)
    assert set(debian.SUITES.values()) <= set(CATALOG["packages"]["suites"])


PARTS = {"metallb": True, "istio": True, "storage": False}
NO_API: dict[str, Any] = {"cluster_gateway_api": False, "cluster_backup": {"schedule": ""}}


@pytest.mark.usefixtures("_plugins")
def test_a_listed_release_brings_its_images_and_its_names() -> None:
    page: dict[str, Any] = {"cluster_name": "lab", "cluster_parts": PARTS, "slipway_state": "/nowhere", **NO_API}
    page["cluster_gateway"] = {"address": "192.0.2.92"}
    base = ["kubernetes", "flannel", "mirror", "tools", "metallb", "istio"]
    named = ["*.lab.local", "lab.local", "192.0.2.92"]
    assert wired("artifacts_parts", cluster_releases=[], **page) == base
    assert wired("istio_hosts", cluster_releases=[], **page) == named
    listed = ["releases/hello.yml"]
    assert wired("artifacts_parts", cluster_releases=listed, **page) == [*base, "apps"]
    assert wired("istio_hosts", cluster_releases=listed, **page) == [*named, "hello.local"]


@pytest.mark.usefixtures("_plugins")
def test_what_a_cluster_runs_stays_in_its_bundle_though_the_page_has_it_no_more(tmp_path: Path) -> None:
    page: dict[str, Any] = {
        "cluster_parts": {**PARTS, "istio": False},
        **NO_API,
        "cluster_releases": [],
        "cluster_backup": {"schedule": ""},
        "slipway_state": str(tmp_path),
        "slipway_images": {name: {} for name in ("istio-pilot", "app-model", "etcd", "from-an-older-catalog")},
    }
    base = ["kubernetes", "flannel", "mirror", "tools", "metallb"]
    assert wired("artifacts_parts", **page) == base
    (tmp_path / "founded.json").touch()
    assert wired("artifacts_parts", **page) == [*base, "apps", "istio"]


@pytest.mark.usefixtures("_plugins")
def test_a_console_is_on_where_the_bundle_has_it_and_has_a_host_where_there_is_a_gateway() -> None:
    bundle: dict[str, Any] = {"id": "0", "images": {"zipkin": {}}, "missing": [{"name": "kiali", "reason": "no"}]}
    page: dict[str, Any] = {
        "cluster_name": "lab",
        "cluster_dns_domain": "cluster.local",
        "cluster_parts": {"istio": True, "kiali": True, "tracing": True, "headlamp": False},
        "slipway_bundle": bundle,
    }
    assert wired("slipway_consoles", **page) == ["tracing"]
    assert "kiali (the bundle has no kiali: no)" in wired("slipway_consoles_left_out", **page)
    assert wired("istio_console_hosts", **page) == ["tracing.lab.local"]
    assert wired("istio_zipkin", **page) == "zipkin.tracing.svc.cluster.local:9411"
    assert (wired("tracing_host", **page), wired("kiali_host", **page)) == ("tracing.lab.local", "")
    # As shipped, and where there is no gateway.
    off = {**page, "cluster_parts": {"istio": True}}
    assert [wired(name, **off) for name in ("slipway_consoles", "istio_console_hosts", "istio_zipkin")] == [[], [], ""]
    assert wired("slipway_consoles_left_out", **off) == ""
    alone = {**page, "cluster_parts": {"istio": False, "tracing": True}}
    assert wired("istio_console_hosts", **alone) == []


def test_a_release_knows_the_images_of_the_bundle(tmp_path: Path) -> None:
    # A cluster that another machine has made.
    assert wired("release_images", slipway_state=str(tmp_path)) == []
    assert wired("release_alertmanager_image", slipway_state=str(tmp_path)) == ""
    image = {"name": "quay.io/prometheus/alertmanager", "tag": "v0", "digest": "sha256:1", "source": "built"}
    (tmp_path / "bundle.json").write_text(json.dumps({"images": {"alertmanager": image}}))
    assert wired("release_images", slipway_state=str(tmp_path)) == [
        "quay.io/prometheus/alertmanager:v0",
        "quay.io/prometheus/alertmanager@sha256:1",
    ]
    assert wired("release_alertmanager_image", slipway_state=str(tmp_path)) == "quay.io/prometheus/alertmanager:v0"


@pytest.mark.usefixtures("_plugins")
def test_an_image_that_was_loaded_is_on_the_mirror_and_nodes_ask_for_it_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    bundle: dict[str, Any] = {
        "id": "0",
        "images": {"a": {"name": "quay.io/a", "tag": "1", "digest": "sha256:1", "source": "built"}},
    }
    given: dict[str, Any] = {"slipway_state": str(tmp_path), "slipway_bundle": bundle}
    (tmp_path / "bundle.json").write_text("{}")
    assert wired("containerd_registries", **given) == ["quay.io"]
    assert wired("mirror_images", **given) == []
    record(tmp_path, LocalImage(name="example.org/web", tag="dev", digest="sha256:2", blobs=["sha256:3"]))
    for name in ("2", "3"):
        (tmp_path / "cache/images/2").mkdir(parents=True, exist_ok=True)
        (tmp_path / "cache/images/2" / name).touch()
    assert wired("containerd_registries", **given) == ["example.org", "quay.io"]
    assert [image["name"] for image in wired("mirror_images", **given)] == ["example.org/web"]
    assert wired("release_images", **given) == [
        "quay.io/a:1", "quay.io/a@sha256:1", "example.org/web:dev", "example.org/web@sha256:2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "pages"),
    [
        ({"cluster_releases": []}, ["releases/sms-checker.yml"]),
        ({"cluster_releases": ["a.yml", "b.yml"]}, ["a.yml", "b.yml"]),
        ({"cluster_releases": ["a.yml", "b.yml"], "release": "c.yml"}, ["c.yml"]),
    ],
)
def test_the_release_that_is_named_goes_before_those_of_the_page(given: dict[str, Any], pages: list[str]) -> None:
    assert wired("slipway_releases", **given) == pages
    assert wired("release_page", **given) == pages[0]


@pytest.mark.parametrize(
    ("endpoint", "host", "port"),
    [
        ("", "api.lab.internal", 6443),
        ("192.0.2.50", "192.0.2.50", 6443),
        ("lb.example.org:7443", "lb.example.org", 7443),
    ],
)
def test_the_endpoint_has_a_port_whatever_the_page_says(endpoint: str, host: str, port: int) -> None:
    page: dict[str, Any] = {"cluster_name": "lab", "cluster_api_endpoint": endpoint}
    page["cluster_node_cidr"] = "192.0.2.0/24"
    assert wired("slipway_api_endpoint", **page) == f"{host}:{port}"
    assert wired("slipway_api_host", **page) == host
    assert wired("slipway_kubernetes_api", slipway_state="/s", **page) == {"kubeconfig": "/s/kubeconfig"}


@pytest.mark.parametrize(
    ("joined", "speakers", "away"),
    [
        # A playbook of a part alone: nothing is known, and nobody is said to be away.
        ({}, 0, 0),
        ({"ctrl": True, "ctrl-2": True, "node-1": True}, 3, 0),
        ({"ctrl": True, "ctrl-2": True}, 2, 1),
        ({"ctrl": True, "ctrl-2": True, "node-1": False}, 2, 1),
        ({"ctrl": True, "node-1": True}, 2, 0),
    ],
)
def test_what_a_node_that_is_away_is_not_waited_for(joined: dict[str, bool], speakers: int, away: int) -> None:
    facts = {name: {"slipway_joined": value} for name, value in joined.items()}
    assert wired("metallb_speakers", facts) == speakers
    assert wired("istio_nodes_away", facts) == away


@pytest.mark.parametrize(
    ("provider", "roles", "made"),
    [
        ("hosts", {"ctrl": "controller", "node-1": "worker", "mirror-1": "mirror"}, ["", "", ""]),
        # Machines that Slipway makes are fit for what they are made for.
        ("docker", {"ctrl": "", "node-1": "", "mirror-1": ""}, ["controller", "worker", ""]),
    ],
)
def test_hosts_are_asked_whether_they_are_fit(provider: str, roles: dict[str, str], made: list[str]) -> None:
    assert {name: wired("host_role", slipway_provider=provider, inventory_hostname=name) for name in roles} == roles
    assert [wired("host_made_for", slipway_provider=provider, inventory_hostname=name) for name in roles] == made


def test_machines_are_looked_at_right_after_the_settings_and_hosts_are_asked_more() -> None:
    site = [play["import_playbook"] for play in yaml.safe_load((ROOT / "playbooks/site.yml").read_text())]
    assert site[:3] == ["phases/validate.yml", "phases/contact.yml", "phases/artifacts.yml"]
    look, more = yaml.safe_load((ROOT / "playbooks/phases/contact.yml").read_text())[0]["tasks"]
    assert "when" not in look
    assert more["when"] == "slipway_provider == 'hosts'"


PAGE: dict[str, Any] = {"cluster_name": "lab", "cluster_api_endpoint": ""}


def test_machines_know_each_other_by_name_and_the_controllers_by_that_of_the_api_too() -> None:
    controllers = [("192.0.2.100", "ctrl"), ("192.0.2.12", "ctrl-2")]
    assert wired("host_machines", inventory_hostname="mirror-1", **PAGE) == [
        *({"address": address, "names": [name, "api.lab.internal"]} for address, name in controllers),
        {"address": "192.0.2.10", "names": ["mirror-1"]},
    ]
    # Controllers know the workers, and a worker knows no other one.
    worker_1 = {"address": "192.0.2.101", "names": ["node-1"]}
    assert worker_1 in wired("host_machines", inventory_hostname="ctrl", **PAGE)
    assert worker_1 in wired("host_machines", inventory_hostname="node-1", **PAGE)
    several = {"controllers": ["ctrl"], "workers": ["node-1", "ctrl-2"]}
    assert worker_1 not in wired("host_machines", inventory_hostname="ctrl-2", groups=several, **PAGE)
    # A controller asks itself first, and a worker its own balancer, where there are several.
    second = wired("host_machines", inventory_hostname="ctrl-2", **PAGE)
    assert [one["address"] for one in second if "api.lab.internal" in one["names"]] == ["192.0.2.12", "192.0.2.100"]
    worker = {"inventory_hostname": "node-1", **PAGE}
    assert wired("host_api_servers", **worker) == {"ctrl": "192.0.2.100", "ctrl-2": "192.0.2.12"}
    assert wired("host_api_servers", inventory_hostname="ctrl-2", **PAGE) == wired("host_api_servers", **worker)
    balanced = wired("host_machines", **worker)
    assert [one["address"] for one in balanced if "api.lab.internal" in one["names"]] == ["127.0.0.1"]
    assert {"address": "192.0.2.12", "names": ["ctrl-2"]} in balanced
    # With one controller, or an endpoint of the user's, there is nothing to balance.
    assert wired("host_api_servers", groups={"controllers": ["ctrl"], "workers": ["node-1"]}, **worker) == {}
    assert wired("host_api_servers", **{**worker, "cluster_api_endpoint": "api.example.org"}) == {}
    # A host may be both, and there may be neither workers nor a mirror.
    both = {"controllers": ["ctrl"], "mirror": ["ctrl"]}
    assert wired("host_machines", inventory_hostname="ctrl", groups=both, **PAGE) == [
        {"address": "192.0.2.100", "names": ["ctrl", "api.lab.internal"]}
    ]


@pytest.mark.usefixtures("_plugins")
def test_packages_come_from_the_mirror_and_on_the_mirror_from_its_disk() -> None:
    packages = {suite: {"path": f"apt/{suite}", "names": [], "sha256": ""} for suite in ("bookworm", "trixie")}
    bundle = {"id": "0", "packages": packages}
    given: dict[str, Any] = {"slipway_bundle": bundle, "inventory_hostname": "node-1"}
    assert wired("host_apt_repositories", **given) == {
        "bookworm": "http://192.0.2.10/apt/bookworm/",
        "trixie": "http://192.0.2.10/apt/trixie/",
    }
    given["inventory_hostname"] = "mirror-1"
    assert wired("host_apt_repositories", **given)["trixie"] == "file:///srv/slipway/bundles/0/apt/trixie/"
    assert wired("host_apt_repositories", groups={**GROUPS, "mirror": []}, **given) == {}


@pytest.mark.parametrize(
    ("facts", "known", "expected"),
    [
        # A playbook of a part alone: nothing was looked at, and all are expected.
        ({}, [], ["ctrl", "ctrl-2", "node-1"]),
        ({"ctrl": {"joined": True}, "ctrl-2": {"joined": True}, "node-1": {}}, ["ctrl", "ctrl-2"], ["ctrl", "ctrl-2"]),
        # One that this run has joined, and one that could not be looked at.
        ({"ctrl": {"joined": True}, "node-1": {"now": True}}, ["ctrl", "node-1"], ["ctrl", "node-1"]),
        # Still in a cluster of before.
        (
            {"ctrl": {"joined": True, "ca": "new"}, "node-1": {"joined": True, "ca": "old"}},
            ["ctrl", "node-1"],
            ["ctrl"],
        ),
        # While the CA is replaced.
        (
            {"ctrl": {"joined": True, "ca": "new"}, "node-1": {"joined": True, "ca": "old", "cas": ["new", "old"]}},
            ["ctrl", "node-1"],
            ["ctrl", "node-1"],
        ),
    ],
)
def test_nodes_that_are_in_are_expected_to_be_ready(
    facts: dict[str, dict[str, Any]], known: list[str], expected: list[str]
) -> None:
    found = {}
    for name, fact in facts.items():
        node = {"joined": fact.get("joined", False), "controller": name != "node-1", "ca": fact.get("ca", "")}
        node["cas"] = fact.get("cas", [])
        found[name] = {"slipway_node": {"kubernetes": node}, **({"slipway_joined": True} if "now" in fact else {})}
    assert wired("slipway_seen", found) == known
    assert wired("slipway_nodes_expected", found) == expected
    groups = {"controllers": GROUPS["controllers"]}
    assert wired("slipway_nodes_expected", found, groups=groups) == [n for n in expected if n != "node-1"]


@pytest.mark.usefixtures("_plugins")
def test_the_network_of_the_pods_is_in_the_bundle_and_gets_what_it_needs() -> None:
    given: dict[str, Any] = {
        "cluster_name": "lab",
        "cluster_api_endpoint": "",
        "cluster_pod_cidr": "10.244.0.0/16",
        "cluster_parts": {},
        **NO_API,
        "cluster_releases": [],
        "slipway_state": "/nowhere",
        "slipway_bundle": {
            "images": {"flannel": {"name": "ghcr.io/flannel", "tag": "v1", "digest": "", "source": "built"}}
        },
        "slipway_node": {"kubernetes": {"joined": True}},
    }
    assert wired("artifacts_parts", **given) == ["kubernetes", "flannel", "mirror", "tools"]
    node = {**given, "inventory_hostname": "node-1"}
    assert wired("host_network_modules", **node) == ["vxlan"]
    assert list(wired("host_network_sysctls", **node)) == ["net.ipv4.ip_forward", "net.bridge.bridge-nf-call-iptables"]
    mirror = {**given, "inventory_hostname": "mirror-1"}
    assert (wired("host_network_modules", **mirror), wired("host_network_sysctls", **mirror)) == ([], {})
    assert wired("flannel_image", **given) == "ghcr.io/flannel:v1"
    assert wired("flannel_running", **given) is True
    assert wired("flannel_cni_folder", **given) == "/etc/cni/slipway.d"
    assert wired("flannel_api_endpoint", **given) == "api.lab.internal:6443"
