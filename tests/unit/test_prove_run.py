"""A plan carried out: the real agent against a release on loopback, in the order that the plan wants."""

from __future__ import annotations

import datetime as dt
import json
import ssl
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from slipway import prove
from slipway.mesh.certificate import renew
from slipway.prove import jobs, run
from slipway.prove.reads import Reads
from slipway.prove.report import place, write
from slipway.prove.terminal import WIDTH, failures, summary
from slipway.release.planner import plan as planned
from slipway.release.spec import load
from slipway.status.collect import PROMETHEUS

from tests.support.prove import FakeCluster, Shop, ready_pod, served
from tests.support.release import page

pytestmark = pytest.mark.slow

Json = dict[str, Any]
ALERT = f"{PROMETHEUS}/api/v1/rules?type=alert"


def facts(folder: Path, **more: Any) -> Json:
    image = "example.org/app:1"
    versions = {"v1": image, "v2": image}
    given = {
        "name": "shop",
        "hosts": ["shop.local"],
        "weights": {"v1": 90, "v2": 10},
        "sticky": "cookie",
        "mtls": "strict",
        "services": {"front": {"calls": ["back"], "versions": versions}, "back": {"versions": versions}},
        "limits": {"per_client": "10/minute"},
        **more,
    }
    made: Json = planned(load(page(folder, given))).facts
    return made


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


def reads(plan: Json, promised: Json, answers: Json | None = None) -> Reads:
    """Looks at a cluster where each version lets its callers in, and nothing else is to be seen."""
    pods = [
        ready_pod(f"{own['deployment']}-5d4f-abcde", f"{own['deployment']}-5d4f")
        for declared in promised["services"].values()
        for own in declared["versions"].values()
    ]
    accounts = {
        str(promised["services"][row["service"]]["versions"][row["version"]]["deployment"]): [
            promised["services"][caller["service"]]["versions"][caller["version"]]["account"]
            for caller in row["callers"]
        ]
        or ["istio-ingressgateway"]
        for row in promised["access"]
    }

    def proxy(_: str, pod: str, __: str) -> Json:
        return {"principals": [f"x/ns/shop/sa/{name}" for name in accounts[pod.removesuffix("-5d4f-abcde")]]}

    clock = Clock()
    api = FakeCluster({"/api/v1/namespaces/shop/pods": pods, **(answers or {})})
    return Reads(api, proxy, plan, now=clock.now, sleep=clock.sleep)


def proved(promised: Json, shop: Shop) -> tuple[Json, prove.Report]:
    plan = prove.plan(promised, {"monitoring": False, "away": ""})
    targets = {"gateway": "192.0.2.92", **{each["host"]: "10.96.0.1" for each in promised["services"].values()}}
    with served(shop) as send:
        runner = run.Runner(plan, targets, lambda by, job, _: send(by, job), reads(plan, promised))
        seen = runner.observations()
    return plan, prove.judge(plan, seen)


def test_a_release_that_keeps_its_promises_passes(tmp_path: Path) -> None:
    promised = facts(tmp_path)
    _, report = proved(promised, Shop(promised))
    assert report.passed, failures(report, tmp_path)
    assert {verdict.kind for verdict in report.verdicts if verdict.state == "passed"} == {
        "access", "address", "chain", "limit", "mtls", "share", "sticky",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("broken", "value", "kinds", "said"),
    [
        ("shares", {"v1": 60, "v2": 40}, {"share"}, "got v2"),
        ("cookie_path", "/elsewhere", {"sticky"}, "has path /elsewhere instead of /"),
        ("follows", False, {"chain"}, "met front v2 → back v1"),
        ("bucket", None, {"limit"}, "at most"),
    ],
)
def test_what_is_broken_is_named(tmp_path: Path, broken: str, value: Any, kinds: set[str], said: str) -> None:
    promised = facts(tmp_path)
    shop = Shop(promised)
    setattr(shop, broken, value)
    _, report = proved(promised, shop)
    failed = [verdict for verdict in report.verdicts if verdict.state == "failed"]
    assert {verdict.kind for verdict in failed} == kinds
    text = failures(report, tmp_path)
    assert said in text
    assert "look at: kubectl" in text
    assert write(report, tmp_path) == 1
    assert any(line.startswith("  failed") for line in summary(report, tmp_path))
    assert max(map(len, summary(report, tmp_path))) <= max(WIDTH, len(str(tmp_path)) + 20)


def test_stages_come_in_order_and_the_load_of_alerts_ends_when_it_was_seen(tmp_path: Path) -> None:
    promised = facts(tmp_path, alerts={"Busy": {"when": "requests > 15/minute", "for": "1m"}})
    plan = prove.plan(promised, {})
    order: list[str] = []
    ended: list[bool] = []
    firing, quiet = threading.Event(), threading.Event()

    def send(by: str, job: Json, stop: threading.Event) -> Json:
        stage = next(each["stage"] for each in plan["experiments"] if each["id"] == job["experiments"][0]["id"])
        order.append(f"{stage} {by}")
        if stage == "alerts":
            assert job["network"] != prove.job(plan, "clients", "addresses", {"gateway": "x"})["network"]
            firing.set()
            for _ in range(500):
                if stop.is_set():
                    break
                threading.Event().wait(0.01)
            ended.append(stop.is_set())
        return {"experiments": {}}

    def state() -> Json:
        own = {"release": "shop", "namespace": "shop"}
        # The time of these looks passes at once: the thread with the load gets its turn here.
        name = "firing" if quiet.is_set() and firing.wait(10) else "inactive"
        quiet.set()
        return {"data": {"groups": [{"rules": [{"name": "Busy", "state": name, "labels": own}]}]}}

    targets = {"gateway": "192.0.2.92", **{each["host"]: "10.96.0.1" for each in promised["services"].values()}}
    looked = reads(plan, promised, {ALERT: state})
    seen = run.Runner(plan, targets, send, looked).observations()
    assert order.index("limits addresses") > max(order.index(each) for each in order if each.startswith("clients"))
    assert {each for each in order if each.startswith("clients")} >= {"clients addresses", "clients plain"}
    assert ended == [True]
    verdict = next(each for each in prove.judge(plan, seen).verdicts if each.kind == "alert")
    assert (verdict.state, "silent before" in verdict.seen) == ("passed", True), verdict.seen


def test_a_sender_that_says_nothing_fails_its_claims_with_its_words(tmp_path: Path) -> None:
    promised = facts(tmp_path)
    plan = prove.plan(promised, {"monitoring": False})
    targets = {"gateway": "192.0.2.92", **{each["host"]: "10.96.0.1" for each in promised["services"].values()}}
    looked = reads(plan, promised)
    runner = run.Runner(plan, targets, lambda by, *_: {"refused": f"{by}: it is behind 10.0.2.2"}, looked)
    report = prove.judge(plan, runner.observations())
    shares = next(each for each in report.verdicts if each.kind == "share")
    assert (shares.state, "addresses: it is behind 10.0.2.2" in shares.seen) == ("failed", True)


class Door:
    """A way past limits that notes when it is there."""

    def __init__(self, noted: list[str]) -> None:
        self.noted = noted

    def open(self) -> str:
        self.noted.append("open")
        return "value"

    def close(self) -> None:
        self.noted.append("close")


def test_limits_for_all_are_asked_when_the_way_past_them_is_gone(tmp_path: Path) -> None:
    promised = facts(tmp_path, limits={"total": "20/minute"})
    plan = prove.plan(promised, {"monitoring": False, "past": True})
    noted: list[str] = []

    def send(by: str, job: Json, _: threading.Event) -> Json:
        stages = {each["stage"] for each in job["experiments"]}
        noted.extend(f"{stage} {by} {job.get('past', 'without')}" for stage in stages)
        return {"experiments": {}}

    targets = {"gateway": "192.0.2.92", **{each["host"]: "10.96.0.1" for each in promised["services"].values()}}
    door: Any = Door(noted)
    run.Runner(plan, targets, send, reads(plan, promised), past=door).observations()
    assert (noted[0], noted[-2:]) == ("open", ["close", "total addresses without"])
    assert "clients addresses value" in noted

    def fail(by: str, *_: Any) -> Json:
        raise KeyboardInterrupt(by)

    noted.clear()
    with pytest.raises(KeyboardInterrupt):
        run.Runner(plan, targets, fail, reads(plan, promised), past=door).observations()
    assert noted == ["open", "close"]


ECHO = "import json, sys; print(json.dumps({'got': sys.stdin.read()}))"


@pytest.mark.parametrize(
    ("program", "stop", "said"),
    [
        (ECHO, False, {"got": "the job"}),
        ("import sys; sys.stdin.read(); sys.exit('no such pod')", False, {"refused": "no such pod"}),
        ("import sys; sys.stdin.read(); sys.exit(4)", False, {"refused": "it ended with 4 and said nothing"}),
        ("print('[1]')", False, {"refused": "what it said is no answer"}),
        ("import time; time.sleep(60)", False, {"refused": "no answer within 1 s"}),
        ("import time; time.sleep(60)", True, {"refused": ""}),
    ],
)
def test_a_program_is_handed_its_job_on_stdin(program: str, stop: bool, said: Json) -> None:
    ended = threading.Event()
    if stop:
        ended.set()
    assert run.carried_out([sys.executable, "-c", program], "the job", 1, ended) == said


def kubectl(folder: Path, script: str) -> run.Kubectl:
    program = folder / "kubectl"
    program.write_text(f"#!{sys.executable}\n{script}")
    program.chmod(0o755)
    return run.Kubectl(program, "slipway-prove-shop", str(folder / "kubeconfig"))


def test_an_agent_in_a_pod_is_run_by_kubectl(tmp_path: Path) -> None:
    script = (
        "import json, os, sys\n"
        "said = {'argv': sys.argv[1:], 'job': json.load(sys.stdin), 'proxy': os.environ.get('HTTPS_PROXY')}\n"
        "print(json.dumps(said))\n"
    )
    pods = kubectl(tmp_path, script)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HTTPS_PROXY", "http://192.0.2.1:3128")
        said = pods.send("plain", {"seconds": 1, "experiments": []}, threading.Event())
    assert said["job"] == {"seconds": 1, "experiments": [], "keep": "/kept/.json"}
    assert said["proxy"] is None
    assert said["argv"] == [
        f"--kubeconfig={tmp_path / 'kubeconfig'}", "exec", "--stdin", "--namespace=slipway-prove-shop", "plain",
        "--container=agent", "--", "/usr/bin/python3", "-I", "/prove/agent.py",
    ]  # fmt: skip


LOSING = """
import json, os, subprocess, sys
words = sys.argv[sys.argv.index("--") + 1:]
folder, program = os.path.dirname(sys.argv[0]), {program!r}
with open(folder + "/calls", "a") as file:
    file.write("job" if "/prove/agent.py" in words else "fetch")
    file.write(chr(10))
if "/prove/agent.py" not in words:
    os.execv(sys.executable, [sys.executable, "-I", "-c", words[3], folder + words[4]])
text = json.load(sys.stdin)
calls = open(folder + "/calls").read().split()
if {lost!r} == "before" and calls.count("job") == 1:
    sys.exit("error dialing backend: EOF")
text["keep"] = folder + text["keep"]
done = subprocess.run([sys.executable, "-I", program], input=json.dumps(text), capture_output=True, text=True)
print(done.stdout[:20] if {lost!r} == "after" else done.stdout)
sys.exit(done.returncode)
"""


@pytest.mark.parametrize(
    ("lost", "calls"),
    [("", ["job"]), ("before", ["job", "fetch", "job"]), ("after", ["job", "fetch"])],
)
def test_a_lost_connection_loses_no_answers_and_sends_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str, calls: list[str]
) -> None:
    monkeypatch.setattr(run, "PAUSE", 0.01)
    (tmp_path / "kept").mkdir()
    pods = kubectl(tmp_path, LOSING.format(program=str(prove.PROGRAM), lost=lost))
    step = {"to": "gateway", "port": 1, "host": "shop.local", "path": "/", "times": 3}
    experiment = {"id": "share-1.1", "clients": 1, "steps": [step]}
    given = {"seconds": 5, "nonce": "x", "targets": {"gateway": "127.0.0.1"}, "experiments": [experiment]}
    said = pods.send("addresses", given, threading.Event())
    assert len(said["experiments"]["share-1.1"]["answers"]) == 3
    assert (tmp_path / "calls").read_text().split() == calls


def test_an_agent_that_refuses_is_not_asked_again(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    pods = kubectl(tmp_path, LOSING.format(program=str(prove.PROGRAM), lost=""))
    step = {"to": "elsewhere", "port": 1, "host": "shop.local", "path": "/", "times": 1}
    given = {"seconds": 5, "nonce": "x", "targets": {}, "experiments": [{"id": "e", "clients": 1, "steps": [step]}]}
    said = pods.send("addresses", given, threading.Event())
    assert said["refused"] == "addresses: e asks elsewhere, which is none of the targets"
    assert (tmp_path / "calls").read_text().split() == ["job"]


def test_an_agent_on_this_machine_needs_no_kubectl(tmp_path: Path) -> None:
    given = {"seconds": 0, "experiments": [], "targets": {}, "nonce": "x"}
    said = kubectl(tmp_path, "raise SystemExit(9)").send("here", given, threading.Event())
    assert said["experiments"] == {}


def test_a_proxy_is_asked_by_the_agent_beside_it(tmp_path: Path) -> None:
    pods = kubectl(tmp_path, "import json, sys\nprint(json.dumps({'argv': sys.argv[2:]}))\n")
    assert pods.proxy("default", "front-1", "config_dump")["argv"] == [
        "exec", "--namespace=default", "front-1", "--container=istio-proxy", "--",
        "pilot-agent", "request", "GET", "config_dump",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="the proxy of front-1: container not found"):
        kubectl(tmp_path, "raise SystemExit('container not found')").proxy("default", "front-1", "config_dump")


def test_plan_and_observations_are_kept_for_another_look(tmp_path: Path) -> None:
    run.keep(tmp_path / "shop", plan={"a": 1}, observations={"b": 2})
    assert json.loads((tmp_path / "shop/plan.json").read_text()) == {"a": 1}
    assert json.loads((tmp_path / "shop/observations.json").read_text()) == {"b": 2}


def test_trusted_is_the_clusters_authority_beside_those_of_this_machine(tmp_path: Path) -> None:
    renew(tmp_path, ["shop.local"], "Authority", dt.datetime.now(dt.UTC))
    own, without = jobs.authorities(tmp_path / "ca.crt"), jobs.authorities(tmp_path / "none.crt")
    assert (tmp_path / "ca.crt").read_text() in own
    assert own.count("BEGIN CERTIFICATE") == without.count("BEGIN CERTIFICATE") + 1
    ssl.create_default_context(cadata=own)


@pytest.mark.parametrize(
    ("namespace", "expected"),
    [("default", "shop"), ("shop", "shop"), ("two", "shop.two"), ("shop-two", "shop.shop-two")],
)
def test_a_report_has_a_place_by_name_and_namespace(tmp_path: Path, namespace: str, expected: str) -> None:
    assert place(tmp_path, "shop", namespace) == tmp_path / expected


def test_a_slow_program_gets_all_of_a_large_job() -> None:
    slow = "import json, sys, time; time.sleep(1.5); print(json.dumps({'got': len(sys.stdin.read())}))"
    said = run.carried_out([sys.executable, "-c", slow], "x" * 300_000, 30, threading.Event())
    assert said == {"got": 300_000}
