"""A release that keeps its promises passes; each thing broken fails the claim about it, and says what was seen."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slipway import prove
from slipway.prove import answers as shown
from slipway.release.planner import plan as planned
from slipway.release.spec import load

from tests.support.release import page, shipped

pytestmark = pytest.mark.slow

Json = dict[str, Any]


class World:
    """A cluster with a release on it that answers a plan's requests; attributes are what can be broken."""

    def __init__(self, facts: Json, plan: Json, seed: int = 1) -> None:
        self.facts, self.plan, self.random = copy.deepcopy(facts), plan, random.Random(seed)
        self.weights = {route["path"]: dict(route["shares"]) for route in self.facts["routes"]}
        self.cookie_values = dict(self.facts["sticky"].get("values", {}))
        self.cookie_path = "/"
        self.known_values = dict(self.cookie_values)
        self.limited_hosts = set(self.facts["hosts"])
        self.trusted_proxies = 0
        self.limit_everywhere = False
        self.cookie_on_429 = False
        self.tokens: int | None = None
        self.follows = True
        self.overrides = True
        self.pods: dict[str, str] = {}
        self.mirror = True
        self.shadow_answers = False
        self.mtls = True
        self.open_services: set[str] = set()
        self.failing = 0.0
        self.used: dict[Any, int] = {}
        self.mail = "handed over"
        self.before = "inactive"
        self.clock = 0.0

    def observations(self) -> Json:
        experiments = {item["id"]: {"answers": self.experiment(item)} for item in self.plan["experiments"]}
        return {"experiments": experiments, "reads": {read["id"]: self.read(read) for read in self.plan["reads"]}}

    def experiment(self, item: Json) -> list[Json]:
        answers = []
        for number in range(item["clients"]):
            jar: dict[str, str] = {}
            for position, step in enumerate(item["steps"]):
                for _ in range(step["times"]):
                    self.clock += 0.005
                    first, count = item.get("sources", [0, 1])
                    source = first + number % count
                    cookies = {**(jar if item["session"] else {}), **step.get("cookies", {})}
                    answer = self.inside(item, step) if item["by"] != "addresses" else self.ask(step, source, cookies)
                    for line in answer.get("cookies", []):
                        name, _, value = line.partition(";")[0].partition("=")
                        if f"Path={self.cookie_path}" in line and self.cookie_path == "/":
                            jar[name] = value
                    known = {"client": number, "step": position, "source": source, "at": self.clock, "ms": 4.0}
                    answers.append({**known, **answer})
        return answers

    def inside(self, item: Json, step: Json) -> Json:
        if item["by"] == "plain":
            return {"status": 403} if not self.mtls else {"status": 0, "error": "ConnectionResetError: reset"}
        return {"status": 200 if step["host"].partition(".")[0] in self.open_services else 403}

    def read(self, read: Json) -> Json:
        if read["what"] == "copies":
            asked = [item for item in self.plan["experiments"] if item["stage"] == "copies"]
            sent = sum(item["clients"] * item["steps"][0]["times"] for item in asked)
            return {"before": 7, "after": 7 + sent * self.mirror, "seconds": 3.0, "source": "app"}
        if read["what"] == "rules":
            rows = {self.deployment(row): row for row in self.facts["access"]}
            row = rows[read["deployment"]]
            if row["service"] in self.open_services:
                return {"principals": []}
            accounts = [self.account(caller) for caller in row["callers"]] or ["istio-ingressgateway"]
            return {"principals": [f"cluster.local/ns/x/sa/{account}" for account in accounts]}
        if read["what"] == "alert":
            return {"before": self.before, "fired_after": 130.0, "mail": self.mail, "mail_error": "535 refused"}
        if read["what"] == "panels":
            return {"panels": [{**panel, "state": "data"} for panel in read["panels"]]}
        return {"up": 2, "down": 0} if read["what"] == "targets" else {"found": True, "detail": "as planned"}

    def deployment(self, row: Json) -> str:
        return str(self.facts["services"][row["service"]]["versions"][row["version"]]["deployment"])

    def account(self, row: Json) -> str:
        return str(self.facts["services"][row["service"]]["versions"][row["version"]]["account"])

    def ask(self, step: Json, source: int, cookies: dict[str, str]) -> Json:
        host, headers = step["host"], step.get("headers", {})
        if self.limited(step, source, headers):
            name = self.facts["sticky"].get("cookie")
            return {"status": 429, "cookies": [f"{name}=v1; Path=/"] if self.cookie_on_429 else []}
        if host not in self.facts["hosts"]:
            return {"status": 200, "cookies": []}
        if self.random.random() < self.failing:
            return {"status": 503, "cookies": []}
        path = step["path"].partition("?")[0]
        route = next(r for r in self.facts["routes"] if r["path"] == "/" or f"{path}/".startswith(r["path"] + "/"))
        version, fresh = self.chosen(route, host, headers, cookies)
        pods = []
        hops = next(c["hops"] for c in self.facts["chains"] if (c["path"], c["version"]) == (route["path"], version))
        for index, service in enumerate(hops):
            own = version if index == 0 or self.follows else self.drawn({"v1": 90, "v2": 10})
            own = own if own in self.facts["services"][service]["versions"] else "v1"
            if self.shadow_answers and service == "model-service":
                own = "v3"
            deployment = self.facts["services"][service]["versions"][own]["deployment"]
            pods.append(self.pods.get(deployment, deployment) + "-5d4f-abcde")
        sticky = self.facts["sticky"]
        lines = []
        if fresh and sticky["by"] == "cookie":
            value = self.cookie_values[version]
            about = f"Path={self.cookie_path}; Max-Age={sticky['max_age']}"
            lines = ["app-session=x; Path=/", f"{sticky['cookie']}={value}; {about}"]
        return {"status": 200, "pods": pods, "cookies": lines}

    def chosen(self, route: Json, host: str, headers: Json, cookies: dict[str, str]) -> tuple[str, bool]:
        for override in self.facts["overrides"] if self.overrides else []:
            given = {"host": host, "header": headers.get(override["name"]), "cookie": cookies.get(override["name"])}
            if given[override["by"]] == override["value"]:
                return override["version"], False
        sticky = self.facts["sticky"]
        if sticky["by"] == "cookie":
            for version, value in self.known_values.items():
                if cookies.get(sticky["cookie"]) == value:
                    return version, False
        return self.drawn(self.weights[route["path"]]), True

    def drawn(self, shares: dict[str, int]) -> str:
        return self.random.choices(list(shares), list(shares.values()))[0]

    def limited(self, step: Json, source: int, headers: Json) -> bool:
        known = step["host"] in self.limited_hosts or self.limit_everywhere
        if not self.facts["limits"] or not known:
            return False
        client = headers.get("X-Forwarded-For", source) if self.trusted_proxies else source
        key = (client, None if self.limit_everywhere else (step["host"], step["port"]))
        self.used[key] = self.used.get(key, 0) + 1
        return self.used[key] > (self.tokens or self.facts["limits"][0]["bucket"]["max_tokens"])


def release(name: str, **changes: Any) -> Json:
    facts = copy.deepcopy(shipped(name).facts)
    return {**facts, **changes}


def outcome(facts: Json, breaks: Callable[[World], None] = lambda _: None, seed: int = 1, **known: Any) -> prove.Report:
    plan = json.loads(json.dumps(prove.plan(facts, known)))
    world = World(facts, plan, seed)
    breaks(world)
    return prove.judge(plan, json.loads(json.dumps(world.observations())))


def failed(report: prove.Report) -> dict[str, str]:
    return {verdict.kind: verdict.seen for verdict in report.verdicts if verdict.state == "failed"}


NAMES = ["hello", "sms-checker", "spam-detection", "app-frontend", "sentiment"]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", NAMES)
def test_a_release_that_keeps_its_promises_passes(name: str, seed: int) -> None:
    facts = release(name)
    report = outcome(facts, seed=seed)
    assert failed(report) == {}
    assert report.passed
    assert report.as_json()["counts"]["passed"] >= 5
    assert json.loads(json.dumps(report.as_json())) == report.as_json()


def weight(world: World) -> None:
    world.weights["/"] = {"v1": 70, "v2": 30}


def subset_label(world: World) -> None:
    world.pods["app-frontend-v2"] = "app-frontend-v1"


def no_limit(world: World) -> None:
    world.tokens = 10**6


def smaller_limit(world: World) -> None:
    world.tokens = 9


def other_host(world: World) -> None:
    world.limited_hosts = {"other.local"}


def limit_for_all(world: World) -> None:
    world.limit_everywhere = True


def mail_secret(world: World) -> None:
    world.mail = "none"


def alert_before(world: World) -> None:
    world.before = "firing"


def cookie_path(world: World) -> None:
    world.cookie_path = "/sms"


def cookie_value(world: World) -> None:
    world.cookie_values["v2"] = "v1"


def cookie_rule(world: World) -> None:
    world.known_values["v2"] = "other"


def no_mirror(world: World) -> None:
    world.mirror = False


def shadow_answers(world: World) -> None:
    world.shadow_answers = True


def no_mtls(world: World) -> None:
    world.mtls = False


def no_rule(world: World) -> None:
    world.open_services = {"model-service"}


def not_forwarded(world: World) -> None:
    world.follows = False


def trusted_proxies(world: World) -> None:
    world.trusted_proxies = 1


def cookie_on_429(world: World) -> None:
    world.cookie_on_429 = True


def no_override(world: World) -> None:
    world.overrides = False


def errors(world: World) -> None:
    world.failing = 0.05


@pytest.mark.parametrize(
    ("name", "breaks", "kind", "seen"),
    [
        ("app-frontend", weight, "share", "got v2"),
        ("app-frontend", subset_label, "sticky", "only v2 should be seen"),
        ("app-frontend", no_limit, "limit", "came through; at most 10 should"),
        ("app-frontend", smaller_limit, "limit", "request 10 is refused already"),
        ("app-frontend", other_host, "limit", "came through"),
        ("app-frontend", mail_secret, "alert", "was not handed over: 535 refused"),
        ("app-frontend", alert_before, "alert", "before any load it is firing"),
        ("app-frontend", cookie_path, "sticky", "has path /sms instead of /"),
        ("app-frontend", cookie_value, "sticky", "app-version=v1 instead of v2"),
        ("app-frontend", cookie_rule, "sticky", "only v2 should be seen"),
        ("sms-checker", no_mirror, "shadow", "0 copies of 40 requests instead of 40"),
        ("sms-checker", shadow_answers, "shadow", "v3 answered a user"),
        ("app-frontend", no_mtls, "mtls", "answered 403 to a client without mutual TLS"),
        ("app-frontend", no_rule, "access", "model-service answered a stranger in the mesh with 200 instead of 403"),
        ("app-frontend", not_forwarded, "chain", "a request for v"),
        ("app-frontend", trusted_proxies, "limit", "with X-Forwarded-For changing"),
        ("sentiment", limit_for_all, "limit", "answered 429 to a client that is over the limit elsewhere"),
        ("app-frontend", cookie_on_429, "limit", "a 429 sets the cookie app-version=v1"),
        ("sms-checker", no_override, "override", "only v2 should be seen"),
        ("app-frontend", errors, "share", "not answered with 200"),
    ],
)
def test_what_is_broken_is_named(name: str, breaks: Callable[[World], None], kind: str, seen: str) -> None:
    report = outcome(release(name), breaks)
    assert not report.passed
    assert seen in failed(report)[kind]
    verdict = next(verdict for verdict in report.verdicts if verdict.kind == kind and verdict.state == "failed")
    assert verdict.expected
    assert "kubectl" in verdict.look
    assert "{" not in verdict.look


def test_a_wrong_cookie_of_a_version_that_few_get_is_noticed_every_time() -> None:
    """One new client in ten gets v2: among the 24 that keep their cookies there may be none of them."""
    facts = release("app-frontend")
    unnoticed = [seed for seed in range(25) if "sticky" not in failed(outcome(facts, cookie_value, seed))]
    assert unnoticed == []


def test_nothing_seen_is_nothing_proved() -> None:
    plan = prove.plan(release("sms-checker"))
    report = prove.judge(plan, {})
    assert {verdict.state for verdict in report.verdicts} == {"failed"}


@pytest.mark.parametrize("answer", [{}, {"status": 200}, {"status": "x"}])
def test_observations_that_cannot_be_read_fail(answer: Json) -> None:
    plan = prove.plan(release("hello"))
    seen = {item["id"]: {"answers": [answer] * 2000} for item in plan["experiments"]}
    report = prove.judge(plan, {"experiments": seen, "reads": {read["id"]: {} for read in plan["reads"]}})
    assert {verdict.state for verdict in report.verdicts} == {"failed"}


def pod(deployment: str) -> str:
    """What Kubernetes calls a pod of a Deployment."""
    return f"{deployment}-6d4b75cb6d-"[:58] + "x7k2p"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("web", "web-v2"),
        ("w" * 46, "w" * 46 + "-v2"),
        # The second's name is cut in its pods', and none of the first's has an o or an e in that place.
        ("w" * 50, "w" * 50 + "-frontend-v2"),
        ("w" * 55 + "-v1", "w" * 55 + "-v2"),
        ("v" * 63, "w" * 63),
    ],
)
def test_pods_are_told_by_their_deployment_however_long_its_name(first: str, second: str) -> None:
    assert met(first, second, [pod(first), pod(second)]) == [("web", "v1"), ("web", "v2")]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("w" * 56 + "-v1", "w" * 56 + "-v2"),
        ("w" * 57, "w" * 57 + "-v2"),
        # Here the first's hash may be one that begins with v2.
        ("w" * 55, "w" * 55 + "-v2-new"),
    ],
)
def test_pods_whose_names_may_be_of_two_deployments_are_told_by_what_the_app_says(first: str, second: str) -> None:
    both = [pod(second)] * 2
    assert met(first, second, both, "front=v1,front=canary") == [("web", "v1"), ("web", "v2")]
    for said in ("", "front=v2", "front=v7,front=v8"):
        assert met(first, second, both, said) == [("?", both[0])] * 2


def test_a_pod_that_may_be_of_two_services_is_nobodys() -> None:
    services = {
        name: {"versions": {"v1": {"deployment": "w" * 58 + name, "label": "v1"}}} for name in ("front", "back")
    }
    answer = {"pods": [pod("w" * 58)], "chain": "front=v1"}
    assert shown.hops({"services": services}, "/", answer) == [("?", pod("w" * 58))]


def met(first: str, second: str, pods: list[str], chain: str = "") -> list[tuple[str, str]]:
    versions = {"v1": {"deployment": first, "label": "v1"}, "v2": {"deployment": second, "label": "canary"}}
    return shown.hops({"services": {"web": {"versions": versions}}}, "/", {"pods": pods, "chain": chain})


def test_a_withdrawn_version_keeps_nobody(tmp_path: Path) -> None:
    image = "example.org/app:1"
    values = {"name": "shop", "hosts": ["shop.local"], "weights": {"v1": 60, "v2": 40, "v3": 0},
              "services": {"front": {"calls": ["back"], "versions": dict.fromkeys(("v1", "v2", "v3"), image)},
                           "back": {"versions": dict.fromkeys(("v1", "v2", "v3"), image)}}}  # fmt: skip
    facts = planned(load(page(tmp_path, values))).facts

    def rolled_back(world: World) -> None:
        world.known_values.pop("v3")

    assert failed(outcome(facts, rolled_back)) == {}
    assert "still get v3" in failed(outcome(facts))["withdrawn"]


def test_jobs_hold_what_a_sender_needs_and_no_more() -> None:
    plan = prove.plan(release("app-frontend"))
    order = prove.stages(plan)
    assert [name for name, _ in order] == ["quiet", "copies", "clients", "limits", "last", "total", "alerts"]
    targets = {"gateway": "192.0.2.9", **{own["host"]: "10.96.0.7" for own in plan["services"].values()}}
    carried = set()
    for stage, senders in order:
        for by in senders:
            made = prove.job(plan, stage, by, targets, now=1e9)
            carried |= {item["id"] for item in made["experiments"]}
            assert ("gateway" in made["targets"], "network" in made, made["check_route"]) == (by == "addresses",) * 3
    assert carried == {item["id"] for item in plan["experiments"]}
    assert prove.job(plan, "alerts", "addresses", targets)["seconds"] >= 150
    first, second = (prove.job(plan, "clients", "addresses", targets, now=now)["offset"] for now in (0, 20))
    assert second - first >= plan["sources"]
    assert prove.PROGRAM.read_text(encoding="utf-8").startswith('"""Sends')


def test_what_an_agent_refused_is_said() -> None:
    plan = prove.plan(release("hello"))
    said: list[Json] = [{"refused": "192.0.2.9 is behind 10.0.2.2"}, {"experiments": {"a": {"answers": []}}}]
    seen = prove.observed(said, {"r": {"found": True}})
    assert (seen["experiments"], seen["reads"]) == ({"a": {"answers": []}}, {"r": {"found": True}})
    assert "was not carried out: 192.0.2.9 is behind 10.0.2.2" in failed(prove.judge(plan, seen))["share"]
