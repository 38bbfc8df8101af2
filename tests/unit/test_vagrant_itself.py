"""The Vagrant that is installed reads the Vagrantfile, and ends with our words where something stands in the way.

Debian has 2.3.4. Nothing is made: no provider is needed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from slipway.paths import ROOT

PAGE = """\
cluster_name: sun
cluster_node_cidr: 192.168.58.0/24
cluster_metallb_addresses: []
cluster_gateway: {address: "", ports: [80]}
cluster_mirror: false
cluster_box: mine
cluster_workers: {count: 2, cpus: 1, memory: 1024}
cluster_vagrant_folder: true
"""
# What each stand-in says is enough for Vagrant to know that its provider is there.
PROGRAMS = {
    "VBoxManage": "echo 7.0.26r168464",
    "docker": "echo Docker",
    "virsh": "echo 'error: Connection refused' >&2; exit 1",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not shutil.which("vagrant") or not (ROOT / ".venv/bin/python").exists(),
        reason="Vagrant calls .venv/bin/python: there is no vagrant, or no .venv, on this machine",
    ),
]


def vagrant(folder: Path, *words: str, **said: str) -> subprocess.CompletedProcess[str]:
    """Run Vagrant on the Vagrantfile of this checkout, with records and boxes of the test."""
    (folder / "page.yml").write_text(PAGE)
    (folder / "bin").mkdir(exist_ok=True)
    for name, text in PROGRAMS.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("SLIPWAY_", "VAGRANT_"))}
    own = {
        "PATH": f"{folder}/bin:{os.environ['PATH']}",
        "SLIPWAY_PAGE": str(folder / "page.yml"),
        "SLIPWAY_STATE": str(folder / "state"),
        "SLIPWAY_CACHE": str(folder / "cache"),
        "SLIPWAY_INVENTORY": str(folder / "inventory"),
        "VAGRANT_DOTFILE_PATH": str(folder / "state/vagrant"),
        "VAGRANT_HOME": str(folder / "home"),
    }
    (folder / "inventory").mkdir(exist_ok=True)
    return subprocess.run(
        ["vagrant", *words], cwd=ROOT, env={**clean, **own, **said}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("provider", ["virtualbox", "docker"])
def test_it_knows_every_setting(tmp_path: Path, provider: str) -> None:
    """It refuses a key that it does not know, in what is for all providers and in what is for this one."""
    (tmp_path / "state/vagrant").mkdir(parents=True)
    (tmp_path / "state/vagrant/key").touch()
    done = vagrant(tmp_path, "validate", SLIPWAY_PROVIDER=provider)
    print(vagrant(tmp_path, "--version").stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "validated successfully" in done.stdout


def test_it_knows_as_many_machines_as_the_environment_says(tmp_path: Path) -> None:
    done = vagrant(tmp_path, "status", "--machine-readable", SLIPWAY_PROVIDER="virtualbox", SLIPWAY_WORKERS="3")
    assert done.returncode == 0, done.stdout + done.stderr
    states = dict(re.findall(r"^\d+,([^,]+),state,(\w+)$", done.stdout, re.MULTILINE))
    assert states == dict.fromkeys(("ctrl", "node-1", "node-2", "node-3"), "not_created")


@pytest.mark.parametrize(
    ("provider", "box", "said", "status", "told"),
    [
        ("libvirt", "", {}, 1, "[libvirt-silent]"),
        ("libvirt", "0/virtualbox", {}, 1, "[box-unfit]"),
        ("virtualbox", "0/amd64/libvirt", {}, 1, "[box-unfit]"),
        ("virtualbox", "", {"SLIPWAY_WORKERS_MEMORY": "99999999"}, 2, "[machines-exceed-memory]"),
        ("libvirt", "", {"SLIPWAY_NODE_CIDR": "192.168.121.0/24"}, 2, "[network-in-use]"),
    ],
)
def test_it_makes_nothing_where_something_stands_in_the_way(
    tmp_path: Path, provider: str, box: str, said: dict[str, str], status: int, told: str
) -> None:
    if box:
        folder = tmp_path / "home/boxes/mine" / box
        folder.mkdir(parents=True)
        (folder / "metadata.json").write_text('{"provider": "another"}')
    done = vagrant(tmp_path, "up", f"--provider={provider}", **said)
    assert done.returncode == status, done.stdout + done.stderr
    assert told in done.stderr
    assert "Bringing machine" not in done.stdout
    assert list((tmp_path / "state/vagrant").glob("machines/*/*/id")) == []
