"""Limits by headers, cookies and groups of paths, as the artifact's own Envoy keeps them."""

from __future__ import annotations

import http.client
from contextlib import closing
from pathlib import Path
from typing import Any

from slipway.release.planner import plan
from slipway.release.spec import load

from tests.support.envoy import free, inert, listener, running
from tests.support.release import one, page


def told(folder: Path, by: dict[str, Any]) -> dict[str, Any]:
    values = {
        "name": "shop",
        "hosts": ["shop.local"],
        "limits": {"by": by},
        "services": {"web": {"versions": {"v1": "example.org/web:1"}}},
    }
    patches = one(plan(load(page(folder, values))), "EnvoyFilter", "shop-rate-limit")["spec"]["configPatches"]
    found: dict[str, Any] = patches[0]["patch"]["value"]
    return found


class Asker:
    """Asks a gateway, and counts what it lets through."""

    def __init__(self, port: int) -> None:
        self.port = port

    def let(self, count: int, path: str = "/", client: int = 1, **headers: str) -> int:
        given = {"Host": "shop.local", **{name.replace("_", "-"): value for name, value in headers.items()}}
        source = (f"127.78.0.{client}", 0)
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10, source_address=source)) as wire:
            passed = 0
            for _ in range(count):
                wire.request("GET", path, headers=given)
                answer = wire.getresponse()
                answer.read()
                assert answer.status in (200, 429)
                passed += answer.status == 200
            return passed


def test_each_value_has_its_own_number_and_no_value_has_one_too(envoy: Path, tmp_path: Path) -> None:
    by = {
        "plan": {
            "header": "x-plan",
            "values": {"gold": "12/hour", "free": "3/hour"},
            "each": "5/hour",
            "without": "2/hour",
        }
    }
    port = free()
    with running(envoy, tmp_path, [listener(port, [inert()], told(tmp_path, by))]):
        ask = Asker(port)
        assert ask.let(20, x_plan="gold") == 12
        assert ask.let(20, x_plan="free") == 3
        # Any other value has a bucket of its own, and only that.
        assert ask.let(20, x_plan="a") == 5
        assert ask.let(20, x_plan="b") == 5
        assert ask.let(20, x_plan="golden") == 5
        assert ask.let(20) == 2
        # One bucket, whoever sends it.
        assert ask.let(5, client=2, x_plan="gold") == 0


def test_what_is_not_named_is_not_counted_and_a_client_may_have_its_own(envoy: Path, tmp_path: Path) -> None:
    by = {
        "plan": {"header": "x-plan", "values": {"free": "3/hour"}, "per": "client", "paths": ["/api"]},
        "trial": {"cookie": "plan", "values": {"trial": "4/hour"}, "without": "50/hour"},
        "heavy": {"paths": ["/export", "/report"], "rate": "6/hour", "per": "client"},
    }
    port = free()
    with running(envoy, tmp_path, [listener(port, [inert()], told(tmp_path, by))]):
        ask = Asker(port)
        assert ask.let(6, "/api/x?y", x_plan="free", cookie="plan=none") == 3
        assert ask.let(6, "/api", client=2, x_plan="free", cookie="plan=none") == 3
        assert ask.let(6, "/apis", x_plan="free", cookie="plan=none") == 6
        assert ask.let(6, "/api", x_plan="other", cookie="plan=none") == 6
        assert ask.let(6, cookie="a=b; plan=trial; c=d") == 4
        assert ask.let(6, cookie="myplan=trial; plan=trials") == 6
        assert (
            ask.let(4, "/export", client=3, cookie="plan=none") + ask.let(4, "/report/x", client=3, cookie="plan=n")
            == 6
        )
        assert ask.let(60, client=4) == 50
