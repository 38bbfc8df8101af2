"""A controller renews its certificates by itself: only those that end soon, in its turn, and never twice at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.node import lock, renewal, turns
from slipway.node import scheduled_renewal as program
from slipway.node.certificates import KEPT
from slipway.node.kubeapi import Api, ApiError
from slipway.node.renewal import Done, RenewalError
from slipway.node.turns import GONE, LEASES, TurnError

from tests.support.timers import is_imported, laid_out, modules
from tests.support.wiring import wired

ROOT = Path(__file__).parents[2]
DAY = 86400
Answer = tuple[int, dict[str, Any]]


# --- whose turn it is


class Store(Api):
    """Leases of an API server, and a clock that goes on when somebody waits."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.now = 0.0
        self.asked: list[str] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.silent = False

    def request(self, method: str, path: str, body: Any = None) -> Answer:
        self.asked.append(method)
        if self.silent:
            raise ApiError("connection refused")
        assert path == (LEASES if method == "POST" else f"{LEASES}/x")
        if method == "GET":
            return (200, self.lease) if self.lease else (404, {})
        if method == "DELETE":
            self.lease = None
            return 200, {}
        known = str(body["metadata"].get("resourceVersion", ""))
        if self.lease and (method == "POST" or known != self.lease["metadata"]["resourceVersion"]):
            return 409, {"message": "it was changed"}
        self.hold(body["spec"]["holderIdentity"])
        return 201 if method == "POST" else 200, {}

    def hold(self, holder: str) -> None:
        self.version += 1
        metadata = {"resourceVersion": str(self.version)}
        self.lease = {"metadata": metadata, "spec": {"holderIdentity": holder}}

    @property
    def holder(self) -> str:
        return str(self.lease["spec"]["holderIdentity"]) if self.lease else ""

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.meanwhile()

    def taken(self, holder: str, seconds: float = 7200) -> Any:
        return turns.taken(lambda: self, "x", holder, seconds, clock=lambda: self.now, sleep=self.sleep)


@pytest.fixture
def store() -> Store:
    return Store()


def test_a_turn_is_held_meanwhile_and_given_back_also_after_a_fault(store: Store) -> None:
    with store.taken("ctrl"):
        assert store.holder == "ctrl"
    assert store.holder == ""
    with pytest.raises(ValueError, match="no"), store.taken("ctrl-2"):
        raise ValueError("no")
    assert store.holder == ""
    assert store.now == 0, "nobody had to wait"


def test_another_one_waits_until_it_ends(store: Store) -> None:
    store.hold("ctrl-2")

    def end() -> None:
        if store.now >= 300:
            store.lease = None

    store.meanwhile = end
    with store.taken("ctrl"):
        assert (store.holder, store.now) == ("ctrl", 300)


def test_who_does_not_end_in_time_is_named(store: Store) -> None:
    store.hold("ctrl-2")
    with pytest.raises(TurnError, match=r"ctrl-2 has its turn .* has not ended in 60 s"), store.taken("ctrl", 60):
        pytest.fail("it is not its turn")
    assert store.holder == "ctrl-2"


def test_a_controller_that_is_gone_does_not_hold_it_for_ever(store: Store) -> None:
    """Measured here: what clocks of other machines say does not count."""
    store.hold("ctrl-2")
    with store.taken("ctrl"):
        assert (store.holder, store.now) == ("ctrl", GONE)


def test_one_that_is_touched_is_not_gone(store: Store) -> None:
    store.hold("ctrl-2")

    def touch() -> None:
        if store.now == GONE - 10:
            store.hold("ctrl-2")

    store.meanwhile = touch
    with store.taken("ctrl"):
        assert store.now == 2 * GONE - 10


def test_of_two_at_once_one_gets_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real, faster = store.request, iter([True])

    def request(method: str, path: str, body: Any = None) -> Answer:
        if method == "POST" and next(faster, False):
            store.hold("ctrl-2")
        return real(method, path, body)

    monkeypatch.setattr(store, "request", request)
    with store.taken("ctrl"):
        assert (store.holder, store.now) == ("ctrl", GONE + turns.PAUSE)


def test_its_own_of_before_is_taken_at_once_and_an_api_that_ends_keeps_nobody(store: Store) -> None:
    store.hold("ctrl")
    with store.taken("ctrl"):
        store.silent = True
    assert store.now == 0
    with pytest.raises(ApiError), store.taken("ctrl"):
        pytest.fail("nobody knows whose turn it is")


def test_an_answer_that_is_none_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "request", lambda *_: (403, {"message": "no"}))
    with pytest.raises(ApiError, match="kube-system/x is answered with 403: no"), store.taken("ctrl"):
        pytest.fail("it is not its turn")


# --- what the service does


class Controller:
    """A controller with certificates that end, the Lease, and what was done."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch, store: Store) -> None:
        self.root, self.store = root, store
        self.left = [400 * DAY, 400 * DAY]
        self.done: list[tuple[str, float, float, str]] = []
        self.fault: Exception | None = None
        store_api = lambda *_, **__: store  # noqa: E731
        patch.setattr(program, "Api", store_api)
        patch.setattr(program, "LEASE", "x")
        patch.setattr(turns, "PAUSE", 0.0)
        patch.setattr(lock, "FOLDER", str(root / "run"))
        patch.setattr(program, "run", self.run)
        patch.setattr(renewal, "work", self.work)
        (root / "etc/kubernetes").mkdir(parents=True)
        (root / "etc/kubernetes/admin.conf").write_text("kubeconfig")

    def run(self, command: list[str], _held: int = -1) -> tuple[int, str, str]:
        assert command[:3] == ["kubeadm", "certs", "check-expiration"]
        found = [{"name": name, "residualTime": left} for name, left in zip(("a", "b"), self.left, strict=True)]
        return 0, json.dumps({"certificates": found}), ""

    def work(self, _run: Any, address: str, days: float, seconds: float) -> Done:
        self.done.append((address, days, seconds, self.store.holder))
        if self.fault:
            raise self.fault
        return Done(["a"], ["kube-apiserver"], 364)

    def renew(self) -> str:
        config = {"node": "ctrl", "address": "192.0.2.1", "days": 90, "timeout": 300}
        return program.renew(config, str(self.root))


@pytest.fixture
def controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store) -> Controller:
    return Controller(tmp_path, monkeypatch, store)


def test_certificates_that_last_are_left_and_nobody_is_asked(controller: Controller) -> None:
    controller.left = [400 * DAY, 91 * DAY]
    assert controller.renew() == "no certificate ends within 90 days"
    assert (controller.done, controller.store.asked) == ([], [])


def test_those_that_end_soon_are_renewed_in_the_turn_of_this_controller(controller: Controller) -> None:
    controller.left = [400 * DAY, 89 * DAY]
    assert controller.renew() == ("renewed: a; started again: kube-apiserver; the first certificate ends in 364 days")
    assert controller.done == [("192.0.2.1", 90.0, 300.0, "ctrl")]
    assert controller.store.holder == ""


def test_while_another_one_has_its_turn_nothing_is_done(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "TURNS", 0.0)
    controller.left = [DAY, DAY]
    controller.store.hold("ctrl-2")
    with pytest.raises(TurnError, match="ctrl-2 has its turn"):
        controller.renew()
    assert controller.done == []
    assert controller.store.holder == "ctrl-2"


def test_one_that_fails_gives_its_turn_back(controller: Controller) -> None:
    controller.left, controller.fault = [DAY, DAY], RenewalError("no-quorum", "etcd is not well")
    with pytest.raises(RenewalError, match="etcd is not well"):
        controller.renew()
    assert controller.store.holder == ""


def test_without_the_api_only_what_has_ended_is_renewed(controller: Controller) -> None:
    controller.store.silent = True
    controller.left = [DAY, DAY]
    with pytest.raises(ApiError):
        controller.renew()
    assert controller.done == []
    controller.left = [-DAY, DAY]
    assert controller.renew().startswith("renewed: a")
    assert controller.done == [("192.0.2.1", 90.0, 300.0, "")]


def test_what_a_renewal_that_was_cut_off_has_left_is_put_back_first(controller: Controller) -> None:
    """Else the API would be asked with half a certificate."""
    kept = Path(f"{controller.root}{KEPT}")
    kept.mkdir(parents=True)
    (kept / "admin.conf").write_text("as before")
    admin = controller.root / "etc/kubernetes/admin.conf"
    admin.write_text("half")
    assert controller.renew().startswith("renewed: a")
    assert admin.read_text() == "as before"
    assert not kept.exists()


def test_while_the_cas_are_replaced_nothing_is_done(controller: Controller) -> None:
    (controller.root / "etc/kubernetes/pki/next").mkdir(parents=True)
    controller.left = [DAY, DAY]
    assert "make rotate-ca" in controller.renew()
    assert (controller.done, controller.store.asked) == ([], [])


@pytest.mark.parametrize(
    ("ends", "status", "said"),
    [
        (None, 0, "renewed: x ("),
        (RenewalError("no-quorum", "etcd is not well"), 1, "etcd is not well [no-quorum]"),
        (TurnError("ctrl-2 has its turn"), 1, "nothing was renewed: ctrl-2 has its turn"),
        (ApiError("connection refused"), 1, "nothing was renewed: connection refused"),
        (lock.BusyError("still at work"), 1, "nothing was renewed: still at work"),
    ],
)
def test_the_service_says_what_it_did_and_fails_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    ends: Exception | None, status: int, said: str,
) -> None:  # fmt: skip
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"node": "ctrl"}))
    monkeypatch.setattr(program, "CONFIG", str(config))

    def renew(given: dict[str, Any]) -> str:
        assert given == {"node": "ctrl"}
        if ends:
            raise ends
        return "renewed: x"

    monkeypatch.setattr(program, "renew", renew)
    assert program.main() == status
    assert capsys.readouterr().out.startswith(said)


# --- what the role lays out


def templated(schedule: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]], str]:
    """The files and units of the role, and the timer as systemd reads it."""
    return laid_out("renewal", "Renew certificates by a timer", control_plane_renewal_schedule=schedule)


@pytest.mark.parametrize(("schedule", "calendar"), [("weekly", "weekly"), ("03:00", "*-*-* 03:00:00")])
def test_the_role_lays_out_program_settings_and_timer(schedule: str, calendar: str) -> None:
    files, units, timer = templated(schedule)
    by_path = {each["path"]: each for each in files}
    assert f"OnCalendar={calendar}\n" in timer
    assert "Persistent=true\n" in timer
    config = json.loads(by_path["/etc/slipway/renewal.json"]["content"])
    assert config == {"node": "ctrl", "address": "192.0.2.1", "days": 90, "timeout": 300}
    assert by_path["/usr/local/lib/slipway/slipway/scheduled_renewal.py"]["content"].startswith('"""A renewal')
    (unit,) = units
    assert (unit["name"], unit["enabled"], unit["state"]) == ("slipway-renewal.timer", True, "started")
    # Another version of the program restarts no timer.
    assert unit["reads"] == ["/etc/systemd/system/slipway-renewal.timer"]
    assert set(unit["reads"]) < set(by_path)


def test_as_shipped_there_is_no_timer_and_one_that_was_there_goes() -> None:
    page = yaml.safe_load((ROOT / "group_vars/all/cluster.yml").read_text())
    assert page["cluster_renew_certificates"] == ""
    assert wired("control_plane_renewal_schedule", **page) == ""
    files, units, _ = templated("")
    assert {each["state"] for each in files} == {"absent"}
    assert "/etc/systemd/system/timers.target.wants/slipway-renewal.timer" in [each["path"] for each in files]
    assert units == [{"name": "slipway-renewal.timer", "state": "stopped"}]


def test_the_controller_has_every_module_that_it_imports(tmp_path: Path) -> None:
    """As role control_plane lays them, with the standard library alone."""
    names, folder = modules("renewal", tmp_path), tmp_path / "slipway"
    assert is_imported("renewal", tmp_path)
    # None of them for nothing.
    for name in names:
        if name != "scheduled_renewal":
            (folder / f"{name}.py").rename(folder / "away")
            assert not is_imported("renewal", tmp_path), name
            (folder / "away").rename(folder / f"{name}.py")


def test_the_alert_names_the_command_that_works() -> None:
    rules = yaml.safe_load((ROOT / "roles/monitoring/files/rules/cluster.yml").read_text())
    found = [rule for group in rules["groups"] for rule in group["rules"]]
    (alert,) = (rule for rule in found if rule.get("alert") == "CertificateExpiring")
    assert "`make renew-certificates`" in alert["annotations"]["description"]
    assert "kubeadm certs" not in alert["annotations"]["description"]
