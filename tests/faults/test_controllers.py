"""Three controllers, any of which may go: it is named, the others answer, and a command makes it anew or removes it.

The tests build on each other, in this order, on one cluster.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.cluster import access
from slipway.cluster.client import Cluster
from slipway.errors import SlipwayError
from slipway.page.model import Parts

from tests.support.checkout import Checkout, Run
from tests.support.figures import figure
from tests.support.kube import eventually, ready
from tests.support.lab import rewrite_page
from tests.support.mesh import OUTSIDE, Echo, Watch
from tests.support.releases import Stage
from tests.support.trees import CTR
from tests.support.typed import typed, with_programs

CONTROLLERS = ("ctrl", "ctrl-2", "ctrl-3")
# What a kubelet does, from the outside: a new connection by the name of the API.
ASK_AT = (
    "curl --silent --max-time 3 --cacert /etc/kubernetes/pki/ca.crt --output /dev/null --write-out '%{{http_code}}' "
    "{}/readyz"
)
ASK = ASK_AT.format("$(sed -n 's/^ *server: //p' /etc/kubernetes/kubelet.conf)")
# For at most ten minutes, until a file says that it is enough.
CLIENT = f"""
rm -f /run/asked-enough
for _ in $(seq 1 2400); do
  [ ! -e /run/asked-enough ] || break
  answer=$({ASK})
  [ "$answer" = 200 ] || answer=$({ASK})
  if [ "$answer" = 200 ]; then echo answered; else echo lost; fi
  sleep 0.25
done
"""
# The same in a pod, by the address of the API's Service, which clients in a cluster take from their environment.
ASK_IN_POD = (
    "import ssl, sys, urllib.request as r; print(r.urlopen(f'https://{sys.argv[1]}/readyz', timeout=2, context="
    "ssl.create_default_context(cafile='/var/run/secrets/kubernetes.io/serviceaccount/ca.crt')).status)"
)
# A watch as the kubelet has it, for at most a minute.
WATCH = (
    "curl --silent --max-time 60 --cacert /etc/kubernetes/pki/ca.crt --cert "
    "/var/lib/kubelet/pki/kubelet-client-current.pem --output /dev/null "
    "'{}/api/v1/nodes?watch=1&fieldSelector=metadata.name=node-1'"
)
# Nothing goes in or out, and nobody is told.
CUT = (
    "add table inet cut; add chain inet cut i { type filter hook input priority -300; policy drop; }; "
    "add chain inet cut o { type filter hook output priority -300; policy drop; }; "
    "add rule inet cut i iif lo accept; add rule inet cut o oif lo accept"
)
# How a controller is lost, how it is there again, and the seconds in which a client has to be answered by another one.
LOSSES = {
    "its API server is killed": ("pkill --signal KILL --exact kube-apiserver", "true", 5.0),
    "its network is cut": (f"nft '{CUT}'", "nft delete table inet cut", 10.0),
}
# Tasks of remove-node.yml, and the seconds from the start of each to the kill.
STEPS = [
    ("Move its pods to other nodes", 1.0),
    ("Take its member out of etcd", 0.1),
    ("Destroy the machine", 1.0),
    ("Remove the node from the cluster", 0.1),
    # Of the machine that takes its place.
    ("control_plane : join | Join as a controller, one after the other", 4.0),
]


@pytest.fixture(scope="module")
def three(clone: Checkout) -> Iterator[Checkout]:
    """The clone, from no machines, with three controllers and a worker."""
    clone.make("down").expect()
    values: dict[str, Any] = {
        "cluster_controllers": {"count": 3, "cpus": 2, "memory": 2048},
        "cluster_workers": {"count": 1, "cpus": 2, "memory": 3072},
        "cluster_parts": dict.fromkeys(Parts.model_fields, False) | {"metallb": True, "istio": True},
    }
    clone.page.write_text(rewrite_page(clone.settings, values))
    yield clone
    clone.make("down").expect()
    clone.page.write_text(clone.settings)


@pytest.fixture(scope="module")
def echo(three: Checkout) -> Echo:
    """A workload behind the gateway; it goes with the machines."""
    address = yaml.safe_load(three.page.read_text())["cluster_gateway"]["address"]
    return Echo(three.kube, address, "echo.controllers.local", seconds=300)


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout


def members(clone: Checkout, asked: str) -> dict[str, bool]:
    """Members of etcd, as the module on the controller ``asked`` sees them, and whether each is healthy."""
    module = ("-m", "etcd_member", "-a", "name=none only_look=true", "--become")
    done = clone.run(".venv/bin/ansible", asked, *module, ANSIBLE_CALLBACK_RESULT_FORMAT="json").expect()
    found = json.loads(done.output[done.output.index("{") :])
    return {member["name"]: member["healthy"] for member in found["members"]}


def status(clone: Checkout) -> Run:
    return clone.run(".venv/bin/python", "-m", "slipway.status", "--json")


def test_they_come_up_and_a_second_run_changes_nothing(three: Checkout) -> None:
    done = three.make("up").expect()
    figure("make up with three controllers, a worker and the mesh", done.seconds)
    assert members(three, "ctrl") == dict.fromkeys(CONTROLLERS, True)
    assert three.make("up").expect().total("changed") == 0
    dns = three.kube("get", "pods", "--namespace=kube-system", "--selector=k8s-app=kube-dns")["items"]
    assert len({pod["spec"]["nodeName"] for pod in dns}) == 2
    kubeconfig = yaml.safe_load((three.state / "kubeconfig").read_text())
    assert {one["name"] for one in kubeconfig["contexts"]} >= set(CONTROLLERS)


@pytest.mark.parametrize("lost", CONTROLLERS)
def test_with_any_one_of_them_off_the_cluster_is_reached_through_the_others(three: Checkout, lost: str) -> None:
    docker("kill", f"{three.name}-{lost}")
    try:
        asked = eventually(lambda: status(three), seconds=60, what="status answers")
        # 2 would say that the cluster cannot be asked.
        assert asked.status in (0, 1)
        eventually(lambda: lost in notready(three), seconds=120, what=f"{lost} is named")
        access.work_for(three.state)
        nodes = Cluster(three.state / "kubeconfig", timeout=(2.0, 10.0)).items("/api/v1/nodes") or []
        other = next(name for name in CONTROLLERS[1:] if name != lost)
        typed(
            three,
            "explanation/several-controllers",
            "kubectl --context ctrl-2 get nodes",
            instead={"ctrl-2": other},
            environment=with_programs(three),
        ).expect()
        assert len(nodes) == 4
        assert all(ready(node) for node in nodes if node["metadata"]["name"] != lost)
    finally:
        docker("start", f"{three.name}-{lost}")
    eventually(lambda: three.make("status").status == 0, seconds=300, what="all is well again")


def longest(question: Callable[[], bool], until: float) -> float:
    """Ask until that moment; give the longest time without an answer, in seconds."""
    last, gap = time.monotonic(), 0.0
    while (now := time.monotonic()) < until:
        if question():
            gap, last = max(gap, time.monotonic() - last), time.monotonic()
        time.sleep(max(0.0, 0.2 - (time.monotonic() - now)))
    return max(gap, time.monotonic() - last)


def answers(machine: str, ask: str) -> bool:
    """Whether a shell on a machine is answered with 200."""
    asked = subprocess.run(["docker", "exec", machine, "sh", "-c", ask], capture_output=True, text=True, check=False)
    return asked.stdout == "200"


def clients(three: Checkout) -> dict[str, Callable[[], bool]]:
    """Who asks the API: a worker, a pod on it, and this computer, each time anew."""
    access.work_for(three.state)
    worker = f"{three.name}-node-1"
    chosen = f'labels."io.kubernetes.pod.namespace"=={OUTSIDE},labels."io.kubernetes.container.name"==app'
    container = docker("exec", worker, *CTR, "containers", "list", "--quiet", chosen).split()[0]
    tasks = dict(line.split()[:2] for line in docker("exec", worker, *CTR, "tasks", "list").splitlines())
    service = str(three.kube("get", "service", "kubernetes")["spec"]["clusterIP"])
    into = ("nsenter", f"--target={tasks[container]}", "--mount", "--net")

    def in_pod() -> bool:
        asked = subprocess.run(
            ["docker", "exec", worker, *into, "/usr/bin/python3", "-c", ASK_IN_POD, service],
            capture_output=True,
            text=True,
            check=False,
        )
        return asked.stdout.strip() == "200"

    def outside() -> bool:
        try:
            there = Cluster(three.state / "kubeconfig", timeout=(2.0, 3.0), tries=1)
            return bool(there.get("/api/v1/namespaces/default"))
        except SlipwayError:
            return False

    return {
        "a worker": lambda: answers(worker, ASK),
        "a pod": in_pod,
        "this computer": outside,
    }


@pytest.mark.parametrize("how", LOSSES)
@pytest.mark.parametrize("lost", CONTROLLERS)
def test_the_api_answers_again_soon_and_the_gateway_all_the_time(
    three: Checkout, echo: Echo, lost: str, how: str
) -> None:
    lose, find, limit = LOSSES[how]
    asking = clients(three)
    assert all(question() for question in asking.values())
    with Watch(echo, pause=0.05) as watch, ThreadPoolExecutor() as pool:
        until = time.monotonic() + 30
        gaps = {who: pool.submit(longest, question, until) for who, question in asking.items()}
        time.sleep(2)
        docker("exec", f"{three.name}-{lost}", "sh", "-c", lose)
        try:
            waited = {who: gap.result() for who, gap in gaps.items()}
        finally:
            docker("exec", f"{three.name}-{lost}", "sh", "-c", find)
    failed = [at for at, good in watch.seen if not good]
    for who, seconds in waited.items():
        figure(f"{lost}: {how}: the longest time that {who} got no answer", seconds, most=limit)
    figure(f"{lost}: {how}: requests through the gateway that failed, of {len(watch.seen)}", len(failed), "", most=0)
    assert len(watch.seen) > 100
    assert not failed
    assert {who: seconds for who, seconds in waited.items() if seconds > limit} == {}
    eventually(lambda: three.make("status").status == 0, seconds=300, what="all is well again")


@pytest.mark.parametrize("way", ["https://127.0.0.1:6443", "https://10.96.0.1"])
def test_open_connections_to_a_lost_controller_are_closed(three: Checkout, way: str) -> None:
    """Of watches that are open to each of them, those to the lost one end, so that clients connect again."""
    worker, lost = f"{three.name}-node-1", f"{three.name}-ctrl-3"
    address = next(node for node in three.kube.nodes() if node["metadata"]["name"] == "ctrl-3")["status"]["addresses"]
    place = next(each["address"] for each in address if each["type"] == "InternalIP")

    def to_lost() -> int:
        return len(docker("exec", worker, "ss", "-Htn", "state", "established", "dst", f"{place}:6443").splitlines())

    # It has just come back, perhaps.
    there = ASK_AT.format(f"https://{place}:6443")
    eventually(lambda: answers(worker, there), seconds=60, what="the one to be lost answers")
    time.sleep(5)
    with ExitStack() as stack:
        # The balancer gives a new connection to the controller with the fewest, so each gets some.
        watch = ["docker", "exec", worker, "sh", "-c", WATCH.format(way)]
        watches = [stack.enter_context(subprocess.Popen(watch)) for _ in range(12)]
        time.sleep(5)
        assert [one.poll() for one in watches] == [None] * len(watches)
        assert to_lost()
        docker("exec", lost, "sh", "-c", f"nft '{CUT}'")
        began = time.monotonic()
        try:
            eventually(lambda: not to_lost(), seconds=20, what="no connection leads to the lost one")
            over = time.monotonic() - began
            time.sleep(1)
            ended = sum(one.poll() is not None for one in watches)
        finally:
            docker("exec", lost, "sh", "-c", "nft delete table inet cut")
        figure(f"connections to a lost controller by {way} are closed after", over, most=10)
        assert 0 < ended < len(watches)
        assert over < 10
        for one in watches:
            one.terminate()
    eventually(lambda: three.make("status").status == 0, seconds=300, what="all is well again")


def test_pods_ask_the_balancer_of_their_node_and_kube_proxy_without_it(three: Checkout) -> None:
    asking = clients(three)
    service = str(three.kube("get", "service", "kubernetes")["spec"]["clusterIP"])
    for machine in (*CONTROLLERS, "node-1"):
        node = f"{three.name}-{machine}"

        def answered(node: str = node) -> bool:
            here = answers(node, ASK_AT.format(f"https://{service}"))
            return here and (node != f"{three.name}-node-1" or asking["a pod"]())

        assert answered()
        docker("exec", node, "systemctl", "kill", "--signal=STOP", "slipway-api")
        assert not answered(), f"{machine} does not ask its balancer"
        docker("exec", node, "systemctl", "kill", "--signal=CONT", "slipway-api")
        docker("exec", node, "systemctl", "stop", "slipway-api")
        try:
            assert "169.254.20.43" not in docker("exec", node, "ip", "address")
            eventually(answered, seconds=15, what=f"{machine} asks {service} by kube-proxy")
        finally:
            docker("exec", node, "systemctl", "start", "slipway-api")
        eventually(answered, seconds=15, what=f"{machine} asks {service} by its balancer")


def test_releases_and_proofs_find_a_controller_that_answers(three: Checkout, tmp_path: Path) -> None:
    page = tmp_path / "found.yml"
    web = {"image": "slipway.local/apps/model:1.0.0", "versions": {"v1": {"env": {"APP_VERSION": "v1"}}}}
    page.write_text(yaml.safe_dump({"name": "found", "hosts": ["found.local"], "services": {"web": web}}))
    Stage(three, yaml.safe_load(three.page.read_text())).prepare(mail=False)
    docker("exec", f"{three.name}-ctrl", "sh", "-c", f"nft '{CUT}'")
    try:
        three.make("release", f"RELEASE={page}").expect()
        three.make("plan", f"RELEASE={page}").expect()
        three.make("prove", f"RELEASE={page}").expect()
        gone = three.playbook("finalization.yml", f"--extra-vars=release={page}", "--extra-vars=release_state=absent")
        gone.expect()
    finally:
        docker("exec", f"{three.name}-ctrl", "sh", "-c", "nft delete table inet cut")
    eventually(lambda: three.make("status").status == 0, seconds=300, what="all is well again")


def notready(three: Checkout) -> str:
    asked = status(three)
    return asked.output if asked.status == 1 else ""


def test_without_a_quorum_nothing_is_removed(three: Checkout) -> None:
    docker("kill", f"{three.name}-ctrl-2", f"{three.name}-ctrl-3")
    try:
        for command in (("remove-node", "NODE=ctrl-3"), ("replace-node", "NODE=ctrl-3"), ("status",)):
            refused = three.make(*command)
            assert refused.status
            assert "ctrl-2 and ctrl-3 do not answer, and etcd needs 2 of its 3 members" in refused.output
            assert "[no-quorum]" in refused.output
        # The way back that this names: machines that are off are started.
        three.make("up").expect()
    finally:
        docker("start", f"{three.name}-ctrl-2", f"{three.name}-ctrl-3")
    eventually(lambda: three.make("status").status == 0, seconds=300, what="all is well again")
    assert members(three, "ctrl") == dict.fromkeys(CONTROLLERS, True)


def add_learner(three: Checkout, asked: str) -> None:
    """Add a member to etcd that never starts: it blocks every later join."""
    pki = "/etc/kubernetes/pki/etcd"
    shown = ("--cacert", f"{pki}/ca.crt", "--cert", f"{pki}/healthcheck-client.crt")
    member = '{"peerURLs": ["https://192.0.2.99:2380"], "isLearner": true}'
    asking = ("curl", "--silent", "--fail", *shown, "--key", f"{pki}/healthcheck-client.key", "--data", member)
    docker("exec", f"{three.name}-{asked}", *asking, "https://127.0.0.1:2379/v3/cluster/member/add")
    assert set(members(three, asked)) == {*CONTROLLERS, ""}


def test_the_first_one_is_made_anew(three: Checkout) -> None:
    add_learner(three, "ctrl-2")
    before = docker("inspect", "--format", "{{.Id}}", f"{three.name}-ctrl")
    kept = {"ctrl-2": "/etc/kubernetes/pki/apiserver.crt", "node-1": "/etc/kubernetes/kubelet.conf"}
    sums = {node: docker("exec", f"{three.name}-{node}", "sha256sum", path) for node, path in kept.items()}
    docker("kill", f"{three.name}-ctrl")
    done = three.make("replace-node", "NODE=ctrl").expect()
    figure("make replace-node of the first controller", done.seconds)
    assert docker("inspect", "--format", "{{.Id}}", f"{three.name}-ctrl") != before
    assert members(three, "ctrl-2") == dict.fromkeys(CONTROLLERS, True)
    assert all(ready(node) for node in three.kube.nodes())
    # A controller that comes or goes is a line of the balancers, and no file of the others.
    assert sums == {node: docker("exec", f"{three.name}-{node}", "sha256sum", path) for node, path in kept.items()}
    assert three.make("up").expect().total("changed") == 0


def test_certificates_are_renewed_while_the_api_answers(three: Checkout) -> None:
    """A client on a worker that tries again once is always answered."""
    before = yaml.safe_load((three.state / "kubeconfig").read_text())["users"][0]["user"]["client-certificate-data"]
    client = ["docker", "exec", f"{three.name}-node-1", "sh", "-c", CLIENT]
    with subprocess.Popen(client, stdout=subprocess.PIPE, text=True) as asking:
        time.sleep(1)
        done = typed(three, "how-to/day-2", "make renew-certificates DAYS=400").expect()
        docker("exec", f"{three.name}-node-1", "touch", "/run/asked-enough")
        said = (asking.communicate()[0]).split()
    figure("make renew-certificates on three controllers", done.seconds)
    figure(f"  requests to the API that failed twice, of {len(said)}", said.count("lost"), "", most=0)
    assert len(said) > done.seconds
    assert said.count("lost") == 0
    for name in CONTROLLERS:
        assert f"{name}: renewed: admin.conf, apiserver" in done.output
        assert "started again: etcd, kube-apiserver, kube-controller-manager, kube-scheduler" in done.output
    after = yaml.safe_load((three.state / "kubeconfig").read_text())["users"][0]["user"]["client-certificate-data"]
    assert after != before
    assert typed(three, "how-to/day-2", "make renew-certificates").expect().total("changed") == 0
    eventually(lambda: three.make("status").status == 0, seconds=120, what="all is well")
    assert three.make("up").expect().total("changed") == 0


@pytest.mark.parametrize(("task", "after"), STEPS)
def test_a_removal_that_is_killed_goes_on_from_there(three: Checkout, task: str, after: float) -> None:
    """It gets to the step of its own kill; meanwhile, no other member of etcd may leave that is needed."""
    three.kill_at(task, "replace-node", "NODE=ctrl-2", after=after)
    there = members(three, "ctrl")
    assert {"ctrl", "ctrl-3"} <= {name for name, healthy in there.items() if healthy}


def test_what_was_killed_is_ended_by_the_same_command(three: Checkout) -> None:
    three.make("replace-node", "NODE=ctrl-2").expect()
    assert members(three, "ctrl") == dict.fromkeys(CONTROLLERS, True)
    eventually(lambda: three.make("status").status == 0, seconds=300, what="all is well again")
    assert three.make("up").expect().total("changed") == 0


def test_the_last_one_is_made_anew(three: Checkout) -> None:
    docker("kill", f"{three.name}-ctrl-3")
    three.make("replace-node", "NODE=ctrl-3").expect()
    assert members(three, "ctrl") == dict.fromkeys(CONTROLLERS, True)
    assert all(ready(node) for node in three.kube.nodes())


@pytest.mark.parametrize("half", [*STEPS[:2], ("Destroy the machine", 1.0)], ids=[step for step, _ in STEPS[:3]])
def test_another_one_may_go_only_while_a_quorum_stays(three: Checkout, half: tuple[str, float]) -> None:
    """The removal of one is half-way, and of the two that are left one is lost: the third is not removed."""
    three.kill_at(half[0], "remove-node", "NODE=ctrl-3", after=half[1])
    docker("kill", f"{three.name}-ctrl")
    try:
        refused = three.make("remove-node", "NODE=ctrl-2")
        assert refused.status
        # What is told depends on how far the first removal came.
        assert re.search(r"\[(no-quorum|etcd-silent|api-silent|api-refuses)\]", refused.output)
        assert "Traceback" not in refused.output
    finally:
        docker("start", f"{three.name}-ctrl")
    eventually(lambda: members(three, "ctrl").items() >= dict.fromkeys(CONTROLLERS[:2], True).items(),
               seconds=180, what="both are healthy again")  # fmt: skip


def test_two_are_removed_at_once_and_the_last_one_stays(three: Checkout) -> None:
    """The second removal begins when the first is half-way. It ends well, or says why not and does at the next try."""
    second: list[Run] = []

    def on_line(line: str, _process: subprocess.Popen[str]) -> None:
        if line.startswith("TASK [Destroy the machine]") and not second:
            second.append(three.make("remove-node", "NODE=ctrl-2"))

    three.watch(("make", "--no-print-directory", "remove-node", "NODE=ctrl-3"), on_line=on_line).expect()
    assert "Traceback" not in second[0].output
    assert members(three, "ctrl")["ctrl"]
    if second[0].status:
        three.make("remove-node", "NODE=ctrl-2").expect()
    assert members(three, "ctrl") == {"ctrl": True}
    assert {node["metadata"]["name"]: ready(node) for node in three.kube.nodes()} == {"ctrl": True, "node-1": True}
    refused = three.make("remove-node", "NODE=ctrl")
    assert refused.status
    assert "[last-controller]" in refused.output
    three.page.write_text(
        rewrite_page(three.page.read_text(), {"cluster_controllers": {"count": 1, "cpus": 2, "memory": 2048}})
    )
    three.make("up").expect()
    assert sorted(node["metadata"]["name"] for node in three.kube.nodes()) == ["ctrl", "node-1"]
    assert three.make("up").expect().total("changed") == 0
