"""What stands after make up carries an application: from outside through the gateway, with disk, figures and names."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from testinfra.host import Host

from tests.support.checkout import Checkout
from tests.support.kube import Kube, eventually
from tests.support.mesh import FETCH, Echo, own_address


@pytest.fixture(scope="module")
def echo(kube: Kube, page: dict[str, Any]) -> Iterator[Echo]:
    started = Echo(kube, page["cluster_gateway"]["address"], f"echo.{page['cluster_name']}.local")
    yield started
    started.stop()


def test_a_service_answers_through_the_gateway_and_sees_who_asks(echo: Echo) -> None:
    for headers in ({}, {"X-Forwarded-For": "203.0.113.7"}):
        seen = echo.ask(headers=headers).body["headers"]["x-forwarded-for"]
        assert seen == own_address(echo.address)


def test_a_machine_of_the_node_network_gets_an_answer_too(controller: Host, echo: Echo) -> None:
    said = controller.check_output("python3 -c %s http://%s/ Host=%s", FETCH, echo.address, echo.host)
    assert '"pod"' in said


def test_kubectl_top_knows_every_node(kube: Kube) -> None:
    eventually(
        lambda: len(kube.text("top", "nodes", "--no-headers").splitlines()) == len(kube.nodes()),
        seconds=90,
        what="every node has figures",
    )


def test_the_line_for_names_is_printed(checkout: Checkout, echo: Echo) -> None:
    run = checkout.playbook("playbooks/hosts.yml").expect()
    # Among those of the release.
    assert re.search(rf"^ *{re.escape(echo.address)} .*\b{re.escape(echo.host)}\b", run.output, re.M)
    assert run.total("changed") == 0


def test_curl_gets_the_answer(echo: Echo) -> None:
    command = ["curl", "--silent", "--noproxy", "*", "--max-time", "5", "--header", f"Host: {echo.host}"]
    done = subprocess.run([*command, f"http://{echo.address}/"], check=True, capture_output=True, text=True)
    assert '"pod"' in done.stdout
