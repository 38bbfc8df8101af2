"""Members of etcd: which may leave, which are nobody's, and how etcd is asked."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.node import etcd
from slipway.node.etcd import Etcd, EtcdError, Member, obstacle, quorum, strays


def member(name: str, *, healthy: bool = True, learner: bool = False, address: str = "") -> Member:
    return Member(f"id-{name}", name, f"https://{address or name}:2380", f"https://{name}:2379", learner, healthy)


A, B, C = (member(name) for name in "abc")
SILENT = member("c", healthy=False)


@pytest.mark.parametrize(("size", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_a_quorum_is_more_than_half(size: int, needed: int) -> None:
    assert quorum(size) == needed


@pytest.mark.parametrize(
    ("members", "going", "why"),
    [
        ([A, B, C], [C], ""),
        ([A, B, SILENT], [SILENT], ""),
        ([A, B], [B], ""),
        ([A, B, SILENT], [B], "would lose its quorum: 1 of 2 members that stay are healthy (not: c)"),
        ([A, member("b", healthy=False), SILENT], [SILENT], "has no quorum: 1 of 3 members are healthy (not: b, c)"),
        ([A], [A], "no member of etcd would be left"),
        ([A, member("", healthy=False, learner=True)], [member("", healthy=False, learner=True)], ""),
    ],
)
def test_nothing_leaves_that_a_quorum_needs(members: list[Member], going: list[Member], why: str) -> None:
    assert why in obstacle(members, going)
    assert bool(obstacle(members, going)) is bool(why)


def test_members_of_no_machine_and_those_that_never_started_are_strays() -> None:
    machines = {"a": "192.0.2.1", "b": "192.0.2.2"}
    unnamed = member("", healthy=False, address="192.0.2.2")
    learner = member("b", healthy=False, learner=True)
    # One that answers is a controller that the page no longer has: its removal is a command of its own.
    assert strays([A, B, C, SILENT, unnamed, learner], machines) == [SILENT, unnamed, learner]
    # A machine that is off keeps its member, also if it was known by another name.
    off, moved = member("a", healthy=False), member("old", healthy=False, address="192.0.2.2")
    assert strays([off, moved], machines) == []


class Asked(Etcd):
    """Answers in the place of etcd."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.local, self.answers, self.sent = "here", answers, []  # type: ignore[var-annotated]

    def _ask(self, address: str, method: str, path: str, body: Any = None) -> dict[str, Any]:
        self.sent.append((address, method, path, body))
        found = self.answers.get(f"{address}{path}")
        if found is None:
            raise EtcdError("no answer")
        return dict(found)


def test_the_members_are_read_with_their_health() -> None:
    listed = {
        "members": [
            {"ID": "1", "name": "a", "peerURLs": ["https://192.0.2.1:2380"], "clientURLs": ["https://192.0.2.1:2379"]},
            {"ID": "2", "name": "b", "peerURLs": ["https://192.0.2.2:2380"], "clientURLs": ["https://192.0.2.2:2379"]},
            {"ID": "3", "peerURLs": ["https://192.0.2.3:2380"], "isLearner": True},
        ]
    }
    asked = Asked({"here/v3/cluster/member/list": listed, "192.0.2.1:2379/health": {"health": "true"}})
    first, second, third = asked.members()
    assert (first.name, first.healthy, second.healthy) == ("a", True, False)
    assert (third.learner, third.healthy, third.told) == (
        True,
        False,
        "the member without a name at https://192.0.2.3:2380",
    )


def test_a_member_is_taken_out_by_its_id() -> None:
    asked = Asked({"here/v3/cluster/member/remove": {}})
    asked.remove(C)
    assert asked.sent == [("here", "POST", "/v3/cluster/member/remove", {"ID": "id-c"})]


class Settling(Asked):
    """etcd that refuses to lose a member for a while, because another one has just come back."""

    def __init__(self, said: str, times: int) -> None:
        super().__init__({"here/v3/cluster/member/remove": {}})
        self.said, self.times = said, times

    def _ask(self, address: str, method: str, path: str, body: Any = None) -> dict[str, Any]:
        found = super()._ask(address, method, path, body)
        if len(self.sent) <= self.times:
            raise EtcdError(f"{path} is answered with 503: {self.said}")
        return found


def test_a_member_that_has_just_come_back_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd, "PAUSE", 0)
    asked = Settling("etcdserver: unhealthy cluster", 3)
    asked.remove(C)
    assert len(asked.sent) == 4


@pytest.mark.parametrize(("said", "seconds"), [("etcdserver: unhealthy cluster", 0), ("etcdserver: no leader", 1000)])
def test_not_for_ever_and_not_for_anything_else(said: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd, "PAUSE", 0)
    monkeypatch.setattr(etcd, "SETTLING", seconds)
    asked = Settling(said, 10**6)
    with pytest.raises(EtcdError, match="answered with 503"):
        asked.remove(C)


def test_certificates_that_are_not_there_are_told() -> None:
    with pytest.raises(EtcdError, match="cannot be used"):
        Etcd("/nonexistent")
    assert etcd.PKI.startswith("/etc/kubernetes")
