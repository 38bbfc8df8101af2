"""A lab of two nodes and a mirror in containers, whose page, inventory and records lie in a folder of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.lab import ROOT, clean, docker, lab_name, left_behind, write_page


class Lab:
    """The lab, and what a user does to it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.folder = folder
        self.page = folder / "cluster.yml"
        self.state = folder / "state"
        self.records = self.state / "vagrant"
        self.inventory = folder / "inventory"

    @property
    def environment(self) -> dict[str, str]:
        """What leads Vagrant to this lab, and to no other."""
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "VAGRANT_"))},
            "SLIPWAY_PAGE": str(self.page),
            "SLIPWAY_STATE": str(self.state),
            "VAGRANT_DOTFILE_PATH": str(self.records),
            "VAGRANT_HOME": str(self.state / "vagrant-home"),
        }

    def run(self, *command: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command in the checkout, with this lab's environment."""
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, input=stdin, capture_output=True, text=True, check=False
        )

    def vagrant(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Vagrant."""
        return self.run("vagrant", *arguments)

    def play(self, playbook: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the playbooks, with this lab's inventory."""
        command = str(Path(sys.executable).parent / "ansible-playbook")
        return self.run(command, f"--inventory={self.inventory}", f"playbooks/{playbook}.yml", *arguments)

    def plan(self) -> dict[str, Any]:
        """Return the machine plan."""
        answer = self.run(sys.executable, "-m", "slipway.lab.plan")
        assert answer.returncode == 0, answer.stderr
        plan: dict[str, Any] = json.loads(answer.stdout)
        return plan

    def ssh(self, machine: str, command: str, key: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command on a machine, over the node network."""
        address = {entry["name"]: entry["address"] for entry in self.plan()["machines"]}[machine]
        key = key or self.records / "key"
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "IdentitiesOnly=yes")
        words = [word for option in (*options, "BatchMode=yes", "ConnectTimeout=5") for word in ("-o", option)]
        return self.run("ssh", "-i", str(key), *words, f"vagrant@{address}", command)

    def kill_vagrant(self, *arguments: str, when: Callable[[], bool]) -> None:
        """Start Vagrant, and kill it and all that it started (not Docker) with -9 as soon as ``when`` says so."""
        process = subprocess.Popen(
            ["vagrant", *arguments],
            cwd=ROOT,
            env=self.environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            end = time.monotonic() + 60
            while not when() and time.monotonic() < end and process.poll() is None:
                time.sleep(0.02)
            assert process.poll() is None, "Vagrant ended before it was killed"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def containers(self, *filters: str) -> list[str]:
        """Names of this lab's containers."""
        names = docker("ps", "--all", *filters, "--format", "{{.Names}}")
        return sorted(name for name in names if name.startswith(f"{self.name}-"))

    def left(self) -> dict[str, list[str]]:
        """What Docker holds of this lab."""
        return {kind: names for kind, names in left_behind(self.name).items() if names}


def make_lab(purpose: str) -> Lab:
    """Lay out a lab of one controller and one worker; what an earlier run left of it goes first."""
    folder = ROOT / ".slipway/test" / purpose
    lab = Lab(folder, lab_name(purpose))
    clean(lab.name)
    shutil.rmtree(folder, ignore_errors=True)
    write_page(lab.page, lab.name, cluster_workers={"count": 1, "cpus": 2, "memory": 1024}, cluster_baked=False)
    lab.inventory.mkdir()
    (lab.inventory / "cluster.slipway.yml").write_text("plugin: slipway\npage: ../cluster.yml\nstate: ../state\n")
    return lab


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab, which is gone when the last test has run."""
    lab = make_lab("machines")
    yield lab
    clean(lab.name)
