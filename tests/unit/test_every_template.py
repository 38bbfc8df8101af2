"""Every template of a role renders for every example of the page, with the wiring and the role's own defaults.

Templates of a release are rendered by its planner, for every example release: here is only that none is left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from slipway.artifacts.catalog import Folder
from slipway.artifacts.manifest import FileFacts, ImageFacts, Manifest, PackageFacts
from slipway.artifacts.plan import BundleSettings, wanted
from slipway.page.machines import members
from slipway.page.model import Settings

ROOT = Path(__file__).parents[2]
HOST = {"address": "192.168.56.21", "role": "controller"}
EXAMPLES: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "three controllers": {
        "cluster_controllers": {"count": 3, "cpus": 2, "memory": 2048},
        "cluster_api_endpoint": "api.example.org:6443",
    },
    "one machine": {"cluster_workers": {"count": 0, "cpus": 1, "memory": 700}},
    "two systems": {"cluster_provider": "docker", "cluster_systems": {"node-2": "debian-13"}},
    "proxy": {"cluster_proxy": {"http": "http://p:3128", "https": "http://me:pw@p:3128", "no_proxy": [".lan"]}},
    "hosts": {"cluster_provider": "hosts", "cluster_hosts": [{"name": "ctrl", **HOST}]},
    "no mirror": {"cluster_provider": "virtualbox", "cluster_mirror": False},
    "strict": {"cluster_mtls": "strict", "cluster_gateway": {"address": "", "ports": [80, 443]}},
}
NODE = {
    "os": "debian",
    "os_version": "12",
    "os_codename": "bookworm",
    "os_name": "Debian GNU/Linux 12 (bookworm)",
    "cgroup": 2,
    "may_raise_limits": True,
    "memory_withheld": 0,
    "interface": "eth1",
    "swap": False,
    "swap_masked": True,
    "packages_missing": [],
    "dpkg_interrupted": False,
    "nameservers": ["192.0.2.1"],
    "nameservers_useless": [],
    "networks": [],
    "endpoint": {},
    "clock": "",
    "hosts_template": "",
}
KUBERNETES = dict.fromkeys(("joined", "controller", "interrupted", "founding", "foreign", "sealed"), False) | {
    **dict.fromkeys(("etcd", "ca", "version", "pod_cidr", "address"), ""),
    **dict.fromkeys(("registered", "marked", "moved")),
}
INVITED = "kubeadm join 192.168.56.100:6443 --token abcdef.0123456789abcdef --discovery-token-ca-cert-hash sha256:00"
# What earlier tasks of the role find out, and what it goes through one by one.
FOUND: dict[str, dict[str, Any]] = {
    "containerd/hosts.toml.j2": {"registry": "docker.io"},
    "host/apt.conf.j2": {"repository": "http://192.0.2.10/apt/bookworm/", "own_sources": ""},
    "host/slipway.sources.j2": {"repository": "http://192.0.2.10/apt/bookworm/"},
    "control_plane/join.yml.j2": {
        "__control_plane_founder": "ctrl",
        "__control_plane_join": INVITED,
        "__control_plane_invitation": {"stdout_lines": ["0" * 64, INVITED, ""]},
    },
    "metrics_server/metrics-server.yml.j2": {"__metrics_server_certificate": {"certificate": "LS0t", "key": "LS0t"}},
    "metrics_server/secret.yml.j2": {"__metrics_server_certificate": {"certificate": "LS0t", "key": "LS0t"}},
    "worker/join.yml.j2": {"__worker_invitation": {"stdout": INVITED}},
    "istio/certificate.yml.j2": {"__istio_certificate": {"cert": __file__, "key": __file__}},
}
PLACES = {"host": ("controllers", "workers", "mirror"), "mirror": ("mirror",), "control_plane": ("controllers",)}
# Rendered by Python, for every example release, by tests of their own.
PLANNED = ("release", "prove")
# Tests of its own render these for what they are made of.
ELSEWHERE = ("monitoring",)
TEMPLATES = sorted(
    f"{path.parts[-3]}/{path.name}"
    for path in ROOT.glob("roles/*/templates/*.j2")
    if path.parts[-3] not in (*PLANNED, *ELSEWHERE)
)


@pytest.fixture(scope="module", autouse=True)
def _plugins() -> None:
    init_plugin_loader()


@cache
def read(path: str) -> dict[str, Any]:
    """Read variables whose texts are templates; none where there is no such file."""
    if not (ROOT / path).exists():
        return {}
    found: dict[str, Any] = DataLoader().load_from_file(str(ROOT / path), trusted_as_template=True) or {}
    return found


@cache
def bundle() -> dict[str, Any]:
    """A bundle with everything in the catalog, and made-up sums."""
    folder = Folder(ROOT / "artifacts")
    wishes = BundleSettings(
        kubernetes_version=Settings().cluster_kubernetes_version,
        parts=list(folder.catalog.parts()),
        suites=[],
        folder=folder.path,
        state=Path("/none"),
        cache=Path("/none"),
    )
    need, sha256 = wanted(folder.catalog, wishes), "0" * 64
    manifest = Manifest(id="0" * 12, path="/cache/bundles/0")
    for file in need.files:
        manifest.files[file.name] = FileFacts(
            address=file.address, version=file.version, sha256=sha256, size=1, source="built"
        )
    for image in need.images:
        manifest.images[image.name] = ImageFacts(
            name=image.repository, tag=image.tag, digest=f"sha256:{sha256}", source="built"
        )
    for suite in ("bookworm", "trixie"):
        manifest.packages[suite] = PackageFacts(path=f"apt/{suite}", names=["socat"], sha256=sha256)
    return manifest.as_json()


def variables(example: str, role: str) -> Iterator[dict[str, Any]]:
    """Give what plays know on the first machine of each kind that has the role."""
    page = Settings(**{"cluster_provider": "docker", **EXAMPLES[example]})
    mirrored = page.cluster_provider == "docker"
    machines = members(page, with_mirror=mirrored)
    container = page.cluster_provider == "docker"
    node = {**NODE, "container": container, "kubernetes": KUBERNETES}
    roles = {"controllers": "controller", "workers": "worker", "mirror": "mirror"}
    groups = {group: [m.name for m in machines if m.role == role] for group, role in roles.items()}
    groups |= {"all": [m.name for m in machines], "nodes": groups["controllers"] + groups["workers"]}
    hostvars = {
        m.name: {"inventory_hostname": m.name, "node_address": m.address, "control_plane_address": m.address}
        for m in machines
    }
    for group in PLACES.get(role, ("controllers", "workers")):
        for name in groups[group][:1]:
            yield {
                **page.as_values(),
                **hostvars[name],
                "groups": groups,
                "group_names": [group],
                "hostvars": {other: {**known, "slipway_node": node} for other, known in hostvars.items()},
                "ansible_play_hosts": groups[group],
                "ansible_check_mode": False,
                "slipway_provider": page.cluster_provider,
                "slipway_patience": 1,
                "slipway_state": "/none",
                "slipway_bundle": bundle(),
                "slipway_node": node,
            }


@pytest.mark.parametrize(("template", "example"), list(itertools.product(TEMPLATES, EXAMPLES)))
def test_a_template_renders_for_an_example(template: str, example: str) -> None:
    role, _, name = template.partition("/")
    folder, loader = ROOT / "roles" / role, DataLoader()
    own = {**read(f"roles/{role}/defaults/main.yml"), **read(f"roles/{role}/vars/main.yml")}
    own["ansible_search_path"] = [str(folder)]
    wiring = read("group_vars/all/wiring.yml")
    text = trust_as_template((folder / "templates" / name).read_text())
    for known in variables(example, role):
        given = {**own, **wiring, **known, **FOUND.get(template, {})}
        made = str(Templar(loader=loader, variables=given).template(text))
        assert "{{" not in made
        if name.endswith(".yml.j2"):
            documents = [document for document in yaml.safe_load_all(made) if document]
            assert all(isinstance(document, dict) for document in documents)


def test_what_tests_give_a_template_is_for_one_that_is_there() -> None:
    assert set(FOUND) <= set(TEMPLATES)
    names = {path.parts[-3] for path in ROOT.glob("roles/*/templates/*.j2")}
    assert names >= {*PLANNED, *ELSEWHERE}
