"""Purge removes folders, images, boxes and packages, and keeps note of those that stay; apt and sudo are stand-ins."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from slipway.errors import SlipwayError
from slipway.lab import docker, libvirt, purge

from tests.support.provider import plan_in, sudo_asks


def purging(name: str, plan: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.delenv("SLIPWAY_CACHE", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(plan)))
    return purge.main([name])


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    plan = plan_in(tmp_path)
    # Not the boxes of whoever runs the tests.
    monkeypatch.setenv("VAGRANT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(libvirt, "unused_copies", list)
    Path(plan["cache"]).mkdir()
    Path(plan["state"]).mkdir()
    Path(plan["state"], "packages").write_text("vagrant\nuidmap\n")
    return plan


def programs(monkeypatch: pytest.MonkeyPatch, code: int = 0) -> list[list[str]]:
    """Stand in for apt, which would take along just what it is asked for; gives what it was called with."""
    called: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        called.append(command)
        names = command[command.index("remove") + 1 :]
        told = "".join(f"Remv {name} [1.0]\n" for name in names)
        return subprocess.CompletedProcess(command, code, told, "E: dpkg was interrupted\n")

    monkeypatch.setattr(subprocess, "run", run)
    return called


def test_purge_names_folders_images_and_packages(
    left: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    programs(monkeypatch)
    monkeypatch.setattr(docker, "is_there", lambda: True)
    monkeypatch.setattr(docker, "run", lambda *_: "slipway-node:1\nslipway-node:2\nslipway-baked:worker-1\n")
    assert purging("list", left, monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"  {left['cache']}  (")
    assert lines[2:] == [
        "  the image slipway-baked:worker-1",
        "  the image slipway-node:1",
        "  the image slipway-node:2",
        "  the Debian packages that setup installed: uidmap vagrant",
    ]


def test_an_image_that_another_clusters_machines_use_stays(
    left: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> str:
        if arguments == ("rmi", "slipway-node:2"):
            raise SlipwayError("program-failed", "image is being used")
        return "" if arguments[0] == "ps" else "slipway-node:1\nslipway-node:2\n"

    monkeypatch.setattr(docker, "is_there", lambda: True)
    monkeypatch.setattr(docker, "run", run)
    assert purging("images", left, monkeypatch) == 0
    assert capsys.readouterr().err.splitlines() == [
        "slipway: removing the image slipway-node:1",
        "slipway: the image slipway-node:2 stays: the machines of another cluster use it",
    ]


def test_without_docker_there_are_no_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "is_there", lambda: False)
    assert purge.images() == []


def test_boxes_that_were_built_go_from_vagrant_and_libvirt(
    left: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    boxes = [f"slipway-debian-{release}-libvirt-0123456789ab" for release in (12, 13)]
    for name in (*boxes, "bento-VAGRANTSLASH-x"):
        (tmp_path / "home/boxes" / name).mkdir(parents=True)
    monkeypatch.setattr(docker, "is_there", lambda: False)
    removed: list[str] = []
    monkeypatch.setattr(libvirt, "unused_copies", lambda: ["copy.img"])
    monkeypatch.setattr(libvirt, "remove_copy", removed.append)

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert "--force" not in command
        return subprocess.CompletedProcess(command, int(command[-1] == boxes[1]), "", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert purging("images", left, monkeypatch) == 0
    assert capsys.readouterr().err.splitlines() == [
        f"slipway: removing the Vagrant box {boxes[0]}",
        f"slipway: the Vagrant box {boxes[1]} stays",
        "slipway: removing libvirt's copy of a box, copy.img",
    ]
    assert removed == ["copy.img"]


@pytest.mark.parametrize("layout", ["0/virtualbox", "0/amd64/virtualbox"])
def test_virtualboxs_copy_of_a_box_goes_in_both_layouts_of_vagrant(
    left: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, layout: str
) -> None:
    folder = tmp_path / "home/boxes/slipway-debian-12-virtualbox-0123456789ab" / layout
    folder.mkdir(parents=True)
    (folder / "master_id").write_text("4711\n")
    monkeypatch.setattr(docker, "is_there", lambda: False)
    called: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        called.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert purging("images", left, monkeypatch) == 0
    assert [[*command][1:] for command in called if command[0] == "VBoxManage"] == [
        ["unregistervm", "4711", "--delete"]
    ]


def test_packages_go_before_the_list_of_them(
    left: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called = programs(monkeypatch)
    assert purging("rest", left, monkeypatch) == 0
    assert called[-1][-4:] == ["remove", "--yes", "uidmap", "vagrant"]
    assert "removing 2 Debian packages" in capsys.readouterr().err
    assert not Path(left["state"]).exists()


def test_packages_that_cannot_go_keep_the_list_of_them(
    left: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    programs(monkeypatch, code=100)
    assert purging("rest", left, monkeypatch) == 1
    assert "failed: [not-removed]\nE: dpkg was interrupted" in capsys.readouterr().err
    assert Path(left["state"], "packages").exists()


def test_where_sudo_asks_for_a_password_all_but_the_packages_and_their_list_goes(
    left: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    asked = sudo_asks(monkeypatch)
    Path(left["state"], "log").mkdir()
    Path(left["state"], "kubeconfig").touch()
    for _ in range(2):
        assert purging("rest", left, monkeypatch) == 1
        assert "yourself: sudo apt-get remove --yes uidmap vagrant\n" in capsys.readouterr().err
        assert asked.pop() == ["sudo", "--non-interactive", "apt-get", "remove", "--yes", "uidmap", "vagrant"]
        assert not Path(left["cache"]).exists()
        assert [path.name for path in Path(left["state"]).iterdir()] == ["packages"]
    programs(monkeypatch)
    assert purging("rest", left, monkeypatch) == 0
    assert not Path(left["state"]).exists()


def test_a_file_in_a_cache_elsewhere_goes_too(left: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(left["cache"], "bundles.lock").touch()
    monkeypatch.setenv("SLIPWAY_CACHE", left["cache"])
    Path(left["state"], "packages").unlink()
    purge.remove_rest(left, lambda _: None)
    assert list(Path(left["cache"]).iterdir()) == []
