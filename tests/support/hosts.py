"""Container nodes of a checkout as machines that exist already, listed on its page as somebody lists hosts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .checkout import Checkout, Run
from .lab import rewrite_page


@dataclass(frozen=True)
class Hosts:
    """A checkout whose page lists hosts. ``arguments``: what playbooks are called with, to reach them."""

    checkout: Checkout
    arguments: Sequence[str]

    def site(self, *arguments: str, timeout: float = 1200) -> Run:
        """Play site.yml."""
        return self.checkout.playbook("playbooks/site.yml", *self.arguments, *arguments, timeout=timeout)


def facts(checkout: Checkout, name: str) -> dict[str, Any]:
    """What the inventory says of one machine."""
    run = checkout.run(".venv/bin/ansible-inventory", "-i", "inventory", "--host", name).expect()
    found: dict[str, Any] = json.loads(run.output[run.output.index("{") :])
    return found


def key(checkout: Checkout, name: str) -> Path:
    """The private key that opens a machine of the checkout."""
    return Path(facts(checkout, name)["ansible_ssh_private_key_file"])


@contextmanager
def listed(checkout: Checkout, roles: dict[str, str], more: Sequence[dict[str, Any]] = ()) -> Iterator[Hosts]:
    """List machines that the checkout has made, each with its role, and ``more`` that it has not made, as hosts.

    ``more`` have name, role and address; the user and key of the others open them.
    """
    page = checkout.page.read_text()
    known = {name: facts(checkout, name) for name in roles}
    first = next(iter(known.values()))
    access = {"user": first["ansible_user"], "key": first["ansible_ssh_private_key_file"]}
    hosts = [{"name": name, "role": role, "address": known[name]["node_address"]} for name, role in roles.items()]
    values = {"cluster_provider": "hosts", "cluster_hosts": [{**host, **access} for host in (*hosts, *more)]}
    try:
        checkout.page.write_text(rewrite_page(page, values))
        # The host keys of these machines are as young as they are; a user's hosts are in known_hosts.
        yield Hosts(checkout, (f"--ssh-common-args={first['ansible_ssh_common_args']}",))
    finally:
        checkout.page.write_text(page)
