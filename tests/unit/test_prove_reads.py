"""What is looked up beside requests, of a cluster that is a table: counts, rules, policies, targets, alerts, mail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from slipway import prove
from slipway.prove.reads import LISTENERS, Reads, mail_fault
from slipway.status.collect import PROMETHEUS

from tests.support.prove import FakeCluster, ready_pod
from tests.support.release import shipped

Json = dict[str, Any]
FACTS = shipped("sms-checker").facts
PLAN = prove.plan(FACTS, {"mail_sink": True})
PODS = "/api/v1/namespaces/default/pods"
RULES = f"{PROMETHEUS}/api/v1/rules?type=alert"
TARGETS = f"{PROMETHEUS}/api/v1/targets?state=active"
MAILS = "/api/v1/namespaces/box/services/mail:http/proxy/"
ALERT = "HighRequestRate"


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.at = 100.0

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


def reads(answers: Json, plan: Json = PLAN, proxy: Callable[[str, str, str], Any] | None = None, **more: Any) -> Reads:
    clock = Clock()
    asked = proxy or (lambda *_: {})
    return Reads(FakeCluster(answers), asked, plan, now=clock.now, sleep=clock.sleep, **more)


def deployment(service: str, version: str) -> str:
    return str(FACTS["services"][service]["versions"][version]["deployment"])


def pods() -> list[Json]:
    return [
        ready_pod(f"{own['deployment']}-77d-{letter}", f"{own['deployment']}-77d", namespace="default")
        for declared in FACTS["services"].values()
        for own in declared["versions"].values()
        for letter in ("a", "b")
    ]


def read(what: str, **about: Any) -> Json:
    return next(each for each in PLAN["reads"] if each["what"] == what and about.items() <= each.items())


def rules(*accounts: str) -> Json:
    named = [{"authenticated": {"principal_name": {"exact": f"x/ns/default/sa/{name}"}}} for name in accounts]
    return {"rules": {"policies": {"p": {"principals": named}}}}


def test_only_what_every_pod_has_counts_as_a_rule() -> None:
    def proxy(namespace: str, pod: str, path: str) -> Json:
        assert (namespace, path) == ("default", LISTENERS)
        return rules("one", "two") if pod.endswith("-a") else rules("one")

    looked = reads({PODS: pods()}, proxy=proxy)
    looked.configuration()
    assert looked.seen[read("rules")["id"]]["principals"] == ["x/ns/default/sa/one"]


def test_what_cannot_be_looked_up_is_said_and_fails_its_claim() -> None:
    def proxy(*_: str) -> Json:
        raise ValueError("the proxy of x: it is gone")

    looked = reads({PODS: pods()}, proxy=proxy)
    looked.configuration()
    name = read("rules")["id"]
    assert "it is gone" in looked.seen[name]["error"]
    claim = next(each for each in PLAN["claims"] if each["kind"] == "access")
    answers = [{"status": 403, "client": 0, "step": 0, "at": 0.0, "ms": 1.0}] * 6
    seen = {"experiments": {each: {"answers": answers} for each in claim["experiments"]}, "reads": looked.seen}
    verdict = next(each for each in prove.judge(PLAN, seen).verdicts if each.kind == "access")
    assert (verdict.state, "it is gone" in verdict.seen) == ("failed", True)


def test_a_policy_is_read_from_callers_that_have_pods() -> None:
    """A version that is parked has none, and is no reason to fail."""
    services: Json = {
        "front": {"calls": ["back"], "versions": {}},
        "back": {"calls": [], "versions": {}, "host": "back.default.svc.cluster.local", "timeout": "2s"},
    }
    for name, replicas in (("v1", 1), ("v2", 0)):
        services["front"]["versions"][name] = {"deployment": f"front-{name}", "sidecar": True, "replicas": replicas}
    held = {"id": "policy", "what": "policy", "service": "back", "kind": "timeout"}
    asked: list[str] = []

    def proxy(_: str, pod: str, __: str) -> Json:
        asked.append(pod)
        return {"match": {}, "route": {"cluster": "outbound|80||back.default.svc.cluster.local", "timeout": "2s"}}

    plan = {"namespace": "default", "services": services, "routes": [], "reads": [held]}
    looked = reads({PODS: [ready_pod("front-v1-77d-a", "front-v1-77d", namespace="default")]}, plan, proxy)
    looked.configuration()
    assert looked.seen == {"policy": {"found": True, "detail": "a timeout of 2s"}}
    assert asked == ["front-v1-77d-a"]


def counts(steps: list[int]) -> Callable[[], str]:
    """A proxy's count, which moves on each time that it is read."""
    left = iter(steps)
    last = [0]

    def text() -> str:
        last[0] = next(left, last[0])
        return f'envoy_cluster_upstream_rq{{response_code="200",cluster_name="inbound|8080||"}} {last[0]}\n'

    return text


def test_copies_are_counted_when_nothing_moves_any_more() -> None:
    own = f"{PODS}/{deployment('model-service', 'v3')}-77d-"
    answers = {PODS: pods(), f"{own}a:15090/proxy/stats/prometheus": counts([5] * 7 + [5, 20, 25]),
               f"{own}b:15090/proxy/stats/prometheus": counts([1] * 7 + [10])}  # fmt: skip
    looked = reads(answers)
    looked.copies("before")
    looked.copies("after")
    seen = looked.seen[read("copies")["id"]]
    assert (seen["before"], seen["after"], seen["source"]) == (6, 35, "proxy")
    assert seen["seconds"] > 6


def test_copies_that_nobody_counted_before_are_no_number() -> None:
    looked = reads({PODS: pods()})
    looked.copies("before")
    looked.copies("after")
    assert "there is no" in looked.seen[read("copies")["id"]]["error"]


def target(service: str, health: str = "up", namespace: str = "default") -> Json:
    return {"labels": {"namespace": namespace, "service": service}, "health": health, "lastError": ""}


def test_targets_may_come_a_moment_later() -> None:
    said = iter(
        [
            [],
            [target("app-service"), target("model-service", "unknown")],
            [target("app-service"), target("model-service")],
        ]
    )
    answers = {TARGETS: lambda: {"data": {"activeTargets": next(said)}}}
    one = {**PLAN, "reads": [read("targets", service="app-service")]}
    looked = reads(answers, one)
    looked.targets(200)
    assert looked.seen["targets.app-service"] == {"up": 1, "down": 0, "errors": []}


def test_a_target_that_stays_down_is_told_when_time_is_up() -> None:
    held = [target("app-service", "down"), target("app-service"), target("app-service", namespace="else")]
    looked = reads(
        {TARGETS: {"data": {"activeTargets": held}}}, {**PLAN, "reads": [read("targets", service="app-service")]}
    )
    looked.targets(120)
    assert looked.seen["targets.app-service"] == {"up": 1, "down": 1, "errors": ["never read: down"]}


def rule(state: str, **labels: str) -> Json:
    own = {"release": "sms-checker", "namespace": "default", **labels}
    return {"data": {"groups": [{"rules": [{"name": ALERT, "state": state, "labels": own}]}]}}


@pytest.mark.parametrize(
    ("states", "before"),
    [
        ([rule("inactive")], "inactive"),
        ([{"data": {"groups": []}}, rule("firing"), rule("pending"), rule("inactive")], "inactive"),
        ([rule("firing")], "firing"),
        ([rule("inactive", release="another")], "not loaded"),
    ],
)
def test_alerts_have_to_be_loaded_and_silent_before_any_load(states: list[Json], before: str) -> None:
    left = iter(states)
    last = [states[-1]]

    def answer() -> Json:
        last[0] = next(left, last[0])
        return last[0]

    looked = reads({RULES: answer})
    looked.quiet(150)
    assert looked.seen[read("alert")["id"]]["before"] == before


def test_a_prometheus_that_does_not_answer_is_told() -> None:
    looked = reads({})
    looked.quiet(110)
    assert "could not be asked" in looked.seen[read("alert")["id"]]["error"]


def notified(asked: int, failed: int) -> str:
    name = 'alertmanager_notification_requests{0}_total{{integration="email"}} {1}\n'
    return name.format("", asked) + name.format("_failed", failed)


def watched(states: list[str], mails: list[list[Json]], tries: list[tuple[int, int]], sink: bool = True) -> Json:
    """Follow one alert; each list goes on by one with each time that it is asked for."""

    def steps(given: list[Any], make: Callable[[Any], Any]) -> Callable[[], Any]:
        left: Iterator[Any] = iter(given)
        last = [given[0]]

        def answer() -> Any:
            last[0] = next(left, last[0])
            return make(last[0])

        return answer

    answers = {
        RULES: steps(states, rule),
        MAILS: steps(mails, lambda held: {"mails": held}),
        "/api/v1/namespaces/monitoring/services/alertmanager:http-web/proxy/metrics": steps(
            tries, lambda pair: notified(*pair)
        ),
    }
    looked = reads(answers, sink=["box", "mail"] if sink else None)
    name = read("alert")["id"]
    expect = next(each for each in PLAN["claims"] if each["kind"] == "alert")["expect"]
    looked.seen[name] = {"before": "inactive"}
    looked.watch(100.0, {name: expect})
    return looked.seen[name]


def mail(to: str = "team8@example.org", text: str = f"[FIRING:1] {ALERT}") -> Json:
    return {"to": [to], "text": text}


NO_MAIL: list[list[Json]] = [[]]


@pytest.mark.parametrize(
    ("states", "mails", "tries", "sink", "mailed"),
    [
        (["inactive", "pending", "firing"], [[], [], [mail()]], [(0, 0)], True, "read"),
        (["inactive", "firing"], [[mail()]], [(0, 0)], True, "none"),
        (["firing"], [[], [mail("other@example.org")]], [(0, 0), (1, 0)], True, "handed over"),
        (["firing"], [[], [mail(text="High=\r\nRequestRate")]], [(0, 0)], True, "read"),
        (["firing"], NO_MAIL, [(4, 1), (5, 1)], False, "handed over"),
        (["firing"], NO_MAIL, [(4, 1), (5, 2)], False, "none"),
    ],
)
def test_an_alert_is_followed_to_its_mail(
    states: list[str], mails: list[list[Json]], tries: list[tuple[int, int]], sink: bool, mailed: str
) -> None:
    seen = watched(states, mails, tries, sink)
    assert (seen["before"], seen["mail"]) == ("inactive", mailed)
    assert seen["fired_after"] == 2.0 * (len(states) - 1)
    if mailed == "none" and not sink:
        assert "1 of 1 tries failed" in seen["mail_error"]


NOTIFY = (
    'time=2026-11-21T17:00:00Z level=WARN source=notify.go:866 msg="Notify attempt failed, will retry later" '
    "component=dispatcher receiver=default/email-config/mail integration=email[0] "
    'aggrGroup="{{}}/{{release=\\"sms-checker\\"}}:'
    '{{alertname=\\"{alert}\\"}}" attempts=1 err="{err}"\n'
)


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("", ""),
        (
            NOTIFY.format(alert=ALERT, err="*email.loginAuth auth: 535 5.7.8 wrong"),
            "*email.loginAuth auth: 535 5.7.8 wrong",
        ),
        # The last one of this alert counts, whatever others are said.
        (
            NOTIFY.format(alert=ALERT, err="first")
            + NOTIFY.format(alert=ALERT, err="dial tcp: lookup smtp.example.org on 10.96.0.10:53: no such host")
            + NOTIFY.format(alert="Another", err="third"),
            "dial tcp: lookup smtp.example.org on 10.96.0.10:53: no such host",
        ),
        (NOTIFY.format(alert="Another", err="third"), ""),
        (NOTIFY.format(alert=ALERT, err='said \\"no\\"').replace("integration=email", "integration=webhook"), ""),
        # A log of before groups were named in it.
        ("level=warn receiver=default/email-config/mail integration=email[0] err=EOF\n", "EOF"),
        ("level=warn receiver=other/email-config/mail integration=email[0] err=EOF\n", ""),
        # Nothing of what a server repeats.
        (NOTIFY.format(alert=ALERT, err="535 bad password hunter2 for team"), "535 bad password(not shown) for team"),
        (NOTIFY.format(alert=ALERT, err="501 c3VwZXJzZWNyZXRwYXNz= is not it"), "501 (not shown) is not it"),
    ],
)
def test_why_mail_was_not_taken_is_in_alertmanagers_log(log: str, said: str) -> None:
    assert mail_fault(log, ALERT, "default") == said


def test_the_words_of_the_releases_own_alertmanager_stand_in_the_verdict() -> None:
    metrics = "/api/v1/namespaces/{}/services/{}:http-web/proxy/metrics"
    tries = iter([notified(0, 0)])
    own = "/api/v1/namespaces/default"
    selected = f"{own}/pods?labelSelector=alertmanager%3Demail-alert%2Capp%3Dmail"
    looked = reads(
        {
            RULES: rule("firing"),
            metrics.format("default", "email-alert"): lambda: next(tries, notified(3, 3)),
            f"{own}/services/email-alert": {"spec": {"selector": {"app": "mail", "alertmanager": "email-alert"}}},
            selected: [ready_pod("alertmanager-email-alert-0", namespace="default")],
            f"{own}/pods/alertmanager-email-alert-0/log?container=alertmanager&tailLines=200": NOTIFY.format(
                alert=ALERT, err="establish connection to server: connection refused"
            ),
        },
        alertmanagers=(("monitoring", "alertmanager"), ("default", "email-alert")),
    )
    name = read("alert")["id"]
    expect = next(each for each in PLAN["claims"] if each["kind"] == "alert")["expect"]
    looked.seen[name] = {"before": "inactive"}
    # Two looks: it fires, and its mail has been tried.
    looked.watch(looked.now(), {name: {**expect, "within": 3.0}})
    assert looked.seen[name]["mail_error"] == (
        "3 of 3 tries failed: establish connection to server: connection refused"
    )


def test_an_alert_that_stays_silent_is_given_up_in_time() -> None:
    seen = watched(["pending"], NO_MAIL, [(0, 0)])
    assert seen["fired_after"] is None
