"""The password of a proxy stands in files that root alone can read, and goes there as something that is not shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins import loader as plugins
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).parents[2]
PROXY = "http://me:hunter2@proxy.example.org:3128"
PAGE: dict[str, Any] = {
    "cluster_name": "lab",
    "cluster_proxy": {"http": PROXY, "https": "", "no_proxy": ["example.org"]},
    "cluster_node_cidr": "192.0.2.0/24",
    "cluster_pod_cidr": "10.244.0.0/16",
    "cluster_service_cidr": "10.96.0.0/12",
    "cluster_dns_domain": "cluster.local",
    "groups": {},
}


@pytest.fixture(autouse=True, scope="module")
def _lookups() -> None:
    plugins.init_plugin_loader()


def wired(role: str, variable: str) -> Any:
    """Render a variable of a role that is fed by the wiring."""
    loader = DataLoader()
    loader.set_basedir(str(ROOT / "roles" / role / "tasks"))
    variables: dict[str, Any] = {}
    for path in (f"roles/{role}/defaults/main.yml", f"roles/{role}/vars/main.yml", "group_vars/all/wiring.yml"):
        if (ROOT / path).exists():
            variables |= loader.load_from_file(str(ROOT / path), trusted_as_template=True)
    variables |= {
        **PAGE,
        "containerd_mirror": "",
        "containerd_registries": [],
        "containerd_sandbox_image": "pause",
        "containerd_may_raise_limits": True,
        "host_apt_repositories": {},
        "slipway_node": {"os_codename": "bookworm"},
        "slipway_patience": 1,
        "ansible_search_path": [str(ROOT / "roles" / role)],
    }
    return Templar(loader=loader, variables=variables).template(trust_as_template(f"{{{{ {variable} }}}}"))


@pytest.mark.parametrize(("role", "variable"), [("containerd", "__containerd_own_files"), ("host", "__host_apt_files")])
def test_only_files_of_root_hold_it_and_nothing_shows_it(role: str, variable: str) -> None:
    files = wired(role, variable)
    holding = [file for file in files if "hunter2" in str(file)]
    assert len(holding) == 1
    (file,) = holding
    assert "hunter2" in file["secret"]
    assert "content" not in file
    assert file["mode"] == "0600"


def test_containerd_goes_by_the_proxy() -> None:
    (text,) = [file["secret"] for file in wired("containerd", "__containerd_own_files") if "secret" in file]
    lines = dict(line.split("=", 1) for line in text.splitlines() if line)
    assert lines["http_proxy"] == f'"{PROXY}"'
    assert "https_proxy" not in lines
    assert {"example.org", "192.0.2.0/24", "api.lab.internal"} <= set(lines["no_proxy"].strip('"').split(","))


def test_this_machine_gets_artifacts_by_the_proxy_too() -> None:
    found = wired("artifacts", "artifacts_environment")
    assert (found["http_proxy"], found["https_proxy"]) == (PROXY, "")
    assert "example.org" in found["no_proxy"].split(",")


def test_no_play_puts_it_on_a_command_line() -> None:
    """Ansible writes `environment` in front of each command, where every user of the machine can see it."""
    for path in sorted(ROOT.glob("playbooks/**/*.yml")):
        read = yaml.safe_load(path.read_text())
        # A file of variables is a map.
        for play in [read] if isinstance(read, dict) else read:
            assert "slipway_environment" not in str(play.get("environment", "")), path.name
