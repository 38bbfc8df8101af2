"""What a run prints at its end."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

PLAYBOOKS = Path(__file__).parents[2] / "playbooks/phases"
NODE: dict[str, Any] = {
    "metadata": {"name": "ctrl"},
    "status": {
        "addresses": [{"type": "InternalIP", "address": "192.0.2.100"}],
        "nodeInfo": {"kubeletVersion": "v1.37.0", "osImage": "Debian"},
    },
}
SERVICE = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.93"}]}}}


@pytest.fixture(scope="module", autouse=True)
def _plugins() -> None:
    init_plugin_loader()


def told(
    address: str = "192.0.2.92",
    istio: bool = True,
    releases: tuple[str, ...] = (),
    left: str = "",
    deployments: Any = (),
    **found: Any,
) -> list[str]:
    """The lines, with the variables that the play works out itself."""
    (play,) = yaml.safe_load((PLAYBOOKS / "ready.yml").read_text())
    own = {name: trust_as_template(play["vars"][name]) for name in ("ready_gateway", "ready_hosts")}
    page = {
        "cluster_name": "lab",
        "cluster_kubernetes_version": "1.37.0",
        "cluster_parts": {"istio": istio},
        "cluster_gateway": {"address": address, "ports": [80, 443]},
        "cluster_releases": list(releases),
    }
    bundle = {"images": {"a": {"source": "built"}, "b": {"source": "upstream"}}}
    consoles: dict[str, Any] = {"slipway_consoles_left_out": left}
    consoles["slipway_console_hosts"] = {"tracing": "tracing.lab.local"} if left else {}
    consoles |= {"groups": {"controllers": ["ctrl"], "workers": []}, "slipway_provider": "docker"}
    consoles["slipway_machines_left"] = []
    consoles["ready_deployments"] = {"resources": deployments}
    seen = {"ready_known": [NODE], "slipway_bundle": bundle, "slipway_state": "/s", **found}
    templar = Templar(loader=DataLoader(), variables={**own, **page, **consoles, **seen})
    return str(templar.template(trust_as_template((PLAYBOOKS / "templates/summary.j2").read_text()))).splitlines()


def test_a_node_without_an_address_does_not_end_the_run() -> None:
    """As one that somebody adds by hand, before its kubelet or the cloud gives it one."""
    bare = {"metadata": {"name": "bare"}, "status": {"nodeInfo": NODE["status"]["nodeInfo"]}}
    assert any(line.split()[:2] == ["bare", "none"] for line in told(ready_known=[NODE, bare]))


def test_it_names_the_nodes_and_what_to_type_next() -> None:
    lines = told()
    assert any(line.split()[:3] == ["ctrl", "192.0.2.100", "v1.37.0"] for line in lines)
    assert "Cluster lab is up: Kubernetes 1.37.0, 1 of 2 images built from source." in lines
    assert "  make status" in lines
    assert len(lines) <= 12


def test_it_names_what_the_page_no_longer_has() -> None:
    lines = told(slipway_machines_left=["node-2"], groups={"controllers": ["ctrl"]})
    assert [line for line in lines if line.startswith("node-2 is a machine, and the page does not have it")]
    istiod = {"namespace": "istio-system", "name": "istiod", "labels": {"slipway.io/part": "istio"}}
    assert "istio is off on the page and still in the cluster; `make remove-parts` takes it away" in told(
        istio=False, deployments=[{"metadata": istiod}]
    )
    lines = told(groups={"controllers": [], "workers": []})
    assert [line for line in lines if line.startswith("ctrl is a") and "without a machine" in line]


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("state", ["/s", "/über den Wolken/it's $HOME"])
def test_the_export_line_can_be_typed_whatever_the_path(shell: str, state: str) -> None:
    (line,) = [line.strip() for line in told(slipway_state=state) if "export" in line]
    done = subprocess.run(
        [shell, "-c", f'{line}\nprintf "%s\\n" "$KUBECONFIG" "$PATH"'],
        env={"PATH": "/a b:/bin", "HOME": "/h"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [f"{state}/kubeconfig", f"{state}/bin:/a b:/bin"]


def test_it_names_the_gateway_and_the_line_for_the_hosts_of_the_releases() -> None:
    assert "Gateway: 192.0.2.92, ports 80, 443" in told()
    assert not [line for line in told() if "/etc/hosts" in line]
    assert told(releases=("releases/hello.yml",))[-1] == "  192.0.2.92 hello.local"


def test_it_names_what_is_left_out_and_the_hosts_of_what_is_not() -> None:
    lines = told(left="Left out: kiali (no)")
    assert "Left out: kiali (no)" in lines
    assert lines[-1] == "  192.0.2.92 tracing.lab.local"


def test_an_address_that_metallb_picked_is_the_one_that_the_gateway_has() -> None:
    lines = told(address="", ready_service={"resources": [SERVICE]}, releases=("releases/hello.yml",))
    assert "Gateway: 192.0.2.93, ports 80, 443" in lines
    assert lines[-1] == "  192.0.2.93 hello.local"


@pytest.mark.parametrize("found", [{"ready_service": {"resources": []}}, {"ready_service": {"skipped": True}}])
def test_without_an_address_there_is_no_line(found: dict[str, Any]) -> None:
    assert not [line for line in told(address="", **found) if "Gateway" in line]
    assert not [line for line in told(istio=False, **found) if "Gateway" in line]
