"""What stands is left alone: by a second make up, in check mode, and from a plain inventory."""

from __future__ import annotations

from tests.support.checkout import Checkout


def test_a_second_make_up_changes_nothing(checkout: Checkout) -> None:
    run = checkout.make("up").expect()
    assert run.total("changed") == 0
    assert run.total("failed") == 0
    print(f"a second make up: {run.seconds:.0f} s")


def test_check_mode_reports_no_change_and_no_failure(checkout: Checkout) -> None:
    run = checkout.playbook("playbooks/site.yml", "--check").expect()
    assert run.total("changed") == 0
    assert run.total("failed") == 0


def test_the_generated_inventory_works_as_well(checkout: Checkout) -> None:
    run = checkout.playbook("--inventory=inventory.cfg", "--user=vagrant", "playbooks/site.yml").expect()
    assert run.total("changed") == 0
    assert run.total("failed") == 0


def test_vagrant_up_changes_nothing_either(checkout: Checkout) -> None:
    run = checkout.run("vagrant", "up").expect()
    assert run.total("changed") == 0
    assert run.total("failed") == 0


def test_the_inventory_names_its_groups(checkout: Checkout) -> None:
    graph = checkout.run(".venv/bin/ansible-inventory", "--graph").expect().output
    for group in ("@controllers:", "@workers:", "@mirror:", "@nodes:"):
        assert group in graph
