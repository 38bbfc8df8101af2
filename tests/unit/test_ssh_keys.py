"""The page takes public keys, its hosts take private ones, and what OpenSSH would not take is refused by name."""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from slipway.page.ssh_keys import is_line

from tests.support.errors import tells
from tests.support.settings import CTRL, NODE, here, hosts


def public_key(key: Any) -> str:
    """The line of authorized_keys for a key."""
    text: bytes = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return text.decode()


KEY = f"{public_key(Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key())} me@example.org"


def key_file(folder: Path, text: str) -> str:
    path = folder / "key.pub"
    path.write_bytes(text.encode("latin-1"))
    return str(path)


def wire(*parts: bytes) -> str:
    """A public key as it travels: each part with its length before it, in base64."""
    return b64encode(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).decode()


SK = f"sk-ssh-ed25519@openssh.com {wire(b'sk-ssh-ed25519@openssh.com', bytes(range(32)), b'ssh:')}"
RSA = public_key(RSAPublicNumbers(65537, 2**2047 + 1).public_key())


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"{KEY}\n",
        RSA,
        public_key(derive_private_key(7, SECP256R1()).public_key()),
        f"{SK} name",
        f'from="192.0.2.0/24,!192.0.2.9" {KEY}',
        f'restrict,command="echo \\"a b\\" # c",no-X11-forwarding {KEY}',
        f"no-pty {RSA}",
    ],
)
def test_public_keys_and_their_files_are_taken(tmp_path: Path, text: str) -> None:
    values = {"cluster_ssh_keys": [text, key_file(tmp_path, f"# mine\n\n{text}\n")]}
    assert here(values).problems == []
    assert is_line(text)


def test_a_key_file_is_found_from_the_checkout_and_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key_file(tmp_path, KEY)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert here({"cluster_ssh_keys": ["key.pub", "~/key.pub"]}, root=tmp_path).problems == []
    (tmp_path / "key.pub").rename(tmp_path / "ssh-key.pub")
    assert here({"cluster_ssh_keys": ["ssh-key.pub"]}, root=tmp_path).problems == []


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", "ssh-key-private"),
        ("hello\n", "no-ssh-key"),
        ("", "no-ssh-key"),
        (f"{KEY}\nhello\n", "no-ssh-key"),
        (f"{KEY}\n{RSA[:-40]}\n", "ssh-key-damaged"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\n", "ssh-key-private"),
        ("\xff\xfe", "ssh-key-unreadable"),
    ],
)
def test_a_file_without_public_keys_is_refused(tmp_path: Path, content: str, what: str) -> None:
    (problem,) = here({"cluster_ssh_keys": [KEY, key_file(tmp_path, content)]}).problems
    assert problem.key == "cluster_ssh_keys[1]"
    tells(problem, what)
    assert problem.works == "cluster_ssh_keys: [~/.ssh/id_ed25519.pub]"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("~/.ssh/nobody-has-this.pub", "ssh-key-unreadable"),
        ("ssh-ed25519 AAAA*", "ssh-key-damaged"),
        (RSA[:-40], "ssh-key-damaged"),
        (f"{RSA[:-4]} me", "ssh-key-damaged"),
        (RSA.replace("ssh-rsa", "ssh-ed25519"), "ssh-key-damaged"),
        (f"{KEY}\n{RSA}", "ssh-key-damaged"),
        (f'from="192.0.2.1 {KEY}', "ssh-key-damaged"),
        (f'form="192.0.2.1" {KEY}', "ssh-key-option"),
        (f"ssh-dss {wire(b'ssh-dss', b'1')}", "ssh-key-dsa"),
        ("~nobody-of-this-name/.ssh/id.pub", "ssh-key-unreadable"),
        ("-----BEGIN RSA PRIVATE KEY-----", "ssh-key-private"),
        ("/", "ssh-key-unreadable"),
        ("nul\0", "ssh-key-unreadable"),
    ],
)
def test_what_is_neither_key_nor_file_is_refused(text: str, what: str) -> None:
    (problem,) = here({"cluster_ssh_keys": [text]}).problems
    tells(problem, what)


PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"


def test_the_key_of_a_host_must_exist(tmp_path: Path) -> None:
    good = {**CTRL, "key": key_file(tmp_path, PRIVATE)}
    Path(good["key"]).chmod(0o600)
    assert here(hosts(good, NODE)).problems == []
    for absent in ("~/.ssh/nobody", "~nobody-of-this-name/.ssh/id"):
        (problem,) = here(hosts(good, {**NODE, "key": absent})).problems
        assert problem.key == "cluster_hosts[1].key"
        assert problem.id == "ssh-key-unreadable"
        assert 'key: ""' in problem.works
    (problem,) = here(hosts({**CTRL, "key": str(tmp_path)})).problems
    assert problem.id == "ssh-key-unreadable"
    assert here({"cluster_provider": "docker", "cluster_hosts": [{**CTRL, "key": "nobody"}]}).problems == []


@pytest.mark.parametrize(
    ("content", "mode", "what", "works"),
    [
        (PRIVATE, 0o644, "ssh-key-mode: 0644", "it after: chmod 600 "),
        (PRIVATE, 0o640, "ssh-key-mode: 0640", "it after: chmod 600 "),
        (f"{KEY}\n", 0o600, "ssh-key-public", "key: {folder}/key"),
        ("---- BEGIN SSH2 PUBLIC KEY ----\n", 0o600, "ssh-key-public", "key: {folder}/key"),
        ("PuTTY-User-Key-File-2: ssh-rsa\n", 0o600, "ssh-key-putty", "puttygen key.pub -O private-openssh"),
        ("hello", 0o600, "no-ssh-key", "key: ~/.ssh/id_ed25519"),
        ("\xff", 0o600, "no-ssh-key", "key: ~/.ssh/id_ed25519"),
    ],
)
def test_a_key_that_ssh_would_not_take_is_refused(
    tmp_path: Path, content: str, mode: int, what: str, works: str
) -> None:
    """As ssh does after half an hour of making artifacts, and without anything of what is in it."""
    file = Path(key_file(tmp_path, content))
    file.chmod(mode)
    (problem,) = here(hosts({**CTRL, "key": str(file)})).problems
    assert (problem.key, problem.value) == ("cluster_hosts[0].key", str(file))
    tells(problem, what)
    assert works.format(folder=tmp_path) in problem.works


def test_a_name_that_no_file_can_have_is_no_key() -> None:
    values = {**hosts({**CTRL, "key": "k" * 300}), "cluster_ssh_keys": ["~/" + "k" * 300]}
    assert {problem.id for problem in here(values).problems} == {"ssh-key-unreadable"}


def test_a_pipe_is_no_key_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    values = {**hosts({**CTRL, "key": str(tmp_path / "pipe")}), "cluster_ssh_keys": [str(tmp_path / "pipe")]}
    assert len(here(values).problems) == 2
