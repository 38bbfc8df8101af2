"""A cluster with a release goes to the next minor version of Kubernetes, is killed on its way, and comes back.

The tests build on each other, in this order, on one cluster. Clients ask the release all the time; no request fails.
"""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.cluster.drain import EXCLUDED, UPGRADES

from tests.support.changing import Place, placed
from tests.support.checkout import Checkout, Event, On, Run
from tests.support.figures import figure
from tests.support.kube import eventually, ready
from tests.support.kubernetes import SHIPPED
from tests.support.lab import ROOT, rewrite_page
from tests.support.releases import Stage, made
from tests.support.transitions import Row, api, page, web
from tests.support.typed import typed

# Requests a second, and for how many seconds at most.
RATE = 50.0
LONGEST = 1500
# Seconds that a node may take.
NODE = 180.0
PARTS = {"metallb": True, "istio": True, "storage": False, "metrics_server": False, "monitoring": False}
WORKERS: dict[str, Any] = {"count": 2, "cpus": 2, "memory": 3072}
DOUBLE = page(None, {"web": web(replicas=2), "api": api(replicas=2)})
NAMES = ("ctrl", "node-1", "node-2")
CATALOG = yaml.safe_load((ROOT / "artifacts/catalog.yml").read_text())
TABLE, CONTAINERD = CATALOG["kubernetes"], CATALOG["files"]["containerd"]["version"]
NEW = SHIPPED
# The newest of the minor version before.
OLD = [one for one in TABLE if one.split(".")[:2] == [NEW.split(".")[0], str(int(NEW.split(".")[1]) - 1)]][-1]
ETCD = {release: TABLE[release]["etcd"] for release in (OLD, NEW)}
MAKE = ("make", "--no-print-directory")
MANIFESTS = "/etc/kubernetes/manifests"
# Of all nodes, from the cluster alone.
STORED = ("get", "configmap", "kubeadm-config", "--namespace=kube-system")


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with made(
        "upgrade", mail=False, cluster_parts=PARTS, cluster_workers=WORKERS, cluster_kubernetes_version=OLD
    ) as there:
        yield there


@pytest.fixture(scope="module")
def place(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("pages")
    with placed(stage, Row("double", DOUBLE, DOUBLE, "v1"), folder) as there:
        yield there


@pytest.fixture(scope="module")
def key(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key; the page has nobody who could read a backup yet."""
    path: Path = tmp_path_factory.mktemp("key") / "key"
    stage.checkout.run(".venv/bin/python", "-m", "slipway.backup", "key", str(path)).expect()
    return path


def on(checkout: Checkout, name: str, command: str) -> str:
    words = ["docker", "exec", f"{checkout.name}-{name}", "sh", "-c", command]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def write(stage: Stage, **settings: Any) -> None:
    stage.checkout.page.write_text(rewrite_page(stage.checkout.page.read_text(), settings))


def kubelets(stage: Stage) -> dict[str, str]:
    found = stage.kube.nodes()
    return {one["metadata"]["name"]: one["status"]["nodeInfo"]["kubeletVersion"].removeprefix("v") for one in found}


def timed(stage: Stage) -> tuple[Run, dict[str, float]]:
    """An upgrade, and how long each node took: from when the one before was open, the first from its play on."""
    seen: list[tuple[str, float]] = []

    def on_line(line: str, _process: subprocess.Popen[str]) -> None:
        words = line.strip()
        name = words.removesuffix(": open")
        if words.startswith("PLAY [Controllers, one after the other]") or (words != name and name in NAMES):
            seen.append((name, time.monotonic()))

    done = stage.checkout.watch((*MAKE, "upgrade"), on_line=on_line).expect()
    return done, {name: at - before for (_, before), (name, at) in itertools.pairwise(seen)}


@contextmanager
def asked(place: Place) -> Iterator[None]:
    """Requests meanwhile, none of which may fail."""
    load = place.loaded(rate=RATE, most=LONGEST)
    began = time.monotonic()
    with load:
        time.sleep(2)
        yield
        time.sleep(2)
    seconds = time.monotonic() - began
    assert seconds < LONGEST, "nobody asked at the end"
    assert len(load.answers) > RATE / 2 * seconds, "it was asked too seldom"
    lost = [f"{each.at:.1f} s: {each.status} {each.said}" for each in load.answers if each.status != "200"]
    print(f"{len(load.answers)} requests in {load.answers[-1].at:.0f} s, {len(lost)} failed", flush=True)
    assert lost == []


def whole(stage: Stage, place: Place, release: str) -> None:
    """Everything is of a release, open and Ready, and nothing is left to do."""
    checkout = stage.checkout
    assert kubelets(stage) == dict.fromkeys(NAMES, release)
    assert {one["metadata"]["name"]: ready(one) for one in stage.kube.nodes()} == dict.fromkeys(NAMES, True)
    for one in stage.kube.nodes():
        assert not one["spec"].get("unschedulable")
        assert not {EXCLUDED, UPGRADES} & {*one["metadata"]["labels"], *one["metadata"].get("annotations", {})}
    parts = on(checkout, "ctrl", f"grep --no-filename --only-matching 'image: .*' {MANIFESTS}/*.yaml")
    assert sorted(line.rpartition(":")[2] for line in parts.splitlines()) == sorted(
        [f"{ETCD[release]}-0", *[f"v{release}"] * 3]
    )
    stored = yaml.safe_load(stage.kube(*STORED)["data"]["ClusterConfiguration"])
    assert (stored["kubernetesVersion"], stored["etcd"]["local"]["imageTag"]) == (f"v{release}", f"{ETCD[release]}-0")
    dns = stage.kube("get", "deployment", "coredns", "--namespace=kube-system")
    assert dns["spec"]["template"]["spec"]["containers"][0]["image"].endswith(f":v{TABLE[release]['coredns']}")
    runtimes = {one["status"]["nodeInfo"]["containerRuntimeVersion"] for one in stage.kube.nodes()}
    assert runtimes == {f"containerd://{CONTAINERD}"}
    assert {name: on(checkout, name, "kubeadm version --output=short") for name in NAMES} == dict.fromkeys(
        NAMES, f"v{release}"
    )
    proxy = stage.kube("get", "daemonset", "kube-proxy", "--namespace=kube-system")
    assert proxy["spec"]["template"]["spec"]["containers"][0]["image"].endswith(f":v{release}")
    assert proxy["status"]["numberReady"] == len(NAMES)
    assert on(checkout, "ctrl", "kubectl version --client --output=yaml | grep gitVersion").endswith(f"v{release}")
    assert on(checkout, "ctrl", "ls -d /etc/kubernetes/tmp/kubeadm-* 2> /dev/null || true") == ""
    place.answers(DOUBLE)
    eventually(lambda: checkout.make("status").status == 0, seconds=180, what="all is well")


# --- before


def test_only_an_upgrade_goes_to_another_release(stage: Stage, place: Place) -> None:
    """Also a node that is new is not made, let alone joined."""
    write(stage, cluster_kubernetes_version=NEW, cluster_workers={**WORKERS, "count": 3})
    for command in ("up", "add-nodes"):
        refused = stage.checkout.make(command)
        assert refused.status
        assert "[kubernetes-upgrade]" in refused.output
        assert "make upgrade" in refused.output
    stage.checkout.playbook("playbooks/machines.yml", "--check")
    write(stage, cluster_workers=WORKERS)
    assert kubelets(stage) == dict.fromkeys(NAMES, OLD)
    assert place.name


def test_without_a_way_back_nothing_begins(stage: Stage) -> None:
    refused = stage.checkout.make("upgrade")
    assert refused.status
    assert "[no-recipients]" in refused.output
    assert refused.total("changed") == 0


def test_the_plan_changes_nothing(stage: Stage, key: Path) -> None:
    public = stage.checkout.run("grep", "--only-matching", "age1[0-9a-z]*", str(key)).expect().output.strip()
    write(stage, cluster_backup={"folder": str(key.parent / "backups"), "recipients": [public], "keep": 9})
    done = typed(stage.checkout, "how-to/upgrade", "make upgrade CHECK=1").expect()
    assert f"From Kubernetes {OLD} to {NEW}, with etcd {ETCD[NEW]}:" in done.output
    assert "ctrl: control plane; the API does not answer for some seconds" in done.output
    assert done.output.index("  ctrl: drained, kubelet, opened") < done.output.index(
        "  node-1: drained, kubelet, opened"
    )
    assert done.total("changed") == 0
    assert kubelets(stage) == dict.fromkeys(NAMES, OLD)


# --- on its way, in the order of the steps: each run is killed at its own moment, and the next one gets there

KILLS: dict[str, tuple[Event, str]] = {
    "images are pulled": (On("node-1", f"ctr -n k8s.io images list -q | grep -q kube-proxy:v{NEW}"), ""),
    "the backup is written": ("TASK [Encrypt it]", ""),
    "etcd is replaced": (On("ctrl", f"grep -q etcd:{ETCD[NEW]} {MANIFESTS}/etcd.yaml"), ""),
    "the controller is drained": ("ctrl: cordoned", ""),
    "a worker is drained": ("node-1: cordoned", ""),
    "a kubelet is placed": (On("node-1", f"kubelet --version | grep -q v{NEW}"), "node-1"),
    "a worker is open": ("node-1: open", ""),
    "the next one is drained": ("node-2: cordoned", ""),
}


@pytest.mark.parametrize("moment", KILLS)
def test_it_is_killed(stage: Stage, place: Place, key: Path, moment: str) -> None:
    event, module_on = KILLS[moment]
    with asked(place):
        stage.checkout.kill_when(event, *MAKE, "upgrade", module_on=module_on)
    if moment == "etcd is replaced":
        # kubeadm ends in the middle, too, and between two manifests.
        on(stage.checkout, "ctrl", "pkill --signal=KILL --exact kubeadm || true")
        folder = "/etc/kubernetes/tmp/kubeadm-backup-manifests-between"
        on(stage.checkout, "ctrl", f"mkdir -p {folder} && mv {MANIFESTS}/etcd.yaml {folder}/")
    if moment == "a worker is drained":
        refused = stage.checkout.make("up")
        assert "[kubernetes-upgrade]" in refused.output
        assert f"The cluster runs Kubernetes {NEW} and {OLD}" in refused.output
        assert kubelets(stage)["node-2"] == OLD
    assert key.exists()


def test_the_same_command_ends_it(stage: Stage, place: Place) -> None:
    with asked(place):
        done = typed(stage.checkout, "how-to/upgrade", "make upgrade").expect()
    assert "An upgrade was begun, and goes on." in done.output
    whole(stage, place, NEW)


def test_a_second_one_and_a_run_change_nothing(stage: Stage) -> None:
    again: Run = stage.checkout.make("upgrade").expect()
    assert again.total("changed") == 0
    assert f"The cluster runs Kubernetes {NEW} already." in again.output
    assert stage.checkout.make("up").expect().total("changed") == 0


def test_an_older_release_is_refused(stage: Stage) -> None:
    write(stage, cluster_kubernetes_version=OLD)
    refused = stage.checkout.make("upgrade")
    assert "[upgrade-backwards]" in refused.output
    assert f'What works: cluster_kubernetes_version: "{NEW}"' in refused.output
    assert refused.total("changed") == 0


# --- back


def restored(stage: Stage, key: Path) -> Run:
    """Restore the backup that the upgrade began with; the name of the cluster that lives is asked for."""
    backup, name = sorted((key.parent / "backups").glob("*"))[0], stage.checkout.name
    return typed(
        stage.checkout,
        "how-to/upgrade",
        "make restore BACKUP=~/slipway-backups/FILE IDENTITY=~/slipway-backup.key",
        instead={"~/slipway-backups/FILE": str(backup), "~/slipway-backup.key": str(key)},
        answer=(f"Type {name} to go on", name),
        timeout=2400,
    )


def test_the_backup_leads_back(stage: Stage, place: Place, key: Path) -> None:
    restored(stage, key).expect()
    whole(stage, place, OLD)
    assert stage.checkout.make("up").expect().total("changed") == 0


def test_an_upgrade_that_nobody_kills_loses_nothing(stage: Stage, place: Place) -> None:
    """What it takes is printed."""
    write(stage, cluster_kubernetes_version=NEW)
    with asked(place):
        done, turns = timed(stage)
    figure(f"make upgrade of {len(NAMES)} nodes, for each", done.seconds / len(NAMES), most=NODE)
    for name, seconds in turns.items():
        figure(f"  of it the turn of {name}", seconds, most=NODE)
    assert tuple(turns) == NAMES
    assert done.seconds < NODE * len(NAMES)
    whole(stage, place, NEW)
