"""etcd as a user of its own: its manifest, its data, and copies of its keys that are whole or not there."""

from __future__ import annotations

import os
import shutil
import stat
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from slipway.node import etcd_user
from slipway.node.etcd_user import (
    COPIES,
    DATA,
    KEYS,
    NAMES,
    EtcdUserError,
    copied,
    copy,
    follow,
    foreign,
    moved,
    own,
    patch,
    runs_as,
    whole,
)

# Who runs the tests: only root may give files away.
ME = (os.getuid(), os.getgid())
MANIFEST = """\
apiVersion: v1
kind: Pod
metadata:
  name: etcd
  namespace: kube-system
spec:
  containers:
  - command:
    - etcd
    - --initial-cluster=ctrl=https://192.0.2.1:2380,ctrl-2=https://192.0.2.2:2380
    - --initial-cluster-state=existing
    image: registry.k8s.io/etcd:3.7.3-0
    name: etcd
    resources:
      requests:
        cpu: 100m
        memory: 100Mi
    startupProbe:
      failureThreshold: 24
    volumeMounts:
    - mountPath: /var/lib/etcd
      name: etcd-data
    - mountPath: /etc/kubernetes/pki/etcd
      name: etcd-certs
  hostNetwork: true
  securityContext:
    seccompProfile:
      type: RuntimeDefault
  volumes:
  - hostPath:
      path: /etc/kubernetes/pki/etcd
      type: DirectoryOrCreate
    name: etcd-certs
  - hostPath:
      path: /var/lib/etcd
      type: DirectoryOrCreate
    name: etcd-data
status: {}
"""


def test_a_manifest_is_moved_to_the_user_and_keeps_the_rest() -> None:
    before, after = yaml.safe_load(MANIFEST), yaml.safe_load(moved(MANIFEST, 998, 997))
    assert after["spec"]["securityContext"] == {
        "runAsUser": 998,
        "runAsGroup": 997,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    (container,) = after["spec"]["containers"]
    assert container.pop("securityContext") == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert after["spec"]["volumes"][0] == {"name": "etcd-certs", "hostPath": {"path": COPIES, "type": "Directory"}}
    for spec in (before["spec"], after["spec"]):
        del spec["securityContext"], spec["volumes"][0]
    assert after == before


def test_the_patch_says_the_same_to_kubeadm() -> None:
    wanted, made = yaml.safe_load(patch(998, 997))["spec"], yaml.safe_load(moved(MANIFEST, 998, 997))["spec"]
    assert wanted["securityContext"].items() <= made["securityContext"].items()
    assert wanted["containers"][0].items() <= made["containers"][0].items()
    assert wanted["volumes"][0] in made["volumes"]


def test_who_runs_it_is_read_out_of_the_manifest() -> None:
    assert runs_as(MANIFEST) == 0
    assert runs_as(moved(MANIFEST, 998, 997)) == 998
    assert runs_as("") == 0
    # Somebody's own user, who could not read the keys.
    assert runs_as(MANIFEST.replace("  securityContext:\n", "  securityContext:\n    runAsUser: 998\n")) == 0


@pytest.mark.parametrize(
    ("was", "instead"),
    [
        ("  securityContext:\n    seccompProfile:", "  securityContext:\n    runAsUser: 5\n    seccompProfile:"),
        ("path: /etc/kubernetes/pki/etcd", "path: /etc/pki"),
        ("    resources:\n      requests:\n        cpu: 100m\n        memory: 100Mi\n", ""),
    ],
)
def test_a_manifest_that_is_not_kubeadms_is_refused(was: str, instead: str) -> None:
    with pytest.raises(EtcdUserError, match="not as kubeadm writes it"):
        moved(MANIFEST.replace(was, instead), 998, 997)
    with pytest.raises(EtcdUserError):
        moved(moved(MANIFEST, 998, 997), 998, 997)


def pair(folder: Path, name: str) -> None:
    """A key and its certificate, as kubeadm has them."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / f"{name}.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.TraditionalOpenSSL
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption())
    )


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Keys of etcd as kubeadm writes them, below a folder."""
    folder = tmp_path / KEYS.removeprefix("/")
    for name in ("ca", "server", "peer"):
        pair(folder, name)
    return folder


def copies(root: Path) -> Path:
    return root / COPIES.removeprefix("/")


def test_keys_are_copied_for_the_user_alone(keys: Path, tmp_path: Path) -> None:
    assert copy(ME, str(tmp_path))
    made = copies(tmp_path)
    # Not the keys of the CA, and not those of other clients.
    assert {path.name for path in made.iterdir()} == set(NAMES)
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in made.iterdir()} == {0o600}
    assert all((made / name).read_bytes() == (keys / name).read_bytes() for name in NAMES)
    assert not copy(ME, str(tmp_path))
    # Renewed: the same folder, which etcd has mounted.
    folder = made.stat().st_ino
    pair(keys, "server")
    assert not copied(ME, str(tmp_path))
    assert copy(ME, str(tmp_path))
    assert copied(ME, str(tmp_path))
    assert made.stat().st_ino == folder


@pytest.mark.parametrize("lacks", ["server.key", "peer.crt", "peer.key"])
def test_keys_that_are_half_written_are_not_copied(keys: Path, tmp_path: Path, lacks: str) -> None:
    (keys / lacks).write_bytes((keys / lacks).read_bytes()[:40])
    assert not whole(str(keys))
    assert not copy(ME, str(tmp_path))
    assert not copies(tmp_path).exists()


def test_a_key_of_another_certificate_is_not_copied(keys: Path, tmp_path: Path) -> None:
    shutil.copy(keys / "peer.key", keys / "server.key")
    assert not copy(ME, str(tmp_path))


def test_copies_go_with_the_cluster(keys: Path, tmp_path: Path) -> None:
    copy(ME, str(tmp_path))
    shutil.rmtree(keys)
    assert copy(ME, str(tmp_path))
    assert not copies(tmp_path).exists()
    assert follow(ME, str(tmp_path))


def test_keys_are_followed_while_kubeadm_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_user, "PAUSE", 0.01)
    folder = tmp_path / KEYS.removeprefix("/")

    def kubeadm() -> None:
        for name in ("server", "peer", "server"):
            time.sleep(0.1)
            pair(folder, name)

    pair(folder, "ca")
    writing = threading.Thread(target=kubeadm)
    writing.start()
    assert follow(ME, str(tmp_path), patience=20, settled=0.5)
    writing.join()
    assert copied(ME, str(tmp_path))


def test_keys_that_stay_half_written_are_said(keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_user, "PAUSE", 0.01)
    (keys / "peer.key").unlink()
    assert not follow(ME, str(tmp_path), patience=0.1, settled=0)


def test_data_of_root_become_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / DATA.removeprefix("/")
    (data / "member/wal").mkdir(parents=True)
    (data / "lost+found").mkdir()
    (data / "member/wal/0.wal").write_text("x")
    assert foreign(ME, str(tmp_path)) == []
    assert not own(ME, str(tmp_path))
    given: list[tuple[str, int, int]] = []
    monkeypatch.setattr("os.lchown", lambda *words: given.append(words))
    assert own((998, 997), str(tmp_path))
    names = {os.path.relpath(path, data) for path, _, _ in given}
    assert names == {".", "member", "member/wal", "member/wal/0.wal"}
    assert {(user, group) for _, user, group in given} == {(998, 997)}
    assert foreign(ME, str(tmp_path / "none")) == []


def test_the_program_ends_with_what_it_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(etcd_user, "own", lambda _ids: True)
    monkeypatch.setattr(etcd_user, "account", lambda: None)
    assert etcd_user.main() == 1
    monkeypatch.setattr(etcd_user, "account", lambda: ME)
    monkeypatch.setattr(etcd_user, "follow", lambda _ids: False)
    assert etcd_user.main() == 1
    assert "not whole" in capsys.readouterr().out
    monkeypatch.setattr(etcd_user, "follow", lambda _ids: True)
    assert etcd_user.main() == 0
