"""A clone with three controllers, looked into, and asked all the time as a client that tries the next controller."""

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


@contextmanager
def asking(clone: Checkout) -> Iterator[list[str]]:
    """Ask the API through each controller all the time, as a client that tries the next one; give what failed."""
    config = yaml.safe_load((clone.state / "kubeconfig").read_text())
    assert {one["name"] for one in config["contexts"]} >= set(CONTROLLERS)
    script = clone.state / "asking.sh"
    lost = clone.state / "asking.log"
    kubectl = f"{clone.state}/bin/kubectl --kubeconfig {clone.state}/kubeconfig --request-timeout 5s get --raw /readyz"
    script.write_text(
        f"while [ -e {script} ]; do n=$((n+1)); ok=\n"
        f"  for c in {' '.join(CONTROLLERS)}; do {kubectl} --context $c > /dev/null 2>&1 && ok=1 && break; done\n"
        f"  [ $ok ] || date +%T >> {lost}\n  echo $n > {lost}.count\n  sleep 0.3\ndone\n"
    )
    lost.write_text("")
    with subprocess.Popen(["bash", str(script)]) as client:
        found: list[str] = []
        try:
            yield found
        finally:
            script.unlink()
            client.wait(30)
            found += lost.read_text().split()
            print(f"asked {Path(f'{lost}.count').read_text().strip()} times, {len(found)} lost")
