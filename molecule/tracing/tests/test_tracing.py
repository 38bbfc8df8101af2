"""Zipkin shows requests through the mesh, to those who know the password of its host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.consoles import Gateway, applied, needed, refused, rendered, secret
from tests.support.kube import Kube, eventually
from tests.support.mesh import NAMESPACE, Echo, gateway_address

testinfra_hosts = ["ansible://controllers"]

HOST = "echo.tracing.test"


@pytest.fixture
def running(kube: Kube) -> None:
    needed(kube, "tracing", "Zipkin")


@pytest.fixture
def gateway(kube: Kube, page: dict[str, Any]) -> Gateway:
    return Gateway(kube, page["cluster_name"])


@pytest.fixture(scope="module")
def echo(kube: Kube) -> Iterator[Echo]:
    started = Echo(kube, gateway_address(kube), HOST)
    yield started
    started.stop()


def login(kube: Kube) -> tuple[str, str]:
    return "slipway", secret(kube, "istio-system", "tracing-login", "password")


def test_the_api_server_takes_all_of_it(kube: Kube, page: dict[str, Any]) -> None:
    made = rendered("tracing", tracing_host=f"tracing.{page['cluster_name']}.local")
    with applied(kube, [one for one in made if one["kind"] == "Namespace"]):
        assert refused(kube, made) == ""


@pytest.mark.usefixtures("running")
def test_its_host_asks_for_the_password(kube: Kube, gateway: Gateway) -> None:
    host = gateway.host("tracing")
    eventually(lambda: gateway.ask(host).status == 401, seconds=60, what="the gateway asks for a password")
    user, password = login(kube)
    asked = gateway.ask(host)
    assert asked.headers["www-authenticate"].startswith("Basic")
    for wrong in (("slipway", "slipway"), ("admin", password), (user, "")):
        assert gateway.ask(host, user=wrong).status == 401
    eventually(
        lambda: gateway.ask(host, "/zipkin/", user=(user, password)).status == 200, seconds=60, what="Zipkin answers"
    )
    # Without TLS nobody is asked for a password at all.
    asked = gateway.ask(host, port=80)
    assert (asked.status, asked.headers["location"]) == (301, f"https://{host}/")


@pytest.mark.usefixtures("running")
def test_no_other_host_asks_for_it(echo: Echo) -> None:
    assert echo.ask().status == 200
    assert echo.ask(8080).status == 200


@pytest.mark.usefixtures("running")
def test_requests_through_the_mesh_are_traced(kube: Kube, gateway: Gateway, echo: Echo) -> None:
    host, user = gateway.host("tracing"), login(kube)

    def traced() -> bool:
        # One in a hundred is.
        for _ in range(50):
            assert echo.ask().status == 200
        answer = gateway.ask(host, "/api/v2/services", user=user)
        assert answer.status == 200, answer
        services = answer.json()
        return any(NAMESPACE in name or "echo" in name for name in services) and any(
            "gateway" in name for name in services
        )

    eventually(traced, seconds=180, what="a trace has spans of the gateway and of the echo")


@pytest.mark.usefixtures("running")
def test_the_password_is_nowhere_but_in_its_secret(kube: Kube) -> None:
    _, password = login(kube)
    assert len(password) == 32
    for kind in ("envoyfilters.networking.istio.io", "configmaps", "pods"):
        assert password not in kube.text("get", kind, "--all-namespaces", "--output=json"), kind
