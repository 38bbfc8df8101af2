"""A kubelet while the CAs of its cluster are replaced: whom it believes, its certificates, and the files of its pods.

A kubelet that finds no certificate asks for one, with the credentials of a bootstrap kubeconfig: here its own old ones.
Runs on the nodes (stdlib only).
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress

from .durable import write
from .kubeapi import entry
from .state import read
from .trust import blocks, signed_with, trusted, trusting, vouches

CA = "/etc/kubernetes/pki/ca.crt"
CONFIG = "/etc/kubernetes/kubelet.conf"
# What the unit of the kubelet names.
BOOTSTRAP = "/etc/kubernetes/bootstrap-kubelet.conf"
# Where it is told to ask for one to serve with.
OWN = "/etc/kubernetes/kubelet.d/50-node.conf"
PKI = "/var/lib/kubelet/pki"
CLIENT, SERVER = f"{PKI}/kubelet-client-current.pem", f"{PKI}/kubelet-server-current.pem"
# The certificate that it asks for a new one with.
OLD = f"{PKI}/slipway-old-client.pem"
PODS = "/var/lib/kubelet/pods"
LOGS = "/var/log/pods"
PORT = 10250
SECONDS = 5.0
# No token and no bundle of CAs is as large.
LARGEST = 1 << 20


def believe(authorities: str, root: str = "") -> bool:
    """Have the kubelet believe these CAs, and tell whether that changed a file."""
    changed = False
    for path in (CONFIG, BOOTSTRAP):
        text = read(f"{root}{path}")
        if text and trusted(text) and trusted(text) != blocks(authorities):
            write(trusting(text, authorities), f"{root}{path}")
            changed = True
    if blocks(read(f"{root}{CA}")) != blocks(authorities):
        write(authorities, f"{root}{CA}")
        os.chmod(f"{root}{CA}", 0o644)
        changed = True
    return changed


def bootstrap(authorities: str, server: str) -> str:
    """Write a kubeconfig with which the kubelet asks for its next certificate."""
    text = f"""\
apiVersion: v1
kind: Config
clusters:
- cluster:
    certificate-authority-data: e30=
    server: {server}
  name: default-cluster
contexts:
- context:
    cluster: default-cluster
    user: default-auth
  name: default-context
current-context: default-context
users:
- name: default-auth
  user:
    client-certificate: {OLD}
    client-key: {OLD}
"""
    return trusting(text, authorities)


def renew(authorities: str, root: str = "") -> list[str]:
    """Take certificates away that the first of these CAs has not signed, and name them: the kubelet asks for others."""
    first, taken = blocks(authorities)[0], []
    client, server = f"{root}{CLIENT}", f"{root}{SERVER}"
    if os.path.exists(client) and not vouches(first, client):
        # In this order a kubelet that starts at any moment finds either the one or what it asks with.
        shutil.copyfile(client, f"{root}{OLD}.new", follow_symlinks=True)
        os.chmod(f"{root}{OLD}.new", 0o600)
        os.replace(f"{root}{OLD}.new", f"{root}{OLD}")
        write(bootstrap(authorities, entry(read(f"{root}{CONFIG}"), "server")), f"{root}{BOOTSTRAP}")
        taken.append(_taken(client))
    # Where the page has it sign its own, there is none.
    if os.path.exists(server) and not vouches(first, server, server=True):
        taken.append(_taken(server))
    return taken


def _taken(path: str) -> str:
    """Remove a certificate, and the file that it is a link to."""
    own = os.path.realpath(path)
    os.unlink(path)
    if own != path:
        with suppress(FileNotFoundError):
            os.unlink(own)
    return os.path.basename(path)


def settle(root: str = "") -> None:
    """Remove what the kubelet has asked with."""
    for path in (BOOTSTRAP, OLD):
        with suppress(FileNotFoundError):
            os.unlink(f"{root}{path}")


def asked(root: str = "") -> bool:
    """Tell whether the kubelet was to ask for a certificate."""
    return os.path.exists(f"{root}{OLD}")


def trouble(authorities: str, address: str, root: str = "") -> str:
    """Say which certificate of the kubelet the first of these CAs has not signed; empty: it serves with one."""
    first = blocks(authorities)[0]
    if not vouches(first, f"{root}{CLIENT}"):
        return "the kubelet has no certificate of the new CA yet"
    if not trusted(read(f"{root}{CONFIG}")):
        return "the kubelet has not written its kubeconfig yet"
    if not os.path.exists(f"{root}{SERVER}") and "serverTLSBootstrap: true" in read(f"{root}{OWN}"):
        return "the kubelet has no certificate to serve with yet"
    if os.path.exists(f"{root}{SERVER}"):
        context = ssl.create_default_context(cadata=first)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        # Its name is that of the node.
        context.check_hostname = False
        try:
            with (
                socket.create_connection((address, PORT), SECONDS) as line,
                context.wrap_socket(line) as shaken,
            ):
                shaken.version()
        except (OSError, ValueError) as exc:
            return f"the kubelet does not serve with a certificate of the new CA: {exc}"
    return ""


# --- the files of pods


def files(root: str = "") -> Iterator[tuple[str, str]]:
    """Give the files that kubelet writes into pods for what asks the API, each with its pod, and their text."""
    base = f"{root}{PODS}"
    for uid in _names(base):
        for volume in _names(f"{base}/{uid}/volumes/kubernetes.io~projected"):
            folder = f"{base}/{uid}/volumes/kubernetes.io~projected/{volume}"
            for name in _names(folder):
                path = f"{folder}/{name}"
                with suppress(OSError):
                    if not name.startswith("..") and os.path.isfile(path) and os.stat(path).st_size < LARGEST:
                        yield uid, read(path)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def behind(authorities: str, key: str = "", root: str = "") -> list[str]:
    """Name the pods with files that are not those of these CAs, or with a token that another key has signed."""
    wanted, found = blocks(authorities), set()
    for uid, text in files(root):
        has = blocks(text)
        # Bundles of others are none of this cluster.
        if set(has) & set(wanted) and set(has) != set(wanted):
            found.add(uid)
        if key and (own := signed_with(text)) and own != key:
            found.add(uid)
    return sorted(_told(uid, root) for uid in found)


def _told(uid: str, root: str) -> str:
    """Name a pod for people: its folder of logs has its names."""
    for name in _names(f"{root}{LOGS}"):
        if name.endswith(f"_{uid}"):
            return "/".join(name.split("_")[:2])
    return uid
