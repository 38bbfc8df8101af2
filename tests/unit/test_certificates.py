"""Certificates of a controller: which end soon, and which parts of the control plane read them before that."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from slipway.node.certificates import DAY, Certificate, due, processes, read, stale, started

SAID = {
    "kind": "CertificateExpirationInfo",
    "certificates": [
        {"name": "admin.conf", "residualTime": 31535545, "missing": False, "externallyManaged": False},
        {"name": "apiserver", "residualTime": -60, "missing": False, "externallyManaged": False},
        {"name": "etcd-peer", "residualTime": 0, "missing": True, "externallyManaged": False},
        {"name": "front-proxy-client", "residualTime": 60, "missing": False, "externallyManaged": True},
    ],
}
BOOT = 1_000_000


def test_what_kubeadm_says_is_read() -> None:
    found = read(json.dumps(SAID))
    assert found == [Certificate("admin.conf", 31535545), Certificate("apiserver", -60)]
    assert due(found, 180) == ["apiserver"]
    assert due(found, 366) == ["admin.conf", "apiserver"]
    assert due([Certificate("one", 180 * DAY)], 180) == []
    for wrong in ("", "{}", '{"certificates": [{}]}'):
        with pytest.raises((ValueError, KeyError)):
            read(wrong)


def process(root: Path, number: int, program: str, after: float) -> None:
    """A process that has started ``after`` seconds after the boot."""
    folder = root / "proc" / str(number)
    folder.mkdir(parents=True)
    (folder / "cmdline").write_bytes(f"/usr/bin/{program}\0--flag=etcd\0".encode())
    ticks = int(after * os.sysconf("SC_CLK_TCK"))
    (folder / "stat").write_text(f"{number} ({program} x) S " + "0 " * 18 + f"{ticks} 0 0\n")
    (root / "proc/stat").write_text(f"cpu 1 2\nbtime {BOOT}\n")


def certificate(root: Path, name: str, written: float) -> None:
    file = root / "etc/kubernetes" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    os.utime(file, (BOOT + written, BOOT + written))


def test_a_part_that_started_before_its_files_were_written_is_stale(tmp_path: Path) -> None:
    process(tmp_path, 10, "etcd", 100)
    process(tmp_path, 11, "kube-apiserver", 100)
    process(tmp_path, 12, "kube-scheduler", 300)
    process(tmp_path, 13, "bash", 0)
    certificate(tmp_path, "pki/etcd/peer.crt", 50)
    certificate(tmp_path, "pki/front-proxy-client.crt", 200)
    certificate(tmp_path, "scheduler.conf", 200)
    # There is no process to start again.
    certificate(tmp_path, "controller-manager.conf", 200)
    assert processes(str(tmp_path)) == {"etcd": 10, "kube-apiserver": 11, "kube-scheduler": 12}
    assert started(10, str(tmp_path)) == BOOT + 100
    assert stale(str(tmp_path)) == {"kube-apiserver": 11}


def test_processes_that_end_meanwhile_are_nobodys(tmp_path: Path) -> None:
    process(tmp_path, 10, "etcd", 100)
    certificate(tmp_path, "pki/etcd/server.crt", 200)
    (tmp_path / "proc/10/stat").unlink()
    (tmp_path / "proc/11").mkdir()
    assert processes(str(tmp_path)) == {"etcd": 10}
    assert stale(str(tmp_path)) == {}


def test_this_very_process_has_started() -> None:
    found: Any = started(os.getpid())
    assert found > 1_600_000_000
