"""The four documented systems, released and proved one after the other, each alone on the cluster."""

from __future__ import annotations

import pytest

from tests.support.releases import DOCUMENTED, Stage


@pytest.mark.parametrize("name", DOCUMENTED)
def test_alone_it_is_released_proved_and_taken_away(empty: Stage, name: str) -> None:
    run = empty.release(name).expect()
    print(f"{name}: released and proved in {run.seconds:.0f} s")
    empty.proved(name)
    again = empty.release(name).expect()
    assert again.total("changed") == 0
    print(f"{name}: again in {again.seconds:.0f} s")
    empty.release(name, release_state="absent").expect()
    labels = f"--selector=slipway.io/release={name}"
    kinds = "deployments,services,virtualservices,destinationrules,gateways,envoyfilters,authorizationpolicies,secrets"
    assert empty.kube("get", kinds, "--all-namespaces", labels)["items"] == []
