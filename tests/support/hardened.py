"""A clone with three controllers, looked into, and asked all the time as a client that retries once."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from .checkout import Checkout

CONTROLLERS = ("ctrl", "ctrl-2", "ctrl-3")


def inside(clone: Checkout, node: str, script: str) -> str:
    line = ["docker", "exec", f"{clone.name}-{node}", "bash", "-c", script]
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout


def client(script: Path, lost: Path, kubectl: str, pause: float = 0.3) -> str:
    """A client that asks one controller after the other while ``script`` is there, and where one fails the next, once.

    ``lost`` gets the time of each question that failed twice, and ``lost``.count how many there were.
    """
    return (
        f"all=({' '.join(CONTROLLERS)})\nwhile [ -e {script} ]; do n=$((n+1)); ok=\n"
        f"  for try in 0 1; do\n    at=${{all[$(((n + try) % {len(CONTROLLERS)}))]}}\n"
        f"    {kubectl} --context $at > /dev/null 2>&1 && ok=1 && break\n  done\n"
        f"  [ $ok ] || date +%T >> {lost}\n  echo $n > {lost}.count\n  sleep {pause}\ndone\n"
    )


@contextmanager
def asking(clone: Checkout) -> Iterator[list[str]]:
    """Ask the API through the controllers in turn all the time, as a client that retries once; give what failed."""
    config = yaml.safe_load((clone.state / "kubeconfig").read_text())
    assert {one["name"] for one in config["contexts"]} >= set(CONTROLLERS)
    script = clone.state / "asking.sh"
    lost = clone.state / "asking.log"
    kubectl = f"{clone.state}/bin/kubectl --kubeconfig {clone.state}/kubeconfig --request-timeout 5s get --raw /readyz"
    script.write_text(client(script, lost, kubectl))
    lost.write_text("")
    with subprocess.Popen(["bash", str(script)]) as process:
        found: list[str] = []
        try:
            yield found
        finally:
            script.unlink()
            process.wait(30)
            found += lost.read_text().split()
            print(f"asked {Path(f'{lost}.count').read_text().strip()} times, {len(found)} lost")
