"""What stands in the way with VirtualBox is told before anything is made, with what helps."""

from __future__ import annotations

from pathlib import Path

import pytest
from slipway.lab import virtualbox

from tests.support.errors import tells
from tests.support.provider import make_plan


@pytest.mark.parametrize(
    ("there", "vagrant", "wanted"),
    [
        ("7.0.26r168464", "Vagrant 2.3.4", ""),
        ("6.1.50r161033", "Vagrant 2.3.4", ""),
        ("7.1.4r165100", "Vagrant 2.3.4", "2.4.3"),
        ("7.1.4r165100", "Vagrant 2.4.3", ""),
        ("7.2.0r170228", "Vagrant 2.4.3", "2.4.9"),
        ("7.2.0r170228", "Vagrant 2.4.10", ""),
        ("8.0.0r1", "Vagrant 2.4.3", "2.4.9"),
        ("", "Vagrant 2.3.4", ""),
        ("7.2.0r170228", "", ""),
    ],
)
def test_what_vagrant_does_not_know_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str, vagrant: str, wanted: str
) -> None:
    for name, said in (("VBoxManage", f"WARNING: something\n{there}"), ("vagrant", vagrant)):
        (tmp_path / name).write_text(f"#!/bin/sh\ncat << 'END'\n{said}\nEND\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    refusals = virtualbox.in_the_way(make_plan(), [])
    assert [refusal.id for refusal in refusals] == ["virtualbox-too-new"] * bool(wanted)
    assert all(f"Install Vagrant {wanted} or later" in refusal.text for refusal in refusals)


@pytest.mark.parametrize(
    ("free", "known", "refused"), [(8, [], True), (9, [], False), (8, ["node-1"], False), (None, [], False)]
)
def test_disks_of_machines_that_are_new_need_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int | None, known: list[str], refused: bool
) -> None:
    folder = tmp_path / "VirtualBox VMs"
    text = f"API version:                     7_0\nDefault machine folder:          {folder}"
    (tmp_path / "VBoxManage").write_text(f"#!/bin/sh\ncat << 'END'\n{text}\nEND\n")
    (tmp_path / "VBoxManage").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    rooms = {folder: free and free * 10**9}
    monkeypatch.setattr("slipway.lab.computer.free_space", rooms.__getitem__)
    refusals = virtualbox.in_the_way(make_plan(), known)
    assert [refusal.id for refusal in refusals] == ["no-room-for-machines"] * refused
    for refusal in refusals:
        tells(refusal, f"no-room-for-machines: 9 GB … 8.0 GB are free in {folder}")
