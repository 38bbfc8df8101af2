"""The provider stops a daemon that setup started, unless somebody uses it, and tells of one that stays."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slipway.lab import daemons
from slipway.lab.daemons import DAEMONS

from tests.support.provider import Docker, of, plan_in, sudo_asks, verb


@pytest.fixture
def plan(tmp_path: Path) -> Any:
    return plan_in(tmp_path)


@pytest.fixture
def dockerd(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like Docker's, noted as the one that setup started."""
    (tmp_path / "state").mkdir()
    with subprocess.Popen(["bash", "-c", "exec -a dockerd sleep 60"]) as process:
        until = time.monotonic() + 20
        # bash itself has the name among its arguments.
        while not Path(f"/proc/{process.pid}/cmdline").read_bytes().startswith(b"dockerd\0"):
            assert time.monotonic() < until, "bash did not become a process named dockerd"
            time.sleep(0.01)
        (tmp_path / "state/dockerd.pid").write_text(f"{process.pid}\n")
        # Nobody but the test is there to bury it.
        reaper = threading.Thread(target=process.wait)
        reaper.start()
        yield process
        process.kill()
        reaper.join()


def test_the_docker_that_setup_started_is_stopped(
    plan: Any, dockerd: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Docker(monkeypatch, {"ps": ""})
    real = subprocess.run

    def run(command: list[str], **more: Any) -> Any:
        return real(command[2:] if command[:2] == ["sudo", "--non-interactive"] else command, **more)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert verb("stop-daemon", plan, monkeypatch) == 0
    assert "stopping Docker" in capsys.readouterr().err
    assert not Path(plan["state"], "dockerd.pid").exists()
    # It is gone for the verb from its end on, for the test once it is buried.
    assert dockerd.wait(20) == -signal.SIGTERM


def test_a_docker_that_sudo_may_not_stop_is_told_with_the_command_for_it(
    plan: Any, dockerd: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Docker(monkeypatch, {"ps": ""})
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    asked = sudo_asks(monkeypatch)
    assert verb("stop-daemon", plan, monkeypatch) == 1
    said = capsys.readouterr().err
    assert said.endswith(
        f"a password is required [not-removed]\nStop it yourself, then run this again: {typed(dockerd.pid)}\n"
    )
    assert asked == [["sudo", "--non-interactive", "sh", "-c", f"kill {dockerd.pid}"]]
    assert Path(plan["state"], "dockerd.pid").exists()


def test_the_libvirt_that_setup_started_is_stopped_unless_a_machine_runs_in_it(
    plan: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended: list[int] = []
    alive = {"11": "libvirtd", "12": "virtlogd"}
    monkeypatch.setattr(daemons, "is_program", lambda pid, program: alive.get(pid) == program)
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    def kill(pid: int, _signal: int) -> None:
        ended.append(pid)
        del alive[str(pid)]

    monkeypatch.setattr(os, "kill", kill)
    domains = ["moon-ctrl"]
    monkeypatch.setitem(DAEMONS, "libvirt", dataclasses.replace(DAEMONS["libvirt"], users=lambda: domains))
    state = Path(plan["state"])
    state.mkdir()
    for pid, name in alive.items():
        (state / f"{name}.pid").write_text(f"{pid}\n")
    assert verb("stop-daemon", of(plan, "libvirt"), monkeypatch) == 0
    assert "libvirt keeps running for moon-ctrl" in capsys.readouterr().err
    assert ended == []
    domains.clear()
    assert verb("stop-daemon", of(plan, "libvirt"), monkeypatch) == 0
    assert "stopping libvirt, which `make setup` started" in capsys.readouterr().err
    assert ended == [11, 12]
    assert list(state.iterdir()) == []
    assert verb("stop-daemon", of(plan, "virtualbox"), monkeypatch) == 0
    assert capsys.readouterr().err == ""


def typed(pid: int) -> str:
    return f"sudo sh -c 'kill {pid}'"


def test_a_docker_that_does_not_stop_is_told_and_stays_noted(
    plan: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Docker(monkeypatch, {})
    Path(plan["state"]).mkdir()
    Path(plan["state"], "dockerd.pid").write_text("77")
    monkeypatch.setattr(daemons, "is_program", lambda *_: True)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "kill", lambda *_: None)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert verb("stop-daemon", plan, monkeypatch) == 1
    assert capsys.readouterr().err.endswith("Docker (process 77) did not stop within 15 s. [not-removed]\n")
    assert Path(plan["state"], "dockerd.pid").exists()
