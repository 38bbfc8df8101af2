"""The filters of the mesh: what they add to the functions behind them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from tests.support.errors import refused

ROOT = Path(__file__).parents[2]


def load() -> Any:
    spec = importlib.util.spec_from_file_location("slipway_filter_mesh", ROOT / "plugins/filter/mesh.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FILTERS = load().FilterModule().filters()


def service(*addresses: str) -> dict[str, Any]:
    return {"status": {"loadBalancer": {"ingress": [{"ip": address} for address in addresses]}}}


@pytest.mark.parametrize(
    ("services", "wanted", "answer"),
    [
        ([], "", False),
        ([service()], "", False),
        ([service("192.0.2.1")], "", True),
        ([service("192.0.2.1")], "192.0.2.1", True),
        ([service("192.0.2.1")], "192.0.2.2", False),
    ],
)
def test_a_gateway_has_its_address(services: list[dict[str, Any]], wanted: str, answer: bool) -> None:
    assert FILTERS["mesh_has_address"](services, wanted) is answer


def test_no_settings_need_no_istioctl() -> None:
    assert FILTERS["mesh_unknown"]({}, "/nowhere/istioctl") == []
    with refused("program-missing: /nowhere/istioctl", AnsibleFilterError):
        FILTERS["mesh_unknown"]({"meshConfig": {}}, "/nowhere/istioctl")


def test_paths_of_a_certificate_count_from_the_checkout_or_from_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert FILTERS["certificate_files"]({"cert": "tls/cert.pem", "key": "~/key.pem"}) == {
        "cert": str(ROOT / "tls/cert.pem"),
        "key": "/home/me/key.pem",
    }


@pytest.mark.parametrize("given", [{"cert": "/a"}, {"key": "/a"}, {"certificate": "/a", "key": "/b"}])
def test_a_certificate_without_its_key_is_refused(given: dict[str, str]) -> None:
    (fault,) = FILTERS["certificate_faults"](FILTERS["certificate_files"](given))
    assert "{cert: ~/tls/fullchain.pem, key: ~/tls/privkey.pem}" in fault


def test_an_error_is_a_message_and_no_traceback() -> None:
    with refused("port-taken: port 15021 of the gateway", AnsibleFilterError):
        FILTERS["mesh_service_ports"]([15021])
