"""One controller becomes three, as in a cluster that was founded before it needed more: nobody notices.

The tests build on each other, in this order, on one cluster.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from slipway.page.model import Parts

from tests.support.checkout import Checkout
from tests.support.figures import figure
from tests.support.hardened import inside
from tests.support.kube import eventually, ready
from tests.support.lab import rewrite_page
from tests.support.mesh import OUTSIDE, Echo, Watch

CONTROLLERS = ("ctrl", "ctrl-2", "ctrl-3")
PROGRAMS = ("kube-proxy", "flanneld")


@pytest.fixture(scope="module")
def one(clone: Checkout) -> Iterator[Checkout]:
    """The clone, with one controller and a worker."""
    clone.make("down").expect()
    write(clone, 1)
    clone.make("up").expect()
    yield clone
    clone.make("down").expect()
    clone.page.write_text(clone.settings)


def write(clone: Checkout, controllers: int) -> None:
    values: dict[str, Any] = {
        "cluster_controllers": {"count": controllers, "cpus": 2, "memory": 2048},
        "cluster_workers": {"count": 1, "cpus": 2, "memory": 3072},
        "cluster_parts": dict.fromkeys(Parts.model_fields, False) | {"metallb": True, "istio": True},
    }
    clone.page.write_text(rewrite_page(clone.settings, values))


@pytest.fixture(scope="module")
def echo(one: Checkout) -> Echo:
    address = yaml.safe_load(one.page.read_text())["cluster_gateway"]["address"]
    return Echo(one.kube, address, "echo.growth.local", seconds=300)


def programs(clone: Checkout) -> dict[str, tuple[str, str]]:
    """Those of the worker that are on its own network: process, and how many lines of its hosts lead to loopback."""
    name = f"api.{clone.name}.internal"
    look = f"pid=$(pgrep --exact {{}}); echo $pid; grep -c '^127.0.0.1 {name}' /proc/$pid/root/etc/hosts || true"
    found = {program: inside(clone, "node-1", look.format(program)).split() for program in PROGRAMS}
    return {program: (process, lines) for program, (process, lines) in found.items()}


def ways(clone: Checkout) -> dict[str, str]:
    """How many API servers those of the first controller know by the name of the API."""
    look = f"grep -c ' api.{clone.name}.internal' /proc/$(pgrep --exact {{}})/root/etc/hosts || true"
    return {program: inside(clone, "ctrl", look.format(program)).strip() for program in PROGRAMS}


def served(clone: Checkout) -> bool:
    """Whether every node is Ready, and a pod reaches the API at the address of its Service."""
    nodes = clone.kube.nodes()
    ask = (
        "import ssl, urllib.request as r; print(r.urlopen('https://kubernetes.default.svc/readyz', timeout=5, context="
        "ssl.create_default_context(cafile='/var/run/secrets/kubernetes.io/serviceaccount/ca.crt')).status)"
    )
    said = clone.kube.text("exec", f"--namespace={OUTSIDE}", "deployment/plain", "--", "/usr/bin/python3", "-c", ask)
    return all(map(ready, nodes)) and said.strip() == "200"


def test_a_plan_comes_first_and_changes_nothing(one: Checkout, echo: Echo) -> None:
    assert echo.ask().status == 200
    write(one, 3)
    before = [node["metadata"]["uid"] for node in one.kube.nodes()]
    planned = one.make("add-nodes", "CHECK=1").expect()
    assert "ctrl-2" in planned.output
    assert [node["metadata"]["uid"] for node in one.kube.nodes()] == before
    listed = subprocess.run(["docker", "ps", "--format", "{{.Names}}"], check=True, capture_output=True, text=True)
    assert f"{one.name}-ctrl-2" not in listed.stdout


def test_one_becomes_three_and_nobody_notices(one: Checkout, echo: Echo) -> None:
    before = programs(one)
    assert {lines for _, lines in before.values()} == {"0"}
    assert set(ways(one).values()) == {"1"}
    with Watch(echo, pause=0.05) as watch:
        done = one.make("up").expect()
    failed = [at for at, good in watch.seen if not good]
    figure("make up from one controller to three", done.seconds)
    figure(f"  requests through the gateway that failed, of {len(watch.seen)}", len(failed), "", most=0)
    assert len(watch.seen) > done.seconds
    assert not failed
    assert {node["metadata"]["name"] for node in one.kube.nodes()} == {*CONTROLLERS, "node-1"}
    assert served(one)
    # The programs that had a copy of the old names were started again, and go through the balancer.
    after = programs(one)
    assert {lines for _, lines in after.values()} == {"1"}
    assert all(after[name][0] != before[name][0] for name in PROGRAMS)
    # Those of the first controller need the others where its own API server does not answer.
    assert set(ways(one).values()) == {"3"}
    assert one.make("up").expect().total("changed") == 0
    assert one.make("status").status == 0


def test_three_without_balancers_for_pods_get_them(one: Checkout, echo: Echo) -> None:
    """As clusters of earlier versions: a balancer on workers alone, and on loopback alone."""
    for machine in CONTROLLERS:
        inside(one, machine, "systemctl disable --now slipway-api")
        inside(one, machine, "rm /etc/slipway/api.* /etc/systemd/system/slipway-api.service; systemctl daemon-reload")
        inside(one, machine, "DEBIAN_FRONTEND=noninteractive apt-get --quiet --quiet purge --yes haproxy")
    unit = "/etc/systemd/system/slipway-api.service"
    for line in (
        f"systemctl stop slipway-api; sed -i '/api.nft\\|ip address\\|nft delete/d' {unit}; rm /etc/slipway/api.nft",
        "sed -i '/:16443$/d' /etc/slipway/api.cfg; systemctl daemon-reload; systemctl start slipway-api",
    ):
        inside(one, "node-1", line)
    eventually(lambda: served(one), seconds=60, what="the cluster is as it was before")
    with Watch(echo, pause=0.05) as watch:
        done = one.make("up").expect()
    failed = [at for at, good in watch.seen if not good]
    figure(f"balancers come to three controllers: requests that failed, of {len(watch.seen)}", len(failed), "", most=0)
    assert not failed
    assert done.total("changed") > 0
    for machine in (*CONTROLLERS, "node-1"):
        listed = json.loads(inside(one, machine, "ip -json address show dev lo"))[0]["addr_info"]
        assert [info["local"] for info in listed if info["family"] == "inet"][1:] == ["169.254.20.43"]
    assert served(one)
    assert one.make("up").expect().total("changed") == 0
