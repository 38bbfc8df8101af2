"""Run the programs that give objects: helm and kubectl of the bundle, without any cluster and any setting of a user."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import SlipwayError

SECONDS = 120


def run(
    program: Path, arguments: Sequence[str], folder: Path, more: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Run a program in a folder of its own, and give its code and what it printed. Raises SlipwayError.

    ``more``: variables of its environment beside those that it always gets.
    """
    if not program.is_file():
        raise SlipwayError(
            "program-missing",
            f"{program} is not there: a chart, or a kustomization, needs it\n"
            "  works: `make up` puts it there; `playbooks/tools.yml` alone does too; else -e release_helm=…, "
            "-e release_kubectl=…",
        )
    home = folder / "home"
    home.mkdir(exist_ok=True)
    try:
        done = subprocess.run(
            [str(program), *arguments],
            cwd=folder,
            env={**_environment(os.environ, home), **(more or {})},
            check=False,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise SlipwayError("chart-fails", f"{program.name} has not ended within {SECONDS} s") from None
    except OSError as exc:
        raise SlipwayError("program-missing", f"{program} cannot be started: {exc}") from exc
    return done.returncode, done.stdout, done.stderr


def _environment(given: Mapping[str, str], home: Path) -> dict[str, str]:
    kept = {name: value for name, value in given.items() if not name.startswith(("HELM_", "KUBE"))}
    folders = {f"HELM_{name}_HOME": str(home / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
    # No cluster: what a chart would look up there is no part of it.
    return {**kept, **folders, "HOME": str(home), "KUBECONFIG": os.devnull}
