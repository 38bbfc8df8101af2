"""``site.yml --check`` where nothing was made yet says what would be made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.kubernetes import SHIPPED

ROOT = Path(__file__).resolve().parents[2]
LAB = """\
cluster_provider: docker
cluster_controllers: {count: 1, cpus: 2, memory: 2048}
cluster_workers: {count: 1, cpus: 2, memory: 2048}
cluster_systems: {node-1: debian-13}
"""
HOSTS = """\
cluster_provider: hosts
cluster_hosts:
  - {name: one, address: 192.168.56.9, role: controller, user: debian}
  - {name: two, address: 192.168.56.10, role: mirror}
"""


def check(folder: Path, page: str, playbook: str = "site") -> subprocess.CompletedProcess[str]:
    """Play it in check mode in a lab of its own in which there is nothing."""
    inventory = folder / "inventory"
    (inventory / "group_vars/all").mkdir(parents=True)
    (inventory / "group_vars/all/wiring.yml").symlink_to(ROOT / "group_vars/all/wiring.yml")
    (inventory / "cluster.slipway.yml").write_text("plugin: slipway\npage: ../page.yml\nstate: ../state\n")
    # Nobody is asked for what would be fetched.
    (folder / "page.yml").write_text(f"cluster_artifacts_from: upstream\n{page}")
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "SLIPWAY_", "VAGRANT_"))
    }
    own = {"SLIPWAY_CACHE": str(folder / "cache"), "ANSIBLE_LOG_PATH": os.devnull, "NO_COLOR": "1"}
    ansible = Path(sys.executable).with_name("ansible-playbook")
    return subprocess.run(
        [str(ansible), "-i", str(inventory), f"playbooks/{playbook}.yml", "--check"],
        cwd=ROOT,
        env={**clean, **own},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_check_before_there_is_anything_says_what_would_be_made(tmp_path: Path) -> None:
    machines = [
        "mirror-1     192.168.56.10    mirror       1    1024  debian-12",
        "ctrl         192.168.56.100   controller   2    2048  debian-12",
        "node-1       192.168.56.101   worker       2    2048  debian-13",
    ]
    done = check(tmp_path, LAB)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    end = done.stdout.rpartition("phase  ")[2]
    assert "There is no cluster yet. A run would make this one:" in end
    assert [line for line in end.splitlines() if line in machines] == machines
    assert f"Kubernetes {SHIPPED} with metallb, istio, storage, metrics_server, monitoring" in end
    assert "would be downloaded" in done.stdout
    assert not (tmp_path / "state/bundle.json").exists()
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_what_is_wrong_in_check_mode_has_changed_nothing(tmp_path: Path) -> None:
    done = check(tmp_path, HOSTS + "cluster_api_endpoint: 192.168.56.10\n", "validate")
    assert done.returncode
    assert "What was done stays" not in done.stdout
