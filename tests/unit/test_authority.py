"""The files of a controller's CAs in each step of their rotation, also from where one was cut off."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import pytest
from slipway.node import authority, durable
from slipway.node.authority import ACCEPT, DROP, ISSUE, MANAGER, PRIVATE, PUBLIC, SIGNING, STEPS
from slipway.node.trust import blocks, trusted

from tests.support.authorities import authorities
from tests.unit.test_trust import kubeconfig

OLD, NEW = authorities("old"), authorities("new")
SIGNER = "    - --cluster-signing-cert-file=/etc/kubernetes/"
BEFORE = {
    **OLD,
    "admin.conf": kubeconfig(OLD["pki/ca.crt"]),
    "kubelet.conf": kubeconfig(OLD["pki/ca.crt"]),
    MANAGER: f"spec:\n  containers:\n  - command:\n    - --a=b\n{SIGNER}pki/ca.crt\n    - --root-ca-file=x\n",
}
WAITING = {authority.waiting(name): text for name, text in NEW.items()}


def after(step: str, here: dict[str, str]) -> dict[str, str]:
    """What a controller has when a step was done on it."""
    found: dict[str, str | None] = {**here, **WAITING, **authority.wanted(step, here, NEW)}
    return {name: text for name, text in found.items() if text is not None}


def parts(here: dict[str, str]) -> dict[str, list[str]]:
    """Which of the two sets each file has, in order."""
    names = {text: which for which, one in (("old", OLD), ("new", NEW)) for text in one.values()}
    found = {name: [names[block] for block in blocks(here[name])] for name in PUBLIC}
    return found | {name: [names[here[name]]] for name in PRIVATE}


def signer(here: dict[str, str]) -> str:
    return next(line for line in here[MANAGER].splitlines() if "signing" in line).removeprefix(SIGNER)


def test_each_step_has_its_files() -> None:
    accepting = after(ACCEPT, BEFORE)
    assert parts(accepting) == {name: ["old", "new"] for name in PUBLIC} | {name: ["old"] for name in PRIVATE}
    # kube-controller-manager refuses a file with two certificates.
    assert (signer(accepting), accepting[SIGNING]) == ("pki/signing.crt", OLD["pki/ca.crt"])
    assert trusted(accepting["admin.conf"]) == blocks(accepting["pki/ca.crt"])

    issuing = after(ISSUE, accepting)
    # The first one signs, for kubeadm, too.
    assert parts(issuing) == {name: ["new", "old"] for name in PUBLIC} | {name: ["new"] for name in PRIVATE}
    assert (signer(issuing), issuing[SIGNING]) == ("pki/signing.crt", NEW["pki/ca.crt"])
    assert trusted(issuing["kubelet.conf"]) == blocks(issuing["pki/ca.crt"])

    dropped = after(DROP, issuing)
    assert parts(dropped) == {name: ["new"] for name in (*PUBLIC, *PRIVATE)}
    assert signer(dropped) == "pki/ca.crt"
    assert SIGNING not in dropped
    assert trusted(dropped["admin.conf"]) == [NEW["pki/ca.crt"]]
    assert [authority.step_of(one, NEW) for one in (BEFORE, accepting, issuing, dropped)] == [0, 1, 2, 3]
    assert authority.step_of(dropped, {}) == 0


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_is_done_changes_nothing_and_nothing_goes_back(step: str) -> None:
    here = BEFORE
    states = []
    for name in STEPS[: STEPS.index(step) + 1]:
        here = after(name, here)
        states.append(here)
    assert authority.differing(here, authority.wanted(step, here, NEW)) == {}
    for earlier in STEPS[: STEPS.index(step)]:
        again = after(earlier, here)
        assert parts(again) == (parts(here) if earlier == ACCEPT or step != DROP else parts(after(ISSUE, here)))
        assert parts(again)["pki/ca.key"] == ["new"]
        assert parts(again)["pki/ca.crt"][0] == "new"


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_was_cut_off_anywhere_is_finished_by_itself(step: str, tmp_path: Path) -> None:
    """After any number of files."""
    before = BEFORE
    for name in STEPS[: STEPS.index(step)]:
        before = after(name, before)
    done = after(step, before)
    files = authority.differing({**before, **WAITING}, authority.wanted(step, before, NEW))
    order: list[str] = []
    for cut in range(len(files) + 1):
        root = str(tmp_path / str(cut))
        authority.place({**before, **WAITING}, root)
        authority.place(dict(itertools.islice(_in_order(files, order, root), cut)), root)
        here = authority.read_all(root)
        # It may not be seen that it has begun, but never more than that.
        assert authority.step_of(here, NEW) in (STEPS.index(step), STEPS.index(step) + 1)
        assert blocks(here["pki/ca.crt"])
        authority.place(authority.differing(here, authority.wanted(step, here, NEW)), root)
        assert authority.read_all(root) == {**done, **WAITING}


def _in_order(files: dict[str, str | None], order: list[str], root: str) -> list[tuple[str, str | None]]:
    """The files in the order in which they are written."""
    if not order:
        seen: dict[str, float] = {}
        real, removed = durable.write, os.unlink

        def written(text: str, path: str, mode: int) -> None:
            seen.setdefault(path.partition("/etc/kubernetes/")[2], len(seen))
            real(text, path, mode)

        def unlinked(path: str) -> None:
            if not path.endswith(".slipway"):
                seen.setdefault(path.partition("/etc/kubernetes/")[2], len(seen))
            removed(path)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(authority, "write", written)
            patch.setattr("os.unlink", unlinked)
            authority.place(files, f"{root}-order")
        order += seen
    assert sorted(order) == sorted(files)
    return [(name, files[name]) for name in order]


def test_the_manager_never_finds_two_certificates_where_it_signs(tmp_path: Path) -> None:
    """Its file comes before ca.crt has two, and goes after ca.crt has one again."""
    accept = authority.differing(BEFORE, authority.wanted(ACCEPT, BEFORE, NEW))
    order: list[str] = []
    _in_order(accept, order, str(tmp_path / "a"))
    assert order.index(SIGNING) < order.index(MANAGER) < order.index("pki/ca.crt")
    issuing = after(ISSUE, after(ACCEPT, BEFORE))
    drop = authority.differing(issuing, authority.wanted(DROP, issuing, NEW))
    order = []
    _in_order(drop, order, str(tmp_path / "b"))
    assert order.index("pki/ca.crt") < order.index(MANAGER) < order.index(SIGNING)


def test_what_a_rotation_that_nobody_can_finish_has_left_goes_with_the_next() -> None:
    """A backup of the time between brings two certificates, and not the new ones themselves."""
    other = authorities("newer")
    for here in (after(ACCEPT, BEFORE), after(ISSUE, after(ACCEPT, BEFORE))):
        left = {name: text for name, text in here.items() if name not in WAITING}
        assert authority.given(left) == {}
        wanted = authority.wanted(ACCEPT, left, other)
        assert blocks(str(wanted["pki/ca.crt"])) == [blocks(left["pki/ca.crt"])[0], other["pki/ca.crt"]]
        assert blocks(str(wanted["pki/sa.pub"])) == [blocks(left["pki/sa.pub"])[0], other["pki/sa.pub"]]


def test_new_ones_that_are_not_whole_are_none() -> None:
    assert authority.given(WAITING) == NEW
    assert authority.given({name: text for name, text in WAITING.items() if not name.endswith("sa.pub")}) == {}


@pytest.mark.parametrize(
    ("lost", "said"), [("pki/ca.key", "pki/ca.key is not there"), (MANAGER, "cluster-signing-cert-file")]
)
def test_a_cluster_whose_ca_is_kept_elsewhere_is_refused(lost: str, said: str) -> None:
    here = {name: text for name, text in BEFORE.items() if name != lost}
    with pytest.raises(authority.AuthorityError, match=said):
        authority.wanted(ACCEPT, here, NEW)


def test_files_are_for_root_alone_but_what_others_trust(tmp_path: Path) -> None:
    authority.place({**BEFORE, **WAITING}, str(tmp_path))
    folder = tmp_path / "etc/kubernetes"
    modes = {name: (folder / name).stat().st_mode & 0o777 for name in (*BEFORE, *WAITING)}
    assert {name for name, mode in modes.items() if mode == 0o644} == {
        name for name in modes if name.endswith((".crt", ".pub"))
    }
    assert set(modes.values()) == {0o600, 0o644}
    assert (folder / "pki/next").stat().st_mode & 0o777 == 0o700
    assert not [path for path in folder.rglob("*") if "slipway" in path.name]


def test_kubeconfigs_trust_both_after_kubeadm_has_written_the_first_alone(tmp_path: Path) -> None:
    root, here = str(tmp_path), after(ISSUE, after(ACCEPT, BEFORE))
    first = kubeconfig(NEW["pki/ca.crt"])
    authority.place({**here, "admin.conf": first}, root)
    authority.embed(root)
    assert trusted(authority.read_all(root)["admin.conf"]) == [NEW["pki/ca.crt"], OLD["pki/ca.crt"]]
    # With one CA, nothing is anybody's business.
    authority.place({"pki/ca.crt": NEW["pki/ca.crt"], "admin.conf": kubeconfig(OLD["pki/ca.crt"])}, root)
    authority.embed(root)
    assert trusted(authority.read_all(root)["admin.conf"]) == [OLD["pki/ca.crt"]]


def test_a_machine_remembers_the_ca_that_signs(tmp_path: Path) -> None:
    root, record = str(tmp_path), tmp_path / "var/lib/slipway/kubeadm.json"
    assert not authority.remember(root)
    record.parent.mkdir(parents=True)
    authority.place(OLD, root)
    old, new = (authority.sums({"pki/ca.crt": one["pki/ca.crt"]})["pki/ca.crt"][0] for one in (OLD, NEW))
    record.write_text(json.dumps({"state": "done", "node": "ctrl", "ca": old}))
    assert not authority.remember(root)
    authority.place({"pki/ca.crt": NEW["pki/ca.crt"] + OLD["pki/ca.crt"]}, root)
    assert authority.remember(root)
    assert json.loads(record.read_text()) == {"state": "done", "node": "ctrl", "ca": new}
