"""A change under a stream of clients: who may answer by two pages, and what the stream's answers come to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from slipway.prove import during
from slipway.prove.given import KINDS, Given, live, promised
from slipway.release.judge import owner
from slipway.release.planner import Plan
from slipway.release.planner import plan as planned
from slipway.release.spec import load

from tests.support.release import RELEASES, page, shipped

Json = dict[str, Any]
IMAGE = "example.org/app:1"


def shop(*versions: str, **more: Any) -> Json:
    """A page of a front that calls a back, both in these versions."""
    own = dict.fromkeys(versions or ("v1",), IMAGE)
    given: Json = {
        "name": "shop",
        "hosts": ["shop.local"],
        "services": {"front": {"calls": ["back"], "versions": own}, "back": {"versions": own}},
        **more,
    }
    return given


def made(folder: Path, given: Json) -> Plan:
    return planned(load(page(folder, given)))


def there(release: Plan) -> dict[str, list[Json]]:
    """What a cluster has on which a page was applied."""
    found: dict[str, list[Json]] = {kind: [] for kind in KINDS}
    for item in release.objects:
        if item["kind"] in found:
            found[item["kind"]].append(item)
    assert all(owner(item) == "shop/shop" for items in found.values() for item in items)
    return found


def pages(folder: Path, old: Json, new: Json) -> tuple[Json, Given, Given]:
    """The facts of the new page, and what users may meet by the old one, as it stands in the cluster, and the new."""
    facts = made(folder, new).facts
    before = live(facts, there(made(folder, old)))
    assert before
    return facts, before, promised(facts)


SPLIT: Json = {"weights": {"v1": 90, "v2": 10}, "sticky": "cookie"}
FRONT: Json = {
    "front": {"calls": ["back"], "versions": {"v1": IMAGE, "v2": IMAGE}},
    "back": {"versions": {"v1": IMAGE}},
}
CARRIED: Json = {
    "front": {"calls": ["back"], "versions": {"v1": IMAGE}},
    "back": {"versions": {"v1": IMAGE, "v2": IMAGE}},
}
SHADOWED: Json = {
    "front": {"calls": ["back"], "versions": {"v1": IMAGE, "v2": {"image": IMAGE, "shadow": "100%"}}},
    "back": {"versions": {"v1": IMAGE}},
}


@pytest.mark.parametrize(
    "given",
    [
        shop(),
        shop("v1", "v2", **SPLIT),
        shop("v1", "v2", weights={"v1": 100, "v2": 0}, sticky="cookie"),
        shop("v1", "v2", weights={"v1": 50, "v2": 50}, sticky={"by": "hash", "hash": {"header": "x-user"}}),
        shop("v1", "v2", services=FRONT, **SPLIT),
        shop("v1", "v2", services=CARRIED, **SPLIT),
        shop(services=SHADOWED),
        shop("v1", "v2", routes={"/": "front", "/old": {"to": "front", "version": "v2"}}, **SPLIT),
        shop("v1", "v2", limits={"per_client": "10/minute"}, **SPLIT),
        shop(gateway={"ports": [80]}, services={**FRONT, "front": {**FRONT["front"], "faults": {"abort": {"share": "5%", "status": 418}}}}, **SPLIT),  # noqa: E501
    ],
    ids=["one", "two", "none", "hash", "front", "carried", "shadow", "path", "limit", "faults"],
)  # fmt: skip
def test_a_page_says_the_same_as_what_it_makes_of_a_cluster(tmp_path: Path, given: Json) -> None:
    _, before, now = pages(tmp_path, given, given)
    assert before.entries == now.entries
    assert before.calls == now.calls
    assert before.kept == now.kept
    assert before.services == now.services
    assert before.hashed == now.hashed
    assert (before.ports, before.aborts, before.limits, before.hosts) == (now.ports, now.aborts, now.limits, now.hosts)


@pytest.mark.parametrize("name", sorted(path.stem for path in RELEASES.glob("*.yml")))
def test_so_does_each_page_of_the_repository(name: str) -> None:
    release = shipped(name)
    objects: dict[str, list[Json]] = {kind: [] for kind in KINDS}
    for item in release.objects:
        objects.setdefault(item["kind"], []).append(item)
    before, now = live(release.facts, objects), promised(release.facts)
    assert before
    assert (before.entries, before.kept) == (now.entries, now.kept)
    assert before.calls >= now.calls
    assert before.services == now.services
    plan = during.watch(release.facts, before, now, tells=True)
    assert plan["state"] == "asked"


def test_who_has_no_weight_or_gets_copies_is_given_to_nobody(tmp_path: Path) -> None:
    _, _, none = pages(tmp_path, shop(), shop("v1", "v2", weights={"v1": 100, "v2": 0}, sticky="cookie"))
    assert none.entries == {"/": {("front", "v1"): 100}}
    assert none.calls == {(("front", "v1"), ("back", "v1"))}
    _, before, shadow = pages(tmp_path, shop(), shop(services=SHADOWED))
    assert shadow.entries == before.entries == {"/": {("front", "v1"): 100}}


@pytest.mark.parametrize("old", [{}, {"hosts": ["other.local"]}])
def test_a_release_that_was_not_there_gave_nothing(tmp_path: Path, old: Json) -> None:
    facts = made(tmp_path, shop()).facts
    assert live(facts, there(made(tmp_path, shop(**old))) if old else {}) is None
    plan = during.watch(facts, None, promised(facts))
    verdict, picture = during.judged(plan, {})
    assert (verdict.state, picture) == ("skipped", {})
    assert verdict.seen == "skipped: nothing was there that users could have"


def test_another_release_in_the_cluster_counts_for_nothing(tmp_path: Path) -> None:
    facts = made(tmp_path, shop()).facts
    other = there(made(tmp_path, shop()))
    for items in other.values():
        for item in items:
            item["metadata"] = {**item["metadata"], "labels": {}}
    assert live(facts, other) is None


def watched(folder: Path, old: Json, new: Json, **more: Any) -> Json:
    facts, before, now = pages(folder, old, new)
    return during.watch(facts, before, now, tells=True, **more)


def test_a_stream_asks_where_both_pages_answer(tmp_path: Path) -> None:
    plan = watched(tmp_path, shop(), shop("v1", "v2", **SPLIT))
    assert (plan["state"], plan["by"], plan["port"], plan["host"]) == ("asked", "here", 80, "shop.local")
    assert [each["ask"] for each in plan["paths"]] == ["/sms?text=prove+{nonce}+{n}"]
    assert plan["paths"][0]["entries"] == [["front", "v1"], ["front", "v2"]]
    assert plan["paths"][0]["kept"] == {}
    assert json.loads(json.dumps(plan)) == plan


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (shop(), shop(gateway={"ports": [8080]}), "no port is open both before and now"),
        (shop(routes={"/a": "front"}), shop(routes={"/b": "front"}), "no path was there before"),
    ],
)
def test_what_was_not_there_before_is_asked_by_nobody(tmp_path: Path, old: Json, new: Json, reason: str) -> None:
    plan = watched(tmp_path, old, new)
    assert (plan["state"], plan["reason"]) == ("skipped", reason)


def test_with_tls_switched_on_clients_come_where_they_came_before(tmp_path: Path) -> None:
    tls = {"tls": {"redirect": True}}
    assert watched(tmp_path, shop(), shop(gateway=tls))["port"] == 80
    assert watched(tmp_path, shop(gateway=tls), shop())["port"] == 80
    plan = watched(tmp_path, shop(gateway=tls), shop(gateway=tls))
    assert (plan["port"], plan["tls"]) == (443, True)


@pytest.mark.parametrize(
    ("old", "new", "by", "pace", "rate"),
    [
        ({}, {}, "here", 0, 20),
        ({"limits": {"per_client": "10/minute"}}, {}, "addresses", 7.5, 20),
        ({}, {"limits": {"per_client": "10/minute"}}, "addresses", 7.5, 20),
        ({}, {"limits": {"per_client": "40/second"}}, "here", 0.031, 20),
        ({}, {"limits": {"total": "10/second"}}, "here", 0, 5),
    ],
)  # fmt: skip
def test_a_stream_stays_below_the_limits_of_both_pages(
    tmp_path: Path, old: Json, new: Json, by: str, pace: float, rate: float
) -> None:
    plan = watched(tmp_path, shop(**old), shop(**new))
    assert (plan["by"], plan["pace"], plan["rate"]) == (by, pace, rate)
    job = during.job(plan, "192.0.2.90", 0.0)
    assert ("network" in job) == (by == "addresses")


def test_a_limit_for_all_that_has_no_room_leaves_the_stream_out(tmp_path: Path) -> None:
    plan = watched(tmp_path, shop(), shop(limits={"total": "60/minute"}))
    verdict, _ = during.judged(plan, {})
    assert (plan["state"], verdict.state) == ("configured", "configured")


def test_a_machine_that_may_not_ask_the_gateway_leaves_it_to_a_pod(tmp_path: Path) -> None:
    assert watched(tmp_path, shop(), shop(), away="it is behind 10.0.2.2")["by"] == "addresses"


# --- what the answers come to


class Crowd:
    """Answers of a stream, a tenth of a second apart; the change begins at 1 s and ends at 9 s."""

    def __init__(self, plan: Json) -> None:
        self.plan, self.at = plan, 0.0
        self.answers: list[Json] = []
        self.more: Json = {}
        for _ in range(8):
            self.asks("v1")

    def asks(self, version: str, back: str = "", *, client: int = 100, status: int = 200, **more: Any) -> None:
        pods = [f"front-{version}-5d4f-abcde", f"back-{back or version}-5d4f-abcde"] if status == 200 else []
        chain = f"front={version},back={back or version}" if status == 200 else ""
        answer = {"at": round(self.at, 1), "ms": 5.0, "client": client, "path": 0, "status": status}
        self.answers.append({**answer, "chain": chain, "pods": pods, "sent": "", "got": "", "error": "", **more})
        self.at += 0.1

    def seen(self) -> Json:
        steps = [
            ["release : Present | Apply what routes lead to", 1.2],
            ["release : Present | Wait until it is Ready", 2],
        ]
        given = {"answers": self.answers, "steps": steps, "mark": 1.0, "end": 9.0, "ended": "asked to"}
        return {**given, "refused": "", "error": "", "late": 0, **self.more}

    def verdict(self) -> tuple[str, str]:
        verdict, self.picture = during.judged(self.plan, self.seen())
        assert bool(verdict.look) == (verdict.state == "failed")
        return verdict.state, verdict.seen


@pytest.fixture
def grown(tmp_path: Path) -> Crowd:
    """One version, to which one is added that nobody may get."""
    new = shop("v1", "v2", weights={"v1": 100, "v2": 0}, sticky="cookie")
    return Crowd(watched(tmp_path, shop(), new))


@pytest.fixture
def shifted(tmp_path: Path) -> Crowd:
    """Weights that change, by a cookie."""
    old, new = ({**SPLIT, "weights": {"v1": share, "v2": 100 - share}} for share in (90, 40))
    return Crowd(watched(tmp_path, shop("v1", "v2", **old), shop("v1", "v2", **new)))


def test_a_change_that_nobody_notices_passes(grown: Crowd) -> None:
    for _ in range(30):
        grown.asks("v1")
    assert grown.verdict() == ("passed", "38 requests in 4 s: none failed; they met front v1")
    assert grown.picture["versions"] == {"front v1": [10, 10, 10, 8]}
    assert grown.picture["steps"] == [["Apply what routes lead to", 1.2], ["Wait until it is Ready", 2]]


def test_a_version_that_nobody_may_get_is_named_with_the_step(grown: Crowd) -> None:
    grown.at = 1.9
    for version in ("v2", "v1", "v2"):
        grown.asks(version)
    state, seen = grown.verdict()
    assert state == "failed"
    assert "2 met front v2, which neither the page before nor this one gives anybody" in seen
    assert 'first in step "Apply what routes lead to"' in seen
    assert grown.picture["foreign"] == [[1.9, "front v2"], [2.1, "front v2"]]


def test_a_call_to_a_version_that_is_not_the_callers_is_one_too(shifted: Crowd) -> None:
    shifted.asks("v2", "v1")
    state, seen = shifted.verdict()
    assert (state, "1 met back v1 behind front v2" in seen) == ("failed", True)


def test_a_pod_of_nobody_is_one_too(grown: Crowd) -> None:
    grown.asks("v7", pods=["other-5d4f-abcde", "back-v1-5d4f-abcde"])
    assert grown.verdict()[0] == "failed"


def test_a_pod_whose_deployment_is_gone_says_what_it_is(grown: Crowd) -> None:
    grown.asks("v1", pods=["old-name-5d4f-abcde", "back-v1-5d4f-abcde"])
    assert grown.verdict()[0] == "passed"


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        (0, "ConnectionRefusedError: refused", "1 x ConnectionRefusedError: refused on /"),
        (503, "", "1 x 503 on /"),
        (403, "", "1 x 403 on /"),
        (404, "", "1 x 404 on /"),
    ],
)
def test_a_request_that_fails_is_told_with_its_step(grown: Crowd, status: int, error: str, told: str) -> None:
    grown.at = 3.0
    grown.asks("v1", status=status, error=error)
    state, seen = grown.verdict()
    assert state == "failed"
    assert f'1 failed: {told} in step "Wait until it is Ready" (at 3.0 s)' in seen
    assert grown.picture["failures"] == [[3.0, status]]


@pytest.mark.parametrize("status", [301, 400, 429])
def test_what_the_page_or_the_app_says_is_no_failure(grown: Crowd, status: int) -> None:
    grown.asks("v1", status=status)
    assert grown.verdict()[0] == "passed"


def test_more_refusals_by_a_limit_than_answers_show_nothing(grown: Crowd) -> None:
    for _ in range(30):
        grown.asks("v1", status=429)
    state, seen = grown.verdict()
    assert (state, "30 of 38 were refused by a limit (429)" in seen) == ("failed", True)


def test_aborts_that_the_page_makes_are_tolerated(tmp_path: Path) -> None:
    services = {**FRONT, "front": {**FRONT["front"], "faults": {"abort": {"share": "5%", "status": 503}}}}
    crowd = Crowd(watched(tmp_path, shop(services=FRONT, **SPLIT), shop(services=services, **SPLIT)))
    crowd.answers.clear()
    for status in (200, 200, 200, 503):
        crowd.asks("v1", "v1", status=status)
    state, seen = crowd.verdict()
    assert (state, "1 aborted, as the page's faults say" in seen) == ("passed", True)


def test_who_keeps_a_cookie_keeps_the_version(shifted: Crowd) -> None:
    for _ in range(5):
        shifted.asks("v2", client=3, sent="v2")
    state, seen = shifted.verdict()
    assert (state, "nobody was moved without need" in seen) == ("passed", True)


def test_who_is_moved_though_the_version_is_there_is_counted_once(shifted: Crowd) -> None:
    for _ in range(3):
        shifted.asks("v1", client=3, sent="v2", got="v1")
        shifted.asks("v1", client=4, sent="v1")
    state, seen = shifted.verdict()
    assert (state, "1 of 2 who came back were moved without need" in seen) == ("failed", True)
    assert len(shifted.picture["moved"]) == 1


def test_who_is_moved_because_the_version_goes_is_none(tmp_path: Path) -> None:
    new = {"weights": {"v1": 100, "v2": 0}, "sticky": "cookie"}
    crowd = Crowd(watched(tmp_path, shop("v1", "v2", **SPLIT), shop("v1", "v2", **new)))
    crowd.asks("v2", client=3, sent="v2")
    crowd.asks("v1", client=3, sent="v2", got="v1")
    assert crowd.verdict()[0] == "passed"


def hashed(tmp_path: Path, old: int, new: int) -> Crowd:
    given = [
        shop("v1", "v2", weights={"v1": share, "v2": 100 - share}, sticky={"by": "hash", "hash": {"header": "x-user"}})
        for share in (old, new)
    ]
    return Crowd(watched(tmp_path, *given))


@pytest.mark.parametrize(("path", "state"), [("12", "passed"), ("21", "failed"), ("121", "failed"), ("1", "passed")])
def test_a_hash_moves_only_from_what_shrinks_to_what_grows(tmp_path: Path, path: str, state: str) -> None:
    crowd = hashed(tmp_path, 55, 45)
    for version in path:
        crowd.asks(f"v{version}", client=3)
    assert crowd.verdict()[0] == state


def test_without_a_word_of_the_app_the_cookie_tells(shifted: Crowd) -> None:
    shifted.plan["tells"] = False
    for value in ("v1", "v2"):
        shifted.asks("v1", client=3, sent="", got=value)
        shifted.asks("v1", client=3, sent=value)
    state, seen = shifted.verdict()
    assert (state, "told by the sticky cookie alone" in seen) == ("passed", True)
    shifted.asks("v1", client=3, sent="v2", got="v1")
    assert "1 of 1 who came back were moved without need" in shifted.verdict()[1]


def test_without_any_word_only_failures_count_and_it_says_so(tmp_path: Path) -> None:
    facts, before, now = pages(tmp_path, shop(), shop("v1", "v2", weights={"v1": 100, "v2": 0}, sticky="none"))
    crowd = Crowd(during.watch(facts, before, now))
    crowd.asks("v2")
    assert crowd.verdict() == ("passed", "9 requests in 1 s: none failed; nothing says which version answered")


def test_a_path_that_did_not_answer_before_is_left_out(grown: Crowd) -> None:
    grown.answers = [{**answer, "status": 503, "chain": "", "pods": []} for answer in grown.answers]
    grown.at = 3.0
    grown.asks("v1", status=503)
    state, seen = grown.verdict()
    assert (state, "nothing was there that users could have before it (/: 503)" in seen) == ("skipped", True)


def test_a_gateway_that_never_answers_is_no_reason_to_skip(grown: Crowd) -> None:
    grown.answers = [{**answer, "status": 0, "error": "TimeoutError"} for answer in grown.answers]
    state, seen = grown.verdict()
    assert (state, "not even before the change began: TimeoutError" in seen) == ("failed", True)


@pytest.mark.parametrize(
    ("more", "state", "told"),
    [
        ({"ended": "", "error": "error: lost"}, "failed", "broke off after 8 requests: error: lost"),
        ({"refused": "198.19.128.0/21 is in use"}, "failed", "refused: 198.19.128.0/21 is in use"),
        ({"answers": []}, "failed", "broke off after 0 requests"),
        ({"ended": "time"}, "passed", "only its first 1 s were watched"),
        ({"mark": None}, "failed", "cannot be read"),
    ],
)  # fmt: skip
def test_a_stream_that_is_cut_short_says_so(grown: Crowd, more: Json, state: str, told: str) -> None:
    grown.more = more
    found, seen = grown.verdict()
    assert (found, told in seen) == (state, True), seen


def test_an_answer_that_the_end_of_the_stream_cut_off_is_no_failure(grown: Crowd) -> None:
    grown.at = 895.0
    grown.asks("v1", status=0, error="TimeoutError")
    grown.more = {"ended": "time"}
    assert grown.verdict()[0] == "passed"


def test_a_first_word_that_comes_late_does_not_move_the_times() -> None:
    """What comes out of a pod is a moment on its way; the quickest line says best when the stream has begun."""
    lines = [
        '{"begun": true, "at": 0.0, "epoch": 101.5}',
        '[1.0, 4.0, 0, 0, 200, 0, "", ""]',
        '{"held": 0, "epoch": 100.0}',
    ]
    assert during.read(lines, [], mark=102.0, end=109.0)["mark"] == 2.0


def test_what_a_stream_says_is_read_with_the_steps_of_the_run() -> None:
    lines = [
        '{"begun": true, "at": 0.5, "epoch": 100.0}',
        '{"word": 1, "chain": "front=v1", "pods": ["front-v1-x-y"]}',
        '[0.1, 4.0, 0, 0, 200, 1, "", "v1"]',
        '[0.2, 1.0, 1, 0, 0, 0, "", "", "ConnectionRefusedError"]',
        '{"ended": "asked to", "sent": 2, "late": 1}',
        '{"held": 0, "error": ""}',
        "[0.3, 1.0, 1, 0,",
    ]
    steps = ['{"name": "release : Present | Wait", "began": 103.25}']
    seen = during.read(lines, steps, mark=102.0, end=109.0)
    assert (seen["mark"], seen["end"], seen["ended"], seen["late"]) == (2.0, 9.0, "asked to", 1)
    assert seen["steps"] == [["release : Present | Wait", 3.25]]
    first, second = seen["answers"]
    assert (first["chain"], first["pods"], first["got"], first["error"]) == ("front=v1", ["front-v1-x-y"], "v1", "")
    assert (second["status"], second["error"], second["pods"]) == (0, "ConnectionRefusedError", [])
