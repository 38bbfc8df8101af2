"""A machine is reset: what is ours goes, and what is somebody else's stays."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from slipway.node.fetch import load_record
from slipway.node.record import remember
from slipway.node.reset import Reset, without_chains
from slipway.node.units import BEGIN, END

SAVED = """\
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:FLANNEL-POSTRTG - [0:0]
:MINE - [0:0]
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A POSTROUTING -s 10.0.0.0/8 -j MINE
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -j RETURN
-A MINE -m comment --comment "not KUBE-like" -j RETURN
COMMIT
"""


class Machine:
    """A machine below a folder. Commands are written down; ``answers``: what one that begins so says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ran: list[str] = []
        self.answers: dict[str, tuple[int, str, str]] = {"nft list": (1, "", "")}
        self.mounts: list[str] = []
        for folder in ("proc/self", "run", "var/lib/slipway"):
            (root / folder).mkdir(parents=True)
        self.mounted()

    def mounted(self, *paths: str) -> None:
        lines = [f"1 1 0:1 / {path} rw - tmpfs tmpfs rw\n" for path in paths]
        (self.root / "proc/self/mountinfo").write_text("".join(lines))
        self.mounts = list(paths)

    def write(self, path: str, text: str = "x") -> Path:
        place = self.root / path.removeprefix("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return place

    def there(self, path: str) -> bool:
        return os.path.lexists(self.root / path.removeprefix("/"))

    def process(self, number: int, cgroup: str, state: str = "S") -> None:
        self.write(f"proc/{number}/cgroup", f"0::{cgroup}\n")
        self.write(f"proc/{number}/stat", f"{number} (a (b) c) {state} 1\n")

    def run(self, command: Sequence[str]) -> tuple[int, str, str]:
        line = " ".join(command)
        self.ran.append(line)
        if command[0] == "umount" and not any(line.startswith(start) for start in self.answers):
            self.mounted(*(path for path in self.mounts if path != command[1]))
        return next((said for start, said in self.answers.items() if line.startswith(start)), (0, "", ""))

    def reset(self, **more: Any) -> Reset:
        done = Reset(self.run, root=str(self.root), grace=0.05, **more)
        done.all()
        return done


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(Reset, "_finds", lambda _self, _program: True)
    return Machine(tmp_path)


def recorded(machine: Machine, **files: Any) -> None:
    machine.write("/var/lib/slipway/files.json", json.dumps({f"/{name}": kept for name, kept in files.items()}))


def test_a_machine_that_has_nothing_is_left_as_it_is(machine: Machine) -> None:
    (machine.root / "var/lib/slipway").rmdir()
    assert machine.reset().done == []
    assert [line for line in machine.ran if not line.startswith(("nft list", "iptables-save", "ip6tables-save"))] == []


def test_folders_go_and_what_is_mounted_in_them_stays(machine: Machine) -> None:
    for path in (
        "/etc/kubernetes/pki/ca.key",
        "/srv/slipway/bundles/1/a",
        "/var/lib/etcd/member/wal",
        "/etc/cni/net.d/mine",
    ):
        machine.write(path)
    machine.write("/home/me/data")
    (machine.root / "usr/libexec/kubernetes/kubelet-plugins/volume/exec").mkdir(parents=True)
    (machine.root / "var/lib/kubelet").mkdir()
    (machine.root / "var/lib/kubelet/link").symlink_to(machine.root / "home/me")
    # A disk of the user's own, and one for etcd alone.
    machine.mounted("/srv/slipway/bundles", "/var/lib/etcd")
    done = machine.reset()
    assert not machine.there("/etc/kubernetes")
    assert not machine.there("/var/lib/kubelet")
    assert machine.there("/srv/slipway/bundles/1/a")
    assert machine.there("/etc/cni/net.d/mine")
    assert not machine.there("/usr/libexec/kubernetes")
    assert machine.there("/home/me/data")
    assert machine.there("/var/lib/etcd")
    assert not machine.there("/var/lib/etcd/member")
    assert not machine.there("/var/lib/slipway")
    assert done.left == []
    # The bundles stay, so their folder is found again, and nothing else.
    assert machine.reset().done == ["/srv/slipway"]


def test_only_our_files_and_our_lines_go(machine: Machine) -> None:
    ours = f"{BEGIN}\n192.0.2.1 ctrl\n{END}\n"
    hosts = machine.write("/etc/hosts", f"127.0.0.1 localhost\n{ours}")
    keys = machine.write("/home/me/.ssh/authorized_keys", ours)
    machine.write("/etc/sysctl.d/90-slipway.conf")
    machine.write("/etc/systemd/system/nginx.service.d/slipway.conf")
    machine.write("/root/.kube/config", "current-context: mine")
    machine.write("/home/me/.kube/config", "current-context: kubernetes-admin@sun ")
    theirs = {"only_over": "kubernetes-admin@sun"}
    recorded(
        machine,
        **{
            "etc/hosts": {"block": True},
            "home/me/.ssh/authorized_keys": {"block": True},
            "etc/sysctl.d/90-slipway.conf": {},
            "etc/systemd/system/nginx.service.d/slipway.conf": {},
            "root/.kube/config": theirs,
            "home/me/.kube/config": theirs,
        },
    )
    files = {"/usr/local/bin/runc": [1, 2], "/opt/cni/bin/bridge": [1, 2]}
    machine.write("/opt/cni/bin/bridge")
    machine.write("/usr/local/bin/runc")
    machine.write("/usr/local/bin/mine")
    machine.write("/var/lib/slipway/artifacts.json", json.dumps({"runc": {"sha256": "", "files": files}}))
    done = machine.reset().done
    assert {"programs in /opt/cni/bin", "programs in /usr/local/bin", "our lines in /etc/hosts"} <= {*done}
    assert hosts.read_text() == "127.0.0.1 localhost\n"
    assert keys.read_text() == ours
    assert machine.there("/root/.kube/config")
    assert machine.there("/usr/local/bin/mine")
    for gone in ("/home/me/.kube/config", "/etc/sysctl.d/90-slipway.conf", "/usr/local/bin/runc", "/opt/cni"):
        assert not machine.there(gone)
    # Folders that are empty then go too; those with something of somebody else stay.
    assert not machine.there("/etc/systemd/system/nginx.service.d")
    assert not machine.there("/home/me/.kube")
    assert machine.there("/home/me")
    assert machine.ran[-2:] == ["systemctl daemon-reload", "systemctl try-restart nginx.service"]


def test_units_stop_first_and_those_of_packages_are_left(machine: Machine) -> None:
    for unit in ("slipway-api", "containerd", "kubelet"):
        machine.write(f"/etc/systemd/system/{unit}.service")
    machine.write("/etc/systemd/system/mine.service")
    recorded(machine, **{f"etc/systemd/system/{unit}.service": {} for unit in ("containerd", "kubelet", "slipway-api")})
    machine.reset()
    assert machine.ran[:3] == [
        "systemctl disable --now kubelet.service",
        "systemctl disable --now containerd.service",
        "systemctl disable --now slipway-api.service",
    ]
    assert machine.there("/etc/systemd/system/mine.service")
    assert not machine.there("/etc/systemd/system/kubelet.service")


def test_timers_of_ours_go_and_those_of_others_stay(machine: Machine) -> None:
    for unit in ("slipway-backup.timer", "slipway-renewal.timer", "slipway-backup.service", "mine.timer"):
        machine.write(f"/etc/systemd/system/{unit}")
    machine.reset()
    stopped = [line for line in machine.ran if line.startswith("systemctl disable")]
    assert stopped == [
        f"systemctl disable --now slipway-{unit}" for unit in ("backup.service", "backup.timer", "renewal.timer")
    ]
    assert machine.there("/etc/systemd/system/mine.timer")
    assert not machine.there("/etc/systemd/system/slipway-renewal.timer")


def test_mounts_go_from_the_inside_out_and_one_that_stays_is_never_emptied(machine: Machine) -> None:
    machine.write("/var/lib/kubelet/pods/1/nfs/data")
    machine.mounted(
        "/var/lib/kubelet/pods/1", "/var/lib/kubelet/pods/1/nfs", "/run/netns/mine", "/run/netns/cni-1", "/home"
    )
    machine.answers["umount /var/lib/kubelet/pods/1/nfs"] = (32, "", "target is busy.")
    done = machine.reset()
    assert [line for line in machine.ran if line.startswith("umount")] == [
        "umount /var/lib/kubelet/pods/1/nfs",
        "umount /var/lib/kubelet/pods/1",
        "umount /run/netns/cni-1",
    ]
    assert machine.there("/var/lib/kubelet/pods/1/nfs/data")
    assert [line.partition(":")[0] for line in done.left] == [
        "mount /var/lib/kubelet/pods/1/nfs",
        "/var/lib/kubelet/pods/1/nfs",
    ]


def test_pods_end_and_other_processes_do_not(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.process(10, "/kubepods.slice/kubepods-burstable.slice/pod1")
    machine.process(11, "/system.slice/containerd.service")
    machine.process(12, "/system.slice/sshd.service")
    machine.process(13, "/kubepods/pod2", state="Z")
    sent: list[tuple[int, int]] = []

    def kill(process: int, what: int) -> None:
        sent.append((process, what))
        if process == 10 or what == signal.SIGKILL:
            (machine.root / f"proc/{process}/cgroup").unlink()

    monkeypatch.setattr(os, "kill", kill)
    assert "2 processes of pods" in machine.reset().done
    assert sorted(sent) == [(10, signal.SIGTERM), (11, signal.SIGKILL), (11, signal.SIGTERM)]


def test_rules_of_others_stay() -> None:
    assert without_chains(SAVED) == (
        "*nat\n:PREROUTING ACCEPT [0:0]\n:MINE - [0:0]\n-A POSTROUTING -s 10.0.0.0/8 -j MINE\n"
        '-A MINE -m comment --comment "not KUBE-like" -j RETURN\nCOMMIT\n'
    )
    assert without_chains(without_chains(SAVED)) == without_chains(SAVED)


def test_rules_and_tables_and_interfaces_go(machine: Machine) -> None:
    machine.answers = {
        "iptables-save": (0, SAVED, ""),
        "iptables-restore": (1, "", "no"),
        "nft list table ip6": (1, "", ""),
    }
    (machine.root / "sys/class/net/cni0").mkdir(parents=True)
    done = machine.reset()
    assert "ip link delete cni0" in machine.ran
    assert "nft delete table ip kube-proxy" in machine.ran
    assert "nft delete table ip flannel-ipv4" in machine.ran
    assert "nft delete table ip6 kube-proxy" not in machine.ran
    assert done.left == ["rules of iptables: no"]


def test_a_check_touches_nothing(machine: Machine) -> None:
    machine.write("/etc/systemd/system/kubelet.service")
    machine.write("/etc/kubernetes/admin.conf")
    recorded(machine, **{"etc/systemd/system/kubelet.service": {}})
    done = machine.reset(dry_run=True)
    assert done.done == [
        "unit kubelet.service",
        "/etc/systemd/system/kubelet.service",
        "/etc/kubernetes",
        "/var/lib/slipway",
    ]
    assert machine.there("/etc/kubernetes/admin.conf")
    assert [line for line in machine.ran if line.startswith("systemctl")] == []


def test_volumes_are_measured(machine: Machine) -> None:
    assert Reset(machine.run, root=str(machine.root)).volumes() == {}
    machine.write("/var/lib/slipway/storage/pvc-1_shop_data/file", "12345")
    assert Reset(machine.run, root=str(machine.root)).volumes() == {"pvc-1_shop_data": 5}


def test_the_record_has_what_is_there(tmp_path: Path) -> None:
    record, mine, hosts = str(tmp_path / "state/files.json"), tmp_path / "mine", tmp_path / "hosts"
    mine.touch()
    hosts.touch()
    spec: dict[str, Any] = {"block": False, "only_over": ""}
    remember(record, [{"path": str(mine), **spec}, {"path": str(hosts), **spec, "block": True}])
    assert load_record(record) == {str(mine): {}, str(hosts): {"block": True}}
    mine.unlink()
    remember(record, [{"path": str(mine), **spec}])
    assert load_record(record) == {str(hosts): {"block": True}}
    Path(record).write_text("{")
    assert load_record(record) == {}
