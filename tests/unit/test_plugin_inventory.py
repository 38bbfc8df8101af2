"""The inventory plugin, through Ansible's own loader."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import inventory_loader

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PAGE = "cluster_name: lab\ncluster_provider: docker\n"


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    for name in ("SLIPWAY_PAGE", "SLIPWAY_STATE", "VAGRANT_DOTFILE_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    inventory_loader.add_directory(str(ROOT / "plugins/inventory"))
    return inventory_loader.get("slipway")


def lab(folder: Path, page: str = PAGE, **options: str) -> Path:
    (folder / "page.yml").write_text(page)
    file = folder / "cluster.slipway.yml"
    file.write_text(yaml.safe_dump({"plugin": "slipway", "page": "page.yml", "state": "state", **options}))
    return file


def parse(plugin: Any, file: Path) -> InventoryData:
    data = InventoryData()
    plugin.parse(data, DataLoader(), str(file))
    data.reconcile_inventory()
    return data


def test_only_files_of_its_name_are_taken(plugin: Any, tmp_path: Path) -> None:
    other = tmp_path / "hosts.yml"
    other.touch()
    assert plugin.verify_file(str(lab(tmp_path)))
    assert not plugin.verify_file(str(other))
    assert not plugin.verify_file(str(tmp_path / "none.slipway.yml"))


def test_hosts_groups_and_variables_reach_ansible(plugin: Any, tmp_path: Path) -> None:
    data = parse(plugin, lab(tmp_path))
    groups = {name: [host.name for host in group.get_hosts()] for name, group in data.groups.items()}
    assert groups["controllers"] == ["ctrl"]
    assert groups["workers"] == ["node-1", "node-2"]
    assert groups["mirror"] == ["mirror-1"]
    assert sorted(groups["nodes"]) == ["ctrl", "node-1", "node-2"]
    assert data.hosts["node-2"].vars["ansible_host"] == "192.168.56.102"
    everywhere = data.groups["all"].vars
    assert everywhere["slipway_page"] == str(tmp_path / "page.yml")
    assert everywhere["slipway_state"] == str(tmp_path / "state")
    assert everywhere["slipway_provider"] == "docker"
    assert everywhere["cluster_name"] == "lab"
    assert everywhere["cluster_mirror"] == "auto"


def test_the_mirror_group_is_there_when_it_is_empty(plugin: Any, tmp_path: Path) -> None:
    data = parse(plugin, lab(tmp_path, PAGE + "cluster_mirror: false\n"))
    assert data.groups["mirror"].get_hosts() == []


def test_a_wrong_page_is_said_once_and_ends_the_run(
    plugin: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(plugin, lab(tmp_path, "cluster_name: A\ncluster_worker: 1\n"))
    assert caught.value.code == 4
    err = capsys.readouterr().err
    assert err.startswith("[ERROR]: These settings cannot work (2 problems):\n")
    assert f"{tmp_path}/page.yml:1: cluster_name: A [wrong-form]\n" in err
    assert err.count("cannot work") == 1


def test_without_the_library_it_says_how_to_get_it(
    plugin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "slipway.lab.inventory", None)
    with pytest.raises(AnsibleParserError, match="run `make setup`"):
        parse(plugin, lab(tmp_path))


def graph(*arguments: str) -> subprocess.CompletedProcess[str]:
    ansible = Path(sys.executable).with_name("ansible-inventory")
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "SLIPWAY_", "VAGRANT_"))
    }
    return subprocess.run([str(ansible), *arguments], cwd=ROOT, capture_output=True, text=True, check=False, env=clean)


def test_the_checkout_itself_has_an_inventory() -> None:
    found = graph("--graph")
    assert found.returncode == 0
    for line in ("@controllers:", "|--ctrl", "@workers:", "|--node-1", "|--node-2", "@mirror:", "@nodes:"):
        assert line in found.stdout
    assert found.stderr == ""


def test_another_inventory_file_names_another_page(tmp_path: Path) -> None:
    file = lab(
        tmp_path, "cluster_provider: hosts\ncluster_hosts: [{name: one, address: 192.168.56.9, role: controller}]\n"
    )
    found = json.loads(graph("-i", str(file), "--list").stdout)
    assert found["controllers"]["hosts"] == ["one"]
    # Plain texts, not wrapped as unsafe: testinfra reads them.
    assert found["_meta"]["hostvars"]["one"]["ansible_host"] == "192.168.56.9"


def playbook(*arguments: str) -> subprocess.CompletedProcess[str]:
    ansible = Path(sys.executable).with_name("ansible-playbook")
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "SLIPWAY_", "VAGRANT_"))
    }
    return subprocess.run([str(ansible), *arguments], cwd=ROOT, capture_output=True, text=True, check=False, env=clean)


@pytest.mark.parametrize("listed", ["192.168.56.100,", "192.168.56.101,192.168.56.100", " 192.168.56.10 ,"])
def test_addresses_of_its_machines_name_the_cluster(listed: str) -> None:
    """``-u vagrant -i 192.168.56.100,`` is all that many users type."""
    found, own = (json.loads(graph("-i", name, "--list").stdout) for name in (listed, "inventory"))
    assert found["controllers"]["hosts"] == ["ctrl"]
    for host, variables in own["_meta"]["hostvars"].items():
        assert found["_meta"]["hostvars"][host] == variables


@pytest.mark.parametrize("listed", ["192.168.56.77,", "192.168.56.100,192.168.56.77", ","])
def test_other_addresses_are_hosts_of_their_own(listed: str) -> None:
    found = json.loads(graph("-i", listed, "--list").stdout)
    assert "controllers" not in found


@pytest.mark.parametrize("name", ["finalization.yml", "playbooks/plan.yml", "playbooks/prove.yml"])
def test_a_run_without_a_machine_of_ours_says_which_inventory_to_take(name: str) -> None:
    done = playbook("-i", "192.168.56.77,", name)
    assert done.returncode == 2
    assert "Take the checkout's own (-i inventory), or the address of one of its machines" in " ".join(
        done.stdout.split()
    )


def test_a_list_of_addresses_is_read_from_a_page_that_is_wrong(
    plugin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.yml"
    page.write_text("cluster_name: A\n")
    monkeypatch.setenv("SLIPWAY_PAGE", str(page))
    assert plugin.verify_file("192.168.56.100,")
    with pytest.raises(SystemExit):
        plugin.parse(InventoryData(), DataLoader(), "192.168.56.100,")
    assert f"{page}:1: cluster_name: A [wrong-form]\n" in capsys.readouterr().err


def test_settings_of_the_environment_reach_every_host_and_this_computer() -> None:
    done = graph("-i", "inventory", "--list")
    assert json.loads(done.stdout)["workers"]["hosts"] == ["node-1", "node-2"]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "SLIPWAY_", "VAGRANT_"))}
    ansible = str(Path(sys.executable).with_name("ansible"))
    for host in ("localhost", "ctrl"):
        shown = subprocess.run(
            [ansible, host, "-i", "inventory", "-m", "ansible.builtin.debug", "-a", "msg={{ cluster_workers }}", "-o"],
            cwd=ROOT, capture_output=True, text=True, check=True, env={**clean, "SLIPWAY_WORKERS": "3"},
        ).stdout  # fmt: skip
        assert "'count': 3" in shown.replace('"', "'")


def test_a_vault_file_without_its_password_ends_a_run_by_address(
    plugin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("slipway.paths.ROOT", tmp_path)
    folder = tmp_path / "group_vars/all"
    folder.mkdir(parents=True)
    (folder / "cluster.yml").write_text(PAGE)
    (folder / "secrets.yaml").write_text("$ANSIBLE_VAULT;1.1;AES256\n3132\n")
    monkeypatch.setenv("SLIPWAY_PAGE", str(folder / "cluster.yml"))
    monkeypatch.setenv("SLIPWAY_STATE", str(tmp_path / "state"))
    with pytest.raises(SystemExit):
        plugin.parse(InventoryData(), DataLoader(), "192.168.56.100,")
    assert "vault" in capsys.readouterr().err.lower()
