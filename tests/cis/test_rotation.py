"""The key that encrypts Secrets is rotated on three controllers while a client asks, and killed at each step.

The tests build on each other, in this order, on the cluster that tests/cis/test_cis.py has left, or on one made here.
"""

from __future__ import annotations

import base64
import re
import subprocess

import pytest

from tests.support.checkout import Checkout, Event, On
from tests.support.hardened import CONTROLLERS, asking, inside
from tests.support.typed import typed

FILE = "/etc/kubernetes/encryption/config.yml"
PKI = "/etc/kubernetes/pki/etcd"
SEALED = re.compile(rb"k8s:enc:secretbox:v1:[a-z0-9-]+:")
MAKE = ("make", "--no-print-directory")


@pytest.fixture(scope="module")
def three(clone: Checkout) -> Checkout:
    clone.page.write_text(clone.settings)
    if not clone.kube.config.is_file():
        clone.make("up").expect()
    return clone


def keys(clone: Checkout, name: str) -> list[str]:
    return inside(clone, name, f"sed --quiet 's/^ *- name: //p' {FILE}").split()


def read(clone: Checkout) -> str:
    """The Secret of the test, through each controller."""
    found = {
        clone.kube("get", "secret", "word", "--namespace=default", f"--context={name}")["data"]["word"]
        for name in CONTROLLERS
    }
    (word,) = found
    return base64.b64decode(word).decode()


def rotated(clone: Checkout, number: int) -> None:
    """All that holds after a rotation to the key of this number."""
    assert [keys(clone, name) for name in CONTROLLERS] == [[f"slipway-{number}"]] * 3
    sums = {inside(clone, name, f"sha256sum < {FILE}") for name in CONTROLLERS}
    assert len(sums) == 1
    asked = ("exec", "etcd-ctrl", "--namespace=kube-system", "--", "etcdctl", f"--cacert={PKI}/ca.crt")
    shown = ("get", "/registry/secrets/", "--prefix", "--print-value-only", "--hex")
    rest = clone.kube.text(*asked, f"--cert={PKI}/server.crt", f"--key={PKI}/server.key", *shown)
    values = [bytes.fromhex(line.replace("\\x", "")) for line in rest.split()]
    assert values
    sealed = [match.group() if (match := SEALED.match(value)) else value for value in values]
    assert set(sealed) == {f"k8s:enc:secretbox:v1:slipway-{number}:".encode()}
    assert read(clone) == "barnacle"


def test_a_rotation_loses_no_request(three: Checkout) -> None:
    three.kube.text("create", "secret", "generic", "word", "--namespace=default", "--from-literal=word=barnacle")
    planned = typed(
        three, "how-to/rotate-keys", ".venv/bin/ansible-playbook playbooks/rotate-encryption-key.yml --check"
    ).expect()
    assert "every API server reads with the new key, too" in planned.output
    assert keys(three, "ctrl") == ["slipway-1"]
    with asking(three) as lost:
        done = typed(three, "how-to/rotate-keys", "make rotate-encryption-key").expect()
    print(f"make rotate-encryption-key with three controllers: {done.seconds:.0f} s")
    assert lost == []
    rotated(three, 2)
    # The keys themselves are nowhere in what it says.
    secret = inside(three, "ctrl", f"sed --quiet 's/^ *secret: //p' {FILE}").strip()
    assert secret not in done.output
    assert secret not in (three.state / "log/ansible.log").read_text()
    assert three.make("up").expect().total("changed") == 0


def names(*wanted: str) -> str:
    """What comes true when a controller has keys of these names, the first of which writes."""
    return f"[ \"$(sed --quiet 's/^ *- name: //p' {FILE} | xargs)\" = '{' '.join(wanted)}' ]"


@pytest.mark.parametrize("at", ["add", "first", "rewrite", "drop"])
def test_a_rotation_that_was_killed_is_gone_on_with(three: Checkout, at: str) -> None:
    """Killed when the second controller has new keys that it has not read yet, and the first has lost its old one."""
    number = int(keys(three, "ctrl")[0].removeprefix("slipway-"))
    old, new = f"slipway-{number}", f"slipway-{number + 1}"
    events: dict[str, tuple[Event, str]] = {
        "add": (On("ctrl-2", names(old, new)), "ctrl-2"),
        "first": (On("ctrl-2", names(new, old)), "ctrl-2"),
        "rewrite": ("Write every Secret again]", ""),
        "drop": (On("ctrl", names(new)), "ctrl"),
    }
    event, machine = events[at]
    three.kill_when(event, *MAKE, "rotate-encryption-key", module_on=machine)
    assert read(three) == "barnacle"
    three.make("rotate-encryption-key").expect()
    rotated(three, number + 1)


def test_a_controller_that_is_away_stops_it_before_anything_is_changed(three: Checkout) -> None:
    before = {name: keys(three, name) for name in CONTROLLERS}
    subprocess.run(["docker", "pause", f"{three.name}-ctrl-3"], check=True)
    try:
        refused = three.make("rotate-encryption-key", timeout=600)
    finally:
        subprocess.run(["docker", "unpause", f"{three.name}-ctrl-3"], check=True)
    assert refused.status
    assert {name: keys(three, name) for name in CONTROLLERS} == before
    three.make("rotate-encryption-key").expect()
    rotated(three, int(before["ctrl"][0].removeprefix("slipway-")) + 1)


def test_a_controller_that_joins_later_has_the_key(three: Checkout) -> None:
    number = int(keys(three, "ctrl")[0].removeprefix("slipway-"))
    three.make("replace-node", "NODE=ctrl-3").expect()
    rotated(three, number)
