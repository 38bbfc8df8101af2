"""What a machine tells of a step that failed."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from slipway.node.evidence import of_disks, of_units

DROP_IN = "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf"


def test_the_journal_of_a_unit_and_what_changes_it_are_quoted() -> None:
    said = {"journalctl": "kubelet: unknown flag: --network-plugin\n", "systemctl": f"{DROP_IN}\n"}
    asked: list[list[str]] = []

    def run(command: list[str]) -> tuple[int, str, str]:
        asked.append(command)
        return 0, said[command[0]], ""

    assert of_units(run, ["kubelet.service"]).splitlines() == [
        f"kubelet.service is changed by {DROP_IN}",
        "last lines of the journal of kubelet.service:",
        "    | kubelet: unknown flag: --network-plugin",
    ]
    assert "--unit=kubelet.service" in asked[0]
    said.update(journalctl="-- No entries --\n", systemctl="\n")
    assert of_units(run, ["kubelet.service"]) == ""


def test_a_disk_that_is_full_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [str(tmp_path), "/", str(tmp_path / "none")]
    room = {"f_blocks": 1000, "f_frsize": 10**6, "f_bavail": 3, "f_files": 100, "f_favail": 90}
    monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(**room))
    monkeypatch.setattr(os, "stat", lambda path: SimpleNamespace(st_dev=1) if "none" not in path else os.lstat(path))
    first, look = of_disks(places).splitlines()
    assert first == f"the disk of {tmp_path} is full: 0.0 GB of 1.0 GB are free"
    assert look.startswith("look at: df")
    room.update(f_bavail=500, f_favail=2)
    assert "no room for files: 2 of 100 inodes are free" in of_disks(places)
    room.update(f_favail=50)
    assert of_disks(places) == ""
