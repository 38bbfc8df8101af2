"""kube-bench for tests: built with the artifacts' Go from pinned modules, and run on a container node."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slipway.artifacts import golang
from slipway.artifacts.cache import Cache, default_root

from .lab import ROOT

PINNED = ROOT / "tests/cis/kube-bench"
MODULE = "github.com/aquasecurity/kube-bench"
PROFILE = "cis-1.12"
ALL = ("master", "etcd", "controlplane", "node", "policies")
SECURITY = ROOT / "docs/security.md"
# Headings of the document, and the checks that a table below each answers.
FAILING, WARNING = "Checks that fail", "Checks that need a person"
FOLDER = "/root/kube-bench"


@dataclass(frozen=True)
class Result:
    """What kube-bench says of one check."""

    check: str
    status: str
    text: str
    reason: str


def build(folder: Path) -> tuple[Path, Path]:
    """Build it into a folder; give the program, and the folder of its profiles.

    ``SLIPWAY_TEST_KUBE_BENCH`` names a folder that has both.
    """
    if named := os.environ.get("SLIPWAY_TEST_KUBE_BENCH"):
        return Path(named) / "kube-bench", Path(named) / "cfg"
    cache, log = Cache(default_root()), folder / "build.log"
    go = golang.bootstrap(cache, ROOT / "artifacts", log, threading.Event())
    environment = golang.environment(cache.root, cgo=False)
    program = folder / "kube-bench"
    line = [go, "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", str(program), MODULE]
    subprocess.run(line, cwd=PINNED, env=environment, check=True)
    asked = [go, "list", "-m", "-f", "{{.Dir}}", MODULE]
    found = subprocess.run(asked, cwd=PINNED, env=environment, check=True, capture_output=True, text=True)
    return program, Path(found.stdout.strip()) / "cfg"


def run(made: tuple[Path, Path], container: str, targets: tuple[str, ...]) -> list[Result]:
    """Run it on a node, and leave nothing there."""
    program, profiles = made
    inside = ("docker", "exec", "--env", "KUBECONFIG=/etc/kubernetes/admin.conf", container)
    subprocess.run([*inside, "mkdir", "-p", f"{FOLDER}/cfg"], check=True)
    try:
        for source, target in (
            (program, "kube-bench"),
            (profiles / "config.yaml", "cfg/config.yaml"),
            (profiles / PROFILE, "cfg/"),
        ):
            subprocess.run(["docker", "cp", str(source), f"{container}:{FOLDER}/{target}"], check=True)
        line = f"cd {FOLDER} && ./kube-bench run --json --config-dir {FOLDER}/cfg --benchmark {PROFILE}"
        line += f" --targets {','.join(targets)}"
        said = subprocess.run([*inside, "sh", "-c", line], check=True, capture_output=True, text=True).stdout
    finally:
        subprocess.run([*inside, "rm", "-rf", FOLDER], check=True)
    return list(results(said))


def results(said: str) -> Iterator[Result]:
    """Read what it prints."""
    for control in json.loads(said)["Controls"]:
        for group in control["tests"]:
            for one in group["results"]:
                yield Result(
                    one["test_number"],
                    one["status"],
                    one["test_desc"],
                    one.get("reason") or one.get("actual_value") or "",
                )


def answered(heading: str, text: str | None = None) -> set[str]:
    """Name the checks that the table below a heading of docs/security.md answers."""
    text = SECURITY.read_text(encoding="utf-8") if text is None else text
    _, found, below = text.partition(f"\n## {heading}\n")
    assert found, f"docs/security.md has no heading {heading}"
    return set(re.findall(r"(?m)^\| (\d+(?:\.\d+)+) \|", below.partition("\n## ")[0]))


def unanswered(found: list[Result], text: str | None = None) -> list[str]:
    """Say what of it the document does not answer."""
    answers = {"FAIL": answered(FAILING, text), "WARN": answered(WARNING, text)}
    return [
        f"{one.status} {one.check} {one.text}: {one.reason}"
        for one in found
        if one.status in answers and one.check not in answers[one.status]
    ]
