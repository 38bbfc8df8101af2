"""A snapshot of etcd with all that opens it: taken on a controller, tried there, and put back where no cluster is.

etcdutl comes out of etcd's own image. Runs on the nodes (stdlib only).
"""

from __future__ import annotations

import base64
import hashlib
import json
import mmap
import os
import re
import shutil
import ssl
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from . import bolt, secretbox

Command = Callable[[Sequence[str]], tuple[int, str, str]]

KUBERNETES = "/etc/kubernetes"
DATA = "/var/lib/etcd"
ENCRYPTION = "encryption/config.yml"
# Below /etc/kubernetes. kubeadm makes everything else anew of these.
KEYS = (
    *(f"pki/{name}.{kind}" for name in ("ca", "front-proxy-ca", "etcd/ca") for kind in ("crt", "key")),
    "pki/sa.key",
    "pki/sa.pub",
    ENCRYPTION,
)
SNAPSHOT = "etcd.db"
# How containers of etcdutl are called.
UTILITY = "slipway-etcdutl-"
# etcd writes pages of so many bytes, and the sum of them all behind the last one.
_PAGE, _SUM = 512, 32
_SEALED = re.compile(rb"k8s:enc:secretbox:v1:([A-Za-z0-9_-]+):")
# Of an EncryptionConfiguration: each key's name and the key itself.
_KEYS = re.compile(r"(?m)^\s*- name: (\S+)\s*\n\s*secret: (\S+)\s*$")
# The mark of a value in an entry of etcd (field 5, bytes).
_VALUE = 0x2A
# Watchers have seen revisions that a restored etcd does not have: its next one is far beyond them.
BUMP = 1_000_000_000


class SnapshotError(Exception):
    """A snapshot cannot be taken, read or put back; the text says why."""


def receive(lines: Iterable[bytes], path: str) -> None:
    """Write the answer of etcd's gateway to ``/v3/maintenance/snapshot``, an object in each line, as a file."""
    with open(path, "wb") as file:
        for line in lines:
            if not line.strip():
                continue
            said = json.loads(line)
            if "error" in said:
                raise SnapshotError(f"etcd ends the snapshot: {said['error'].get('message', said['error'])}")
            file.write(base64.b64decode(said["result"].get("blob", "")))
    check(path)


def check(path: str) -> None:
    """Compare a snapshot with its own sum. Raises SnapshotError where it is cut off or damaged."""
    size = os.path.getsize(path)
    if size % _PAGE != _SUM:
        raise SnapshotError(f"the snapshot is cut off: {size} bytes are no whole pages and a sum")
    found = hashlib.sha256()
    with open(path, "rb") as file:
        left = size - _SUM
        while left:
            part = file.read(min(left, 1 << 20))
            found.update(part)
            left -= len(part)
        if file.read() != found.digest():
            raise SnapshotError("the snapshot is damaged: it has another sum than etcd wrote behind it")


def sealed_values(path: str) -> Iterator[tuple[str, bytes]]:
    """Give the name of a key and what it has sealed, of each Secret that is in a snapshot now."""
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                places = list(bolt.current(content).values())
            except bolt.NoBoltError:
                places = list(_scan(content))
            for begin, end in places:
                found = _SEALED.match(content, begin, end)
                if found:
                    yield found.group(1).decode(), content[found.end() : end]


def _scan(content: Any) -> Iterator[tuple[int, int]]:
    """Give what has a length before it, wherever it is: also of before, and halves that etcd uses no more."""
    for found in _SEALED.finditer(content):
        begin = found.start()
        yield begin, max(begin + _length(content[max(begin - 6, 0) : begin]), found.end())


def _length(before: bytes) -> int:
    """Read the length of a value, a varint behind the mark of its field, off the bytes before it; 0: there is none."""
    for size in range(1, len(before)):
        mark, number = before[-size - 1], before[-size:]
        if mark == _VALUE and number[-1] < 0x80 and all(byte >= 0x80 for byte in number[:-1]):
            return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(number))
    return 0


def open_one(path: str, configuration: str) -> list[str]:
    """Open a Secret of a snapshot for each key that they are sealed with, and name these keys.

    ``configuration``: the EncryptionConfiguration beside it. Raises SnapshotError where one is lost or does not fit.
    """
    known = {name: base64.b64decode(secret) for name, secret in _KEYS.findall(configuration)}
    tried: dict[str, str] = {}
    # The key of a name fits all that it has sealed, or none.
    for name, value in sealed_values(path):
        if tried.get(name) == "" or name not in known:
            tried.setdefault(name, "lost")
            continue
        try:
            secretbox.opened(value, known[name])
            tried[name] = ""
        except secretbox.WrongKeyError as exc:
            tried[name] = str(exc)
    if lost := sorted(set(tried) - set(known)):
        raise SnapshotError(f"Secrets are encrypted with keys that are not in {ENCRYPTION}: {', '.join(lost)}")
    if wrong := [f"{name} ({why})" for name, why in sorted(tried.items()) if why]:
        raise SnapshotError(f"no Secret of the snapshot opens with its key of {ENCRYPTION}: {', '.join(wrong)}")
    return sorted(tried)


def sealing_keys_in_order(configuration: str) -> list[str]:
    """Name the keys of an EncryptionConfiguration; the first one writes."""
    return re.findall(r"(?m)^\s*- name: (\S+)\s*$", configuration)


def image_of(manifest: str) -> str:
    """Give the image of a static pod, of its manifest."""
    found = re.search(r"(?m)^\s*image: (\S+)\s*$", manifest)
    if not found:
        raise SnapshotError("the manifest of etcd names no image")
    return found.group(1)


def sweep(run: Command) -> None:
    """Remove the containers of etcdutl that a killed run has left in containerd."""
    ctr = ("ctr", "--namespace", "k8s.io")
    _, out, _ = run([*ctr, "containers", "list", "--quiet"])
    for name in [name for name in out.split() if name.startswith(UTILITY)]:
        run([*ctr, "tasks", "delete", "--force", name])
        run([*ctr, "containers", "delete", name])


def etcdutl(run: Command, image: str, folder: str, *arguments: str) -> str:
    """Run etcdutl of an image, which sees ``folder`` as ``/backup``. Raises SnapshotError."""
    name = f"{UTILITY}{os.getpid()}"
    mount = f"type=bind,src={folder},dst=/backup,options=rbind:rw"
    command = ["ctr", "--namespace", "k8s.io", "run", "--rm", "--mount", mount, image, name]
    code, out, error = run([*command, "/usr/local/bin/etcdutl", *arguments])
    if code:
        raise SnapshotError(f"etcdutl {arguments[0]} {arguments[1]} ends with {code}: {(error or out).strip()[-800:]}")
    return out


def try_out(run: Command, image: str, folder: str) -> dict[str, Any]:
    """Restore the snapshot of a folder beside the cluster, and give what etcdutl says of it."""
    trial = f"{folder}/trial"
    shutil.rmtree(trial, ignore_errors=True)
    try:
        etcdutl(run, image, folder, "snapshot", "restore", f"/backup/{SNAPSHOT}", "--data-dir", "/backup/trial")
        said = etcdutl(run, image, folder, "snapshot", "status", f"/backup/{SNAPSHOT}", "--write-out", "json")
    finally:
        shutil.rmtree(trial, ignore_errors=True)
    found: dict[str, Any] = json.loads(said)
    if not found.get("totalKey"):
        raise SnapshotError("the snapshot has no keys")
    return found


def restore(run: Command, image: str, folder: str, name: str, address: str) -> None:
    """Make data of etcd for one member, ``name`` at ``address``, of the snapshot of a folder, and put it in place."""
    peer = f"https://{address}:2380"
    shutil.rmtree(f"{folder}/data", ignore_errors=True)
    etcdutl(
        *(run, image, folder, "snapshot", "restore", f"/backup/{SNAPSHOT}", "--data-dir", "/backup/data"),
        *("--name", name, "--initial-cluster", f"{name}={peer}", "--initial-advertise-peer-urls", peer),
        *("--bump-revision", str(BUMP), "--mark-compacted"),
    )
    # A disk of its own has a folder of its file system.
    if os.path.isdir(DATA) and set(os.listdir(DATA)) - {"lost+found"}:
        raise SnapshotError(f"{DATA} has data of another cluster")
    os.makedirs(DATA, exist_ok=True)
    os.chmod(DATA, 0o700)
    for name in os.listdir(f"{folder}/data"):
        # Whole or not at all, also where it is copied to another disk.
        shutil.move(f"{folder}/data/{name}", f"{DATA}/{name}.new")
        os.replace(f"{DATA}/{name}.new", f"{DATA}/{name}")


def pack(folder: str, target: str, root: str = "") -> None:
    """Put the snapshot of a folder and the keys of this controller into a tar archive for root alone."""
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w") as archive:
        archive.add(f"{folder}/{SNAPSHOT}", arcname=SNAPSHOT)
        for name in KEYS:
            path = f"{root}{KUBERNETES}/{name}"
            if not os.path.exists(path):
                raise SnapshotError(f"{path} is not there: a cluster whose CA is kept elsewhere cannot be backed up")
            archive.add(path, arcname=name)


def place(files: Mapping[str, bytes], root: str = "") -> None:
    """Write keys below /etc/kubernetes, as kubeadm would."""
    for name, content in files.items():
        path = f"{root}{KUBERNETES}/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        mode = 0o644 if name.endswith((".crt", ".pub")) else 0o600
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
    for name in files:
        if name.endswith(".crt"):
            _keep_one(f"{root}{KUBERNETES}/{name}")


def _keep_one(path: str) -> None:
    """Keep the certificate of a CA that its key fits, where there are two: a rotation was under way.

    All is signed anew with that one, and kube-controller-manager does not sign with a file of two.
    """
    from .trust import blocks

    with open(path, encoding="utf-8", errors="replace") as file:
        found = blocks(file.read())
    for each in found if len(found) > 1 else ():
        with open(f"{path}.new", "w", encoding="ascii") as file:
            file.write(each)
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(f"{path}.new", path.replace(".crt", ".key"))
        except (OSError, ValueError):
            os.unlink(f"{path}.new")
            continue
        os.chmod(f"{path}.new", 0o644)
        os.replace(f"{path}.new", path)
        return
