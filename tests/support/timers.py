"""Programs that role control_plane lays on controllers with a timer: what it lays, and whether they run there."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from slipway.paths import ROOT

ROLE = ROOT / "roles/control_plane"
LIBRARY = ROOT / "plugins/module_utils/slipway"


def laid_out(name: str, task: str, **values: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]], str]:
    """The files and units of the role's task that begins with these words, and the timer as systemd reads it."""
    loader = DataLoader()
    variables: dict[str, Any] = {
        **loader.load_from_file(str(ROLE / "defaults/main.yml"), trusted_as_template=True),
        **loader.load_from_file(str(ROLE / "vars/main.yml"), trusted_as_template=True),
        "role_path": str(ROLE),
        "inventory_hostname": "ctrl",
        "control_plane_address": "192.0.2.1",
        **values,
    }
    tasks = loader.load_from_file(str(ROLE / "tasks/services.yml"), trusted_as_template=True)
    (found,) = (each for each in tasks if each["name"].startswith(task))
    loader.set_basedir(str(ROLE))
    templar = Templar(loader=loader, variables=variables)
    given = templar.template(found["node_service"])
    timer = trust_as_template((ROLE / f"templates/slipway-{name}.timer.j2").read_text())
    return given["files"], given["units"], str(templar.template(timer))


def modules(name: str, place: Path) -> list[str]:
    """Lay the modules of a program below ``place`` as the role does, and give their names."""
    names: list[str] = yaml.safe_load((ROLE / "vars/main.yml").read_text())[f"__control_plane_{name}_modules"]
    folder = place / "slipway"
    folder.mkdir()
    (folder / "__init__.py").write_text((LIBRARY / "__init__.py").read_text())
    for module in names:
        (folder / f"{module}.py").write_text((LIBRARY / f"node/{module}.py").read_text())
    return names


def is_imported(name: str, place: Path) -> bool:
    """Whether the program can be imported there, with the standard library alone."""
    script = f"import sys; sys.path.insert(0, '.'); import slipway.scheduled_{name}"
    command = ["/usr/bin/python3", "-I", "-B", "-c", script]
    return subprocess.run(command, cwd=place, check=False, capture_output=True).returncode == 0
