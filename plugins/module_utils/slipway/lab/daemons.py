"""Daemons of providers that scripts/setup starts where there is no systemd, and that end with the last machine."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import SlipwayError
from . import computer, docker, libvirt
from .docker import Progress


@dataclass(frozen=True)
class Daemon:
    """What it is called, its programs (each noted as ``<state>/<program>.pid``), and who still needs it."""

    name: str
    programs: tuple[str, ...]
    users: Callable[[], list[str]]


DAEMONS = {
    "docker": Daemon("Docker", ("dockerd",), lambda: docker.run("ps", "--format", "{{.Names}}").split()),
    "libvirt": Daemon("libvirt", ("libvirtd", "virtlogd"), libvirt.running),
}


def stop(daemon: Daemon, state: Path, progress: Progress) -> None:
    """Stop what scripts/setup started, unless a machine of somebody else's still runs in it."""
    notes = {program: state / f"{program}.pid" for program in daemon.programs}
    pids = {program: note.read_text(encoding="ascii").strip() for program, note in notes.items() if note.exists()}
    alive = {program: pid for program, pid in pids.items() if is_program(pid, program)}
    if alive:
        if names := daemon.users():
            progress(f"{daemon.name} keeps running for {', '.join(names)}")
            return
        progress(f"stopping {daemon.name}, which `make setup` started")
        for program, pid in alive.items():
            _end(daemon.name, program, pid)
    for note in notes.values():
        note.unlink(missing_ok=True)


def _end(name: str, program: str, pid: str) -> None:
    if os.geteuid() == 0:
        os.kill(int(pid), signal.SIGTERM)
    else:
        complaint = computer.as_root(["sh", "-c", f"kill {int(pid)}"])
        if complaint and is_program(pid, program):
            raise SlipwayError(
                "not-removed",
                f"{name} (process {pid}), which `make setup` started, cannot be stopped: {complaint}\n"
                f"Stop it yourself, then run this again: sudo sh -c 'kill {int(pid)}'",
            )
    for _ in range(150):
        if not is_program(pid, program):
            return
        time.sleep(0.1)
    raise SlipwayError("not-removed", f"{name} (process {pid}) did not stop within 15 s.")


def is_program(pid: str, program: str) -> bool:
    """Tell whether the process lives and is that program; one that nobody buried has no command line any more."""
    return bool(pid) and program in computer.text(f"/proc/{pid}/cmdline")
