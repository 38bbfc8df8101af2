"""The actions of a proof name the pods that it needs, keep what was seen, and fail with the claims that do not hold."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from slipway.errors import SlipwayError

from tests.support.errors import refused
from tests.support.plugins import load, run_action


def prove(tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {
        "plan": {"release": "shop", "namespace": "shop"},
        "targets": {},
        "namespace": "slipway-prove",
        "kubeconfig": str(tmp_path / "kubeconfig"),
        "kubectl": "/bin/true",
        "folder": str(tmp_path / "report"),
        **more,
    }


@pytest.fixture
def proved(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Everything but the plugin itself: what the runner was given is noted."""
    noted: list[Any] = []

    class Runner:
        def __init__(self, plan: Any, _targets: Any, _send: Any, reads: Any, **more: Any) -> None:
            quiet, tell = more["quiet"], more["tell"]
            noted.append((plan["release"], quiet, reads))
            tell("clients")

        def observations(self) -> dict[str, Any]:
            return {"seen": 1}

    def reads(*_arguments: Any, **more: Any) -> Any:
        return more

    report = SimpleNamespace(as_json=lambda: {"counts": {"passed": 3}})
    monkeypatch.setattr("slipway.cluster.reader.Reader", lambda _path: None)
    monkeypatch.setattr("slipway.prove.reads.Reads", reads)
    monkeypatch.setattr("slipway.prove.run.Runner", Runner)
    monkeypatch.setattr("slipway.prove.run.keep", lambda folder, **kept: noted.append((folder, kept)))
    monkeypatch.setattr("slipway.prove.judge", lambda _plan, _seen: report)
    monkeypatch.setattr("slipway.prove.report.write", lambda _report, _folder: 0)
    monkeypatch.setattr("slipway.prove.terminal.summary", lambda _report, _folder: ["3 claims hold"])
    monkeypatch.setattr("slipway.prove.terminal.failures", lambda _report, _folder: "share of v1 does not hold")
    return noted


def test_a_proof_gives_its_lines_and_keeps_what_was_seen(tmp_path: Path, proved: list[Any]) -> None:
    note = tmp_path / "unproved"
    note.touch()
    result = run_action(load("action", "prove_run"), prove(tmp_path, alertmanager="mine", quiet=7, note=str(note)))
    assert not note.exists()
    assert (result["lines"], result["counts"]) == (["3 claims hold"], {"passed": 3})
    assert result["report"] == str(tmp_path / "report/shop/report.html")
    (release, quiet, reads), (folder, kept) = proved
    assert (release, quiet, folder) == ("shop", 7, tmp_path / "report/shop")
    assert kept["observations"] == {"seen": 1}
    # The release's own Alertmanager is asked besides the cluster's.
    assert (reads["alertmanagers"][1:], reads["sink"]) == ((("shop", "mine"),), None)


def test_a_token_is_for_the_runner_alone(tmp_path: Path, proved: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []

    class Runner:
        def __init__(self, *_: Any, **more: Any) -> None:
            given.append(more["token"])

        def observations(self) -> dict[str, Any]:
            return {"seen": 1}

    monkeypatch.setattr("slipway.prove.run.Runner", Runner)
    jwt = {"issuers": [{"issuer": "i", "audiences": [], "kinds": []}]}
    plan = {"release": "shop", "namespace": "shop", "jwt": jwt}
    result = run_action(load("action", "prove_run"), prove(tmp_path, plan=plan, token="a.b.c"))
    assert given == ["a.b.c"]
    assert "a.b.c" not in f"{result} {proved}"
    # A page without tokens gets none.
    run_action(load("action", "prove_run"), prove(tmp_path, token="a.b.c"))
    assert given == ["a.b.c", ""]


def test_the_same_page_in_another_namespace_has_a_report_of_its_own(tmp_path: Path, proved: list[Any]) -> None:
    given = prove(tmp_path, plan={"release": "shop", "namespace": "two"})
    assert run_action(load("action", "prove_run"), given)["report"] == str(tmp_path / "report/shop.two/report.html")
    assert proved[1][0] == tmp_path / "report/shop.two"


def test_a_claim_that_does_not_hold_fails_the_task(
    tmp_path: Path, proved: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.prove.report.write", lambda _report, _folder: 1)
    note = tmp_path / "unproved"
    note.touch()
    with pytest.raises(AnsibleActionFail, match="share of v1 does not hold"):
        run_action(load("action", "prove_run"), prove(tmp_path, note=str(note)))
    # What was seen is kept all the same, and it is proved the next time.
    assert note.exists()
    assert proved[1][0] == tmp_path / "report/shop"


@pytest.mark.usefixtures("proved")
def test_what_clients_met_meanwhile_is_a_claim_beside_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slipway.prove import Report

    monkeypatch.setattr("slipway.prove.judge", lambda _plan, _seen: Report("shop", "shop", [], {"shares": []}))
    written: list[Any] = []

    def write(report: Report, _folder: Path) -> int:
        written.append(report.as_json())
        return 0

    monkeypatch.setattr("slipway.prove.report.write", write)
    run_action(load("action", "prove_run"), prove(tmp_path, change=CHANGE))
    assert [claim["id"] for claim in written[0]["claims"]] == ["change-1"]
    assert written[0]["pictures"] == {"shares": [], "change": {"seconds": 1}}


VERDICT = {
    "id": "change-1",
    "kind": "change",
    "title": "t",
    "state": "failed",
    "expected": "e",
    "seen": "s",
    "look": "l",
}
CHANGE: dict[str, Any] = {"verdict": VERDICT, "picture": {"seconds": 1}}


def stream(tmp_path: Path, state: str, **more: Any) -> dict[str, Any]:
    plan = {"release": "shop", "namespace": "shop", "by": "here", "state": "asked"}
    given = {"target": "192.0.2.1", "namespace": "slipway-during-shop", "kubeconfig": "/none", "kubectl": "/bin/true"}
    return {"state": state, "plan": plan, "folder": str(tmp_path), **(given if state == "begun" else {}), **more}


def test_a_stream_is_begun_for_as_long_as_the_run_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[Any] = []
    monkeypatch.setattr("slipway.prove.beside.begin", lambda *given, **more: noted.append((given, more)))
    result = run_action(load("action", "prove_change"), stream(tmp_path, "begun"))
    assert result["slipway_steps"] == str(tmp_path / "shop/change-steps.jsonl")
    (((_, target, folder), more),) = noted
    assert (target, folder, more["pid"]) == ("192.0.2.1", tmp_path / "shop", os.getppid())
    plan = {**stream(tmp_path, "begun")["plan"], "by": "addresses"}
    with refused("program-missing: `make up` puts it there", AnsibleActionFail):
        run_action(load("action", "prove_change"), stream(tmp_path, "begun", plan=plan, kubectl="/none"))


@pytest.mark.parametrize(("alone", "found"), [(True, CHANGE), (False, CHANGE), (False, {})])
def test_a_stream_is_told_by_the_proof_that_follows_or_fails_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: bool, found: dict[str, Any]
) -> None:
    monkeypatch.setattr("slipway.prove.beside.end", lambda _plan, _folder: found)
    monkeypatch.setattr("slipway.prove.report.page", lambda _data: "")
    arguments = stream(tmp_path, "ended", alone=alone)
    if alone:
        with pytest.raises(AnsibleActionFail, match=r"1 claim of shop failed"):
            run_action(load("action", "prove_change"), arguments)
    else:
        result = run_action(load("action", "prove_change"), arguments)
        assert (result["change"], result["lines"], result["slipway_steps"]) == (found, [], "")
    assert (tmp_path / "shop/report.json").is_file() is bool(found)


def test_a_stream_is_planned_with_what_its_pod_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway.cluster.reader.Reader", lambda _path: None)
    monkeypatch.setattr("slipway.prove.beside.looked", lambda *_given, **_more: {"plan": {}, "clients": {}})
    arguments = {
        "state": "planned",
        "facts": {"release": "shop", "namespace": "shop"},
        "kubeconfig": "/none",
        "folder": str(tmp_path),
    }
    result = run_action(load("action", "prove_change"), arguments)
    assert "agent" in result["stream"]
    assert "def namespace" in result["program"]


def test_a_kubectl_that_is_not_there_is_told(tmp_path: Path) -> None:
    with refused("program-missing: `make up` puts it there", AnsibleActionFail):
        run_action(load("action", "prove_run"), prove(tmp_path, kubectl=str(tmp_path / "kubectl")))


def planned(monkeypatch: pytest.MonkeyPatch, experiments: list[dict[str, str]]) -> dict[str, Any]:
    found = SimpleNamespace(
        environment={},
        node="node-1",
        targets={"gateway": "192.0.2.90"},
        namespace="slipway-prove",
        stale=[],
        sink=None,
        hooks=None,
        limiter=None,
    )
    monkeypatch.setattr("slipway.cluster.reader.Reader", lambda _path: None)
    monkeypatch.setattr("slipway.prove.look.look", lambda *_arguments, **_more: found)
    plan = {"pods": {"client": {"sidecar": True, "labels": {}}}, "experiments": experiments}
    monkeypatch.setattr("slipway.prove.plan", lambda _facts, _environment: plan)
    arguments = {"facts": {"alertmanager": None}, "kubeconfig": "/none"}
    return run_action(load("action", "prove_plan"), arguments)


def test_a_plan_names_the_pods_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    result = planned(monkeypatch, [{"by": "cookies"}])
    assert list(result["clients"]) == ["client"]
    assert (result["changed"], result["sink"], result["alertmanager"]) == (False, [], "")
    assert "def " in result["program"]
    # Many source addresses can only come from the machine's own network.
    assert planned(monkeypatch, [{"by": "addresses"}])["clients"]["addresses"]["node"] == "node-1"


@pytest.mark.parametrize("said", ["api-silent: see `make status`", "a-rule: no gateway"])
def test_a_cluster_that_cannot_be_looked_at_is_told(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from slipway.cluster.access import UnansweredError

    def look(*_arguments: Any, **_more: Any) -> Any:
        raise UnansweredError("api-silent", "no answer") if "status" in said else SlipwayError("a-rule", "no gateway")

    monkeypatch.setattr("slipway.cluster.reader.Reader", lambda _path: None)
    monkeypatch.setattr("slipway.prove.look.look", look)
    with refused(said, AnsibleActionFail):
        run_action(load("action", "prove_plan"), {"facts": {}, "kubeconfig": "/none"})
