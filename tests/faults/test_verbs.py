"""Commands of day 2 are killed with -9 at each step, here and on the node: the same command once more ends it well.

They are killed when something was seen to happen, not after some seconds. What is served is asked for all the time.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from slipway.cluster.drain import EXCLUDED, LEAVING

from tests.support.checkout import Checkout, On, Run
from tests.support.kube import eventually, ready
from tests.support.mesh import NAMESPACE, SERVER, Echo, Watch, workload
from tests.support.typed import typed

MAKE = ("make", "--no-print-directory")
NODES = ("ctrl", "node-1", "node-2")
PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
# On a controller: each certificate has the key beside it, and nothing of a renewal is left.
PAIRS = """
set -e
cd /etc/kubernetes/pki
for key in *.key etcd/*.key; do
  [ "$key" = sa.key ] && continue
  [ "$(openssl pkey -in "$key" -pubout)" = "$(openssl x509 -in "${key%.key}.crt" -noout -pubkey)" ] || echo "$key"
done
find /etc/kubernetes -name '*.slipway'
ls -d /var/lib/slipway/certificates* 2> /dev/null || true
"""


@pytest.fixture
def asked(echo: Echo) -> Iterator[Watch]:
    """Requests all the time, none of which may fail."""
    with Watch(echo, patience=10) as watch:
        time.sleep(1)
        yield watch
    lost = [at for at, good in watch.seen if not good]
    print(f"{len(watch.seen)} requests, {len(lost)} lost")
    assert lost == []


def sh(cluster: Checkout, machine: str, command: str, *, check: bool = True) -> str:
    """What a command prints on a machine."""
    words = ["docker", "exec", f"{cluster.name}-{machine}", "sh", "-c", command]
    return subprocess.run(words, check=check, capture_output=True, text=True).stdout.strip()


def node(cluster: Checkout, name: str) -> dict[str, Any]:
    found: dict[str, Any] = cluster.kube("get", "node", name)
    return found


def nodes(cluster: Checkout) -> dict[str, bool]:
    return {each["metadata"]["name"]: ready(each) for each in cluster.kube.nodes()}


def drained(cluster: Checkout, name: str) -> None:
    """It takes no pods, has none but those of every node, and nothing of the drain is left to wait for."""
    found = node(cluster, name)
    assert found["spec"]["unschedulable"]
    assert EXCLUDED in found["metadata"]["labels"]
    assert LEAVING not in found["metadata"].get("annotations", {})
    left = cluster.kube("get", "pods", "--all-namespaces", f"--field-selector=spec.nodeName={name}")["items"]
    assert {pod["metadata"]["ownerReferences"][0]["kind"] for pod in left} == {"DaemonSet"}


def opened(cluster: Checkout, name: str) -> None:
    found = node(cluster, name)
    assert not found["spec"].get("unschedulable")
    assert EXCLUDED not in found["metadata"]["labels"]


def busiest(cluster: Checkout) -> str:
    """The worker that has a pod of the echo and one that stands alone: both ways to leave."""
    pods = cluster.kube("get", "pods", f"--namespace={NAMESPACE}", "--selector=app=caller")["items"]
    return str(next(pod["spec"]["nodeName"] for pod in pods if ready(pod)))


# --- CHECK=1


def state(cluster: Checkout) -> dict[str, Any]:
    """Containers, Node objects and pods, as far as they do not change by themselves."""
    listed = ("docker", "ps", "--all", "--no-trunc", f"--filter=name=^{cluster.name}-", "--format={{.ID}} {{.State}}")
    found = subprocess.run(listed, check=True, capture_output=True, text=True).stdout
    pods = cluster.kube("get", "pods", "--all-namespaces")["items"]
    return {
        "containers": sorted(found.splitlines()),
        "nodes": {
            one["metadata"]["name"]: (one["metadata"]["uid"], one["metadata"]["labels"], one["spec"])
            for one in cluster.kube.nodes()
        },
        "pods": {pod["metadata"]["uid"]: pod["spec"].get("nodeName") for pod in pods},
    }


def told(done: Run, *words: str) -> None:
    """A run that says these at its end, each on a line of its own, in this order."""
    lines = iter(done.expect().output.rpartition("\nall  ")[2].splitlines())
    for each in words:
        assert any(each in line for line in lines), each


def test_a_verb_names_its_plan_and_leaves_all_as_it_is(cluster: Checkout, echo: Echo) -> None:
    assert echo.ask().status == 200
    before, name = state(cluster), busiest(cluster)
    drain = typed(cluster, "how-to/day-2", "make drain NODE=node-2 CHECK=1", instead={"node-2": name})
    told(drain, f"{name}: to be cordoned", f"  {NAMESPACE}/caller-")
    going = ("node-2: to be cordoned", "node-2: its machine and disk to be destroyed")
    remove = typed(cluster, "how-to/day-2", "make remove-node NODE=node-2 CHECK=1")
    told(remove, *going, "node-2: to be removed from the")
    replace = typed(cluster, "how-to/day-2", "make replace-node NODE=node-2 CHECK=1")
    told(replace, *going, "the next make up makes it")
    assert state(cluster) == before
    cluster.kube.text("cordon", "node-2")
    try:
        cordoned = state(cluster)
        uncordon = typed(cluster, "how-to/day-2", "make uncordon NODE=node-2 CHECK=1")
        told(uncordon, "node-2: to be opened")
        assert state(cluster) == cordoned
    finally:
        cluster.kube.text("uncordon", "node-2")


# --- drain, uncordon


@pytest.mark.parametrize("event", ["cordoned", " leaves\n", " leaves when another pod"])
def test_a_drain_that_is_killed_is_ended_by_the_next_one(cluster: Checkout, asked: Watch, event: str) -> None:
    name = busiest(cluster)
    cluster.kill_when(f"{name}: cordoned" if event == "cordoned" else event, *MAKE, "drain", f"NODE={name}")
    assert node(cluster, name)["spec"]["unschedulable"]
    assert "takes no new pods" in cluster.make("status").output
    typed(cluster, "how-to/day-2", "make drain NODE=node-2", instead={"node-2": name}).expect()
    drained(cluster, name)
    assert cluster.make("drain", f"NODE={name}").expect().total("changed") == 0
    typed(cluster, "how-to/day-2", "make uncordon NODE=node-2", instead={"node-2": name}).expect()
    opened(cluster, name)
    assert asked.seen


def test_an_uncordon_that_is_killed_is_ended_by_the_next_one(cluster: Checkout) -> None:
    cluster.make("drain", "NODE=node-1").expect()
    for after in (0.0, 0.1):
        cluster.kill_at("Let pods come again", "uncordon", "NODE=node-1", after=after)
        assert set(nodes(cluster).values()) == {True}
    cluster.make("uncordon", "NODE=node-1").expect()
    opened(cluster, "node-1")
    assert cluster.make("uncordon", "NODE=node-1").expect().total("changed") == 0


# --- certificates


def process(cluster: Checkout, part: str) -> str:
    return sh(cluster, "ctrl", f"pgrep --exact --newest {part[:15]}", check=False)


def renewed(cluster: Checkout, done: Run, before: dict[str, str], started: tuple[str, ...]) -> None:
    """The control plane is whole, and these parts of it have started anew."""
    assert [part for part in PARTS if process(cluster, part) not in ("", before[part])] == list(started)
    assert sh(cluster, "ctrl", PAIRS) == ""
    manifests = sh(cluster, "ctrl", "ls /etc/kubernetes/manifests").split()
    assert manifests == [f"{part}.yaml" for part in PARTS]
    assert done.total("failed") == 0
    again = cluster.make("renew-certificates").expect()
    assert again.total("changed") == 0
    assert "ctrl: renewed: nothing; started again: nothing" in again.output
    eventually(lambda: cluster.make("status").status == 0, seconds=180, what="all is well")
    assert set(nodes(cluster).values()) == {True}


def test_a_renewal_that_is_killed_while_certificates_are_written_is_made_anew(cluster: Checkout, asked: Watch) -> None:
    before = {part: process(cluster, part) for part in PARTS}
    first = sh(cluster, "ctrl", "md5sum /etc/kubernetes/pki/apiserver.crt")
    cluster.kill_when(
        On("ctrl", "test -d /var/lib/slipway/certificates"),
        *(*MAKE, "renew-certificates", "DAYS=400"),
        module_on="ctrl",
    )
    # As by a kubeadm that was killed in the middle of a file.
    sh(cluster, "ctrl", "pkill --signal=KILL --exact kubeadm; : > /etc/kubernetes/pki/apiserver.crt", check=False)
    assert {part: process(cluster, part) for part in PARTS} == before
    done = cluster.make("renew-certificates", "DAYS=400").expect()
    assert sh(cluster, "ctrl", "md5sum /etc/kubernetes/pki/apiserver.crt") != first
    renewed(cluster, done, before, PARTS)
    assert asked.seen


@pytest.mark.parametrize("here", [True, False], ids=["only here", "on the node too"])
def test_a_renewal_that_is_killed_between_two_parts_goes_on_with_the_next(
    cluster: Checkout, asked: Watch, here: bool
) -> None:
    before = {part: process(cluster, part) for part in PARTS}
    cluster.kill_when(
        On("ctrl", f"pgrep --exact etcd | grep --quiet --invert-match --line-regexp {before['etcd']}"),
        *(*MAKE, "renew-certificates", "DAYS=400"),
        module_on="" if here else "ctrl",
    )
    # Of those that last for half a year there are none to be renewed now, and what still has the old ones starts again.
    done = cluster.make("renew-certificates").expect()
    assert "ctrl: renewed: nothing" in done.output
    renewed(cluster, done, before, PARTS)
    assert asked.seen


def test_a_renewal_that_is_killed_before_this_machine_has_the_new_ones_gives_them_at_the_next(
    cluster: Checkout,
) -> None:
    kubeconfig = cluster.state / "kubeconfig"
    before, parts = kubeconfig.read_text(), {part: process(cluster, part) for part in PARTS}
    cluster.kill_when("Read the administrator's kubeconfig]", *MAKE, "renew-certificates", "DAYS=400")
    assert kubeconfig.read_text() == before
    renewed(cluster, cluster.make("renew-certificates").expect(), parts, PARTS)
    assert kubeconfig.read_text() != before
    assert cluster.make("up").expect().total("changed") == 0


# --- a node dies while it is drained


def lasting(image: str) -> list[dict[str, Any]]:
    """A StatefulSet, whose pod takes a minute to end."""
    service, deployment = workload("single", "default", image)
    pod = deployment["spec"]["template"]["spec"]
    pod["terminationGracePeriodSeconds"] = 60
    pod["containers"][0]["command"] = ["/usr/bin/python3", "-c", f"import signal; signal.signal(15, print)\n{SERVER}"]
    return [service, {**deployment, "kind": "StatefulSet", "spec": {**deployment["spec"], "serviceName": "single"}}]


def test_a_node_that_dies_while_it_is_drained_is_given_up_and_named(cluster: Checkout, echo: Echo) -> None:
    """All moves to the other one; a pod that cannot be twice is named, with what lets it go."""
    kube, pause = cluster.kube, cluster.kube.bundle["images"]["pause"]
    dead = f"{cluster.name}-node-1"
    kube.text("cordon", "node-2")
    kube.apply(lasting(f"{pause['name']}:{pause['tag']}"))
    where = ("get", "pod", "single-0", "--namespace=default")
    eventually(lambda: ready(kube(*where)), seconds=120, what="the pod of the StatefulSet is Ready")
    kube.text("uncordon", "node-2")

    def on_line(line: str, _process: subprocess.Popen[str]) -> None:
        if "default/single-0 leaves" in line:
            subprocess.run(["docker", "kill", dead], check=True)

    try:
        done = cluster.watch((*MAKE, "drain", "NODE=node-1"), on_line=on_line).expect()
        print(f"make drain of a node that dies meanwhile: {done.seconds:.0f} s")
        assert "node-1 does not answer: default/single-0 starts elsewhere when it is back, or gone" in done.output
        assert nodes(cluster) == {"ctrl": True, "node-1": False, "node-2": True}
        eventually(lambda: echo.ask().status == 200, seconds=30, what="what was there is served by the other node")
        assert {pod["spec"]["nodeName"] for pod in echo.pods("echo", NAMESPACE) if ready(pod)} == {"node-2"}
    finally:
        subprocess.run(["docker", "start", dead], check=True)
    eventually(lambda: all(nodes(cluster).values()), seconds=180, what="the node is back")
    eventually(lambda: kube(*where)["spec"]["nodeName"] == "node-2", seconds=120, what="the pod starts elsewhere")
    drained(cluster, "node-1")
    cluster.make("uncordon", "NODE=node-1").expect()
    kube.text("delete", "statefulset,service", "single", "--namespace=default", "--wait=false")
    eventually(lambda: cluster.make("up").expect().total("changed") == 0, seconds=300, what="nothing is left to change")


# --- remove-node, add-nodes


@pytest.mark.parametrize("step", ["Move its pods to other nodes", "Destroy the machine", "Remove the node from the"])
def test_a_removal_of_a_worker_is_killed(cluster: Checkout, step: str) -> None:
    """Each run gets to the step of its own kill."""
    event = "node-2: cordoned" if step.startswith("Move") else f"TASK [{step}"
    cluster.kill_when(event, *MAKE, "remove-node", "NODE=node-2")
    assert nodes(cluster).items() >= {"ctrl": True, "node-1": True}.items()


def test_the_same_command_ends_the_removal(cluster: Checkout, echo: Echo) -> None:
    typed(cluster, "how-to/day-2", "make remove-node NODE=node-2").expect()
    assert nodes(cluster) == {"ctrl": True, "node-1": True}
    assert cluster.left()["container"] == [f"{cluster.name}-{name}" for name in ("ctrl", "mirror-1", "node-1")]
    assert echo.ask().status == 200
    again = cluster.make("remove-node", "NODE=node-2")
    assert "[no-such-node]" in again.output or again.total("changed") == 0


def test_an_addition_names_its_plan_and_makes_nothing(cluster: Checkout) -> None:
    before = state(cluster)
    done = typed(cluster, "how-to/day-2", "make add-nodes CHECK=1").expect()
    assert state(cluster) == before
    end = done.output.rpartition("\nall  ")[2]
    assert "node-2: a machine to be made (worker, " in end
    assert "node-2: to join as a worker" in end
    assert "1 other workers stay as they are" in end
    assert cluster.left()["container"] == [f"{cluster.name}-{name}" for name in ("ctrl", "mirror-1", "node-1")]


def runs(cluster: Checkout) -> bool:
    listed = subprocess.run(["docker", "ps", "--format={{.Names}}"], check=True, capture_output=True, text=True)
    return f"{cluster.name}-node-2" in listed.stdout.split()


ADDED = {
    "the machine starts": "",
    "programs are placed": "test -e /var/lib/slipway/artifacts.json",
    "kubeadm joins": "test -e /etc/kubernetes/kubelet.conf",
}


@pytest.mark.parametrize("moment", ADDED)
def test_a_node_that_is_added_is_killed(cluster: Checkout, moment: str) -> None:
    """Each run gets to the moment of its own kill; the others stay as they are."""
    condition = ADDED[moment]
    event = On("node-2", condition) if condition else lambda: runs(cluster)
    cluster.kill_when(event, *MAKE, "add-nodes", module_on="node-2" if condition else "")
    assert nodes(cluster).items() >= {"ctrl": True, "node-1": True}.items()
    if moment == "the machine starts":
        full(cluster)


def full(cluster: Checkout) -> None:
    """A disk without room is named before the join, with what is needed; no other node is touched."""
    cluster.playbook("playbooks/machines.yml").expect()
    sh(cluster, "node-2", "mkdir -p /var/lib/containerd && mount -t tmpfs -o size=64m none /var/lib/containerd")
    try:
        refused = cluster.make("add-nodes")
    finally:
        sh(cluster, "node-2", "umount /var/lib/containerd")
    assert refused.status
    assert "[machine-disk-full]" in refused.output
    told = refused.output.partition("FAILED")[2]
    assert "node-2" in told
    assert "0.1 GB of 0.1 GB are free under /var/lib/containerd; 0.9 GB are needed: free some" in told
    assert {name: refused.recap[name]["changed"] for name in NODES if name in refused.recap} == dict.fromkeys(NODES, 0)
    assert nodes(cluster) == {"ctrl": True, "node-1": True}


def test_the_same_command_ends_the_addition(cluster: Checkout, echo: Echo) -> None:
    done = typed(cluster, "how-to/day-2", "make add-nodes").expect()
    assert nodes(cluster) == dict.fromkeys(NODES, True)
    opened(cluster, "node-2")
    # It was looked at, and no more.
    assert done.recap["node-1"]["ok"] <= 2
    assert echo.ask().status == 200
    assert cluster.make("up").expect().total("changed") == 0
    eventually(lambda: cluster.make("status").status == 0, seconds=180, what="all is well")
