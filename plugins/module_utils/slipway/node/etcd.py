"""Members of etcd, asked on a controller through etcd's own gateway for JSON; and which of them may go.

Runs on the nodes (stdlib only).
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .snapshot import receive

PKI = "/etc/kubernetes/pki/etcd"
LOCAL = "127.0.0.1:2379"
# Seconds for an answer: a member that is there answers at once, also while it elects a leader.
SECONDS = 5.0
# Seconds for members that were lost to count as there again, and between two tries.
SETTLING, PAUSE = 30.0, 1.0
UNHEALTHY = "unhealthy cluster"


class EtcdError(Exception):
    """etcd was not reached, or refuses; the text says why."""


def _base64(key: bytes) -> str:
    return base64.b64encode(key).decode("ascii")


@dataclass(frozen=True)
class Member:
    """A member. ``name`` is empty for one that was added and has never started."""

    id: str
    name: str
    peer: str
    client: str
    learner: bool = False
    healthy: bool = False

    @property
    def told(self) -> str:
        """Name it for people."""
        return self.name or f"the member without a name at {self.peer}"


def quorum(size: int) -> int:
    """Give how many of ``size`` voting members have to be healthy."""
    return size // 2 + 1


def obstacle(members: Collection[Member], going: Collection[Member]) -> str:
    """Say why ``going`` may not leave; empty: they may.

    What stays has to have a quorum without them, and a quorum there is needed to take them out at all.
    """
    voting = [member for member in members if not member.learner]
    healthy = [member for member in voting if member.healthy]
    if len(healthy) < quorum(len(voting)):
        silent = ", ".join(member.told for member in voting if not member.healthy)
        return f"etcd has no quorum: {len(healthy)} of {len(voting)} members are healthy (not: {silent})"
    stay = [member for member in voting if member not in going]
    if not stay:
        return "no member of etcd would be left, and with it the cluster's data"
    left = [member for member in stay if member.healthy]
    if len(left) < quorum(len(stay)):
        silent = ", ".join(member.told for member in stay if not member.healthy)
        return f"etcd would lose its quorum: {len(left)} of {len(stay)} members that stay are healthy (not: {silent})"
    return ""


def strays(members: Iterable[Member], machines: Mapping[str, str]) -> list[Member]:
    """Give the silent members that belong to no machine, or never started: each of them blocks the next join.

    ``machines`` are the controllers of the page, name to address. A member that answers is somebody's.
    """
    found = []
    for member in members:
        address = urlsplit(member.peer).hostname or ""
        started = bool(member.name) and not member.learner
        of_page = member.name in machines or address in machines.values()
        if not member.healthy and not (started and of_page):
            found.append(member)
    return found


class Etcd:
    """The etcd of the controller that this runs on."""

    def __init__(self, pki: str = PKI, local: str = LOCAL) -> None:
        self.local = local
        try:
            self.context = ssl.create_default_context(cafile=f"{pki}/ca.crt")
            # Python 3.13 wants extensions that not every CA of kubeadm's has.
            self.context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            self.context.load_cert_chain(f"{pki}/healthcheck-client.crt", f"{pki}/healthcheck-client.key")
        except (OSError, ValueError) as exc:
            raise EtcdError(f"the certificates in {pki} cannot be used: {exc}") from exc

    def _ask(self, address: str, method: str, path: str, body: Any = None) -> dict[str, Any]:
        connection = http.client.HTTPSConnection(address, timeout=SECONDS, context=self.context)
        with closing(connection):
            try:
                connection.request(method, path, None if body is None else json.dumps(body))
                answer = connection.getresponse()
                text = answer.read()
                found = json.loads(text or b"{}")
            except (OSError, http.client.HTTPException, ValueError) as exc:
                raise EtcdError(f"https://{address}{path}: {exc}") from exc
        if answer.status != 200 or not isinstance(found, dict):
            said = found.get("message") or found.get("error") if isinstance(found, dict) else found
            raise EtcdError(f"https://{address}{path} is answered with {answer.status}: {said}")
        return found

    def snapshot(self, path: str) -> None:
        """Write a snapshot of all data to a file. Raises EtcdError, SnapshotError."""
        connection = http.client.HTTPSConnection(self.local, timeout=60, context=self.context)
        with closing(connection):
            try:
                connection.request("POST", "/v3/maintenance/snapshot", "{}")
                answer = connection.getresponse()
                if answer.status != 200:
                    raise EtcdError(f"a snapshot is answered with {answer.status}: {answer.read(400)!r}")
                receive(answer, path)
            except (http.client.HTTPException, TimeoutError, ssl.SSLError) as exc:
                raise EtcdError(f"the snapshot broke off: {exc}") from exc

    def members(self) -> list[Member]:
        """List the members, and whether each is healthy. Raises EtcdError."""
        # A list that needs no quorum: who has lost it needs to see it.
        found = self._ask(self.local, "POST", "/v3/cluster/member/list", {"linearizable": False})
        return [self._member(entry) for entry in found.get("members") or []]

    def values(self, prefix: str, page: int = 200) -> Iterator[tuple[str, bytes]]:
        """Give the keys that begin so, and their values as they rest. Raises EtcdError."""
        key, end = prefix.encode(), prefix.encode()[:-1] + bytes([prefix.encode()[-1] + 1])
        while True:
            asked = {"key": _base64(key), "range_end": _base64(end), "limit": page}
            found = self._ask(self.local, "POST", "/v3/kv/range", asked)
            for entry in found.get("kvs") or []:
                key = base64.b64decode(entry["key"])
                yield key.decode(), base64.b64decode(entry.get("value", ""))
            if not found.get("more"):
                return
            key += b"\0"

    def _member(self, entry: Mapping[str, Any]) -> Member:
        client = next(iter(entry.get("clientURLs") or []), "")
        learner = bool(entry.get("isLearner"))
        return Member(
            id=str(entry["ID"]),
            name=str(entry.get("name") or ""),
            peer=next(iter(entry.get("peerURLs") or []), ""),
            client=client,
            learner=learner,
            healthy=bool(client) and self._healthy(urlsplit(client).netloc),
        )

    def is_healthy(self) -> bool:
        """Tell whether the member here is."""
        return self._healthy(self.local)

    def _healthy(self, address: str) -> bool:
        try:
            return self._ask(address, "GET", "/health").get("health") in ("true", True)
        except EtcdError:
            return False

    def remove(self, member: Member) -> None:
        """Take a member out. Raises EtcdError.

        etcd refuses it while another member has been back for less than five seconds: that is waited for.
        """
        until = time.monotonic() + SETTLING
        while True:
            try:
                self._ask(self.local, "POST", "/v3/cluster/member/remove", {"ID": member.id})
            except EtcdError as exc:
                if UNHEALTHY not in str(exc) or time.monotonic() > until:
                    raise
                time.sleep(PAUSE)
            else:
                return
