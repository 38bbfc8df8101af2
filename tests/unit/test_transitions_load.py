"""The load of the transitions' tests, and what it holds against answers."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slipway.release.planner import plan
from slipway.release.spec import load as load_page

from tests.support import transitions
from tests.support.changing import release_name, steps
from tests.support.checkout import Standing
from tests.support.load import (
    Allowed,
    Answer,
    Client,
    Door,
    Load,
    crossed,
    failed,
    figures,
    hops,
    judge,
    rehashed,
    strangers,
    thrown,
    turns,
)
from tests.support.release import page as write_page
from tests.support.transitions import CRASHES, EVERY, Row, allowed, going, named

CHAIN = (("web", "v1"), ("api", "v1"))
CALLS = frozenset({CHAIN})
V1 = frozenset({"v1"})


def answer(**given: Any) -> Answer:
    """A good one, but for what is given."""
    values: dict[str, Any] = {"at": 1.0, "seconds": 0.1, "client": "user-1", "status": "200", "chain": CHAIN}
    return Answer(**{**values, **given})


@pytest.mark.parametrize(
    ("chain", "found"),
    [
        ("", ()),
        ("frontend=web-v1", (("web", "v1"),)),
        ("frontend=web-v2,service=mid-v1,model=old-api-v2", (("web", "v2"), ("mid", "v1"), ("old-api", "v2"))),
    ],
)
def test_a_chain_is_read(chain: str, found: tuple[tuple[str, str], ...]) -> None:
    assert hops(chain) == found


@pytest.mark.parametrize(
    ("given", "kinds"),
    [
        ({}, []),
        ({"status": "403", "chain": ()}, ["failed"]),
        ({"status": "TimeoutError", "chain": ()}, ["failed"]),
        ({"chain": (("web", "v2"), ("api", "v1"))}, ["strangers", "crossed"]),
        # Its hop has answered, and the one behind it has not.
        ({"status": "403", "chain": (("web", "v2"),)}, ["failed", "strangers"]),
        ({"chain": (("web", "v1"), ("api", "v2"))}, ["crossed"]),
        ({"held": "v1"}, []),
        ({"held": "v2"}, ["thrown"]),
        # Theirs goes.
        ({"held": "v3"}, []),
    ],
)
def test_answers_are_held_against_what_is_allowed(given: dict[str, Any], kinds: list[str]) -> None:
    each = [answer(**given)]
    found = {
        "failed": failed(each),
        "strangers": strangers(each, V1),
        "crossed": crossed(each, CALLS),
        "thrown": thrown(each, frozenset({"v3"})),
    }
    assert [kind for kind, answers in found.items() if answers] == kinds
    assert len(judge(each, Allowed(V1, CALLS), frozenset({"v3"}))) == len(kinds)


def test_a_fault_says_how_many_of_which_kind_when_and_during_what() -> None:
    bad = [answer(at=at, status="403", chain=(), said="RBAC: access denied") for at in (5.0, 6.0, 12.5)]
    marks = [(4.0, "Apply policies"), (10.0, "Wait until it is Ready")]
    (text,) = judge([answer(), *bad, answer(at=20.0)], Allowed(V1, CALLS), marks=marks)
    assert text == (
        "3 of 5 failed (3 403), from 5.0 s to 12.5 s, during: 2 Apply policies, 1 Wait until it is Ready; "
        "first: RBAC: access denied"
    )


def met(client: str, *versions: str) -> list[Answer]:
    return [
        answer(client=client, at=float(at), chain=(("web", version), ("api", version)))
        for at, version in enumerate(versions)
    ]


def test_a_turn_is_a_change_of_version_whatever_came_between() -> None:
    answers = [*met("user-1", "v1", "v1", "v2", "v1"), *met("user-2", "v2", "v2")]
    answers.append(answer(client="user-2", at=0.5, status="503", chain=(("web", "v1"),)))
    assert [(turn.client, turn.was, turn.now, turn.at) for turn in turns(answers)] == [
        ("user-1", "v1", "v2", 2.0),
        ("user-1", "v2", "v1", 3.0),
    ]


def crowd(moves: dict[str, int], stay: int) -> list[Answer]:
    """``moves``: so many users with these versions in turn."""
    names = (f"user-{number}" for number in range(1000))
    found = [each for _ in range(stay) for each in met(next(names), "v1", "v1")]
    for versions, number in moves.items():
        found += [each for _ in range(number) for each in met(next(names), *versions.split())]
    return found


@pytest.mark.parametrize(
    ("moves", "says"),
    [
        ({"v1 v2": 10}, []),
        ({"v1 v2": 19}, []),
        ({"v1 v2": 40}, ["40 of 100 users moved, for a change of 10%"]),
        ({"v1 v2": 5, "v2 v1": 3}, ["moved the wrong way: 3 v2 to v1"]),
        ({"v1 v2": 5, "v1 v3": 2}, ["moved the wrong way: 2 v1 to v3"]),
        ({"v1 v2 v1": 2}, ["moved the wrong way: 2 v2 to v1", "2 of 100 users moved more than once"]),
    ],
)
def test_by_a_hash_only_the_share_that_changes_moves(moves: dict[str, int], says: list[str]) -> None:
    answers = crowd(moves, 100 - sum(moves.values()))
    answers += [*met("new-1", "v3"), *met("new-2", "v1")]
    before, after = {"v1": 50, "v2": 30, "v3": 20}, {"v1": 40, "v2": 40, "v3": 20}
    assert rehashed(answers, before, after) == says


# --- the load itself, against a stand-in for the gateway


class Gate(http.server.BaseHTTPRequestHandler):
    """Gives everybody the cookie of v2, answers who has it, and closes connections without a word now and then."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str]] = []  # noqa: RUF012  one for each test, set by the fixture
    connections = 0
    closes = False

    def setup(self) -> None:
        type(self).connections += 1
        self.asked = 0
        super().setup()

    def do_GET(self) -> None:
        self.asked += 1
        if self.closes and self.asked == 2:
            self.close_connection = True
            return
        self.seen.append((self.headers["host"], self.headers.get("cookie") or self.headers.get("x-user-id") or ""))
        status = 403 if self.path == "/refused" else 200
        body = b"RBAC: access denied" if status == 403 else b"{}"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 200:
            self.send_header("x-chain", "frontend=web-v2,model=api-v2")
        if "cookie" not in self.headers:
            self.send_header("Set-Cookie", "shop-version=v2; Path=/; Max-Age=60; HttpOnly")
            self.send_header("Set-Cookie", "of-the-app=1; Path=/")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class calls it so
        """The base class would print each request."""


@pytest.fixture
def door() -> Iterator[Door]:
    Gate.seen, Gate.connections, Gate.closes = [], 0, False
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gate) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield Door("127.0.0.1", "shop.local", "shop-version", port=server.server_address[1])
        server.shutdown()


def test_a_user_keeps_cookies_and_says_what_they_asked_for(door: Door) -> None:
    user = Client("user-1", door)
    first, second = user.ask(0.0), user.ask(1.0)
    assert (first.status, first.chain, first.held) == ("200", (("web", "v2"), ("api", "v2")), "")
    assert second.held == "v2"
    assert Gate.seen == [("shop.local", ""), ("shop.local", "shop-version=v2; of-the-app=1")]
    assert Gate.connections == 2


def test_a_kept_connection_that_was_closed_is_made_anew_and_that_is_told(door: Door) -> None:
    Gate.closes = True
    user = Client("user-1", door, keeps=True)
    assert [(each.status, each.again) for each in (user.ask(0.0), user.ask(1.0))] == [("200", False), ("200", True)]
    assert Gate.connections == 2
    user.close()


def test_what_does_not_answer_is_told_with_its_reason(door: Door) -> None:
    refused = Client("user-1", Door(door.address, door.host, port=door.port, path="/refused")).ask(0.0)
    assert (refused.status, refused.said, refused.chain) == ("403", "RBAC: access denied", ())
    nobody = Client("user-1", Door("127.0.0.1", door.host, port=1)).ask(0.0)
    assert (nobody.status, nobody.chain) == ("ConnectionRefusedError", ())


def test_the_load_is_steady_and_bounded(door: Door) -> None:
    with Load(door, rate=50, users=10, most=1.0, hands=4) as load:
        load.mark("it begins")
        time.sleep(1.5)
        done = len(load.answers)
    assert 30 <= done <= 52
    assert len(load.answers) == done
    assert failed(load.answers) == []
    assert {each.client.partition("-")[0] for each in load.answers} == {"new", "user"}
    assert figures(load.answers).startswith(f"{done} requests in 1 s: {done} 200; met {done} v2; slowest ")


def test_with_a_header_each_user_says_who_they_are_and_is_asked_for_once_more(door: Door) -> None:
    with Load(door, rate=100, users=12, header="x-user-id") as load:
        began = load.now
        load.steady(0.1)
    assert {each.client for each in load.answers if each.at >= began and each.client.startswith("user-")} == {
        f"user-{number}" for number in range(12)
    }
    with pytest.raises(AssertionError, match="the load ends after"):
        load.steady(400)


# --- the rows


@pytest.mark.parametrize("row", EVERY, ids=lambda row: row.name)
def test_both_pages_of_a_row_can_be_planned_and_it_says_who_is_met_and_who_goes(row: Row, tmp_path: Path) -> None:
    for page in (row.before, row.after):
        made = plan(load_page(write_page(tmp_path, named(page, release_name(row.name)))))
        assert made.facts["hosts"]
    assert row.calls.users == set(row.users.split())
    assert going(row.before, row.after) == set(row.leaves.split())


def test_names_of_rows_are_their_own() -> None:
    names = [release_name(row.name) for row in EVERY]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("crash", CRASHES, ids=lambda crash: crash.row.name)
def test_a_version_crashes_on_the_broken_page_alone(crash: transitions.Crash) -> None:
    broken, good = (
        page["services"][crash.service]["versions"][crash.version]["env"] for page in (crash.broken, crash.row.after)
    )
    assert "APP_FEATURES" in broken
    assert "APP_FEATURES" not in good
    assert crash.service in crash.row.before["services"] or crash.service in crash.row.after["services"]


def test_calls_go_to_the_callers_own_version_where_there_is_one() -> None:
    both = allowed(transitions.TWO).calls
    assert both == {(("web", each), ("api", each)) for each in ("v1", "v2")}
    one = allowed(next(row for row in EVERY if row.name == "callee-gets-v2").before).calls
    assert one == {(("web", each), ("api", "v1")) for each in ("v1", "v2")}
    past = transitions.page(
        transitions.NINETY,
        {
            "web": transitions.web("v1 v2", calls="mid"),
            "mid": transitions.service("service", "v1", "api"),
            "api": transitions.api("v1 v2"),
        },
    )
    assert (("mid", "v1"), ("api", "v2")) in allowed(past).calls
    # Nobody gets what a shadow answers.
    shadow = allowed(transitions.shadowed("web", "100%"))
    assert shadow.users == {"v1"}
    assert shadow.calls == {(("web", "v1"), ("api", "v1"))}


# --- where they are played


def test_steps_are_the_tasks_that_put_a_release_there_those_in_blocks_too(tmp_path: Path) -> None:
    folder = tmp_path / "roles/release/tasks"
    folder.mkdir(parents=True)
    (folder / "absent.yml").write_text("- name: Absent\n")
    (folder / "present.yml").write_text("- name: Block\n  block: [{name: First}, {name: Second}]\n- name: Third\n")
    (folder / "main.yml").write_text("- name: Plan\n")
    assert steps(tmp_path) == ["Plan", "First", "Second", "Third"]
    assert len(steps()) > 3


def test_a_cluster_that_stands_is_neither_made_nor_taken_away(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="has no cluster"):
        Standing(tmp_path)
    (tmp_path / ".slipway").mkdir()
    (tmp_path / ".slipway/kubeconfig").touch()
    standing = Standing(tmp_path, root=tmp_path / "tree")
    assert (standing.path, standing.kube.config) == (tmp_path / "tree", tmp_path / ".slipway/kubeconfig")
    assert standing.variables == {"slipway_state": str(tmp_path / ".slipway")}
    for wrong in (standing.fresh, standing.remove):
        with pytest.raises(AssertionError, match="stands"):
            wrong()
