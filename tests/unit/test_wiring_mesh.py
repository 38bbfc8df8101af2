"""What the wiring hands to the mesh of what the page asks for, in Ansible's own templating."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.plugins.loader import init_plugin_loader

from tests.support.wiring import wired


@pytest.fixture(scope="module")
def _plugins() -> None:
    init_plugin_loader()


@pytest.mark.usefixtures("_plugins")
@pytest.mark.parametrize(("asked", "mesh"), [(True, True), (True, False), (False, True)])
def test_the_gateway_api_comes_with_its_definitions_if_the_page_asks_for_it(asked: bool, mesh: bool) -> None:
    parts = {"metallb": True, "istio": mesh}
    page: dict[str, Any] = {"cluster_parts": parts, "cluster_releases": [], "cluster_gateway_api": asked}
    page["cluster_backup"] = {"schedule": ""}
    found = wired("artifacts_parts", slipway_state="/nowhere", **page)
    assert ("gateway_api" in found) is (asked and mesh)
    known = {"version": "1.6.0", "sha256": "", "size": 0, "source": "built"}
    names = ("gateway-api-httproutes", "gateway-api-gateways", "metallb-crds")
    files = {name: {**known, "address": f"example.org/{name}.yaml"} for name in names}
    bundle = {"path": "/bundle", "files": files}
    crds = wired("istio_gateway_api_crds", slipway_bundle=bundle, **page)
    assert crds == (
        ["/bundle/files/example.org/gateway-api-gateways.yaml", "/bundle/files/example.org/gateway-api-httproutes.yaml"]
        if asked
        else []
    )
