"""What the API server says of webhooks, read."""

from __future__ import annotations

import pytest
from slipway.cluster.webhooks import Call, calls, selects, summary

METALLB = (
    "IPAddressPool/metallb-system/slipway: the API server refuses it (500): Internal error occurred: failed calling "
    'webhook "ipaddresspoolvalidationwebhook.metallb.io": failed to call webhook: Post '
    '"https://metallb-webhook-service.metallb-system.svc:443/validate-metallb-io-v1beta1-ipaddresspool?timeout=10s": '
    "context deadline exceeded"
)
POOL = "IPAddressPool/metallb-system/slipway"
OTHER = "ConfigMap/a: the API server refuses it (422): a is wrong"


def test_a_webhook_that_does_not_answer_is_told_once_for_all_objects() -> None:
    second = METALLB.replace(POOL, "L2Advertisement/metallb-system/slipway")
    assert calls(METALLB) == [Call(POOL, "metallb-system", "metallb-webhook-service", "context deadline exceeded")]
    first, rest = summary("\n".join([METALLB, second, OTHER])).splitlines()
    assert first == (
        f"{POOL}, L2Advertisement/metallb-system/slipway: the webhook of Service "
        "metallb-system/metallb-webhook-service, which judges this, does not answer: context deadline exceeded"
    )
    assert rest == OTHER
    assert (calls(OTHER), summary(OTHER)) == ([], OTHER)


@pytest.mark.parametrize(
    ("why", "lost"),
    [
        ("context deadline exceeded", True),
        ("dial tcp 10.100.1.2:443: i/o timeout", True),
        ("dial tcp 10.100.1.2:443: connect: no route to host", True),
        ("dial tcp 10.100.1.2:443: connect: connection refused", False),
        ("tls: failed to verify certificate: x509: certificate signed by unknown authority", False),
        ('no endpoints available for service "metallb-webhook-service"', False),
    ],
)
def test_packets_that_get_lost_are_told_from_a_program_that_is_not_ready(why: str, lost: bool) -> None:
    assert Call("a", "b", "c", why).lost is lost


def test_a_service_without_a_selector_has_no_pods() -> None:
    assert selects({"app": "a"}, {"app": "a", "more": "b"})
    assert not selects({"app": "a"}, None)
    assert not selects({}, {"app": "a"})
