"""Slipway and the same cluster by hand, on machines made the same way, in one run.

Each round makes machines and lets ``bench/bare`` work on them, takes them away, makes them again and lets
``playbooks/site.yml`` work on them, twice. Both ways start from the same bundle, and both end when every node is Ready
and cluster DNS has answered a query from every node. Making the machines is timed apart: it is the same for both.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.support.lab import ROOT, clean, lab_name, write_page

HOME = ROOT / ".slipway/bench"
STATE = HOME / "state"
INVENTORY = HOME / "inventory"
NAME = lab_name("bench")
# What the project promises: by hand times this, and a second run in these seconds and tasks.
RATIO, AGAIN_SECONDS, AGAIN_TASKS = 2.0, 30.0, 40


class BenchError(Exception):
    """A step did not end well; the text says which and where its output is."""


def lay_out() -> None:
    """Write page and inventory of a lab of our own, on a network that is free now."""
    shutil.rmtree(INVENTORY, ignore_errors=True)
    shared = INVENTORY / "group_vars"
    (shared / "all").mkdir(parents=True)
    for path in (ROOT / "group_vars").glob("**/*.yml"):
        if path.name != "cluster.yml":
            (shared / path.relative_to(ROOT / "group_vars")).symlink_to(path)
    write_page(shared / "all/cluster.yml", NAME)
    (INVENTORY / "cluster.slipway.yml").write_text(
        "---\nplugin: slipway\npage: group_vars/all/cluster.yml\nstate: ../state\n"
    )


def environment(**more: str) -> dict[str, str]:
    """The lab's environment: its own page, state and Vagrant records."""
    return {
        **os.environ,
        "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}",
        "SLIPWAY_PAGE": str(INVENTORY / "group_vars/all/cluster.yml"),
        "SLIPWAY_STATE": str(STATE),
        "VAGRANT_DOTFILE_PATH": str(STATE / "vagrant"),
        **more,
    }


def timed(what: str, command: list[str], **more: str) -> float:
    """Run a step with its output in a log of its own; return its seconds."""
    log = HOME / "log" / f"{what}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with log.open("w") as out:
        status = subprocess.run(
            command, cwd=ROOT, env=environment(**more), stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False
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
        [sys.executable, "-m", "slipway.machines"], env=environment(), check=True, capture_output=True, text=True
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


def kubectl() -> None:
    """Put the bundle's kubectl where the script by hand finds it."""
    bundle = json.loads((STATE / "bundle.json").read_text())
    (HOME / "bin").mkdir(exist_ok=True)
    shutil.copy2(Path(bundle["path"]) / "files" / bundle["files"]["kubectl"]["address"], HOME / "bin/kubectl")
    (HOME / "bin/kubectl").chmod(0o755)


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


def by_hand(machines: list[dict[str, Any]]) -> dict[str, float]:
    """One cluster by hand: seconds for the machines and for the cluster."""
    made = playbook("bare-machines", "playbooks/machines.yml")
    config = ssh_config(machines)
    nodes = [machine["name"] for machine in machines if machine["role"] != "mirror"]
    main = next(machine for machine in machines if machine["role"] == "controller")
    flannel = HOME / "flannel.yml"
    playbook(
        "bare-flannel",
        "bench/flannel.yml",
        "-e",
        f"bench_flannel={flannel}",
        "-e",
        f"flannel_api_endpoint={main['address']}:6443",
    )
    began = time.monotonic()
    timed(
        "bare",
        ["bench/bare", str(config), str(STATE / "bundle.json"), str(flannel), *nodes],
        PATH=f"{HOME / 'bin'}:{os.environ['PATH']}",
    )
    answer_dns(config, nodes)
    seconds = time.monotonic() - began
    playbook("bare-down", "playbooks/down.yml")
    return {"machines": made, "cluster": seconds}


def slipway(machines: list[dict[str, Any]]) -> dict[str, Any]:
    """One cluster by Slipway, and a second run over it."""
    made = playbook("slipway-machines", "playbooks/machines.yml")
    config = ssh_config(machines)
    nodes = [machine["name"] for machine in machines if machine["role"] != "mirror"]
    first, again = HOME / "first.json", HOME / "again.json"
    began = time.monotonic()
    playbook("slipway", "playbooks/site.yml", SLIPWAY_TIMES=str(first))
    answer_dns(config, nodes)
    seconds = time.monotonic() - began
    second = playbook("slipway-again", "playbooks/site.yml", SLIPWAY_TIMES=str(again))
    playbook("slipway-down", "playbooks/down.yml")
    return {
        "machines": made,
        "cluster": seconds,
        "again": second,
        "first_times": json.loads(first.read_text()),
        "again_times": json.loads(again.read_text()),
    }


def carried_out(times: dict[str, Any]) -> int:
    """Count the tasks that ran on any machine. Phases follow each other, so this is the longest path."""
    return sum(1 for phase in times["phases"] for task in phase["tasks"] if task["ran"])


def changed(times: dict[str, Any]) -> int:
    """Sum what the recap calls changed."""
    return sum(int(host["changed"]) for host in times["hosts"].values())


def show(hand: list[dict[str, float]], ours: list[dict[str, Any]]) -> bool:
    """Print the figures; return whether they are what the project promises."""
    console = Console(width=110)
    ratios = [b["cluster"] / a["cluster"] for a, b in zip(hand, ours, strict=True)]
    again = median(run["again"] for run in ours)
    last = ours[-1]
    tasks, second_changes = carried_out(last["again_times"]), max(changed(run["again_times"]) for run in ours)

    table = Table("seconds", "by hand", "Slipway", "ratio", title=f"{len(ours)} round(s), medians")
    table.add_row("machines", *(f"{median(r['machines'] for r in runs):.1f}" for runs in (hand, ours)), "")
    table.add_row(
        "cluster: all nodes Ready, DNS answers",
        *(f"{median(r['cluster'] for r in runs):.1f}" for runs in (hand, ours)),
        f"{median(ratios):.2f} (at most {RATIO:.1f})",
    )
    table.add_row("second run", "", f"{again:.1f} (at most {AGAIN_SECONDS:.0f})", "")
    table.add_row("second run: tasks on the longest path", "", f"{tasks} (at most {AGAIN_TASKS})", "")
    table.add_row("second run: changed", "", f"{second_changes} (0)", "")
    console.print(table)

    phases = Table("phase", "seconds", "tasks", "second run", title="Slipway by phase, last round")
    seconds_again = {p["name"]: p["ended"] - p["began"] for p in last["again_times"]["phases"]}
    for phase in last["first_times"]["phases"]:
        ran = sum(1 for task in phase["tasks"] if task["ran"])
        phases.add_row(
            phase["name"],
            f"{phase['ended'] - phase['began']:.1f}",
            str(ran),
            f"{seconds_again.get(phase['name'], 0):.1f}",
        )
    console.print(phases)

    slowest = sorted(
        ((t["ended"] - t["began"], p["name"], t["name"]) for p in last["first_times"]["phases"] for t in p["tasks"]),
        reverse=True,
    )
    steps = Table("seconds", "phase", "task", title="Slipway by task, last round (those of half a second and more)")
    for seconds, where, name in slowest:
        if seconds >= 0.5:
            steps.add_row(f"{seconds:.1f}", where, name)
    console.print(steps)
    return median(ratios) <= RATIO and again <= AGAIN_SECONDS and tasks <= AGAIN_TASKS and not second_changes


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=1, help="pairs to run (default 1)")
    parser.add_argument("--report", type=Path, help="file that gets all figures as JSON")
    options = parser.parse_args(argv)
    HOME.mkdir(parents=True, exist_ok=True)
    clean(NAME)
    shutil.rmtree(STATE, ignore_errors=True)
    lay_out()
    hand, ours = [], []
    try:
        playbook("artifacts", "playbooks/artifacts.yml")
        kubectl()
        machines = plan()["machines"]
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}: by hand", flush=True)
            hand.append(by_hand(machines))
            print(f"  {hand[-1]['cluster']:.1f} s; by Slipway", flush=True)
            ours.append(slipway(machines))
            print(f"  {ours[-1]['cluster']:.1f} s", flush=True)
    finally:
        clean(NAME)
    if options.report:
        options.report.write_text(json.dumps({"hand": hand, "slipway": ours}, indent=1))
    kept = show(hand, ours)
    if not kept:
        print("At least one figure is not what the project promises.")
    return 0 if kept else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as exc:
        sys.exit(f"bench: {exc}")
