"""What the callback does besides printing."""

from __future__ import annotations

import importlib.util
import json
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "plugins/callback/slipway.py"


@pytest.fixture(scope="module")
def callback() -> Any:
    spec = importlib.util.spec_from_file_location("slipway_callback", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_log_is_its_users_alone(callback: Any, tmp_path: Path) -> None:
    log = tmp_path / "ansible.log"
    log.touch(mode=0o644)
    callback.keep_private(str(log))
    assert mode(log) == 0o600


def test_what_is_no_file_keeps_its_mode(callback: Any, tmp_path: Path) -> None:
    """A run without a log names /dev/null: whoever runs it as root would take it from everybody."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    pipe.chmod(0o666)
    callback.keep_private(str(pipe))
    assert mode(pipe) == 0o666
    for nothing in (None, "", str(tmp_path / "gone")):
        callback.keep_private(nothing)


class Run:
    """Tells a callback what Ansible would tell it, and keeps what it says."""

    def __init__(self, callback: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told = callback.CallbackModule()
        self.said: list[str] = []
        shown = vars(self.told)["_display"]
        monkeypatch.setattr(shown, "display", lambda text, **_more: self.said.append(text))

    def play(self, name: str) -> None:
        self.told.v2_playbook_on_play_start(SimpleNamespace(get_name=lambda: name))

    def task(self, name: str, *outcomes: Any, role: str = "", handler: bool = False) -> None:
        """Begin a task; each outcome is ``None`` (done), a failed result, or text (unreachable)."""
        owner = SimpleNamespace(get_name=lambda: role) if role else None
        task = SimpleNamespace(get_name=lambda: name, _role=owner)
        if handler:
            self.told.v2_playbook_on_handler_task_start(task)
        else:
            self.told.v2_playbook_on_task_start(task, False)
        for number, outcome in enumerate(outcomes):
            host = SimpleNamespace(get_name=lambda number=number: f"node-{number}")
            if outcome is None:
                self.told.v2_runner_on_ok(SimpleNamespace(_host=host, _result={}))
            elif isinstance(outcome, str):
                self.told.v2_runner_on_unreachable(SimpleNamespace(_host=host, _result={"msg": outcome}))
            else:
                self.told.v2_runner_on_failed(SimpleNamespace(_host=host, _result=outcome))

    def end(self, *lines: str, met: str = "") -> str:
        stats = SimpleNamespace(
            custom={"_run": {"slipway": list(lines), "clients_met": [met] if met else []}},
            processed={"node-0": 1},
            summarize=lambda host: {"ok": 1, "host": host},
        )
        self.told.v2_playbook_on_stats(stats)
        return "\n".join(self.said)


@pytest.fixture
def run(callback: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("SLIPWAY_TIMES", raising=False)
    return Run(callback, monkeypatch)


def test_the_closing_table_counts_what_ran_and_leaves_out_phases_that_did_nothing(run: Run) -> None:
    run.play("Prepare nodes")
    run.task("Set the name", None, None)
    run.task("For another provider")
    run.task("Restart it", None, handler=True)
    run.play("A part that is off")
    run.task("Never", *[])
    run.play("A play without tasks")
    text = run.end("kubectl works now")
    rows = {line[:24].strip(): line.split()[-1] for line in text.splitlines() if line and line[-1].isdigit()}
    assert rows == {"Prepare nodes": "2", "all": "2"}
    assert text.endswith("kubectl works now")


def test_the_report_keeps_every_phase_and_task(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_TIMES", str(tmp_path / "times.json"))
    run.play("Prepare nodes")
    run.task("Set the name", None, role="host")
    run.play("A part that is off")
    run.task("Never")
    run.end()
    report = json.loads((tmp_path / "times.json").read_text())
    tasks = [(phase["name"], task["role"], task["ran"]) for phase in report["phases"] for task in phase["tasks"]]
    assert tasks == [("Prepare nodes", "host", True), ("A part that is off", "", False)]
    assert all(phase["began"] <= phase["ended"] for phase in report["phases"])
    assert report["hosts"] == {"node-0": {"ok": 1, "host": "node-0"}}


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"msg": "no such package"}, "no such package"),
        ({"msg": "non-zero return code", "stderr": "disk full"}, "disk full"),
        ({"msg": "", "exception": "it broke"}, "it broke"),
        ({}, "no reason given"),
        ({"censored": "hidden", "msg": "password"}, "its output holds secrets and is not shown"),
    ],
    ids=["message", "stderr", "exception", "nothing", "secret"],
)
def test_a_failure_is_named_with_its_machine_phase_and_step(run: Run, result: dict[str, str], text: str) -> None:
    run.play("Prepare nodes")
    run.task("Set the name", None, result)
    said = run.end("kubectl works now", met="what clients met")
    assert "FAILED on node-1, phase Prepare nodes, step: Set the name\n  " + text in said
    assert "the same command goes on from there" in said
    assert "password" not in said
    assert "kubectl works now" not in said
    assert said.index("what clients met") < said.index("FAILED on")


@pytest.mark.parametrize(
    ("delegate", "said"),
    [
        ("ctrl", "FAILED on ctrl (for node-0), phase Workers, step: Ask for a token"),
        ("node-0", "FAILED on node-0, phase Workers"),
        (None, "FAILED on node-0, phase Workers"),
    ],
)
@pytest.mark.parametrize("hidden", [True, False])
def test_a_failure_names_the_machine_on_which_the_step_ran(
    run: Run, delegate: str | None, said: str, hidden: bool
) -> None:
    run.play("Workers")
    run.task("Ask for a token")
    host = SimpleNamespace(get_name=lambda: "node-0")
    result = {"censored": "hidden"} if hidden else {"msg": "no"}
    run.told.v2_runner_on_failed(
        SimpleNamespace(_host=host, _result=result, _task=SimpleNamespace(delegate_to=delegate))
    )
    text = run.end()
    assert said in text
    assert not hidden or f"run the step by hand on {delegate or 'node-0'} to see it" in text


def test_a_rescue_that_says_where_to_look_is_told_with_the_step_that_began_it(run: Run) -> None:
    run.play("Load balancer")
    run.task("Declare the addresses", {"msg": "no webhook answers"})
    run.task("Say where to look", {"msg": "no webhook answers\nlook at: kubectl get pods"})
    run.task("Go on", {"msg": "something else"})
    said = run.end()
    assert said.count("no webhook answers") == 1
    assert "step: Declare the addresses\n  no webhook answers\n  look at: kubectl get pods" in said
    assert "step: Go on\n  something else" in said


def test_a_failure_that_the_playbook_allows_is_no_failure(run: Run) -> None:
    run.play("Prepare nodes")
    run.task("Ask")
    host = SimpleNamespace(get_name=lambda: "node-0")
    run.told.v2_runner_on_failed(SimpleNamespace(_host=host, _result={"msg": "no"}), ignore_errors=True)
    assert "FAILED" not in run.end()


def test_a_machine_that_is_gone_is_named_with_what_to_look_at(run: Run) -> None:
    run.play("Prepare nodes")
    run.task("Set the name", "timed out")
    said = run.end()
    assert "cannot be reached: timed out" in said
    assert "vagrant status" in said


def test_a_run_without_a_task_says_only_what_plays_left(run: Run) -> None:
    run.play("Nothing")
    assert run.end("done") == "done"


def test_a_task_can_have_the_beginnings_of_later_steps_written_down(callback: Any, tmp_path: Path) -> None:
    told, steps = callback.CallbackModule(), tmp_path / "steps"

    def task(name: str, **result: Any) -> None:
        told.v2_playbook_on_task_start(SimpleNamespace(_role=None, get_name=lambda: name), is_conditional=False)
        if result is not None:
            told.v2_runner_on_ok(SimpleNamespace(_result=result))

    told.v2_playbook_on_play_start(SimpleNamespace(get_name=lambda: "play"))
    task("before")
    task("names it", slipway_steps=str(steps))
    task("first")
    told.v2_playbook_on_task_start(SimpleNamespace(_role=None, get_name=lambda: "skipped"), is_conditional=False)
    task("second")
    told.v2_runner_on_ok(SimpleNamespace(_result={}))
    task("ends it", slipway_steps="")
    task("after")
    assert [json.loads(line)["name"] for line in steps.read_text().splitlines()] == ["first", "second", "ends it"]


def test_a_machine_that_may_be_silent_is_no_failure(run: Run) -> None:
    run.play("Remove a node")
    run.task("Leave the cluster on the machine itself")
    host = SimpleNamespace(get_name=lambda: "node-1", groups=[], vars={})
    task = SimpleNamespace(ignore_unreachable=True, delegate_to=None)
    run.told.v2_runner_on_unreachable(SimpleNamespace(_host=host, _task=task, _result={"msg": "No route to host"}))
    said = run.end("node-1 did not answer")
    assert "FAILED" not in said
    assert "node-1 did not answer" in said


def test_a_host_of_the_users_own_is_told_by_how_one_gets_in(run: Run) -> None:
    run.play("Contact")
    run.task("Look at the machine")
    everybody = SimpleNamespace(depth=0, vars={"slipway_provider": "hosts"})
    known = {"ansible_host": "192.0.2.11", "ansible_user": "debian"}
    host = SimpleNamespace(get_name=lambda: "node-1", groups=[everybody], vars=known)
    run.told.v2_runner_on_unreachable(SimpleNamespace(_host=host, _result={"msg": "Host key verification failed."}))
    stuck = {
        "msg": "No start of json char found",
        "module_stdout": "",
        "module_stderr": "you must have a tty to run sudo",
    }
    run.told.v2_runner_on_failed(SimpleNamespace(_host=host, _result=stuck))
    said = run.end()
    assert "ssh-keyscan 192.0.2.11 >> ~/.ssh/known_hosts" in said
    assert "Defaults:debian !requiretty" in said
    assert "| you must have a tty to run sudo" in said
    assert "vagrant" not in said
