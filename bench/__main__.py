"""Slipway and the same cluster by hand, on machines made the same way, in one run.

Each round makes machines and lets ``bench/bare`` and ``bench/mesh`` work on them, takes them away, makes them again and
lets the playbooks work on them; and once more with machines that are not baked. All ways start from the same bundle.
By hand, machines have nothing of the cluster in them. Both ways have two stretches: until every node is Ready
and cluster DNS has answered a query from every node; and from there until a workload answers through the gateway, on an
address of MetalLB. Making the machines is timed apart: it is the same for both. Last comes ``playbooks/site.yml`` with
all parts, twice: what it takes when there is nothing to do.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from tests.support.figures import FILE, read
from tests.support.kube import Kube, eventually
from tests.support.lab import ROOT, clean, lab_name, take_out, write_page
from tests.support.mesh import Echo

HOME = ROOT / ".slipway/bench"
STATE = HOME / "state"
INVENTORY = HOME / "inventory"
OBJECTS = HOME / "objects"
PAGE = INVENTORY / "group_vars/all/cluster.yml"
NAME = lab_name("bench")
# What is installed on top of the cluster: its key in ``cluster_parts``, its namespace and how its pods' names begin.
PARTS = {
    "metallb": ("metallb-system", ""),
    "istio": ("istio-system", ""),
    "storage": ("local-path-storage", ""),
    "metrics_server": ("kube-system", "metrics-server"),
}
# The plays of those parts in ``site.yml``; all others are the cluster's.
PLAYS = {
    "Shared folder",
    "Storage",
    "Metrics",
    "Addresses",
    "Load balancer",
    "Mesh",
    "Control plane's metrics",
    "Monitoring",
}
# What the project promises: by hand times this; a second run of the cluster's plays in these seconds and tasks, of the
# parts' plays in these seconds; MiB that the parts use when nothing is asked of them, and cores that all nodes do then.
RATIO, AGAIN_SECONDS, AGAIN_TASKS, PARTS_SECONDS, PARTS_MEMORY, IDLE_CORES = 2.0, 30.0, 40, 18.0, 1229, 0.5
# The cluster by hand times this, with nodes that are baked and with nodes that are not.
RATIO_BAKED, RATIO_PLAIN = 1.2, 1.5
# By hand times this with several controllers.
RATIO_OF_SEVERAL = 1.5


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
    several = {"cluster_controllers": {"count": controllers, "cpus": 2, "memory": 2560}}
    several["cluster_workers"] = {"count": 1, "cpus": 2, "memory": 3072}
    write_page(PAGE, NAME, **(several if controllers > 1 else {}))
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
    folder.mkdir(exist_ok=True)
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


def by_hand(machines: list[dict[str, Any]]) -> dict[str, float]:
    """One cluster by hand: seconds for the machines, the cluster, and from there to the first answer of a workload."""
    made = playbook("bare-machines", "playbooks/machines.yml", SLIPWAY_BAKED="false")
    config = ssh_config(machines)
    nodes = [machine["name"] for machine in machines if machine["role"] != "mirror"]
    controllers = [machine for machine in machines if machine["role"] == "controller"]
    main, names = controllers[0], ",".join(machine["name"] for machine in controllers)
    workers = [machine["name"] for machine in machines if machine["role"] == "worker"]
    OBJECTS.mkdir(exist_ok=True)
    given = {"bench_objects": OBJECTS, "bench_bin": HOME / "bin", "flannel_api_endpoint": f"{main['address']}:6443"}
    playbook("bare-objects", "bench/objects.yml", *(f"--extra-vars={key}={value}" for key, value in given.items()))
    kubeconfig, path = str(STATE / "kubeconfig"), f"{HOME / 'bin'}:{os.environ['PATH']}"
    bundle, flannel = str(STATE / "bundle.json"), str(OBJECTS / "flannel.yml")
    began = time.monotonic()
    timed("bare", ["bench/bare", str(config), bundle, flannel, kubeconfig, names, *workers], PATH=path)
    answer_dns(config, nodes)
    ready = time.monotonic()
    timed("bare-mesh", ["bench/mesh", kubeconfig, str(OBJECTS)], PATH=path)
    answer_gateway()
    answered = time.monotonic()
    playbook("bare-down", "playbooks/down.yml")
    return {"machines": made, "cluster": ready - began, "gateway": answered - ready}


def cluster(machines: list[dict[str, Any]], name: str, times: Path, **more: str) -> tuple[float, float]:
    """Machines and a cluster by Slipway: seconds for each."""
    made = playbook(f"{name}-machines", "playbooks/machines.yml", **more)
    config = ssh_config(machines)
    nodes = [machine["name"] for machine in machines if machine["role"] != "mirror"]
    # The same bundle, without what is timed apart.
    off = dict.fromkeys(yaml.safe_load(PAGE.read_text())["cluster_parts"], False)
    bare = json.dumps({"cluster_parts": off, "artifacts_parts": ["kubernetes", "flannel", "mirror", "tools", *PARTS]})
    began = time.monotonic()
    playbook(name, "playbooks/site.yml", f"--extra-vars={bare}", SLIPWAY_TIMES=str(times), **more)
    answer_dns(config, nodes)
    return made, time.monotonic() - began


def slipway(machines: list[dict[str, Any]]) -> dict[str, Any]:
    """One cluster by Slipway in the same two stretches, then everything, and everything again; one not baked before."""
    plain = cluster(machines, "plain", HOME / "plain.json", SLIPWAY_BAKED="false")
    playbook("plain-down", "playbooks/down.yml")
    times = {name: HOME / f"{name}.json" for name in ("first", "mesh", "again")}
    # What is made once for all clusters from this bundle.
    baking = timed("bake", [sys.executable, "-m", "slipway.lab.bake"], json.dumps(plan() | {"baked": "auto"}))
    made, founded = cluster(machines, "slipway", times["first"], SLIPWAY_BAKED="auto")
    ready = time.monotonic()
    off = dict.fromkeys(yaml.safe_load(PAGE.read_text())["cluster_parts"], False)
    mesh = json.dumps({"istio_wait": False, "cluster_parts": {**off, "metallb": True, "istio": True}})
    steps = (f"playbooks/phases/{name}.yml" for name in ("mesh", "balancer", "ready"))
    playbook("slipway-mesh", *steps, f"--extra-vars={mesh}", SLIPWAY_TIMES=str(times["mesh"]))
    answer_gateway()
    answered = time.monotonic()
    playbook("slipway-all", "playbooks/site.yml")
    again = playbook("slipway-again", "playbooks/site.yml", SLIPWAY_TIMES=str(times["again"]))
    used = memory()
    cores = idle()
    playbook("slipway-down", "playbooks/down.yml")
    return {
        "machines": made,
        "cluster": founded,
        "plain_machines": plain[0],
        "plain": plain[1],
        "baking": baking,
        "gateway": answered - ready,
        "again": again,
        "memory": used,
        "cores": cores,
        **{f"{name}_times": json.loads(path.read_text()) for name, path in times.items()},
    }


def memory() -> dict[str, int]:
    """MiB that the pods of each part use when nothing is asked of them, as ``kubectl top`` says."""
    kube = Kube(STATE)

    def used() -> dict[str, int]:
        figures = {}
        for part, (namespace, name) in PARTS.items():
            lines = kube.text("top", "pods", "--no-headers", f"--namespace={namespace}").splitlines()
            figures[part] = sum(int(line.split()[2].removesuffix("Mi")) for line in lines if line.startswith(name))
        return figures if all(figures.values()) else {}

    return eventually(used, seconds=120, what="kubectl top knows the pods of every part")


def idle(seconds: float = 45) -> float:
    """Cores that all nodes together use when nothing is asked of them, as their kubelets count."""
    kube = Kube(STATE)

    def spent(node: str) -> tuple[float, float]:
        lines = kube.text("get", "--raw", f"/api/v1/nodes/{node}/proxy/metrics/resource").splitlines()
        (line,) = (line for line in lines if line.startswith("node_cpu_usage_seconds_total "))
        _, used, at = line.split()
        return float(used), float(at) / 1000

    nodes = [node["metadata"]["name"] for node in kube.nodes()]
    before = {node: spent(node) for node in nodes}
    time.sleep(seconds)
    after = {node: spent(node) for node in nodes}
    return sum((after[node][0] - used) / (after[node][1] - at) for node, (used, at) in before.items())


def of_parts(phase: dict[str, Any]) -> bool:
    """Is this play one of the parts'?"""
    return phase["name"] in PLAYS


def carried_out(times: dict[str, Any]) -> int:
    """Count the cluster's tasks that ran on any machine. Phases follow each other, so this is the longest path."""
    return sum(1 for phase in times["phases"] if not of_parts(phase) for task in phase["tasks"] if task["ran"])


def part_seconds(times: dict[str, Any]) -> float:
    """How long the parts' plays took."""
    return sum(float(phase["ended"] - phase["began"]) for phase in times["phases"] if of_parts(phase))


def changed(times: dict[str, Any]) -> int:
    """Sum what the recap calls changed."""
    return sum(int(host["changed"]) for host in times["hosts"].values())


def show(hand: list[dict[str, float]], ours: list[dict[str, Any]], controllers: int) -> bool:
    """Print the figures; return whether they are what the project promises."""
    several = RATIO_OF_SEVERAL if controllers > 1 else 0.0
    most = {"cluster": several or RATIO_BAKED, "plain": several or RATIO_PLAIN, "gateway": several or RATIO}
    most_cores = IDLE_CORES * controllers
    console = Console(width=110)
    by_hand_of = {"cluster": "cluster", "plain": "cluster", "gateway": "gateway"}
    ratios = {key: [b[key] / a[by] for a, b in zip(hand, ours, strict=True)] for key, by in by_hand_of.items()}
    parts = median(part_seconds(run["again_times"]) for run in ours)
    cluster = median(run["again"] - part_seconds(run["again_times"]) for run in ours)
    last = ours[-1]
    tasks, second_changes = carried_out(last["again_times"]), max(changed(run["again_times"]) for run in ours)
    used = sum(last["memory"].values())

    table = Table("seconds", "by hand", "Slipway", "ratio", title=f"{len(ours)} round(s), medians")
    for key, by, what in (
        ("machines", "machines", "machines"),
        ("plain_machines", "machines", "machines that are not baked"),
        ("cluster", "cluster", "cluster: all nodes Ready, DNS answers"),
        ("plain", "cluster", "the same with nodes that are not baked"),
        ("gateway", "gateway", "from there: a workload answers through the gateway"),
    ):
        ratio = f"{median(ratios[key]):.2f} (at most {most[key]:.1f})" if key in ratios else ""
        table.add_row(what, f"{median(r[by] for r in hand):.1f}", f"{median(r[key] for r in ours):.1f}", ratio)
    table.add_row("images of nodes are baked, once per bundle", "", f"{median(r['baking'] for r in ours):.1f}", "")
    table.add_row("second run: the cluster", "", f"{cluster:.1f} (at most {AGAIN_SECONDS:.0f})", "")
    table.add_row("second run: its parts", "", f"{parts:.1f} (at most {PARTS_SECONDS:.0f})", "")
    table.add_row("second run: the cluster's tasks on the longest path", "", f"{tasks} (at most {AGAIN_TASKS})", "")
    table.add_row("second run: changed", "", f"{second_changes} (0)", "")
    table.add_row("MiB of the parts when idle", "", f"{used} (at most {PARTS_MEMORY})", "")
    cores = median(run["cores"] for run in ours)
    table.add_row("cores of all nodes when idle", "", f"{cores:.2f} (at most {most_cores})", "")
    console.print(table)
    console.print("MiB when idle: " + ", ".join(f"{part} {figure}" for part, figure in last["memory"].items()))

    phases = Table("phase", "seconds", "tasks", "second run", title="Slipway by phase, last round")
    seconds_again = {p["name"]: p["ended"] - p["began"] for p in last["again_times"]["phases"]}
    first = [p for p in last["first_times"]["phases"] if not of_parts(p)]
    first += [{**p, "name": f"{p['name']} (parts)"} if not of_parts(p) else p for p in last["mesh_times"]["phases"]]
    shown = {phase["name"] for phase in first}
    # What the first two stretches do not play is seen in the second run alone.
    rest = [{**p, "began": 0, "ended": 0} for p in last["again_times"]["phases"] if p["name"] not in shown]
    for phase in first + rest:
        ran = sum(1 for task in phase["tasks"] if task["ran"])
        phases.add_row(
            phase["name"],
            f"{phase['ended'] - phase['began']:.1f}" if phase["ended"] else "",
            str(ran),
            f"{seconds_again.get(phase['name'], 0):.1f}",
        )
    console.print(phases)

    slowest = sorted(
        ((t["ended"] - t["began"], p["name"], t["name"]) for p in first for t in p["tasks"]),
        reverse=True,
    )
    steps = Table("seconds", "phase", "task", title="Slipway by task, last round (those of half a second and more)")
    for seconds, where, name in slowest:
        if seconds >= 0.5:
            steps.add_row(f"{seconds:.1f}", where, name)
    console.print(steps)
    figures = all(median(found) <= most[key] for key, found in ratios.items())
    second = cluster <= AGAIN_SECONDS and parts <= PARTS_SECONDS and tasks <= AGAIN_TASKS and not second_changes
    return figures and second and used <= PARTS_MEMORY and cores <= most_cores


def operator() -> int:
    """Run the tests that type the commands of day 2, and print what they measured; 0 if all is as promised."""
    found = HOME / "figures.jsonl"
    found.unlink(missing_ok=True)
    files = [ROOT / "tests/nodes/test_nodes.py", ROOT / "tests/faults/test_controllers.py"]
    command = [sys.executable, "-m", "pytest", "--capture=no", "--quiet", *map(str, files)]
    status = subprocess.run(command, cwd=ROOT, env={**os.environ, FILE: str(found)}, check=False).returncode
    figures = read(found)
    table = Table("what", "measured", "", title="commands of day 2, and controllers that are lost")
    for each in figures:
        table.add_row(each.what, each.text, "" if each.kept else "too much")
    Console(width=130).print(table)
    return status or int(not all(each.kept for each in figures))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=1, help="pairs to run (default 1)")
    parser.add_argument("--report", type=Path, help="file that gets all figures as JSON")
    parser.add_argument(
        "--operator", action="store_true", help="what commands of day 2 take, and lost controllers cost"
    )
    parser.add_argument("--controllers", type=int, default=1, help="controllers, beside one worker if several")
    options = parser.parse_args(argv)
    HOME.mkdir(parents=True, exist_ok=True)
    if options.operator:
        return operator()
    clean(NAME)
    shutil.rmtree(STATE, ignore_errors=True)
    lay_out(options.controllers)
    hand, ours = [], []
    try:
        playbook("artifacts", "playbooks/artifacts.yml")
        clients()
        machines = plan()["machines"]
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}: by hand", flush=True)
            hand.append(by_hand(machines))
            print(f"  {hand[-1]['cluster']:.1f} and {hand[-1]['gateway']:.1f} s; by Slipway", flush=True)
            ours.append(slipway(machines))
            print(f"  {ours[-1]['cluster']:.1f} and {ours[-1]['gateway']:.1f} s", flush=True)
    finally:
        clean(NAME)
    if options.report:
        options.report.write_text(json.dumps({"hand": hand, "slipway": ours}, indent=1))
    kept = show(hand, ours, options.controllers)
    if not kept:
        print("At least one figure is not what the project promises.")
    return 0 if kept else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (BenchError, AssertionError) as exc:
        sys.exit(f"bench: {exc}")
