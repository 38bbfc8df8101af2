"""etcd runs as a user of its own: its data belong to it, and it reads copies of its keys.

kubeadm's own files stay those of root alone. Whenever kubeadm writes new keys, and before the kubelet starts, a service
of systemd runs this file as a program: it copies them again. Runs on the nodes (stdlib only).
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

USER = "etcd"
DATA = "/var/lib/etcd"
# What kubeadm writes, and the copies that etcd reads in its place.
KEYS = "/etc/kubernetes/pki/etcd"
COPIES = "/var/lib/slipway/etcd"
NAMES = ("ca.crt", "server.crt", "server.key", "peer.crt", "peer.key")
# What was declared before a move, until etcd is well after it.
BEFORE = "/var/lib/slipway/etcd.yaml"
MANIFEST = "/etc/kubernetes/manifests/etcd.yaml"
# kubeadm merges what is in this folder into the static pods that it declares.
PATCHES = "/etc/kubernetes/patches"
# Seconds to wait for keys that kubeadm is writing, between two looks, and for which they have to stay the same.
PATIENCE = 60.0
PAUSE = 0.2
SETTLED = 2.0


class EtcdUserError(Exception):
    """etcd cannot run as its own user; the text says why."""


def account(name: str = USER) -> tuple[int, int] | None:
    """Give the numbers of the user and its group; None: there is none."""
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    return found.pw_uid, found.pw_gid


def about() -> list[str]:
    """Name the files and folders that decide whether all of this is so: where none was touched, it is."""
    keys = [f"{folder}/{name}" for folder in (KEYS, COPIES) for name in NAMES]
    return ["/etc/passwd", MANIFEST, BEFORE, f"{PATCHES}/etcd.yaml", DATA, *keys]


def patch(user: int, group: int) -> str:
    """Say for kubeadm how the static pod of etcd differs from its own."""
    return f"""\
spec:
  securityContext:
    runAsUser: {user}
    runAsGroup: {group}
  containers:
    - name: etcd
      securityContext:
        allowPrivilegeEscalation: false
        capabilities:
          drop: [ALL]
  volumes:
    - name: etcd-certs
      hostPath:
        path: {COPIES}
        type: Directory
"""


def runs_as(manifest: str) -> int:
    """Read the user of etcd out of its manifest; 0: root."""
    found = re.search(r"(?m)^  securityContext:\n(?:    .*\n)*?    runAsUser: (\d+)$", manifest)
    return int(found.group(1)) if found and COPIES in manifest else 0


_LIMITS = """\
    securityContext:
      allowPrivilegeEscalation: false
      capabilities:
        drop:
        - ALL
"""
# What a manifest of kubeadm's has once each, and what takes its place.
_MOVES = (
    (
        "securityContext",
        r"(?m)^  securityContext:\n(?=    seccompProfile:)",
        "  securityContext:\n    runAsGroup: {group}\n    runAsUser: {user}\n",
    ),
    (
        "resources",
        # With its own lines, which lie deeper.
        r"(?m)^    resources:\n(?:      .*\n)+(?!    securityContext:)",
        f"\\g<0>{_LIMITS}",
    ),
    (
        "volume etcd-certs",
        rf"(?m)^  - hostPath:\n      path: {re.escape(KEYS)}\n      type: DirectoryOrCreate\n(?=    name: etcd-certs$)",
        f"  - hostPath:\n      path: {COPIES}\n      type: Directory\n",
    ),
)


def moved(manifest: str, user: int, group: int) -> str:
    """Give kubeadm's manifest of etcd as kubeadm writes it with the patch. Raises EtcdUserError if it is not kubeadm's.

    kubeadm itself would write that of a cluster's first member, whichever it is.
    """
    for what, pattern, instead in _MOVES:
        manifest, found = re.subn(pattern, instead.format(user=user, group=group), manifest)
        if found != 1:
            raise EtcdUserError(f"{MANIFEST} is not as kubeadm writes it: {what} is there {found} times")
    return manifest


def _files(folder: str) -> Iterator[str]:
    yield folder
    for place, folders, names in os.walk(folder):
        yield from (os.path.join(place, name) for name in (*folders, *names))


def foreign(ids: tuple[int, int], root: str = "") -> list[str]:
    """Name what is below the folder of data and does not belong to the user."""
    found = []
    for path in _files(f"{root}{DATA}") if os.path.isdir(f"{root}{DATA}") else ():
        with suppress(FileNotFoundError):
            seen = os.lstat(path)
            # A disk of its own has a folder of its file system.
            if (seen.st_uid, seen.st_gid) != ids and os.path.basename(path) != "lost+found":
                found.append(path)
    return found


def own(ids: tuple[int, int], root: str = "") -> bool:
    """Give the data to the user; tell whether some were not. A member that still runs as root may go on writing."""
    taken = foreign(ids, root)
    for path in taken:
        with suppress(FileNotFoundError):
            os.lchown(path, *ids)
    return bool(taken)


def _read(folder: str) -> dict[str, bytes]:
    found = {}
    for name in NAMES:
        with suppress(OSError), open(f"{folder}/{name}", "rb") as file:
            found[name] = file.read()
    return found


def whole(folder: str) -> bool:
    """Tell whether all keys are there, and each is that of its certificate: kubeadm may be writing them."""
    for name in ("server", "peer"):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(f"{folder}/{name}.crt", f"{folder}/{name}.key")
        except (OSError, ValueError):
            return False
    return os.path.exists(f"{folder}/ca.crt")


def copied(ids: tuple[int, int], root: str = "") -> bool:
    """Tell whether the copies are those of the keys that are there, and belong to the user."""
    copies = f"{root}{COPIES}"
    try:
        owners = {(os.stat(f"{copies}/{name}").st_uid, os.stat(f"{copies}/{name}").st_gid) for name in NAMES}
    except OSError:
        return False
    return owners == {ids} and _read(copies) == _read(f"{root}{KEYS}")


def copy(ids: tuple[int, int], root: str = "") -> bool:
    """Copy the keys for the user, each as a whole; tell whether that changed something.

    The folder appears with all of them: until then, the kubelet waits for it.
    """
    keys, copies = f"{root}{KEYS}", f"{root}{COPIES}"
    if not os.path.exists(f"{keys}/ca.crt"):
        # Those of a cluster that this machine has left.
        there = os.path.isdir(copies)
        shutil.rmtree(copies, ignore_errors=True)
        return there
    if not whole(keys) or copied(ids, root):
        return False
    there = os.path.isdir(copies)
    folder = copies if there else f"{copies}.new"
    if not there:
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
    os.chown(folder, *ids)
    os.chmod(folder, 0o700)
    for name, content in _read(keys).items():
        handle = os.open(f"{folder}/{name}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            os.fchown(file.fileno(), *ids)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{folder}/{name}.new", f"{folder}/{name}")
    if not there:
        os.rename(folder, copies)
    return True


def follow(ids: tuple[int, int], root: str = "", patience: float = PATIENCE, settled: float = SETTLED) -> bool:
    """Copy the keys until they stay as they are, also while kubeadm writes them; tell whether they are whole now."""
    until = time.monotonic() + patience
    same = time.monotonic() - settled
    while True:
        changed = copy(ids, root)
        if not os.path.exists(f"{root}{KEYS}/ca.crt"):
            return True
        done = copied(ids, root)
        if changed or not done:
            same = time.monotonic()
        if done and time.monotonic() - same >= settled:
            return True
        if time.monotonic() > until:
            return done
        time.sleep(PAUSE)


def main() -> int:
    """Do what the service does."""
    ids = account()
    if ids is None:
        print(f"there is no user {USER}")
        return 1
    with suppress(FileNotFoundError):
        own(ids)
    if follow(ids):
        return 0
    print(f"the keys in {KEYS} are not whole after {PATIENCE:.0f} s: kubeadm was cut off there")
    return 1


if __name__ == "__main__":
    sys.exit(main())
