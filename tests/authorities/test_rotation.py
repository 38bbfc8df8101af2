"""The CAs and the key of service accounts are replaced on three controllers while a client asks; killed at each step.

The tests build on each other, in this order, on one cluster.
"""

from __future__ import annotations

import base64
import re
import subprocess

import pytest
import yaml

from tests.support.checkout import Checkout, Event, On
from tests.support.hardened import CONTROLLERS, asking, inside
from tests.support.kube import eventually, ready

NODES = (*CONTROLLERS, "node-1")
MAKE = ("make", "--no-print-directory")
ROTATE = ("rotate-ca", "BACKUP=none")
PKI = "/etc/kubernetes/pki"
# Asks the API as a program that reads the CA once, when it starts: it ends when it is not answered.
READS_ONCE = """\
import json, ssl, time, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount/"
context = ssl.create_default_context(cafile=folder + "ca.crt")
while True:
    token = open(folder + "token").read()
    url = "https://kubernetes.default.svc/version"
    asked = urllib.request.Request(url, headers={"Authorization": "Bearer " + token})
    for left in range(9, -1, -1):
        try:
            urllib.request.urlopen(asked, timeout=5, context=context)
            break
        except OSError as exc:
            if not left or "CERTIFICATE_VERIFY_FAILED" in str(exc):
                raise
            time.sleep(2)
    time.sleep(1)
"""
TOKEN = """\
apiVersion: v1
kind: Secret
metadata: {name: robot, namespace: default, annotations: {kubernetes.io/service-account.name: default}}
type: kubernetes.io/service-account-token
"""


def certificates(clone: Checkout, node: str, name: str = "ca") -> list[str]:
    """Fingerprints of the certificates in a file of CAs, in order."""
    script = (
        f"csplit -z -f /tmp/part- {PKI}/{name}.crt '/BEGIN/' '{{*}}' > /dev/null; sha256sum /tmp/part-*; rm /tmp/part-*"
    )
    return [line.split()[0] for line in inside(clone, node, script).splitlines()]


def keys(clone: Checkout) -> set[str]:
    found = clone.kube.text("get", "--raw", "/openid/v1/jwks")
    return set(re.findall(r'"kid":"([^"]+)"', found))


def whole(clone: Checkout, before: dict[str, list[str]]) -> None:
    """All that holds after a rotation."""
    for name in ("ca", "front-proxy-ca", "etcd/ca"):
        found = {tuple(certificates(clone, node, name)) for node in CONTROLLERS}
        ((new,),) = found
        assert new not in before[name]
    assert {tuple(certificates(clone, node)) for node in NODES} == {tuple(certificates(clone, "ctrl"))}
    assert len(keys(clone)) == 1
    for node in NODES:
        assert inside(clone, node, f"ls -d {PKI}/next {PKI}/signing.crt 2> /dev/null || true") == ""
        assert inside(clone, node, "ls /etc/kubernetes/bootstrap-kubelet.conf 2> /dev/null || true") == ""
    told = clone.kube("get", "configmap", "extension-apiserver-authentication", "--namespace=kube-system")["data"]
    assert told["client-ca-file"].count("BEGIN") == told["requestheader-client-ca-file"].count("BEGIN") == 1
    info = clone.kube("get", "configmap", "cluster-info", "--namespace=kube-public")["data"]["kubeconfig"]
    (cluster,) = yaml.safe_load(info)["clusters"]
    ca = base64.b64decode(cluster["cluster"]["certificate-authority-data"]).decode()
    assert ca.strip() == inside(clone, "ctrl", f"cat {PKI}/ca.crt").strip()
    # The API server asks kubelets, metrics-server asks them and is asked through the API server.
    pod = clone.kube("get", "pods", "--namespace=kube-system", "--selector=k8s-app=kube-dns")["items"][0]
    assert clone.kube.text("logs", "--namespace=kube-system", pod["metadata"]["name"], "--tail=1")
    eventually(lambda: "node-1" in clone.kube.text("top", "nodes"), seconds=120, what="kubectl top answers")
    assert {one["metadata"]["name"] for one in clone.kube.nodes()} == set(NODES)
    assert clone.make("up").expect().total("changed") == 0


def all_of(clone: Checkout) -> dict[str, list[str]]:
    return {name: certificates(clone, "ctrl", name) for name in ("ca", "front-proxy-ca", "etcd/ca")}


def deploy(clone: Checkout) -> None:
    """A program of somebody else that reads the CA once, with the Python of its node; and a token that never ends."""
    metrics = clone.kube("get", "deployment", "metrics-server", "--namespace=kube-system")
    mounts = {"usr": ("/usr", "/usr"), "lib": ("/usr/lib", "/lib"), "lib64": ("/usr/lib64", "/lib64")}
    container = {
        "name": "reader",
        # Every node has it, and nothing of it runs.
        "image": metrics["spec"]["template"]["spec"]["containers"][0]["image"],
        "command": ["/usr/bin/python3", "-c", READS_ONCE],
        "volumeMounts": [{"name": name, "mountPath": place, "readOnly": True} for name, (_, place) in mounts.items()],
    }
    volumes = [{"name": name, "hostPath": {"path": outside}} for name, (outside, _) in mounts.items()]
    labels = {"app": "reader"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "volumes": volumes}}
    clone.kube.apply(
        [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "reader", "namespace": "default"},
                "spec": {"selector": {"matchLabels": labels}, "template": template},
            },
            yaml.safe_load(TOKEN),
        ]
    )
    eventually(lambda: restarts(clone) == [0], seconds=120, what="the program runs")


def restarts(clone: Checkout) -> list[int]:
    """How often the program of somebody else has ended, in each of its pods that is Ready."""
    pods = clone.kube("get", "pods", "--namespace=default", "--selector=app=reader")["items"]
    return [one["status"]["containerStatuses"][0]["restartCount"] for one in pods if ready(one)]


def robot(clone: Checkout) -> str:
    found = clone.kube("get", "secret", "robot", "--namespace=default")["data"]
    return base64.b64decode(found["token"]).decode()


def status(clone: Checkout, *shown: str) -> str:
    """What an API server answers to somebody who believes the CA that is there now."""
    ca = (
        "--cacert",
        f"{PKI}/ca.crt",
        "--max-time",
        "5",
        "--silent",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
    )
    words = " ".join([*("curl", *ca), *(f"'{each}'" for each in shown), "https://127.0.0.1:6443/api/v1/nodes"])
    return inside(clone, "ctrl", words)


def test_who_has_no_way_back_is_refused_and_the_plan_changes_nothing(three: Checkout) -> None:
    deploy(three)
    before = all_of(three)
    refused = three.make("rotate-ca")
    assert refused.status
    assert "[no-recipients]" in refused.output
    planned = three.make("rotate-ca", "CHECK=1", "BACKUP=none").expect()
    for part in ("accept: every node", "Deployment default/reader", "default/robot", "The API answers all the time"):
        assert part in planned.output
    assert all_of(three) == before
    assert inside(three, "ctrl", f"ls -d {PKI}/next 2> /dev/null || true") == ""


def test_a_rotation_loses_no_request_and_waits_for_those_who_read_the_ca_once(three: Checkout) -> None:
    before, known, token = all_of(three), keys(three), robot(three)
    # Credentials of before: an administrator's.
    for kind in ("certificate", "key"):
        data = f"sed --quiet 's/^ *client-{kind}-data: //p' /etc/kubernetes/admin.conf"
        inside(three, "ctrl", f"{data} | base64 --decode > /root/old.{kind}")
    old = ("--cert", "/root/old.certificate", "--key", "/root/old.key")
    assert status(three, *old) == "200"
    with asking(three) as lost:
        stopped = three.make(*ROTATE)
        assert stopped.status
        assert "[pods-believe-old-ca]" in stopped.output
        assert "kubectl --namespace default rollout restart deployment/reader" in stopped.output
        assert [len(certificates(three, node)) for node in NODES] == [2] * 4
        # Meanwhile both are accepted, and other commands work.
        assert three.make("status").status == 0
        assert three.make("up").expect().total("changed") == 0
        assert "[rotation-begun]" in three.make("upgrade").output
        done = three.make(*ROTATE, "RESTART=1").expect()
    print(f"make rotate-ca with three controllers, after its first step: {stopped.seconds:.0f} + {done.seconds:.0f} s")
    assert lost == []
    whole(three, before)
    assert not keys(three) & known
    assert robot(three) != token
    assert status(three, *old) == "401"
    assert status(three, "--header", f"Authorization: Bearer {token}") == "401"
    # It was started again once, by its Deployment, and has not ended since.
    assert restarts(three) == [0]
    log = (three.state / "log/ansible.log").read_text()
    assert "PRIVATE KEY" not in log + stopped.output + done.output


# Where one rotation is killed, one after the other, with the machine on which its module is killed as well.
KILLS: dict[str, tuple[Event, str]] = {
    "made": (On("ctrl", f"[ -e {PKI}/next.part/etcd/ca.crt ]"), "ctrl"),
    "accept": (On("ctrl-2", f"[ $(grep --count BEGIN {PKI}/ca.crt) = 2 ]"), "ctrl-2"),
    "accept, seen": (On("ctrl-3", "[ -e /run/slipway/trial/admin.conf ]"), "ctrl-3"),
    "accept, pods": ("Start again what has read the old CA alone]", ""),
    "issue": (On("ctrl-2", f"cmp --silent {PKI}/ca.key {PKI}/next/ca.key"), "ctrl-2"),
    "issue, kubelet": (On("node-1", "[ -e /var/lib/kubelet/pki/slipway-old-client.pem ]"), "node-1"),
    "issue, tokens": ("Wait until every pod has them]", ""),
    "drop": (On("ctrl", f"[ $(grep --count BEGIN {PKI}/ca.crt) = 1 ]"), "ctrl"),
    "drop, cluster": ("Bring what the cluster keeps of them]", ""),
    "end": (On("ctrl", f"[ ! -e {PKI}/next ]"), ""),
}


@pytest.fixture(scope="module")
def kept(three: Checkout) -> dict[str, list[str]]:
    return all_of(three)


@pytest.mark.parametrize("at", KILLS)
def test_a_rotation_that_was_killed_leaves_a_cluster_that_works(
    three: Checkout, kept: dict[str, list[str]], at: str
) -> None:
    """Each time the same rotation goes on, and is killed further on."""
    assert kept
    event, machine = KILLS[at]
    with asking(three) as lost:
        three.kill_when(event, *MAKE, *ROTATE, "RESTART=1", module_on=machine)
        eventually(lambda: three.make("status").status == 0, seconds=300, what="all is well")
    assert lost == []


def test_the_same_command_ends_it(three: Checkout, kept: dict[str, list[str]]) -> None:
    three.make(*ROTATE, "RESTART=1").expect()
    whole(three, kept)


def test_a_node_that_is_away_stops_it_before_anything_is_changed(three: Checkout) -> None:
    before = {node: certificates(three, node) for node in CONTROLLERS}
    subprocess.run(["docker", "pause", f"{three.name}-node-1"], check=True)
    try:
        eventually(lambda: not ready(three.kube("get", "node", "node-1")), seconds=180, what="node-1 is not Ready")
        refused = three.make(*ROTATE)
    finally:
        subprocess.run(["docker", "unpause", f"{three.name}-node-1"], check=True)
    assert "[nodes-silent]" in refused.output
    assert {node: certificates(three, node) for node in CONTROLLERS} == before


@pytest.mark.parametrize("node", ["node-1", "ctrl-3"])
def test_nodes_that_join_later_are_of_the_new_ca(three: Checkout, node: str) -> None:
    # Nothing but FORCE takes a cluster's only worker, as its pods have nowhere to go.
    three.make("replace-node", f"NODE={node}", *(["FORCE=1"] if node == "node-1" else [])).expect()
    assert {tuple(certificates(three, one)) for one in NODES} == {tuple(certificates(three, "ctrl"))}
    assert three.make("up").expect().total("changed") == 0
