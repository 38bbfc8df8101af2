"""What a failed test leaves to look at: pods, events and logs of its cluster, before any of it is taken away."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .kube import ready
from .lab import ROOT, docker, lab_name

KEPT = ROOT / ".slipway/log/test/kept"
# Seconds that one question may take: of a cluster that has failed, some are not answered.
PATIENCE = 20
LINES = "400"


@dataclass(frozen=True)
class Lab:
    """Machines of this checkout, and the state folder that they belong to."""

    name: str
    state: Path

    @property
    def nodes(self) -> list[str]:
        """Containers of it that run."""
        return sorted(name for name in docker("ps", "--format", "{{.Names}}") if name.startswith(f"{self.name}-"))


def labs() -> Iterator[Lab]:
    """Those of this checkout that have machines now."""
    folders = {path.parent.name: path for path in (ROOT / ".slipway/test").glob("*/.slipway")}
    for purpose, state in {**folders, "molecule": ROOT / "molecule/.lab/state"}.items():
        lab = Lab(lab_name(purpose), state)
        if lab.nodes:
            yield lab


def keep(test: str) -> list[Path]:
    """Write down how the labs are, each in a folder that has the name of ``test`` and its own; return the folders."""
    kept = []
    for lab in labs():
        folder = KEPT / f"{re.sub(r'[^A-Za-z0-9]+', '-', test).strip('-')[-80:]}.{lab.name}"
        folder.mkdir(parents=True, exist_ok=True)
        for name, command in questions(lab):
            (folder / f"{name}.txt").write_text(answer(command))
        kept.append(folder)
    return kept


def questions(lab: Lab) -> Iterator[tuple[str, Sequence[str]]]:
    """Name and command of each thing that is kept."""
    for node in lab.nodes:
        journal = ("journalctl", "--no-pager", "--lines", LINES, "--unit", "kubelet", "--unit", "containerd")
        yield node.removeprefix(f"{lab.name}-"), ("docker", "exec", node, *journal)
    kubectl = (str(lab.state / "bin/kubectl"), f"--kubeconfig={lab.state / 'kubeconfig'}", "--request-timeout=10s")
    if not Path(kubectl[0]).exists():
        return
    yield "nodes", (*kubectl, "describe", "nodes")
    yield "pods", (*kubectl, "get", "pods", "--all-namespaces", "--output=wide")
    yield "events", (*kubectl, "get", "events", "--all-namespaces", "--sort-by=.lastTimestamp")
    for pod, space, well in pods(answer((*kubectl, "get", "pods", "--all-namespaces", "--output=json"))):
        if not well:
            yield f"{space}.{pod}", (*kubectl, "describe", "pod", pod, f"--namespace={space}")
        logs = (f"--namespace={space}", "--all-containers", "--prefix", f"--tail={LINES}")
        yield f"{space}.{pod}.log", (*kubectl, "logs", pod, *logs)


def pods(said: str) -> list[tuple[str, str, bool]]:
    """Name and namespace of each pod in kubectl's JSON, and whether it is as it should be."""
    try:
        items = json.loads(said)["items"]
    except (ValueError, KeyError):
        return []
    return [
        (
            pod["metadata"]["name"],
            pod["metadata"]["namespace"],
            pod["status"].get("phase") == "Succeeded" or ready(pod),
        )
        for pod in items
    ]


def answer(command: Sequence[str]) -> str:
    """What a program prints, and its complaint."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace", timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"{exc}\n"
    return done.stdout + done.stderr
