"""What the caller's shell says does not decide whether make and vagrant run, and what cannot be set is named."""

from __future__ import annotations

import configparser
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from ansible import constants

ROOT = Path(__file__).resolve().parents[2]
# What is a matter of taste, or of the machine, and finds nothing: the caller's own word counts.
FREE = {
    "ANSIBLE_FORKS",
    "ANSIBLE_LOG_PATH",
    "ANSIBLE_TIMEOUT",
    "ANSIBLE_DEPRECATION_WARNINGS",
    "ANSIBLE_RETRY_FILES_ENABLED",
}
FREE |= {"ANSIBLE_NOCOWS"}
# A shell in which none of what it says fits.
FOREIGN = {
    "PYTHONHOME": "/nonexistent",
    "PYTHONPATH": "/nonexistent",
    "ANSIBLE_CONFIG": "/nonexistent/ansible.cfg",
    "ANSIBLE_INVENTORY": "/nonexistent/hosts",
    "ANSIBLE_ROLES_PATH": "/nonexistent/roles",
    "ANSIBLE_LIBRARY": "/nonexistent/library",
    "LANG": "xx_XX.UTF-8",
}


def program(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def caller(**said: str) -> dict[str, str]:
    """A user's environment, and what this one's shell says."""
    own = ("ANSIBLE_", "SLIPWAY_", "VAGRANT_", "PYTHON", "LC_", "LANG", "MAKE", "MFLAGS")
    return {**{name: value for name, value in os.environ.items() if not name.startswith(own)}, **said}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the Makefile, where programs only print their environment; its path has blanks."""
    folder = tmp_path / "über den Wolken"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    program(folder / "scripts/setup", "env > setup.env")
    for name in ("ansible-playbook", "python"):
        program(folder / ".venv/bin" / name, "env")
    return folder


def made(checkout: Path, target: str, **said: str) -> dict[str, str]:
    """The environment in which ``make target`` runs its program."""
    done = subprocess.run(
        ["make", "--no-print-directory", target],
        cwd=checkout,
        env=caller(**said),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


@pytest.mark.parametrize("target", ["validate", "status"])
def test_make_finds_what_belongs_to_this_checkout(checkout: Path, target: str) -> None:
    found = made(checkout, target, **FOREIGN, ANSIBLE_FORKS="3")
    assert found["ANSIBLE_CONFIG"] == f"{checkout}/ansible.cfg"
    assert not {"PYTHONHOME", "PYTHONPATH", "ANSIBLE_INVENTORY", "ANSIBLE_ROLES_PATH", "ANSIBLE_LIBRARY"} & set(found)
    assert found["ANSIBLE_FORKS"] == "3"
    assert "PYTHONHOME" not in (checkout / "setup.env").read_text()


@pytest.mark.parametrize(
    ("said", "locale"),
    [
        ({"LANG": "xx_XX.UTF-8"}, "C.UTF-8"),
        ({"LC_ALL": "C"}, "C.UTF-8"),
        ({"LANG": "C.UTF-8", "LC_TIME": "xx_XX.UTF-8"}, "C.UTF-8"),
        ({}, "C.UTF-8"),
        ({"LANG": "C.UTF-8"}, None),
        ({"LC_ALL": "C.UTF-8", "LANG": "xx_XX"}, "C.UTF-8"),
    ],
)
def test_a_locale_that_ansible_cannot_use_becomes_one_that_it_can(
    checkout: Path, said: dict[str, str], locale: str | None
) -> None:
    assert made(checkout, "validate", **said).get("LC_ALL") == locale


def test_all_that_ansible_cfg_says_of_what_is_found_counts() -> None:
    """Each option of it that the environment could overrule is taken out of that, or is the caller's to say."""
    reader = configparser.ConfigParser()
    reader.read(ROOT / "ansible.cfg")
    names = {
        variable["name"]
        for option in constants.config.get_configuration_definitions().values()
        for place in option.get("ini", [])
        if reader.has_option(place["section"], place["key"])
        for variable in option.get("env", [])
    }
    lines = [line.split() for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("unexport ")]
    taken = {word for line in lines for word in line[1:]}
    assert names - taken == FREE
    assert {"ANSIBLE_INVENTORY", "ANSIBLE_LIBRARY"} <= names


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A checkout that others may write to, below a path with blanks and umlauts."""
    folder = tmp_path / "über den Wolken"
    for name in ("ansible.cfg", "Makefile", "Vagrantfile"):
        folder.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder)
    for name in (
        "plugins",
        "playbooks",
        "roles",
        "group_vars",
        "inventory",
        "scripts",
        "releases",
        "artifacts",
        "apps",
    ):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    program(folder / "scripts/setup", "mkdir -p .slipway/log")
    ansible = Path(sys.executable).with_name("ansible-playbook")
    program(folder / ".venv/bin/ansible-playbook", f'PYTHONPATH=$PWD/plugins/module_utils exec {ansible} "$@"')
    (folder / "group_vars/all/cluster.yml").write_text(
        "cluster_provider: hosts\ncluster_hosts: [{name: one, address: 192.168.56.9, role: controller}]\n"
    )
    folder.chmod(stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO)
    return folder


@pytest.mark.parametrize("playbook", ["validate", "site"])
def test_ansible_without_this_checkouts_settings_says_how_to_name_them(tmp_path: Path, playbook: str) -> None:
    """From another folder it finds no module of ours, and shows the lines of the playbook where it stopped."""
    ansible = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [str(ansible), str(ROOT / f"playbooks/{playbook}.yml")],
        cwd=tmp_path,
        env=caller(LC_ALL="C.UTF-8"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    for words in ("Type `make validate`", "export ANSIBLE_CONFIG=$PWD/ansible.cfg"):
        assert words in done.stderr


def test_make_validates_in_a_checkout_that_others_may_write_to(copied: Path) -> None:
    done = subprocess.run(
        ["make", "validate"],
        cwd=copied,
        env=caller(**FOREIGN, SLIPWAY_CACHE="/nonexistent"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
