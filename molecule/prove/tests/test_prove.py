"""A proof passes on a release that is as its page says, names what is broken in one that is not, and leaves nothing."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from slipway.prove.planner import KINDS

from tests.support.kube import Kube

testinfra_hosts = ["ansible://controllers[0]"]

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "molecule/prove/pages/page.yml"
NAME = "slipway-test-prove"
PLACE = f"slipway-prove-{NAME}"
SAID = json.dumps({"prove_tells": True, "prove_paths": {"/": "/?ask={nonce}{n}"}})
# Seconds that a proof without alerts may take, its clients' start and end included.
SECONDS = 240


def only(claim: str) -> tuple[str, str]:
    """Leave out all but one kind of claim, where one is enough."""
    return "-e", json.dumps({"prove_skip": sorted(set(KINDS) - {claim})})


def play(*arguments: str, playbook: str = "playbooks/prove.yml") -> tuple[int, str]:
    """Run the playbook on the lab: its exit code, and all that it said."""
    done = subprocess.run(
        [
            "ansible-playbook",
            "--inventory=molecule/inventory",
            playbook,
            "-e",
            f"release={PAGE}",
            "-e",
            SAID,
            *arguments,
        ],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"},
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def report(state: Path) -> Path:
    """Where the lab's proofs of the release are reported."""
    return state / "report" / NAME


def claims(report: Path) -> dict[str, Any]:
    """The claims of the last proof: kind and state of each."""
    found = json.loads((report / "report.json").read_text())["claims"]
    return {claim["id"]: claim for claim in found}


def states(report: Path, state: str) -> set[str]:
    return {claim["kind"] for claim in claims(report).values() if claim["state"] == state}


def places(kube: Kube) -> set[str]:
    return {item["metadata"]["name"] for item in kube("get", "namespaces")["items"]}


@contextmanager
def patched(kube: Kube, kind: str, name: str, change: list[dict[str, Any]], namespace: str = NAME) -> Iterator[None]:
    """Change an object by hand, and put it back as it was."""
    before = kube("get", kind, name, f"--namespace={namespace}")
    kube.text("patch", kind, name, f"--namespace={namespace}", "--type=json", f"--patch={json.dumps(change)}")
    try:
        yield
    finally:
        back = [{"op": "replace", "path": "/spec", "value": before["spec"]}]
        kube.text("patch", kind, name, f"--namespace={namespace}", "--type=json", f"--patch={json.dumps(back)}")


def test_the_converged_release_was_proved(report: Path) -> None:
    assert states(report, "failed") == set()
    assert states(report, "passed") >= {"share", "sticky", "override", "chain", "shadow", "limit", "mtls", "access"}
    assert "<svg" in (report / "report.html").read_text()


def test_a_proof_passes_again_and_leaves_nothing(kube: Kube, report: Path) -> None:
    """Here with one claim: converging it twice has proved all of them twice."""
    started = time.monotonic()
    code, said = play(*only("share"))
    assert code == 0, said
    assert time.monotonic() - started < SECONDS
    assert f"{NAME}: " in said
    assert "changed=0" in said
    assert PLACE not in places(kube)
    assert states(report, "failed") == set()


def test_check_mode_asks_nothing(kube: Kube, report: Path) -> None:
    before = (report / "report.json").stat().st_mtime_ns
    code, said = play("--check")
    assert code == 0, said
    assert (report / "report.json").stat().st_mtime_ns == before
    assert PLACE not in places(kube)


def test_a_second_release_without_a_change_is_not_proved(report: Path) -> None:
    before = (report / "report.json").stat().st_mtime_ns
    code, said = play(playbook="finalization.yml")
    assert code == 0, said
    assert (report / "report.json").stat().st_mtime_ns == before


def test_weights_edited_by_hand_are_named(kube: Kube, report: Path) -> None:
    found = kube("get", "virtualservice", f"{NAME}-entry", f"--namespace={NAME}")["spec"]["http"]
    at, rule = next((index, each) for index, each in enumerate(found) if len(each.get("route", [])) > 1)
    change = [
        {"op": "replace", "path": f"/spec/http/{at}/route/{index}/weight", "value": 50}
        for index in range(len(rule["route"]))
    ]
    with patched(kube, "virtualservice", f"{NAME}-entry", change):
        code, said = play()
    assert code != 0
    assert states(report, "failed") == {"share"}
    assert "/ is shared 90 % v1, 10 % v2" in said
    assert "look at: kubectl" in said
    assert "Traceback" not in said
    assert PLACE not in places(kube)


def test_a_missing_mirror_is_named(kube: Kube, report: Path) -> None:
    found = kube("get", "virtualservice", "back", f"--namespace={NAME}")["spec"]["http"]
    change = [
        {"op": "remove", "path": f"/spec/http/{index}/mirrors"} for index, rule in enumerate(found) if "mirrors" in rule
    ]
    with patched(kube, "virtualservice", "back", change):
        code, _ = play(*only("shadow"))
    assert code != 0
    assert states(report, "failed") == {"shadow"}


def test_what_a_run_that_was_cut_off_has_left_goes(kube: Kube) -> None:
    labels = {"app.kubernetes.io/managed-by": "slipway-prove"}
    kube.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PLACE, "labels": labels}}])
    code, said = play(*only("share"))
    assert code == 0, said
    assert PLACE not in places(kube)
