"""kubectl for tests: the binary of the bundle, the kubeconfig of one state folder, answers as dictionaries."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class Kube:
    """``kube("get", "nodes")`` is ``kubectl get nodes -o json``, read."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.config = state / "kubeconfig"

    @property
    def bundle(self) -> dict[str, Any]:
        """Manifest of the bundle that the cluster was made from."""
        manifest: dict[str, Any] = json.loads((self.state / "bundle.json").read_text())
        return manifest

    @property
    def program(self) -> Path:
        """kubectl: where the role ``tools`` puts it, and before that has run a copy of the bundle's."""
        installed = self.state / "bin/kubectl"
        if installed.exists():
            return installed
        copy = self.state / "test-kubectl"
        if not copy.exists():
            source = Path(self.bundle["path"]) / "files" / self.bundle["files"]["kubectl"]["address"]
            part = copy.with_suffix(".part")
            shutil.copyfile(source, part)
            part.chmod(0o755)
            part.replace(copy)
        return copy

    def text(self, *arguments: str, given: str | None = None, timeout: int = 60) -> str:
        """What kubectl prints; its own words when it fails."""
        done = subprocess.run(
            [str(self.program), f"--kubeconfig={self.config}", *arguments],
            check=False,
            capture_output=True,
            text=True,
            input=given,
            timeout=timeout,
            env={**os.environ, "KUBECONFIG": str(self.config)},
        )
        if done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def __call__(self, *arguments: str, timeout: int = 60) -> Any:
        """What kubectl prints with ``-o json``, read."""
        return json.loads(self.text(*arguments, "--output=json", timeout=timeout))

    def raw(self, path: str, timeout: int = 60) -> Any:
        """The JSON that the API server gives for ``path``."""
        return json.loads(self.text("get", "--raw", path, timeout=timeout))

    def apply(self, objects: list[dict[str, Any]]) -> str:
        """Apply ``objects`` server-side, in this order; what kubectl says of each."""
        given = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        return self.text("apply", "--server-side", "--field-manager=slipway-test", "--filename=-", given=given)

    def nodes(self) -> list[dict[str, Any]]:
        """Every node, by name."""
        return sorted(self("get", "nodes")["items"], key=lambda node: str(node["metadata"]["name"]))


def eventually(question: Callable[[], T], *, seconds: float, what: str) -> T:
    """Ask until the answer is true and return it; the last answer is in the error when time is up."""
    until = time.monotonic() + seconds
    last: object = None
    while True:
        try:
            answer = question()
            if answer:
                return answer
            last = answer
        except (AssertionError, KeyError, IndexError, subprocess.TimeoutExpired) as exc:
            last = exc
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds:.0f} s: {what}; last answer: {last!r}")
        time.sleep(1)


def ready(thing: dict[str, Any]) -> bool:
    """Whether the condition ``Ready`` of a node or pod is true."""
    conditions = thing.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
