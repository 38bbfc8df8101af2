"""A controller renews its certificates: those that end soon, and what serves with the old ones starts again.

For the module control_plane_certificates, and for a timer of the controller. Runs on the nodes (stdlib only).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .authority import embed
from .certificates import (
    DAY,
    READS,
    Certificate,
    due,
    foreign,
    forget,
    keep,
    processes,
    put_back,
    read,
    settle,
    stale,
)
from .etcd_user import account, follow
from .well import GRACE, api_is_well, etcd_is_well, wait_until
from .well import restart as ended

Command = Callable[[Sequence[str]], tuple[int, str, str]]

# Programs of ours that read them when they start.
READERS = ("slipway-serving.service", "slipway-control-plane-metrics.service")
PAUSE = 0.5


class RenewalError(Exception):
    """Certificates were not renewed, or what reads them is not well. ``id``: that of an error for users."""

    def __init__(self, id: str, text: str) -> None:  # noqa: A002  its name everywhere
        super().__init__(text)
        self.id = id


@dataclass(frozen=True)
class Done:
    """What was renewed, what started again, and the days until the first certificate ends."""

    renewed: list[str]
    restarted: list[str]
    days: int


def look(run: Command) -> list[Certificate]:
    """Ask kubeadm when the certificates of this controller end. Raises RenewalError."""
    code, out, error = run(["kubeadm", "certs", "check-expiration", "-o", "json"])
    try:
        found = read(out)
    except (ValueError, KeyError):
        found = []
    if code or not found:
        what = f"kubeadm does not say when the certificates of this controller end: {error.strip() or out.strip()}"
        raise RenewalError("kubeadm-failed", what)
    return found


def _restart(part: str, process: int, well: Callable[[], str], seconds: float) -> None:
    """End a part's process, which the kubelet starts again, and wait until it is well."""
    why = ended(part, process, well, seconds, running=processes, grace=GRACE, pause=PAUSE)
    if why:
        what = f"{part} is not well {seconds:g} s after its certificates were renewed: {why}; look at: crictl ps --all"
        raise RenewalError("control-plane-not-well", f"{what}, and /var/log/pods/kube-system_{part}-*")


def _renew(run: Command, names: Iterable[str]) -> None:
    """Renew certificates: all of them, or the next run begins with those that were there before."""
    names = list(names)
    if not names:
        return
    keep(names)
    for name in names:
        code, out, error = run(["kubeadm", "certs", "renew", name])
        if code:
            put_back()
            raise RenewalError("kubeadm-failed", f"kubeadm cannot renew {name}: {error.strip() or out.strip()}")
    # It writes the CA that signs alone into kubeconfigs, also where there is another one beside it.
    embed()
    settle(names)
    forget()


def work(run: Command, address: str, days: float, seconds: float, *, check: bool = False) -> Done:
    """Renew what is to be renewed, and start again what reads it. ``seconds``: for each part to be well again.

    ``check``: only say what would be. Raises RenewalError.
    """
    cut_off = bool(READS.keys() - processes().keys())
    if not check:
        cut_off = bool(put_back()) or cut_off
    before = look(run)
    over = min(one.seconds for one in before) <= 0
    renewed = list(dict.fromkeys([*due(before, days), *foreign(before)]))
    # With certificates that have ended it is not well before they are renewed.
    why = wait_until(etcd_is_well, seconds) if (renewed or stale()) and not over else ""
    if why:
        what = f"etcd is not well, so nothing on this controller is restarted: {why}. Bring its members back first"
        raise RenewalError("no-quorum", what)
    if not check:
        _renew(run, renewed)
        # The service that copies etcd's keys may not have come to it yet.
        if ids := account():
            follow(ids)
    restarted = list(stale())
    if not check:
        # Where all of them have ended, the others of etcd cannot be well before they are renewed too.
        wells = {"kube-apiserver": lambda: api_is_well(address), **({} if over else {"etcd": etcd_is_well})}
        for part in restarted:
            if process := stale().get(part):
                _restart(part, process, wells.get(part, str), seconds)
        if restarted:
            run(["systemctl", "try-restart", *READERS])
        # A part that a run before has ended may not be back yet.
        why = wait_until(lambda: api_is_well(address), seconds) if cut_off and not over else ""
        if why:
            what = f"the API server here is not well after {seconds:g} s: {why}; look at: crictl ps --all"
            raise RenewalError("control-plane-not-well", what)
    left = look(run) if renewed and not check else before
    return Done(renewed, restarted, int(min(one.seconds for one in left) // DAY))
