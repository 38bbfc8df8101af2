"""The lab of the bench: its page, its machines, and the commands that are timed in it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from tests.support.kube import Kube, eventually
from tests.support.lab import ROOT, lab_name, shipped, take_out, write_page
from tests.support.mesh import Echo, own_address

HOME = ROOT / ".slipway/bench"
STATE = HOME / "state"
INVENTORY = HOME / "inventory"
OBJECTS = HOME / "objects"
PAGE = INVENTORY / "group_vars/all/cluster.yml"
NAME = lab_name("bench")


class BenchError(Exception):
    """A step did not end well; the text says which and where its output is."""


def lay_out(controllers: int) -> None:
    """Write page and inventory of a lab of our own, on a network that is free now."""
    shutil.rmtree(INVENTORY, ignore_errors=True)
    shared = INVENTORY / "group_vars"
    (shared / "all").mkdir(parents=True)
    for path in (ROOT / "group_vars").glob("**/*.yml"):
        if path.name != "cluster.yml":
            (shared / path.relative_to(ROOT / "group_vars")).symlink_to(path)
    # The parts and the release of the shipped page: both ways bring up all of it.
    values: dict[str, Any] = shipped("cluster_parts", "cluster_releases")
    if controllers > 1:
        values["cluster_controllers"] = {"count": controllers, "cpus": 2, "memory": 2560}
        values["cluster_workers"] = {"count": 1, "cpus": 2, "memory": 6144}
    write_page(PAGE, NAME, **values)
    (INVENTORY / "cluster.slipway.yml").write_text(
        "---\nplugin: slipway\npage: group_vars/all/cluster.yml\nstate: ../state\n"
    )


def environment(**more: str) -> dict[str, str]:
    """The lab's environment: its own page, state and Vagrant records."""
    return {
        **os.environ,
        "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}",
        "SLIPWAY_PAGE": str(PAGE),
        "SLIPWAY_STATE": str(STATE),
        "VAGRANT_DOTFILE_PATH": str(STATE / "vagrant"),
        **more,
    }


def timed(what: str, command: list[str], stdin: str = "", **more: str) -> float:
    """Run a step with its output in a log of its own; return its seconds."""
    log = HOME / "log" / f"{what}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with log.open("w") as out:
        status = subprocess.run(
            command, cwd=ROOT, env=environment(**more), input=stdin, text=True, stdout=out, stderr=out, check=False
        ).returncode
    if status:
        raise BenchError(
            f"{what} ended with {status}; its output: {log}\n" + "\n".join(log.read_text().splitlines()[-15:])
        )
    return time.monotonic() - began


def playbook(what: str, *arguments: str, **more: str) -> float:
    """Run playbooks against the lab."""
    return timed(what, ["ansible-playbook", f"--inventory={INVENTORY}", *arguments], **more)


def plan() -> dict[str, Any]:
    """The lab's machines."""
    done = subprocess.run(
        [sys.executable, "-m", "slipway.lab.plan"], env=environment(), check=True, capture_output=True, text=True
    )
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def ssh_config(machines: list[dict[str, Any]]) -> Path:
    """Write how ssh reaches the machines by their names."""
    text = "Host *\n  User vagrant\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n"
    for machine in machines:
        key = STATE / "vagrant/key"
        text += f"Host {machine['name']}\n  HostName {machine['address']}\n  IdentityFile {key}\n"
    path = HOME / "ssh_config"
    path.write_text(text)
    return path


def clients() -> None:
    """Put the bundle's kubectl and istioctl where the scripts by hand find them."""
    bundle = json.loads((STATE / "bundle.json").read_text())
    files = Path(bundle["path"]) / "files"
    folder = HOME / "bin"
    # A kubectl of a bench that was ended may run still.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy2(files / bundle["files"]["kubectl"]["address"], folder / "kubectl")
    with tarfile.open(files / bundle["files"]["istioctl"]["address"]) as archive:
        take_out(archive, "istioctl", folder / "istioctl")
    (folder / "kubectl").chmod(0o755)


def answer_dns(config: Path, nodes: list[str]) -> None:
    """Wait until cluster DNS answers on every node."""
    query = (ROOT / "bench/dns_query.py").read_bytes()

    def ask(node: str) -> None:
        done = subprocess.run(
            ["ssh", "-F", str(config), node, "python3", "-"], input=query, check=False, capture_output=True
        )
        if done.returncode:
            raise BenchError(f"{node}: {done.stderr.decode().strip()}")

    with ThreadPoolExecutor() as pool:
        list(pool.map(ask, nodes))


def answer_gateway() -> None:
    """Start a workload in the mesh and wait until it answers through the gateway."""
    page = yaml.safe_load(PAGE.read_text())
    Echo(Kube(STATE), page["cluster_gateway"]["address"], "echo.bench.local", seconds=300)


def answer_release() -> None:
    """Wait until the release of the page answers through the gateway."""
    page = yaml.safe_load(PAGE.read_text())
    address, host = page["cluster_gateway"]["address"], release_page()["hosts"][0]
    # Nothing is sent out of this machine.
    own_address(address)

    def answers() -> bool:
        connection = http.client.HTTPConnection(address, timeout=5)
        try:
            connection.request("GET", "/", headers={"Host": host})
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    eventually(answers, seconds=120, what=f"{host} answers through the gateway")


def release_file() -> Path:
    """The page of the release that the lab's page lists."""
    (listed,) = yaml.safe_load(PAGE.read_text())["cluster_releases"]
    return ROOT / str(listed)


def release_page() -> dict[str, Any]:
    """What that page says."""
    made: dict[str, Any] = yaml.safe_load(release_file().read_text())
    return made
