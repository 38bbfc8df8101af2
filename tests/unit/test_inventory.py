"""The inventory: groups and variables, SSH settings from Vagrant, and the plain file."""

from __future__ import annotations

import configparser
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from slipway.lab import inventory
from slipway.lab.inventory import KEY_SSH_ARGS, LAB_SSH_ARGS, Ssh
from slipway.lab.plan import LabPlan, make_plan
from slipway.page.examine import examine
from slipway.page.model import Settings

from tests.support.errors import refused

SSH_CONFIG = """\
Host ctrl
  HostName 172.17.0.2
  User vagrant
  Port 22
  UserKnownHostsFile /dev/null
  IdentityFile "/lab with space/ctrl/private_key"
  IdentityFile /second
  LogLevel FATAL

Host node-1
  User admin
  IdentityFile /lab/node-1/private_key

Host bare
"""

FAKE = """\
#!/bin/sh
echo "$@ page=$SLIPWAY_PAGE state=$SLIPWAY_STATE records=$VAGRANT_DOTFILE_PATH cwd=$VAGRANT_CWD" >> {log}
cat {answer}
echo "{complaint}" >&2
exit {status}
"""


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SLIPWAY_PAGE", "SLIPWAY_STATE", "VAGRANT_DOTFILE_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))


def settings(**values: Any) -> Settings:
    given = {"cluster_provider": "libvirt", "cluster_mirror": False, "cluster_box": "debian/bookworm64", **values}
    return examine(given).accepted()


def plan(folder: Path, **values: Any) -> LabPlan:
    return make_plan(settings(**values), page=folder / "page.yml", state=folder, root=folder)


def made(folder: Path, *names: str, provider: str = "libvirt", key: bool = True) -> None:
    for name in names:
        place = folder / "vagrant/machines" / name / provider
        place.mkdir(parents=True, exist_ok=True)
        (place / "id").write_text(f"id-of-{name}")
        if key:
            (place / "private_key").write_text("key")


class Vagrant:
    """A vagrant on PATH that says what it is told to, and notes how it was called."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "bin"
        self.folder.mkdir()
        self.log = folder / "vagrant.log"
        monkeypatch.setenv("PATH", f"{self.folder}:{os.environ['PATH']}")
        self.says(SSH_CONFIG)

    def says(self, text: str, status: int = 0, complaint: str = "") -> None:
        answer = self.folder / "answer"
        answer.write_text(text)
        program = self.folder / "vagrant"
        program.write_text(FAKE.format(log=self.log, answer=answer, status=status, complaint=complaint))
        program.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def vagrant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Vagrant:
    return Vagrant(tmp_path, monkeypatch)


def test_the_answer_of_vagrant_is_read_for_every_machine() -> None:
    assert inventory.parse_ssh_config(SSH_CONFIG) == {
        "ctrl": Ssh("vagrant", "/lab with space/ctrl/private_key"),
        "node-1": Ssh("admin", "/lab/node-1/private_key"),
        "bare": Ssh("vagrant", ""),
    }
    assert inventory.parse_ssh_config("") == {}


# --- asking Vagrant


def test_vagrant_is_not_asked_before_there_are_machines(tmp_path: Path, vagrant: Vagrant) -> None:
    assert inventory.ssh_settings(plan(tmp_path), root=tmp_path) == {}
    made(tmp_path, "ctrl", provider="docker")
    assert inventory.ssh_settings(plan(tmp_path), root=tmp_path) == {}
    assert vagrant.calls == []


def test_vagrant_is_asked_once_and_for_the_right_lab(tmp_path: Path, vagrant: Vagrant) -> None:
    made(tmp_path, "ctrl", "node-1")
    expected = {
        "ctrl": Ssh("vagrant", "/lab with space/ctrl/private_key"),
        "node-1": Ssh("admin", "/lab/node-1/private_key"),
    }
    for _ in range(2):
        assert inventory.ssh_settings(plan(tmp_path), root=tmp_path) == expected
    assert vagrant.calls == [
        f"ssh-config page={tmp_path}/page.yml state={tmp_path} records={tmp_path}/vagrant cwd={tmp_path}"
    ]


def test_vagrant_is_asked_again_when_a_machine_is_made_anew(tmp_path: Path, vagrant: Vagrant) -> None:
    made(tmp_path, "ctrl")
    inventory.ssh_settings(plan(tmp_path), root=tmp_path)
    (tmp_path / "vagrant/machines/ctrl/libvirt/id").write_text("another")
    inventory.ssh_settings(plan(tmp_path), root=tmp_path)
    made(tmp_path, "node-1")
    inventory.ssh_settings(plan(tmp_path), root=tmp_path)
    assert len(vagrant.calls) == 3


def test_vagrant_is_asked_again_when_it_has_replaced_the_first_key(tmp_path: Path, vagrant: Vagrant) -> None:
    made(tmp_path, "ctrl", key=False)
    inventory.ssh_settings(plan(tmp_path), root=tmp_path)
    made(tmp_path, "ctrl")
    inventory.ssh_settings(plan(tmp_path), root=tmp_path)
    assert len(vagrant.calls) == 2


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"machines": 1}', '{"hosts": {"ctrl": 1}, "machines": {}}', "\0"])
def test_a_broken_memory_is_replaced(tmp_path: Path, vagrant: Vagrant, text: str) -> None:
    made(tmp_path, "ctrl")
    inventory.ssh_settings(plan(tmp_path), root=tmp_path)
    memory = tmp_path / "ssh-config.json"
    stamp = json.loads(memory.read_text())["machines"]
    memory.write_text(text.replace('"machines": {}', f'"machines": {json.dumps(stamp)}'))
    assert inventory.ssh_settings(plan(tmp_path), root=tmp_path)["ctrl"].key
    assert len(vagrant.calls) == 2


def test_without_an_answer_the_keys_in_vagrants_folder_do(tmp_path: Path, vagrant: Vagrant) -> None:
    made(tmp_path, "ctrl")
    made(tmp_path, "node-1", key=False)
    vagrant.says("", status=1, complaint="The machine is locked. Please wait.")
    warnings: list[str] = []
    for _ in range(2):
        found = inventory.ssh_settings(plan(tmp_path), root=tmp_path, warn=warnings.append)
        key = str(tmp_path / "vagrant/machines/ctrl/libvirt/private_key")
        assert found == {"ctrl": Ssh("vagrant", key), "node-1": Ssh("vagrant", "")}
    # Not remembered: the next call asks again.
    expected = f"vagrant ssh-config: The machine is locked. Going on with the keys in {tmp_path}/vagrant."
    assert warnings == [expected] * 2


def test_container_nodes_share_one_key(tmp_path: Path, vagrant: Vagrant) -> None:
    made(tmp_path, "ctrl", provider="docker")
    (tmp_path / "vagrant/key").write_text("key")
    vagrant.says("", status=1)
    wanted: LabPlan = {**plan(tmp_path), "provider": "docker"}
    assert inventory.ssh_settings(wanted, root=tmp_path) == {"ctrl": Ssh("vagrant", str(tmp_path / "vagrant/key"))}


def test_a_part_of_an_answer_is_used(tmp_path: Path, vagrant: Vagrant) -> None:
    made(tmp_path, "ctrl", "node-1")
    vagrant.says("Host node-1\n  User admin\n  IdentityFile /k\n", status=1)
    warnings: list[str] = []
    found = inventory.ssh_settings(plan(tmp_path), root=tmp_path, warn=warnings.append)
    assert found["node-1"] == Ssh("admin", "/k")
    assert found["ctrl"].key.endswith("ctrl/libvirt/private_key")
    assert "ended with status 1. Going on" in warnings[0]


def test_a_missing_vagrant_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    made(tmp_path, "ctrl")
    warnings: list[str] = []
    assert inventory.ssh_settings(plan(tmp_path), root=tmp_path, warn=warnings.append)["ctrl"].key
    assert "cannot be found" in warnings[0]


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "new/file"
    inventory.write_file(target, "one")
    assert target.read_text() == "one"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        inventory.write_file(target, "two")
    assert [path.name for path in target.parent.iterdir()] == ["file"]
    assert target.read_text() == "one"


# --- groups and variables


def test_machines_are_in_their_groups_before_they_exist(tmp_path: Path) -> None:
    found = inventory.make_inventory(plan(tmp_path, cluster_mirror=True), {}, {"cluster_name": "x"})
    assert {group: list(hosts) for group, hosts in found.groups.items()} == {
        "controllers": ["ctrl"],
        "workers": ["node-1", "node-2"],
        "mirror": ["mirror-1"],
    }
    assert found.groups["controllers"]["ctrl"] == {
        "ansible_host": "192.168.56.100",
        "ansible_port": 22,
        "ansible_user": "vagrant",
        "ansible_ssh_common_args": LAB_SSH_ARGS,
        "node_address": "192.168.56.100",
    }
    assert found.variables == {
        "cluster_name": "x",
        "slipway_page": str(tmp_path / "page.yml"),
        "slipway_state": str(tmp_path),
        "slipway_provider": "libvirt",
        "slipway_machines_left": [],
        "slipway_patience": 1,
    }


def test_machines_that_exist_have_a_key(tmp_path: Path) -> None:
    found = inventory.make_inventory(plan(tmp_path), {"ctrl": Ssh("me", "/k"), "node-1": Ssh("me", "")}, {})
    assert found.groups["controllers"]["ctrl"]["ansible_ssh_private_key_file"] == "/k"
    assert found.groups["controllers"]["ctrl"]["ansible_user"] == "me"
    assert "ansible_ssh_private_key_file" not in found.groups["workers"]["node-1"]


def hosts_plan(folder: Path) -> LabPlan:
    entries = [
        {"name": "a", "address": "192.168.56.100", "role": "controller", "user": "me", "port": 2222, "key": "/k"},
        {"name": "b", "address": "192.168.56.101", "role": "worker"},
    ]
    return plan(folder, cluster_provider="hosts", cluster_mirror="auto", cluster_hosts=entries)


def test_hosts_of_the_users_own_keep_the_users_ssh(tmp_path: Path) -> None:
    found = inventory.make_inventory(hosts_plan(tmp_path), {}, {})
    assert found.groups == {
        "controllers": {
            "a": {
                "ansible_host": "192.168.56.100",
                "ansible_port": 2222,
                "node_address": "192.168.56.100",
                "ansible_user": "me",
                "ansible_ssh_private_key_file": "/k",
                "ansible_ssh_args": KEY_SSH_ARGS,
            }
        },
        "workers": {"b": {"ansible_host": "192.168.56.101", "ansible_port": 22, "node_address": "192.168.56.101"}},
        "mirror": {},
    }


def test_where_a_key_is_named_ssh_offers_only_that_key(tmp_path: Path) -> None:
    """An agent with more keys than a server lets one try (six) would use them all up before it."""
    lab = inventory.make_inventory(plan(tmp_path), {"ctrl": Ssh("me", "/k")}, {}).groups["controllers"]["ctrl"]
    groups = inventory.make_inventory(hosts_plan(tmp_path), {}, {}).groups
    own, agents = groups["controllers"]["a"], groups["workers"]["b"]
    for variables, only in ((lab, "yes"), (own, "yes"), (agents, "no")):
        words = [
            word for name in ("ansible_ssh_args", "ansible_ssh_common_args") for word in variables.get(name, "").split()
        ]
        done = subprocess.run(["ssh", "-G", *words, "192.0.2.1"], check=True, capture_output=True, text=True)
        assert f"identitiesonly {only}" in done.stdout.splitlines()
    # What the caller says with --ssh-common-args, for a bastion for example, goes on counting for hosts.
    assert "ansible_ssh_common_args" not in own


def test_what_goes_with_a_key_is_what_ansible_cfg_says_and_no_more() -> None:
    reader = configparser.ConfigParser()
    reader.read(Path(__file__).parents[2] / "ansible.cfg")
    assert f"{reader['ssh_connection']['ssh_args']} -o IdentitiesOnly=yes" == KEY_SSH_ARGS


def test_a_machine_that_says_nothing_any_more_is_given_up() -> None:
    """Without it, ssh waits for hours for one that lost its power in the middle of a step."""
    shown = subprocess.run(
        ["ssh", "-F", "/dev/null", "-G", *KEY_SSH_ARGS.split(), "192.0.2.1"], check=True, capture_output=True, text=True
    ).stdout
    said = dict(line.split(" ", 1) for line in shown.splitlines() if line.startswith("serveralive"))
    # A busy machine answers late, an emulated one above all.
    assert 120 <= int(said["serveraliveinterval"]) * int(said["serveralivecountmax"]) <= 300


def test_an_inventory_is_read_from_its_page(tmp_path: Path, vagrant: Vagrant) -> None:
    page = tmp_path / "page.yml"
    page.write_text("cluster_name: lab\ncluster_provider: libvirt\ncluster_mirror: false\n")
    made(tmp_path, "ctrl")
    found = inventory.read_inventory(page, tmp_path, folder=tmp_path, root=tmp_path)
    assert found.groups["controllers"]["ctrl"]["ansible_ssh_private_key_file"] == "/lab with space/ctrl/private_key"
    assert found.variables["cluster_name"] == "lab"
    assert found.variables["cluster_workers"] == {"count": 2, "cpus": 2, "memory": 6144}
    assert len(vagrant.calls) == 1


def test_two_pages_are_one_too_many(tmp_path: Path) -> None:
    page = tmp_path / "page.yml"
    page.write_text("cluster_provider: libvirt\ncluster_mirror: false\ncluster_box: debian/bookworm64\n")
    beside = tmp_path / "group_vars/all/cluster.yml"
    beside.parent.mkdir(parents=True)
    beside.symlink_to(page)
    inventory.read_inventory(page, tmp_path, folder=tmp_path, root=tmp_path)
    beside.unlink()
    beside.write_text("cluster_name: other\n")
    with refused("two-pages: group_vars/all/cluster.yml"):
        inventory.read_inventory(page, tmp_path, folder=tmp_path, root=tmp_path)
    page.unlink()
    with refused("unreadable-page"):
        inventory.read_inventory(page, tmp_path, folder=tmp_path, root=tmp_path)


@pytest.mark.parametrize("name", ["SLIPWAY_PAGE", "SLIPWAY_STATE"])
def test_an_environment_of_another_lab_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Half of the tools would go by the one, half by the other."""
    page = tmp_path / "page.yml"
    page.write_text("cluster_provider: libvirt\ncluster_mirror: false\ncluster_box: debian/bookworm64\n")
    state = tmp_path / "state"
    state.mkdir()
    same = page if name == "SLIPWAY_PAGE" else state
    monkeypatch.chdir(tmp_path)
    for text in (str(same), same.name, f"../{tmp_path.name}/{same.name}", ""):
        monkeypatch.setenv(name, text)
        inventory.read_inventory(page, state, folder=tmp_path, root=tmp_path)
    monkeypatch.setenv(name, "other")
    with refused(f"other-lab: {name}=other") as caught:
        inventory.read_inventory(page, state, folder=tmp_path, root=tmp_path)
    assert f"unset {name}" in caught.value.message


# --- the plain file


def ansible(file: Path) -> Any:
    out = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-inventory")), "-i", str(file), "--list"],
        check=True,
        capture_output=True,
        text=True,
        cwd=file.parent,
        env={**os.environ, "ANSIBLE_CONFIG": str(file.parent / "none.cfg"), "ANSIBLE_INVENTORY_ENABLED": "ini"},
    ).stdout
    return json.loads(out)


def test_the_plain_file_is_read_by_ansible_as_the_inventory_it_is(tmp_path: Path) -> None:
    ssh = {"ctrl": Ssh("vagrant", "/lab with space/key"), "node-1": Ssh("vagrant", "/k"), "node-2": Ssh()}
    file = tmp_path / "inventory.cfg"
    file.write_text(inventory.render_inventory_cfg(plan(tmp_path, cluster_mirror=True), ssh))
    found = ansible(file)
    assert found["controllers"]["hosts"] == ["ctrl"]
    assert found["workers"]["hosts"] == ["node-1", "node-2"]
    assert found["mirror"]["hosts"] == ["mirror-1"]
    assert found["nodes"]["children"] == ["controllers", "workers"]
    assert found["_meta"]["hostvars"]["ctrl"] == {
        "ansible_host": "192.168.56.100",
        "ansible_port": 22,
        "ansible_user": "vagrant",
        "ansible_ssh_private_key_file": "/lab with space/key",
        "ansible_ssh_common_args": LAB_SSH_ARGS,
        "node_address": "192.168.56.100",
        "slipway_page": str(tmp_path / "page.yml"),
        "slipway_state": str(tmp_path),
        "slipway_provider": "libvirt",
        "slipway_machines_left": [],
        "slipway_patience": 1,
    }
    assert found["_meta"]["hostvars"]["mirror-1"]["ansible_ssh_common_args"] == LAB_SSH_ARGS


def test_the_plain_file_of_hosts_leaves_ssh_alone(tmp_path: Path) -> None:
    text = inventory.render_inventory_cfg(hosts_plan(tmp_path), {})
    assert "StrictHostKeyChecking" not in text
    reader = configparser.ConfigParser(allow_no_value=True, delimiters=("\0",))
    reader.read_string(text)
    ours = ["existing", "upgraded_controllers", "upgraded_workers"]
    assert reader.sections() == ["controllers", "workers", "mirror", "nodes:children", *ours, "all:vars"]
    file = tmp_path / "inventory.cfg"
    file.write_text(text)
    assert ansible(file)["_meta"]["hostvars"]["a"]["ansible_ssh_args"] == KEY_SSH_ARGS
    assert list(reader["workers"]) == ["b ansible_host=192.168.56.101 ansible_port=22 node_address=192.168.56.101"]


def test_the_plain_file_holds_the_machines_that_exist(tmp_path: Path) -> None:
    file = tmp_path / "inventory.cfg"
    wanted = plan(tmp_path)
    assert inventory.write_inventory_cfg(file, wanted, {}) == ""
    assert not file.exists()
    made(tmp_path, "ctrl", "node-2")
    made(tmp_path, "node-1", provider="docker")
    assert inventory.write_inventory_cfg(file, wanted, {}) == "written"
    assert "node-2 " in file.read_text()
    assert "node-1 " not in file.read_text()
    before = file.stat().st_mtime_ns
    assert inventory.write_inventory_cfg(file, wanted, {}) == ""
    assert file.stat().st_mtime_ns == before
    assert inventory.write_inventory_cfg(file, {**wanted, "provider": "virtualbox"}, {}) == "removed"
    assert not file.exists()
    assert inventory.write_inventory_cfg(file, hosts_plan(tmp_path), {}) == "written"


def test_a_file_that_is_not_ours_stays(tmp_path: Path) -> None:
    file = tmp_path / "inventory.cfg"
    file.write_text("[mine]\n")
    with refused("not-our-file"):
        inventory.write_inventory_cfg(file, plan(tmp_path), {})
    assert file.read_text() == "[mine]\n"


# --- the command


def test_the_command_writes_once_and_prints_otherwise(
    tmp_path: Path, vagrant: Vagrant, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLIPWAY_STATE", str(tmp_path))
    page = tmp_path / "page.yml"
    page.write_text("cluster_provider: libvirt\ncluster_mirror: false\ncluster_box: debian/bookworm64\n")
    monkeypatch.setenv("SLIPWAY_PAGE", str(page))
    made(tmp_path, "ctrl")
    file = tmp_path / "inventory.cfg"
    assert inventory.main(["--write", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: written\n"
    assert inventory.main(["--write", str(file)]) == 0
    assert capsys.readouterr().out == ""
    assert inventory.main([]) == 0
    assert capsys.readouterr().out == file.read_text()
    vagrant.says("", status=1, complaint="no")
    made(tmp_path, "node-1")
    assert inventory.main(["--page", str(page), "--provider", "libvirt"]) == 0
    assert capsys.readouterr().err.startswith("Note: vagrant ssh-config: no. Going on")


def test_the_command_ends_with_status_2_when_the_page_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.yml"
    page.write_text("cluster_name: A\n")
    assert inventory.main(["--page", str(page)]) == 2
    assert capsys.readouterr().err.startswith("These settings cannot work (1 problem)")
