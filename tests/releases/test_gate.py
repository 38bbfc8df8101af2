"""What the gateway makes of a request, asked directly: which host wins, which path, which headers a service gets."""

from __future__ import annotations

from pathlib import Path

from tests.support.kube import eventually
from tests.support.mesh import gateway_address
from tests.support.releases import Stage
from tests.support.traffic import Said, asked

GATE, ANYBODY = (str(Path(__file__).parent / f"pages/{name}.yml") for name in ("gate", "anybody"))
TEST = "x-slipway-test"


def test_hosts_paths_and_headers_reach_what_the_page_says(empty: Stage) -> None:
    try:
        empty.release(ANYBODY, prove="always").expect()
        empty.passed("anybody")
        empty.release(GATE, prove="never").expect()
        address = gateway_address(empty.kube)

        def ask(path: str = "/", host: str = "gate.local", method: str = "GET", **headers: str) -> Said:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            return asked(address, host, path, method=method, headers=given)

        eventually(lambda: ask().version == "v1", seconds=60, what="it answers")

        # A name in full wins over a wildcard, and that over everything.
        assert ask(host="x.gate.local") == ask(host="deep.x.gate.local") == ask() == Said("200", "v1")
        assert ask(host="other.local") == ask(host="local") == Said("200", "rest")

        # By the method, by a pattern of a header, and of the query.
        assert ask(method="HEAD").version == "back"
        assert (ask(x_team="qa-12").version, ask(x_team="qa-").version) == ("v2", "v1")
        assert (ask("/?beta=12").version, ask("/?beta=x").version) == ("v2", "v1")

        # Headers as the service gets them: its test header makes it fail.
        assert ask("/set").status == ask("/added").status == "418"
        assert ask("/added", x_slipway_test="delay=1ms").status == "418"
        assert ask(x_slipway_test="status=503").status == "503"
        assert ask("/removed", x_slipway_test="status=503") == Said("200", "v1")

        # The path that the service gets: at /version it tells no chain, and below that it has nothing.
        assert (ask("/item"), ask("/item/7").status) == (Said("200", ""), "404")

        # Each request for itself, whatever cookie comes with it; and an override of its own, in place of the other one.
        assert {ask("/each").version for _ in range(30)} == {"v1", "v2"}
        assert ask(x_version="v2").version == "v2"
        assert (ask("/own", x_beta="v2").version, ask("/own", x_version="v2").version) == ("v2", "v1")

        # Another entry with paths of its own.
        assert ask(host="more.gate.test").version == "v1"
        assert ask("/api", host="more.gate.test").version == "back"
        assert empty.release(GATE, prove="never").expect().total("changed") == 0

        # Without the one, everything answers on its hosts too.
        empty.release(GATE, release_state="absent").expect()
        eventually(lambda: ask().version == "rest", seconds=30, what="nobody else has this host")
    finally:
        empty.take_away((GATE, ANYBODY))
