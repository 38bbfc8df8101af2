"""A plan of machines, a Docker and a sudo that answer as they are told, for tests of the provider."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from slipway.lab import docker, provider

if TYPE_CHECKING:
    from slipway.lab.plan import LabPlan

OWN = "/home/me/slipway/.vagrant"
CIDR = "192.168.57.0/24"
INFO = {"ServerVersion": "27.0", "NCPU": 2, "MemoryLimit": True, "CpuCfsQuota": True}


def make_plan(vagrant: str = OWN) -> LabPlan:
    """A mirror, a controller and a worker as containers; ``vagrant`` is the folder of its records."""
    names = {"mirror-1": ("mirror", 10), "ctrl": ("controller", 100), "node-1": ("worker", 101)}
    return {
        "cluster": "sun",
        "provider": "docker",
        "network": {"name": "sun", "cidr": CIDR, "gateway": "192.168.57.1", "apart": ["10.244.0.0/16"]},
        "machines": [
            {
                "name": name,
                "role": role,
                "address": f"192.168.57.{number}",
                "cpus": 2,
                "memory": 1024,
                "system": "debian-12",
                "image": "slipway-node:0",
                "box": "",
                "box_file": "",
            }
            for name, (role, number) in names.items()
        ],
        "left": [],
        "checkout": False,
        "baked": "never",
        "hosts": [],
        "cache": "/cache",
        "page": "",
        "state": "",
        "vagrant": vagrant,
    }


def plan_in(folder: Path) -> Any:
    """That plan with folders of the test; tests make other plans of it."""
    return {**make_plan(str(folder / "vagrant")), "cache": str(folder / "cache"), "state": str(folder / "state")}


def of(plan: Any, kind: str) -> Any:
    """The same plan with another provider."""
    return {**plan, "provider": kind}


def verb(name: str, plan: Any, monkeypatch: pytest.MonkeyPatch, *more: str) -> int:
    """Call a verb of the provider as the Vagrantfile and make do, with the plan on its standard input."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(plan)))
    return provider.main([name, *more])


class Docker:
    """A docker that answers from a list, and writes down what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: dict[str, str]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        monkeypatch.setattr(docker, "run", self)

    def __call__(self, *arguments: str) -> str:
        words = " ".join(arguments)
        self.asked.append(words)
        return next((answer for start, answer in self.answers.items() if words.startswith(start)), "")


def record(folder: Path, **ids: str) -> None:
    """Note as Vagrant does which machines have which containers."""
    for name, text in ids.items():
        place = folder / "machines" / name.replace("_", "-") / "docker"
        place.mkdir(parents=True)
        (place / "id").write_text(f"{text}\n")


def sudo_asks(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stand in for the sudo of somebody who has to type a password; gives what it was called with."""
    asked: list[list[str]] = []

    def run(command: list[str], *, check: bool, **_: Any) -> subprocess.CompletedProcess[str]:
        if command[0] != "sudo":
            names = command[command.index("remove") + 1 :]
            return subprocess.CompletedProcess(command, 0, "".join(f"Remv {name} [1.0]\n" for name in names), "")
        asked.append(command)
        if check:
            raise subprocess.CalledProcessError(1, command)
        return subprocess.CompletedProcess(command, 1, "", "sudo: a password is required\n")

    monkeypatch.setattr(subprocess, "run", run)
    return asked
