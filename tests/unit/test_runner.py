"""The runner counts what ran, names what did not, and can't be talked into green."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.runner import covered, junit
from tests.runner.__main__ import RECORD, Outcome, Screen, commit, outcomes, record, table, tree
from tests.runner.covered import figures
from tests.runner.long import LONG
from tests.runner.phases import ROOT, SCENARIOS, SHORT, Phase

pytestmark = pytest.mark.slow

REAL_SLEEP = time.sleep
FILE = """<testsuites><testsuite name="x">
<testcase name="a"/><testcase name="b"><failure message="no"/></testcase>
<testcase name="c"><error message="oh"/></testcase>
<testcase name="d"><skipped message="no hardware virtualisation"/></testcase></testsuite></testsuites>"""


def phase(name: str, command: tuple[str, ...] = ("true",), limit: int = 30, **more: Any) -> Phase:
    return Phase(name, f"phase {name}", command, limit, **more)


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs and reports of these tests are not those of the run that they are part of."""
    for name in ("LOGS", "REPORT"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(f"tests.runner.__main__.{name}", tmp_path / name)
    monkeypatch.setattr("tests.runner.__main__.PASSED", tmp_path / "passed.json")


def results(*phases: Phase, resume: bool = False) -> dict[str, str]:
    return {outcome.phase.name: outcome.result for outcome in outcomes(phases, resume, Screen())}


def test_a_junit_file_is_counted_by_outcome(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text(FILE)
    count = junit.read(tmp_path / "x.xml")
    assert (count.passed, count.failed, count.skipped) == (1, 2, 1)
    assert count.failures == ["x: b", "x: c"]
    assert count.reasons == ["x: d: no hardware virtualisation"]


@pytest.mark.parametrize("text", [None, '<testsuites><testsuite name="x"/></testsuites>'])
def test_a_suite_without_tests_has_failed(tmp_path: Path, text: str | None) -> None:
    if text:
        (tmp_path / "x.xml").write_text(text)
    assert junit.read(tmp_path / "x.xml").failures == ["x: no test has run"]


def test_a_phase_fails_with_its_command() -> None:
    assert results(phase("good"), phase("bad", ("false",))) == {"good": "passed", "bad": "failed"}


def test_a_phase_that_leaves_no_report_has_failed() -> None:
    assert results(phase("quiet", reports=("quiet.xml",))) == {"quiet": "failed"}


def test_a_phase_over_its_limit_is_stopped() -> None:
    (outcome,) = outcomes([phase("slow", ("sleep", "60"), limit=1)], False, Screen())
    assert (outcome.result, outcome.why) == ("failed", "stopped: over its limit of 1 s")
    assert outcome.seconds < 20


def test_phases_side_by_side_run_at_the_same_time(tmp_path: Path) -> None:
    """Each of the two waits for what only the other one does."""
    meet = "touch {0}; for _ in $(seq 200); do [ -e {1} ] && exit 0; sleep 0.05; done; exit 1"
    here, there = tmp_path / "here", tmp_path / "there"
    first = phase("first", ("sh", "-c", meet.format(here, there)))
    second = phase("second", ("sh", "-c", meet.format(there, here)), beside="first")
    assert results(first, second) == {"first": "passed", "second": "passed"}


def test_phases_follow_one_that_runs_along_in_their_turn_and_its_end_is_waited_for(tmp_path: Path) -> None:
    """The first ends only once the third has begun, and that one not before the second has ended."""
    met, order = tmp_path / "met", tmp_path / "order"
    wait = f"for _ in $(seq 200); do [ -e {met} ] && exec sleep 2; sleep 0.05; done; exit 1"
    first = phase("first", ("sh", "-c", wait), along=1)
    second = phase("second", ("sh", "-c", f"sleep 0.2; echo second >> {order}"))
    third = phase("third", ("sh", "-c", f"echo third >> {order}; touch {met}"), needs=("second",))
    assert results(first, second, third) == {"second": "passed", "third": "passed", "first": "passed"}
    assert order.read_text().split() == ["second", "third"]


def test_what_runs_along_comes_last_and_alone_where_memory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.runner.__main__.memory", lambda: (16000, 7152))
    order = tmp_path / "order"
    said = f"echo {{}} >> {order}"
    large = phase("large", ("sh", "-c", said.format("large")), along=8)
    small = phase("small", ("sh", "-c", said.format("small")), along=7)
    # Ends only after small has begun, which therefore runs along.
    wait = f"for _ in $(seq 200); do grep -qs small {order} && break; sleep 0.05; done; "
    other = phase("other", ("sh", "-c", wait + said.format("other")))
    assert results(large, small, other) == {"large": "passed", "small": "passed", "other": "passed"}
    assert order.read_text().split() == ["small", "other", "large"]
    assert "large comes last: beside others it needs 8 GB of memory, 7.5 are free" in capsys.readouterr().out


def test_of_phases_side_by_side_each_has_its_own_log_result_and_limit(tmp_path: Path) -> None:
    slow = phase("slow", ("sh", "-c", "echo of slow; sleep 60"), limit=1)
    bad = phase("bad", ("sh", "-c", "echo of bad; exit 3"), beside="slow")
    assert [(row.phase.name, row.why) for row in outcomes([slow, bad, phase("then")], False, Screen())] == [
        ("bad", "ended with 3"),
        ("slow", "stopped: over its limit of 1 s"),
        ("then", ""),
    ]
    assert {name: (tmp_path / "LOGS" / f"{name}.log").read_text() for name in ("slow", "bad")} == {
        "slow": "of slow\n",
        "bad": "of bad\n",
    }


def test_a_phase_runs_alone_where_its_neighbour_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert results(phase("first", skip="not today"), phase("second", beside="first"))["second"] == "passed"
    assert results(phase("second", beside="first")) == {"second": "passed"}
    monkeypatch.setattr("tests.runner.__main__.tree", lambda: "one")
    assert results(phase("first"), phase("second", ("false",), beside="first"))["first"] == "passed"
    again = results(phase("first", ("false",)), phase("second", beside="first"), resume=True)
    assert again == {"first": "passed before", "second": "passed"}


@pytest.mark.parametrize(("of_one", "of_two"), [({}, {"beside": "one"}), ({"along": 1}, {})], ids=["beside", "along"])
def test_an_interrupted_run_ends_every_phase_and_all_they_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_one: dict[str, Any], of_two: dict[str, Any]
) -> None:
    """Each phase is a shell that waits for a child of its own and writes down when it is asked to end."""
    script = "trap 'echo asked >> {0}; exit 1' INT; sh -c 'echo $$ > {0}; exec sleep 60'"
    files = [tmp_path / "one", tmp_path / "two"]
    one = phase("one", ("sh", "-c", script.format(files[0])), **of_one)
    two = phase("two", ("sh", "-c", script.format(files[1])), **of_two)

    def interrupt(seconds: float) -> None:
        REAL_SLEEP(seconds)
        if all(file.is_file() and file.read_text() for file in files):
            patch.undo()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tests.runner.__main__.time.sleep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            results(one, two)
    for file in files:
        child, *said = file.read_text().split()
        assert said == ["asked"]
        assert ended(int(child))


def ended(pid: int) -> bool:
    """Whether a process is gone, or dead and only not yet reaped by whoever adopted it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_the_line_of_phases_side_by_side_has_room_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().show("[1/2] lint  " + "l" * 200, "[2/2] unit  " + "u" * 200)
    (line,) = capsys.readouterr().out.splitlines()
    left, right = line.split(" | ")
    assert (left[:12], right[:12], len(line) <= 160) == ("[1/2] lint  ", "[2/2] unit  ", True)


def test_what_a_phase_has_to_tell_stands_in_the_table() -> None:
    (row,) = outcomes([phase("coverage", ("echo", "96.1 % of plugins/"), tells=True)], False, Screen())
    assert table([row], 1.0)[2].endswith("  96.1 % of plugins/")
    (row,) = outcomes([phase("coverage", ("sh", "-c", "echo 90 %, below 95 %; exit 1"), tells=True)], False, Screen())
    assert (row.result, row.why) == ("failed", "90 %, below 95 %")


@pytest.mark.parametrize(
    ("lines", "branches", "both", "enough"),
    [(96.0, 95.0, 95.8, True), (95.0, 95.0, 95.0, True), (99.9, 80.0, 94.96, False)],
)
def test_coverage_is_enough_when_lines_and_branches_together_reach_the_limit(
    lines: float, branches: float, both: float, enough: bool
) -> None:
    totals = {"percent_statements_covered": lines, "percent_branches_covered": branches, "percent_covered": both}
    said, fine = figures(totals, 95)
    assert fine is enough
    assert said.endswith("below 95 %") is not enough


def test_coverage_without_a_measurement_has_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert covered.main(tmp_path) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("nothing was measured")


def test_what_runs_side_by_side_stands_together_and_needs_nothing_of_each_other() -> None:
    for before, one in itertools.pairwise((*SHORT, *LONG)):
        if one.beside:
            assert one.beside == before.name
            assert before.name not in (*one.needs, *one.after)
    assert [one.name for one in (*SHORT, *LONG) if one.beside] == ["unit", "machines"]
    along = {one.name for one in (*SHORT, *LONG) if one.along}
    assert along == {"molecule"}
    assert not [one.name for one in (*SHORT, *LONG) if along & {*one.needs, *one.after, one.beside}]


def test_what_needs_a_failed_phase_is_skipped_and_says_so() -> None:
    (_, outcome) = outcomes([phase("up", ("false",)), phase("again", needs=("up",))], False, Screen())
    assert (outcome.result, outcome.why, outcome.count.skipped) == ("skipped", "needs up", 1)


def test_a_phase_that_is_not_run_says_why() -> None:
    (outcome,) = outcomes([phase("later", ("false",), skip="not built yet")], False, Screen())
    assert (outcome.result, outcome.why) == ("skipped", "not built yet")
    assert outcome.count.reasons == ["later: not built yet"]


def test_what_cleans_up_runs_after_a_failure_but_not_after_nothing() -> None:
    assert results(phase("up", ("false",)), phase("down", after=("up",)))["down"] == "passed"
    assert results(phase("x"), phase("up", needs=("y",)), phase("down", after=("up",)))["down"] == "passed"
    assert results(phase("y", ("false",)), phase("up", needs=("y",)), phase("down", after=("up",)))["down"] == "skipped"


def test_resuming_leaves_out_what_passed_on_the_same_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.runner.__main__.tree", lambda: "one")
    phases = (phase("a"), phase("b", ("false",)))
    assert results(*phases) == {"a": "passed", "b": "failed"}
    assert results(*phases, resume=True) == {"a": "passed before", "b": "failed"}
    monkeypatch.setattr("tests.runner.__main__.tree", lambda: "another")
    assert results(*phases, resume=True) == {"a": "passed", "b": "failed"}


def test_the_record_keeps_what_came_of_phases_that_were_not_run_now() -> None:
    kills, bench = (replace(phase, reports=()) for phase in LONG if phase.name in ("kills", "bench"))
    first = record([Outcome(bench, "passed", 61.0, junit.Count(passed=3)), Outcome(kills, "failed", 9.0)], "")
    then = record([Outcome(kills, "passed", 90.2, junit.Count(passed=4)), Outcome(bench, "skipped")], first)
    lines = [line for line in then.splitlines() if line.startswith(("| kills", "| bench"))]
    assert [line.split(" | ")[2:7] for line in lines] == [
        ["passed", "4", "0", "0", "90"],
        ["passed", "3", "0", "0", "61"],
    ]
    assert all(commit() in line for line in lines)


def test_what_a_run_writes_does_not_make_it_another_tree() -> None:
    before, kept = tree(), RECORD.read_bytes() if RECORD.is_file() else None
    try:
        RECORD.write_text("something else\n")
        assert tree() == before
    finally:
        if kept is None:
            RECORD.unlink()
        else:
            RECORD.write_bytes(kept)


def test_the_table_names_every_failure_and_every_skip() -> None:
    count = junit.Count(passed=1, failed=1, skipped=1, failures=["unit: b"], reasons=["unit: d: no disk"])
    text = "\n".join(table([Outcome(phase("unit"), "failed", 2.0, count)], 3.0))
    assert "failed   unit: b" in text
    assert "skipped  unit: d: no disk" in text


def test_every_scenario_has_its_place_in_the_order() -> None:
    assert {path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")} == {*SCENARIOS, "default"}


def test_every_phase_names_a_test_that_exists() -> None:
    names = {word for one in (*SHORT, *LONG) for word in one.command if word.startswith("tests/")}
    assert {name for name in names if not (ROOT / name.partition("::")[0]).exists()} == set()


def test_every_file_of_tests_has_a_phase_that_runs_it() -> None:
    words = {word.partition("::")[0] for one in (*SHORT, *LONG) for word in one.command if word.startswith("tests/")}
    named = {ROOT / word for word in words}
    files = ROOT.glob("tests/**/test_*.py")
    assert [str(file.relative_to(ROOT)) for file in sorted(files) if not named & {file, *file.parents}] == []


def test_phases_have_names_of_their_own_and_needs_that_come_before() -> None:
    seen: set[str] = set()
    for one in (*SHORT, *LONG):
        assert one.name not in seen
        assert {*one.needs, *one.after} <= seen
        seen.add(one.name)


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "seed"), [("random", r"\d+"), ("7", "7"), ("", "0")])
def test_the_seed_of_pages_at_random_is_printed(asked: str, seed: str) -> None:
    """Long runs try pages that nobody has tried; the seed of a run brings its own again."""
    command = next(phase.command for phase in LONG if phase.name == "pages")
    assert command[:2] == ("env", "SLIPWAY_FUZZ_SEED=random")
    good = [sys.executable, "-m", "pytest", "-q", "-k", "are_good", "tests/unit/test_settings_broken.py"]
    done = subprocess.run(
        good, cwd=ROOT, env={**os.environ, "SLIPWAY_FUZZ_SEED": asked}, capture_output=True, text=True, check=True
    )
    assert re.search(rf"SLIPWAY_FUZZ_SEED={seed} tries the same ones again", done.stdout)
