"""Pages with ``output: gateway-api`` on a live cluster: proved, changed under load and to Istio, and taken away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.changing import Place, placed
from tests.support.kube import eventually
from tests.support.mesh import gateway_address
from tests.support.monitoring import Monitoring
from tests.support.releases import Stage
from tests.support.traffic import asked
from tests.support.transitions import HALF, ONE, TWO, Json, Row, pair, shadowed

PAGES = Path(__file__).parent / "pages"
PAGE = str(PAGES / "http-routes.yml")
NAME = "http-routes"
KINDS = "httproutes.gateway.networking.k8s.io,virtualservices,destinationrules,gateways.networking.istio.io"
LEAVE = "Remove the routes that those of another API replace"


@pytest.fixture
def served(empty: Stage) -> Stage:
    definitions = "httproutes.gateway.networking.k8s.io"
    if not empty.kube.text("get", "customresourcedefinitions", "--ignore-not-found", definitions):
        pytest.skip("this cluster has no Gateway API: cluster_gateway_api is off")
    return empty


def routes(stage: Stage, name: str) -> set[str]:
    """Kinds and names of all that routes requests of a release."""
    found = stage.kube("get", KINDS, "--all-namespaces", f"--selector=slipway.io/release={name}")["items"]
    return {f"{item['kind']}/{item['metadata']['name']}" for item in found}


def by_routes(page: Json) -> Json:
    return {**page, "output": "gateway-api", "sticky": "none"}


def by_istio(page: Json) -> Json:
    return {**page, "sticky": "none"}


def test_a_page_is_proved_counted_by_version_and_taken_away(served: Stage) -> None:
    try:
        served.release(PAGE, prove="always").expect()
        served.passed(NAME)
        kinds = {"share", "override", "chain", "shadow", "timeout", "retries", "headers", "version-header", "cors"}
        assert served.kinds(NAME, "passed") >= kinds | {"case", "redirect", "entry", "access", "mtls", "dashboard"}
        assert routes(served, NAME) == {
            f"HTTPRoute/{NAME}-entry",
            f"HTTPRoute/{NAME}-entry-canary-http-routes-local",
            f"HTTPRoute/{NAME}-entry-back-http-routes-test",
            *(f"{kind}/{service}" for kind in ("VirtualService", "DestinationRule") for service in ("middle", "back")),
        }
        monitoring = Monitoring(served.kube)
        for version in ("v1", "v2"):
            labels = f'namespace="{NAME}",service="front",version="{version}",source="istio-ingressgateway"'
            counted = f"sum(count_over_time(slipway:requests:rate1m{{{labels}}}[30m]))"
            assert monitoring.value(counted) > 0, f"nobody has counted requests to {version}"
        assert served.release(PAGE, prove="never").expect().total("changed") == 0
        served.release(PAGE, release_state="absent").expect()
        assert routes(served, NAME) == set()
        address = gateway_address(served.kube)
        eventually(lambda: asked(address, "http-routes.local", "/").status == "404", seconds=30, what="nobody answers")
    finally:
        served.take_away((PAGE,))


def test_https_is_that_of_the_gateway_and_clients_without_are_sent_there(served: Stage, tmp_path: Path) -> None:
    page: dict[str, Any] = yaml.safe_load((PAGES / "redirect.yml").read_text())
    del page["limits"]
    path = tmp_path / "redirect.yml"
    path.write_text(yaml.safe_dump(by_routes(page), sort_keys=False))
    try:
        served.release(str(path), prove="always").expect()
        served.passed("redirect")
        assert served.kinds("redirect", "passed") >= {"share", "tls"}
        # Without stickiness, which no HTTPRoute has, nothing of this page makes a request show a certain version.
        assert "chain" in served.kinds("redirect", "configured")
    finally:
        served.take_away((str(path),))


def test_what_an_http_route_cannot_say_is_refused_and_changes_nothing(served: Stage, tmp_path: Path) -> None:
    page: dict[str, Any] = yaml.safe_load(Path(PAGE).read_text())
    path = tmp_path / f"{NAME}.yml"
    path.write_text(yaml.safe_dump({**page, "sticky": "cookie", "limits": {"per_client": "10/minute"}}))
    run = served.release(str(path), prove="never")
    assert run.status != 0
    for key in ("sticky: cookie", "limits.per_client: 10/minute"):
        assert f"{key} [output-cannot-say]" in run.output
    assert "would work: sticky: none, or output: istio" in run.output
    assert served.kube("get", "namespaces", f"--selector=slipway.io/release={NAME}")["items"] == []


STABLE, MOVED = {"v1": "stable", "v2": "canary"}, {"v2": "stable", "v3": "canary"}
EVEN = pair("v1 v2", {"v1": 50, "v2": 50})
ROWS = (
    Row("gw-weights", by_routes(TWO), by_routes(EVEN), users="v1 v2"),
    Row("gw-first-canary", by_routes(ONE), by_routes(TWO), users="v1 v2"),
    Row("gw-canary-wins", by_routes(TWO), by_routes(pair("v2")), users="v1 v2", leaves="v1"),
    Row("gw-callee-gets-v2", by_routes(HALF), by_routes(TWO), users="v1 v2"),
    Row("gw-first-shadow", by_routes(ONE), by_routes(shadowed("web", "100%")), users="v1"),
    Row(
        "gw-promote-labels",
        by_routes(pair("v1 v2", {"v1": 90, "v2": 10}, version_labels=STABLE)),
        by_routes(pair("v2 v3", {"v2": 90, "v3": 10}, version_labels=MOVED)),
        users="v1 v2 v3",
        leaves="v1",
    ),
    Row("gw-from-istio", by_istio(TWO), by_routes(EVEN), users="v1 v2"),
    Row("gw-to-istio", by_routes(TWO), by_istio(EVEN), users="v1 v2"),
)


def ended(place: Place, page: Json) -> None:
    """See that users come by the one API alone."""
    found = routes(place.stage, place.name)
    ours = {name for name in found if name.endswith(f"/{place.name}-entry") or name.startswith("Gateway/")}
    gateway_api = page.get("output") == "gateway-api"
    istio = {f"Gateway/{place.name}", f"VirtualService/{place.name}-entry"}
    assert ours == ({f"HTTPRoute/{place.name}-entry"} if gateway_api else istio)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_nobody_notices_a_change(served: Stage, tmp_path: Path, row: Row) -> None:
    with placed(served, row, tmp_path) as place:
        with place.changing():
            run = place.apply(row.after)
        assert place.faults(row) == []
        assert run.expect().total("changed") > 0
        ended(place, row.after)
        assert place.apply(row.after).expect().total("changed") == 0


@pytest.mark.parametrize("row", ROWS[-2:], ids=lambda row: row.name)
def test_a_run_that_is_killed_between_the_two_goes_on_without_a_loss(served: Stage, tmp_path: Path, row: Row) -> None:
    with placed(served, row, tmp_path) as place:
        with place.changing():
            place.cut(row.after, task=LEAVE, after=0)
            place.apply(row.after).expect()
        assert place.faults(row) == []
        ended(place, row.after)
