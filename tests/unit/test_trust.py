"""Whom certificates vouch for, told without a library that reads them."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
from slipway.node import trust
from slipway.node.state import ca_sum

from tests.support.authorities import CLIENT, SERVER, Pair, authorities, pair, signed

OLD, NEW = pair("old", "kubernetes"), pair("new", "kubernetes")


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def kubeconfig(ca: str, user: Pair | None = None) -> str:
    own = (
        f"    client-certificate-data: {encoded(user.crt)}\n    client-key-data: {encoded(user.key)}\n" if user else ""
    )
    return f"""\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {encoded(ca)}
    server: https://192.0.2.1:6443
  name: kubernetes
users:
- name: somebody
  user:
{own}"""


def test_certificates_of_a_text_are_told_apart_whatever_stands_between() -> None:
    text = f"# a comment\n{OLD.crt}\n\nsubject=x\n{NEW.crt.replace(chr(10), chr(13) + chr(10))}"
    assert trust.blocks(text) == [OLD.crt, NEW.crt]
    assert trust.bundle([NEW.crt, OLD.crt, NEW.crt]) == NEW.crt + OLD.crt
    assert trust.blocks("") == []
    assert trust.fingerprint(OLD.crt) == ca_sum(OLD.crt)


def test_a_kubeconfig_trusts_what_it_is_given_and_keeps_the_rest() -> None:
    before = kubeconfig(OLD.crt, signed("admin", OLD, CLIENT))
    after = trust.trusting(before, OLD.crt + NEW.crt)
    assert trust.trusted(before) == [OLD.crt]
    assert trust.trusted(after) == [OLD.crt, NEW.crt]
    changed = [line for line in after.splitlines() if line not in before.splitlines()]
    assert [line.split(":")[0].strip() for line in changed] == ["certificate-authority-data"]
    assert trust.trusted("clusters: []\n") == []


@pytest.mark.parametrize("server", [False, True])
def test_who_has_signed_a_certificate(tmp_path: Path, server: bool) -> None:
    """Both CAs have one name, as those of kubeadm."""
    own = signed("one", OLD, SERVER if server else CLIENT)
    crt, key, both = (str(tmp_path / name) for name in ("a.crt", "a.key", "a.pem"))
    Path(crt).write_text(own.crt)
    Path(key).write_text(own.key)
    Path(both).write_text(own.crt + own.key)
    assert trust.vouches(OLD.crt, crt, key, server=server)
    assert trust.vouches(OLD.crt, both, server=server)
    assert trust.vouches(NEW.crt + OLD.crt, crt, key, server=server)
    assert not trust.vouches(NEW.crt, crt, key, server=server)
    # For the other purpose, with the key of another, or without any.
    assert not trust.vouches(OLD.crt, crt, key, server=not server)
    Path(key).write_text(signed("two", OLD, CLIENT).key)
    assert not trust.vouches(OLD.crt, crt, key, server=server)
    assert not trust.vouches(OLD.crt, str(tmp_path / "none"), server=server)
    assert not trust.vouches("", both, server=server)


def test_who_has_signed_the_certificate_in_a_kubeconfig() -> None:
    text = kubeconfig(OLD.crt + NEW.crt, signed("admin", NEW, CLIENT))
    assert trust.vouches_for_kubeconfig(NEW.crt, text)
    assert not trust.vouches_for_kubeconfig(OLD.crt, text)
    assert not trust.vouches_for_kubeconfig(NEW.crt, kubeconfig(NEW.crt))


def token(key: str) -> str:
    parts = ({"alg": "RS256", **({"kid": key} if key else {})}, {"sub": "x"})
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*texts, "c2lnbmVk"])


def test_which_key_has_signed_a_token() -> None:
    public = authorities("old")["pki/sa.pub"]
    body = base64.b64decode("".join(public.splitlines()[1:-1]))
    own = trust.key_id(trust.blocks(public)[0])
    assert own == base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode().rstrip("=")
    assert trust.signed_with(token(own) + "\n") == own
    assert trust.signed_with(token("")) == ""
    for text in ("", "a.b.c", "default", "kube-system.svc.local", "1.2.3", OLD.crt, "W10.e30.x"):
        assert trust.signed_with(text) == ""
