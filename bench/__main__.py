"""Slipway and the same cluster by hand, on machines made the same way, in one run.

Each round makes machines and lets ``bench/{bare,mesh,page}`` work on them, takes them away, makes
them again and lets the playbooks work on them; once more with machines that are not baked, and, with one
controller, once more for the whole page in one run. All ways start from the same bundle. By hand, machines have nothing
of the cluster in them. There are three stretches: until every node is Ready and cluster DNS has answered a query from
every node; from there until a workload answers through the gateway, on an address of MetalLB; and from there until
monitoring is up and the release of the page answers. Making the machines is timed apart: it is the same for both. Last
comes what ``make up`` plays, again: what it takes when there is nothing to do.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from tests.support.figures import FILE, read
from tests.support.kube import Kube, eventually
from tests.support.lab import ROOT, clean

from . import ratios, timeline
from .lab import (
    HOME,
    NAME,
    OBJECTS,
    PAGE,
    STATE,
    BenchError,
    answer_dns,
    answer_gateway,
    answer_release,
    clients,
    lay_out,
    plan,
    playbook,
    release_file,
    release_page,
    ssh_config,
    timed,
)
from .report import PARTS, compared, show


def by_hand(machines: list[dict[str, Any]], *, whole: bool) -> dict[str, Any]:
    """One cluster by hand: seconds for the machines, for each stretch, and when what happened."""
    made = playbook("bare-machines", "playbooks/machines.yml", SLIPWAY_BAKED="false")
    config = ssh_config(machines)
    nodes = [machine["name"] for machine in machines if machine["role"] != "mirror"]
    controllers = [machine for machine in machines if machine["role"] == "controller"]
    main, names = controllers[0], ",".join(machine["name"] for machine in controllers)
    workers = [machine["name"] for machine in machines if machine["role"] == "worker"]
    OBJECTS.mkdir(exist_ok=True)
    given = {"bench_objects": OBJECTS, "bench_bin": HOME / "bin", "flannel_api_endpoint": f"{main['address']}:6443"}
    playbook("bare-objects", "bench/objects.yml", *(f"--extra-vars={key}={value}" for key, value in given.items()))
    command = [sys.executable, "-m", "bench.release", str(release_file()), str(STATE / "bundle.json")]
    timed("bare-release", [*command, str(OBJECTS / "release.json")])
    kubeconfig, path = str(STATE / "kubeconfig"), f"{HOME / 'bin'}:{os.environ['PATH']}"
    bundle, flannel = str(STATE / "bundle.json"), str(OBJECTS / "flannel.yml")
    began, clock = time.monotonic(), time.time()
    timed("bare", ["bench/bare", str(config), bundle, flannel, kubeconfig, names, *workers], PATH=path)
    answer_dns(config, nodes)
    times: dict[str, Any] = {
        "machines": made,
        "cluster": time.monotonic() - began,
        "moments": timeline.look(Kube(STATE), clock),
    }
    began = time.monotonic()
    timed("bare-mesh", ["bench/mesh", kubeconfig, str(OBJECTS)], PATH=path)
    answer_gateway()
    times["gateway"] = time.monotonic() - began
    if whole:
        began = time.monotonic()
        namespace = release_page().get("namespace", release_page()["name"])
        timed("bare-page", ["bench/page", kubeconfig, str(OBJECTS), namespace], PATH=path)
        answer_release()
        times["page"] = time.monotonic() - began
        times["whole"] = sum(times[key] for key in ("cluster", "gateway", "page"))
    playbook("bare-down", "playbooks/down.yml")
    return times


def only(*parts: str) -> dict[str, Any]:
    """Give the variables of the page for a cluster with these parts alone, and without its release."""
    shown = yaml.safe_load(PAGE.read_text())["cluster_parts"]
    return {"cluster_parts": {name: name in parts for name in shown}, "cluster_releases": []}


def cluster(machines: list[dict[str, Any]], name: str, times: Path, **more: str) -> dict[str, Any]:
    """Machines and a cluster by Slipway: seconds for each, and when what happened."""
    made = playbook(f"{name}-machines", "playbooks/machines.yml", **more)
    config = ssh_config(machines)
    nodes = [machine["name"] for machine in machines if machine["role"] != "mirror"]
    # The same bundle, without what is timed apart. By hand, nobody puts clients on controllers: they follow, untimed.
    parts = ["kubernetes", "flannel", "mirror", "tools", *PARTS]
    bare = json.dumps({**only(), "artifacts_parts": parts, "slipway_whole": False})
    began, clock = time.monotonic(), time.time()
    playbook(name, "playbooks/site.yml", f"--extra-vars={bare}", SLIPWAY_TIMES=str(times), **more)
    answer_dns(config, nodes)
    ended = time.monotonic()
    moments = timeline.look(Kube(STATE), clock)
    playbook(f"{name}-tools", "playbooks/phases/tools.yml", f"--extra-vars={bare}")
    return {"machines": made, "cluster": ended - began, "moments": moments}


def slipway(machines: list[dict[str, Any]], *, whole: bool) -> dict[str, Any]:
    """One cluster by Slipway in the same stretches, one not baked before, and the whole page in one run after."""
    plain = cluster(machines, "plain", HOME / "plain.json", SLIPWAY_BAKED="false")
    playbook("plain-down", "playbooks/down.yml")
    files = {name: HOME / f"{name}.json" for name in ("first", "mesh", *(("whole", "again") if whole else ()))}
    # What is made once for all clusters from this bundle.
    baking = timed("bake", [sys.executable, "-m", "slipway.lab.bake"], json.dumps(plan() | {"baked": "auto"}))
    found = cluster(machines, "slipway", files["first"], SLIPWAY_BAKED="auto")
    found |= {"plain_machines": plain["machines"], "plain": plain["cluster"], "plain_moments": plain["moments"]}
    found["baking"] = baking
    began = time.monotonic()
    mesh = json.dumps({**only("metallb", "istio"), "istio_wait": False})
    steps = (f"playbooks/phases/{name}.yml" for name in ("mesh", "metallb", "balancer", "ready"))
    playbook("slipway-mesh", *steps, f"--extra-vars={mesh}", SLIPWAY_TIMES=str(files["mesh"]))
    answer_gateway()
    found["gateway"] = time.monotonic() - began
    if whole:
        playbook("slipway-down", "playbooks/down.yml")
        playbook("whole-machines", "playbooks/machines.yml", SLIPWAY_BAKED="auto")
        began = time.monotonic()
        # By hand, nobody proves either. The proof is timed apart.
        unproved = ("playbooks/site.yml", "--extra-vars=prove=never")
        playbook("slipway-whole", *unproved, SLIPWAY_TIMES=str(files["whole"]), SLIPWAY_BAKED="auto")
        answer_release()
        found["whole"] = time.monotonic() - began
        # As `make up`: alerts and their mails take minutes, and this cluster has nobody who takes mails.
        found["proof"] = playbook("slipway-proof", "finalization.yml", '--extra-vars={"prove_skip": ["alert"]}')
        # What `make up` plays.
        again = ("playbooks/machines.yml", "playbooks/site.yml")
        found["again"] = playbook("slipway-again", *again, SLIPWAY_TIMES=str(files["again"]))
        found["finalization"] = playbook("finalization-again", "finalization.yml")
    found |= {f"{name}_times": json.loads(path.read_text()) for name, path in files.items()}
    return found


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


def operator() -> int:
    """Run the tests that type the commands of day 2, and print what they measured; 0 if all is as promised."""
    found = HOME / "figures.jsonl"
    found.unlink(missing_ok=True)
    names = ("nodes/test_nodes", "nodes/test_hundreds", "faults/test_controllers", "faults/test_growth")
    files = [ROOT / f"tests/{name}.py" for name in names]
    command = [sys.executable, "-m", "pytest", "--capture=no", "--quiet", *map(str, files)]
    status = subprocess.run(command, cwd=ROOT, env={**os.environ, FILE: str(found)}, check=False).returncode
    figures = read(found)
    table = Table("what", "measured", "", title="commands of day 2, and controllers that are lost")
    for each in figures:
        table.add_row(each.what, each.text, "" if each.kept else "too much")
    Console(width=130).print(table)
    return status or int(not all(each.kept for each in figures))


def run(least: int, most: int, report: Path, *, whole: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Play rounds until every ratio is known well enough, ``most`` at most; ``whole``: also the page, and again.

    After each round, ``report`` has the figures of all that ended.
    """
    hand: list[dict[str, Any]] = []
    ours: list[dict[str, Any]] = []
    playbook("artifacts", "playbooks/artifacts.yml")
    clients()
    machines = plan()["machines"]
    while len(hand) < least or (len(hand) < most and ratios.wide(compared(hand, ours))):
        if hand and not whole:
            # The round before has left the bundle of a few parts.
            playbook("artifacts", "playbooks/artifacts.yml")
        print(f"round {len(hand) + 1} of {least} to {most}: by hand", flush=True)
        hand.append(by_hand(machines, whole=whole))
        print(f"  {hand[-1]['cluster']:.1f} and {hand[-1]['gateway']:.1f} s; by Slipway", flush=True)
        ours.append(slipway(machines, whole=whole))
        last = ours[-1]
        print(f"  {last['cluster']:.1f} (not baked {last['plain']:.1f}) and {last['gateway']:.1f} s", flush=True)
        if whole and len(hand) == least:
            ours[0] |= {"memory": memory(), "cores": idle()}
        report.write_text(json.dumps({"hand": hand, "slipway": ours}, indent=1))
        playbook("slipway-down", "playbooks/down.yml")
    return hand, ours


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5, help="rounds to play at least (default 5)")
    parser.add_argument("--most", type=int, help="and at most, while the ratios are not known well (twice that)")
    report = HOME / "rounds.json"
    parser.add_argument(
        "--report", type=Path, default=report, help="file that gets all figures as JSON, round by round"
    )
    parser.add_argument(
        "--operator", action="store_true", help="what commands of day 2 take, and lost controllers cost"
    )
    parser.add_argument(
        "--controllers",
        type=int,
        default=1,
        help="if several, beside one worker, and without the rest of the page",
    )
    options = parser.parse_args(argv)
    HOME.mkdir(parents=True, exist_ok=True)
    if options.operator:
        return operator()
    clean(NAME)
    shutil.rmtree(STATE, ignore_errors=True)
    lay_out(options.controllers)
    try:
        most = options.most or 2 * options.rounds
        hand, ours = run(options.rounds, most, options.report, whole=options.controllers == 1)
    finally:
        clean(NAME)
    kept = show(hand, ours, several=options.controllers > 1)
    if not kept:
        print("At least one figure is not what the project promises.")
    return 0 if kept else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (BenchError, AssertionError) as exc:
        sys.exit(f"bench: {exc}")
