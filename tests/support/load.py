"""Ordinary clients at a release's gateway, all the time, and what is wrong with the answers that they got.

``Load`` asks from this machine, at a steady rate, bounded in number and time, and keeps every answer. What follows is
pure: it holds the answers against what pages allow.
"""

from __future__ import annotations

import http.client
import itertools
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Self

# A service and its version, as a page of tests.support.transitions has its pods name them: `frontend=web-v1`.
Hop = tuple[str, str]
# What a client meets that asks by a connection which the other side has closed since the answer before.
CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)
# Seconds that an answer may take.
PATIENCE = 10.0


@dataclass(frozen=True)
class Answer:
    """What came of one request."""

    at: float
    """Seconds from the beginning of the load until it was sent."""
    seconds: float
    client: str
    status: str
    """The HTTP status; the kind of error where no answer came."""
    chain: tuple[Hop, ...] = ()
    """Which version of each service answered, the first one first."""
    held: str = ""
    """Version that the client's cookie asked for."""
    again: bool = False
    """Sent twice: the connection, kept from the answer before, had been closed; any client does that."""
    said: str = ""
    """How an answer begins that is no 200."""

    @property
    def version(self) -> str:
        """Version of the first service."""
        return self.chain[0][1] if self.chain else ""


def hops(chain: str) -> tuple[Hop, ...]:
    """Read x-chain, in which each hop is told as ``<role>=<service>-<version>``."""
    named = (part.partition("=")[2].rpartition("-") for part in chain.split(",") if part)
    return tuple((service, version) for service, _, version in named)


@dataclass(frozen=True)
class Door:
    """Where clients ask, and the cookie that keeps them with a version."""

    address: str
    host: str
    cookie: str = ""
    port: int = 80
    path: str = "/sms?text=see+you+at+noon"


class Client:
    """One user: a jar for cookies, what it sends along, and a connection that it may keep."""

    def __init__(self, name: str, door: Door, *, keeps: bool = False, headers: Mapping[str, str] | None = None) -> None:
        self.name, self.door, self.keeps = name, door, keeps
        self.headers = dict(headers or {})
        self.jar: dict[str, str] = {}
        self.connection: http.client.HTTPConnection | None = None

    def ask(self, at: float) -> Answer:
        """Ask once; a kept connection that is closed by now is opened again, once."""
        held, began = self.jar.get(self.door.cookie, ""), time.monotonic()
        again = False
        try:
            try:
                status, chain, said = self._ask()
            except CLOSED:
                if self.connection is None or not self.keeps:
                    raise
                again = True
                self.close()
                status, chain, said = self._ask()
        except (OSError, http.client.HTTPException) as exc:
            self.close()
            status, chain, said = type(exc).__name__, (), str(exc)
        return Answer(at, time.monotonic() - began, self.name, status, chain, held, again, said)

    def _ask(self) -> tuple[str, tuple[Hop, ...], str]:
        fresh = self.connection is None
        connection = self.connection or http.client.HTTPConnection(self.door.address, self.door.port, timeout=PATIENCE)
        headers = {"Host": self.door.host, **self.headers}
        if self.jar:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        if not self.keeps:
            headers["Connection"] = "close"
        try:
            connection.request("GET", self.door.path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
        except BaseException:
            if fresh:
                connection.close()
            raise
        self.connection = connection if self.keeps and not answer.will_close else None
        if self.connection is None:
            connection.close()
        self._take(answer.headers.get_all("set-cookie") or [])
        said = "" if answer.status == 200 else body[:200].decode(errors="replace").strip()
        return str(answer.status), hops(answer.getheader("x-chain") or ""), said

    def _take(self, cookies: Iterable[str]) -> None:
        for text in cookies:
            for name, morsel in SimpleCookie(text).items():
                if morsel["max-age"] == "0":
                    self.jar.pop(name, None)
                else:
                    self.jar[name] = morsel.value

    def close(self) -> None:
        """Give its connection back."""
        if self.connection is not None:
            self.connection.close()
        self.connection = None


@dataclass
class Load:
    """``rate`` requests a second for at most ``most`` seconds, by users who come back and by those who come once.

    A third are asked by users who were never there. The others are ``users`` with a jar for cookies, half of which keep
    their connections; with ``header`` each of them sends its name in it.
    """

    door: Door
    rate: float = 30.0
    users: int = 40
    header: str = ""
    most: float = 300.0
    hands: int = 10
    answers: list[Answer] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)
    _began: float | None = None

    def __enter__(self) -> Self:
        self._end, self._began = threading.Event(), time.monotonic()
        self._threads = [threading.Thread(target=self._hand, args=(n,), daemon=True) for n in range(self.hands)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE + 1)

    @property
    def now(self) -> float:
        """Seconds since it began; none before that."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    def mark(self, what: str) -> float:
        """Note what happens at this moment, for those who read the faults."""
        at = self.now
        if self._began is not None:
            self.marks.append((at, what))
        return at

    def steady(self, seconds: float) -> None:
        """Go on for some seconds, and with a header until each user has been asked once more."""
        until = self.now + max(seconds, 1.6 * self.users / self.rate + 1 if self.header else 0)
        assert until < self.most, f"the load ends after {self.most:.0f} s; now it is {self.now:.0f} s old"
        time.sleep(until - self.now)

    def _hand(self, number: int) -> None:
        """One thread: its own share of the users, in turn, each at its time; what is late is not made up for."""
        users = [self._user(n) for n in range(number, self.users, self.hands)]
        turns = itertools.cycle(users)
        period = self.hands / self.rate
        due = number / self.rate
        for turn in itertools.count():
            due = max(due, self.now - period)
            if due > self.most or self._end.wait(max(0.0, due - self.now)):
                break
            client = Client(f"new-{number}-{turn}", self.door) if turn % 3 == 2 else next(turns)
            self.answers.append(client.ask(self.now))
            due += period
        for user in users:
            user.close()

    def _user(self, number: int) -> Client:
        name = f"user-{number}"
        return Client(name, self.door, keeps=number % 2 == 0, headers={self.header: name} if self.header else None)


@dataclass(frozen=True)
class Allowed:
    """What pages allow: versions of the first service that users may meet, and which version calls which."""

    users: frozenset[str]
    calls: frozenset[tuple[Hop, Hop]]

    def __or__(self, other: Allowed) -> Allowed:
        """What either allows."""
        return Allowed(self.users | other.users, self.calls | other.calls)


def failed(answers: Iterable[Answer]) -> list[Answer]:
    """Requests without a good answer."""
    return [each for each in answers if each.status != "200"]


def strangers(answers: Iterable[Answer], users: frozenset[str]) -> list[Answer]:
    """Requests of users that got a version which no user may get, with any answer."""
    return [each for each in answers if each.chain and each.version not in users]


def crossed(answers: Iterable[Answer], calls: frozenset[tuple[Hop, Hop]]) -> list[Answer]:
    """Requests behind which a version called one that it should not."""
    return [each for each in answers if not calls.issuperset(itertools.pairwise(each.chain))]


def thrown(answers: Iterable[Answer], leaves: frozenset[str]) -> list[Answer]:
    """Requests that asked for a version by cookie and got another one, although their version stays."""
    good = (each for each in answers if each.status == "200")
    return [each for each in good if each.held not in ("", each.version) and each.held not in leaves]


@dataclass(frozen=True)
class Turn:
    """A user who met another version than the time before."""

    client: str
    was: str
    now: str
    at: float


def turns(answers: Iterable[Answer]) -> list[Turn]:
    """Every change of version, user by user."""
    found: list[Turn] = []
    last: dict[str, str] = {}
    for each in sorted(answers, key=lambda answer: answer.at):
        if each.status == "200" and each.version:
            before = last.setdefault(each.client, each.version)
            if before != each.version:
                found.append(Turn(each.client, before, each.version, each.at))
            last[each.client] = each.version
    return found


def rehashed(answers: Sequence[Answer], before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """What is wrong with the changes of version of users who go by a hash, when weights change.

    Only the share that changes moves, from versions that lose some to those that win some, and nobody moves twice.
    """
    users = {each.client for each in answers if each.client.startswith("user-")}
    found = [turn for turn in turns(answers) if turn.client in users]
    change = {version: after.get(version, 0) - before.get(version, 0) for version in {*before, *after}}
    share = sum(-each for each in change.values() if each < 0) / 100
    # Which users a share holds is a matter of their names: three standard deviations.
    most = math.ceil(share * len(users) + 3 * math.sqrt(len(users) * share * (1 - share)))
    moved = {turn.client for turn in found}
    wrong = [turn for turn in found if change[turn.was] >= 0 or change[turn.now] <= 0]
    faults = []
    if len(moved) > most:
        faults.append(f"{len(moved)} of {len(users)} users moved, for a change of {share:.0%}")
    if wrong:
        ways = Counter(f"{turn.was} to {turn.now}" for turn in wrong)
        faults.append(f"moved the wrong way: {tally(ways)}")
    if again := [client for client, times in Counter(turn.client for turn in found).items() if times > 1]:
        faults.append(f"{len(again)} of {len(users)} users moved more than once")
    return faults


def judge(
    answers: Sequence[Answer],
    allowed: Allowed,
    leaves: frozenset[str] = frozenset(),
    marks: Sequence[tuple[float, str]] = (),
) -> list[str]:
    """What is wrong with the answers, each kind of fault in one sentence."""
    kinds: tuple[tuple[str, list[Answer], Callable[[Answer], str]], ...] = (
        ("failed", failed(answers), lambda each: each.status),
        ("met a version that is not theirs", strangers(answers, allowed.users), lambda each: each.version),
        ("were answered by a call that is not allowed", crossed(answers, allowed.calls), written),
        ("left a version that stays", thrown(answers, leaves), lambda each: f"{each.held} to {each.version}"),
    )
    return [
        f"{len(found)} of {len(answers)} {what} ({tally(Counter(map(kind, found)))}), {spread(found, marks)}"
        for what, found, kind in kinds
        if found
    ]


def written(answer: Answer) -> str:
    """Its chain, for reading."""
    return " > ".join("-".join(hop) for hop in answer.chain)


def tally(counts: Counter[str]) -> str:
    """The kinds with their numbers, the most frequent first."""
    return ", ".join(f"{number} {kind}" for kind, number in counts.most_common(6))


def spread(found: Sequence[Answer], marks: Sequence[tuple[float, str]]) -> str:
    """From when to when, during what, and what the first one said."""
    times = sorted(each.at for each in found)
    during = Counter(mark_at(at, marks) for at in times)
    first = min(found, key=lambda each: each.at)
    text = f"from {times[0]:.1f} s to {times[-1]:.1f} s"
    if marks:
        text += f", during: {tally(during)}"
    return f"{text}; first: {first.said[:120]}" if first.said else text


def mark_at(at: float, marks: Sequence[tuple[float, str]]) -> str:
    """The last thing noted before a moment."""
    return next((what for when, what in reversed(marks) if when <= at), "the beginning")


def figures(answers: Sequence[Answer]) -> str:
    """Numbers of a load in one line."""
    if not answers:
        return "no request"
    seconds = max(each.at for each in answers)
    statuses = tally(Counter(each.status for each in answers))
    versions = tally(Counter(each.version or "none" for each in answers))
    slowest = max(each.seconds for each in answers)
    again = sum(each.again for each in answers)
    return (
        f"{len(answers)} requests in {seconds:.0f} s: {statuses}; met {versions}; slowest {slowest:.2f} s; "
        f"{again} sent again"
    )
