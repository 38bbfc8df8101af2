"""make down leaves nothing of the cluster, and keeps what the next one can use."""

from __future__ import annotations

from tests.support.checkout import Checkout


def test_it_leaves_no_machine_network_or_volume(checkout: Checkout) -> None:
    checkout.make("down").expect()
    assert checkout.left() == {}


def test_it_takes_the_kubeconfig_and_keeps_the_logs(checkout: Checkout) -> None:
    assert not (checkout.state / "kubeconfig").exists()
    assert (checkout.state / "log").is_dir()


def test_a_second_one_finds_nothing_to_do(checkout: Checkout) -> None:
    checkout.make("down").expect()
