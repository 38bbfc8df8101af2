"""The CAs of a cluster and the key of its service accounts, while they are replaced: what a controller has and gets.

In three steps, each on all nodes before the next one: what is signed with the new ones is accepted, everything is
signed with the new ones, the old ones go. A file of a CA has several certificates meanwhile, and the first one signs:
kubeadm and etcd go by that. kube-controller-manager wants the one that signs in a file of its own. The new ones wait in
a folder, which goes last, so what is done is always seen in the files. Runs on the nodes (stdlib only).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress

from .durable import flush, write
from .state import RECORD, ca_sum, read
from .trust import blocks, bundle, fingerprint, trusted, trusting

FOLDER = "/etc/kubernetes"
# The new ones, until the old ones are gone.
NEXT = "pki/next"
# The one certificate that kube-controller-manager signs with, while ca.crt has two.
SIGNING = "pki/signing.crt"
MANAGER = "manifests/kube-controller-manager.yaml"
AUTHORITIES = ("pki/ca", "pki/front-proxy-ca", "pki/etcd/ca")
ACCOUNTS = "pki/sa"
# What others trust, and what signs.
PUBLIC = (*(f"{name}.crt" for name in AUTHORITIES), f"{ACCOUNTS}.pub")
PRIVATE = (*(f"{name}.key" for name in AUTHORITIES), f"{ACCOUNTS}.key")
FILES = (*PUBLIC, *PRIVATE)
KUBECONFIGS = ("admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf", "kubelet.conf")
ACCEPT, ISSUE, DROP = "accept", "issue", "drop"
STEPS = (ACCEPT, ISSUE, DROP)
_SIGNER = re.compile(r"(?m)^(    - --cluster-signing-cert-file=)(\S+)$")


class AuthorityError(Exception):
    """A controller's files are not as kubeadm and Slipway leave them; the text says how."""


def read_all(root: str = "") -> dict[str, str]:
    """Read what a controller has, by the path below /etc/kubernetes; what is not there is left out."""
    names = (*FILES, *(waiting(name) for name in FILES), *KUBECONFIGS, SIGNING, MANAGER)
    found = {}
    for name in names:
        with suppress(OSError), open(f"{root}{FOLDER}/{name}", encoding="utf-8") as file:
            found[name] = file.read()
    return found


def waiting(name: str) -> str:
    """Give the path of the new one of a file."""
    return f"{NEXT}/{name.removeprefix('pki/')}"


def given(here: Mapping[str, str]) -> dict[str, str]:
    """Give the new ones that wait here, by the paths that they will have; empty unless all of them do."""
    found = {name: here[waiting(name)] for name in FILES if here.get(waiting(name))}
    return found if len(found) == len(FILES) else {}


def missing(here: Mapping[str, str]) -> list[str]:
    """Name the files that a controller needs to replace them itself: a CA that is kept elsewhere has no key here."""
    return [f"{FOLDER}/{name}" for name in FILES if not blocks(here.get(name, "")) and name in PUBLIC] + [
        f"{FOLDER}/{name}" for name in PRIVATE if not here.get(name)
    ]


def step_of(here: Mapping[str, str], new: Mapping[str, str]) -> int:
    """Tell how many of the steps a controller has begun, for the new ones."""
    if not new:
        return 0
    first = {name: blocks(new[name])[0] for name in PUBLIC}
    has = {name: blocks(here.get(name, "")) for name in PUBLIC}
    if any(has[name] == [first[name]] for name in PUBLIC):
        return 3
    if any(here.get(name) == new[name] for name in PRIVATE) or any(has[name][:1] == [first[name]] for name in PUBLIC):
        return 2
    return 1 if any(first[name] in has[name] for name in PUBLIC) else 0


def wanted(step: str, here: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str | None]:
    """Give the files as they are to be after a step; None: it is to be gone. What is further stays so.

    Raises AuthorityError.
    """
    if lost := missing(here):
        raise AuthorityError(
            f"{', '.join(lost)} is not there: a cluster whose CA is kept elsewhere is not rotated here"
        )
    if SIGNING not in here and not _SIGNER.search(here.get(MANAGER, "")):
        raise AuthorityError(f"{FOLDER}/{MANAGER} is not as kubeadm writes it: it names no cluster-signing-cert-file")
    done: dict[str, str | None] = {}
    issued = {name: here[name] == new[name] for name in PRIVATE}
    for public, private in zip(PUBLIC, PRIVATE, strict=True):
        fresh, has = blocks(new[public])[0], blocks(here[public])
        # Of several, the first one signs. Others than that one are left from something that was never finished.
        old = [each for each in has if each != fresh]
        old = old if issued[private] else old[:1]
        if step == DROP:
            done[public], done[private] = fresh, new[private]
        elif step == ISSUE:
            done[public], done[private] = bundle([fresh, *old]), new[private]
        elif not issued[private]:
            done[public] = bundle([*old, fresh])
    authority = done.get("pki/ca.crt") or here["pki/ca.crt"]
    done[SIGNING] = None if step == DROP else blocks(authority)[0]
    signer = f"{FOLDER}/{'pki/ca.crt' if step == DROP else SIGNING}"
    done[MANAGER] = _SIGNER.sub(rf"\g<1>{signer}", here[MANAGER])
    for name in KUBECONFIGS:
        if name in here:
            done[name] = trusting(here[name], authority)
    return done


def differing(here: Mapping[str, str], done: Mapping[str, str | None]) -> dict[str, str | None]:
    """Keep the files that a controller does not have so."""
    return {name: text for name, text in done.items() if here.get(name) != text}


def place(files: Mapping[str, str | None], root: str = "") -> None:
    """Write files below /etc/kubernetes, each as a whole, and remove others, in an order in which each run can go on.

    Before ca.crt has two certificates, kube-controller-manager has its own file, and before that one goes, ca.crt has
    one again.
    """
    last = (SIGNING,) if files.get(SIGNING, "") is None else ()
    first = () if last else (SIGNING, MANAGER)
    order = [*first, *PRIVATE, *PUBLIC, *KUBECONFIGS, MANAGER, *last]
    for name in dict.fromkeys([*(each for each in order if each in files), *files]):
        path, text = f"{root}{FOLDER}/{name}", files[name]
        if text is None:
            with suppress(FileNotFoundError):
                os.unlink(path)
            continue
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        write(text, path, 0o644 if name.endswith((".crt", ".pub")) else 0o600)
    flush(f"{root}{FOLDER}")


def sums(here: Mapping[str, str]) -> dict[str, list[str]]:
    """Give the fingerprints of what a controller trusts, in order, by file: nothing of it is secret."""
    return {name: [fingerprint(each) for each in blocks(here.get(name, ""))] for name in PUBLIC}


def embed(root: str = "") -> None:
    """Have the kubeconfigs of a controller trust all of its CAs: kubeadm writes the first one alone into them."""
    here = read_all(root)
    authorities = blocks(here.get("pki/ca.crt", ""))
    if len(authorities) > 1:
        place(
            {
                name: trusting(here[name], bundle(authorities))
                for name in KUBECONFIGS
                if trusted(here.get(name, "")) not in ([], authorities)
            },
            root,
        )


def remember(root: str = "") -> bool:
    """Have a machine remember the CA that signs now as that of its cluster; tell whether that was another one."""
    record, ca = json.loads(read(f"{root}/{RECORD}") or "{}"), ca_sum(read(f"{root}{FOLDER}/pki/ca.crt"))
    if not ca or record.get("ca", ca) == ca:
        return False
    write(json.dumps({**record, "ca": ca}) + "\n", f"{root}/{RECORD}", 0o644)
    return True
