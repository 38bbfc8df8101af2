"""What a machine needs before kubeadm declares etcd there as a user of its own. Runs on the nodes (stdlib only)."""

from __future__ import annotations

import os
from collections.abc import Callable

from .durable import write
from .etcd_user import DATA, PATCHES, USER, EtcdUserError, account, follow, own, patch
from .state import read

PATCH = f"{PATCHES}/etcd.yaml"
LINE = ("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", DATA, "--shell", "/usr/sbin/nologin")
# Seconds to wait for keys that a kubeadm was writing which was cut off.
PATIENCE = 5.0
# Runs a command: its status, output and errors.
Run = Callable[[list[str]], tuple[int, str, str]]


def is_wished(ids: tuple[int, int] | None) -> bool:
    """Tell whether kubeadm declares etcd with this user from now on."""
    return ids is not None and read(PATCH) == patch(*ids)


def wish(run: Run) -> tuple[tuple[int, int], bool]:
    """Make the user and the folder of data, and tell kubeadm of the user: its numbers, and whether that was new.

    Raises EtcdUserError where there can be no such user.
    """
    if not account():
        code, out, error = run([*LINE, USER])
        if code:
            raise EtcdUserError(f"the user {USER} cannot be made: {error.strip() or out.strip()}")
    ids = account()
    if ids is None or 0 in ids:
        raise EtcdUserError(f"there is no user {USER} on this machine, or it is root")
    for folder in (PATCHES, DATA):
        os.makedirs(folder, mode=0o700, exist_ok=True)
    if is_wished(ids):
        return ids, False
    # Also where it is not moved yet: what kubeadm writes from now on is the user's.
    write(patch(*ids), PATCH)
    return ids, True


def prepare(run: Run) -> None:
    """Make a machine ready for etcd that kubeadm is going to declare, also where it was cut off before.

    Raises EtcdUserError where there can be no such user.
    """
    ids, _ = wish(run)
    own(ids)
    follow(ids, patience=PATIENCE)
