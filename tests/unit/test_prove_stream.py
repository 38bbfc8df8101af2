"""A stream of clients carried out: the real programs, against a release on loopback."""

from __future__ import annotations

import http.server
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slipway.prove import agent, beside, during, hold, stream
from slipway.prove.given import KINDS, live, promised
from slipway.release.planner import plan as planned
from slipway.release.spec import load

from tests.support.api import place as place_of
from tests.support.errors import refused
from tests.support.prove import FakeCluster, Shop, gateway_service, ready_pod
from tests.support.release import page

pytestmark = pytest.mark.slow

Json = dict[str, Any]
IMAGE = "slipway.local/apps/frontend:1.0.0"
PAGE: Json = {
    "name": "shop",
    "hosts": ["shop.local"],
    "weights": {"v1": 100, "v2": 0},
    "sticky": "cookie",
    "services": {
        "front": {"calls": ["back"], "versions": {"v1": IMAGE, "v2": IMAGE}},
        "back": {"versions": {"v1": IMAGE, "v2": IMAGE}},
    },
}


class Place:
    """A release on loopback; ``status`` other than 200 is what everybody gets, 0 closes the connection."""

    def __init__(self, folder: Path, given: Json) -> None:
        made = planned(load(page(folder, given)))
        self.facts, self.shop, self.status = made.facts, Shop(made.facts), 200
        self.asked: list[str] = []
        self.slow = 0.0
        self.objects: dict[str, list[Json]] = {kind: [] for kind in KINDS}
        for item in made.objects:
            if item["kind"] in self.objects:
                self.objects[item["kind"]].append(item)
        before = live(self.facts, self.objects)
        self.plan = during.watch(self.facts, before, promised(self.facts), tells=True)
        place = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                place.asked.append(self.client_address[0])
                time.sleep(place.slow)
                if not place.status:
                    self.connection.close()
                    return
                given = self.headers.get("Cookie", "")
                cookies = dict(part.strip().partition("=")[::2] for part in given.split(";") if part)
                status, body, lines = place.shop.answer(self.client_address[0], cookies)
                data = json.dumps(body).encode()
                self.send_response(place.status if place.status != 200 else status)
                for line in lines:
                    self.send_header("Set-Cookie", line)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        vars(self.server)["handle_error"] = lambda *_: None
        self.plan["port"] = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path, PAGE)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(during, "LINGER", 0.2)


def lines(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / hold.LOG).read_text().splitlines()]


def ended(folder: Path, seconds: float = 15) -> Json:
    """The last word of a stream, when it has ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = lines(folder)
        if isinstance(found[-1], dict) and "held" in found[-1]:
            return dict(found[-1])
        time.sleep(0.1)
    raise AssertionError(f"it has not ended: {found[-1]}")


def test_a_change_that_loses_nothing_passes(tmp_path: Path, place: Place) -> None:
    folder = tmp_path / "report"
    begun = beside.begin(place.plan, "127.0.0.1", folder, pid=os.getpid())
    (folder / beside.STEPS).write_text(json.dumps({"name": "release : Present | Wait", "began": begun + 0.1}) + "\n")
    time.sleep(1)
    change = beside.end(place.plan, folder)
    assert change["verdict"]["state"] == "passed", change["verdict"]["seen"]
    assert "they met front v1; nobody was moved without need" in change["verdict"]["seen"]
    assert ended(folder)["held"] == 0
    assert [name for name, _ in change["picture"]["steps"]] == ["Wait"]
    assert sum(map(sum, change["picture"]["versions"].values())) == len(place.asked)
    # A second look at an end does no harm, and nothing asks any more.
    asked = len(place.asked)
    assert beside.end(place.plan, folder)["verdict"]["state"] == "passed"
    assert len(place.asked) == asked


@pytest.mark.parametrize("what", ["503", "closed", "foreign", "moved"])
def test_what_goes_wrong_meanwhile_is_found(tmp_path: Path, what: str) -> None:
    split = {**PAGE, "weights": {"v1": 50, "v2": 50}} if what == "moved" else PAGE
    place = Place(tmp_path, split)
    try:
        beside.begin(place.plan, "127.0.0.1", tmp_path / "report", pid=os.getpid())
        time.sleep(0.5)
        if what == "foreign":
            place.shop.shares = {"v2": 100}
        elif what == "moved":
            place.shop.shares = {"v1": 100}
        else:
            place.status = 503 if what == "503" else 0
        time.sleep(4 if what == "moved" else 1)
        verdict = beside.end(place.plan, tmp_path / "report")["verdict"]
    finally:
        place.close()
    told = {
        "503": "x 503 on /",
        "closed": "x RemoteDisconnected",
        "foreign": "met front v2",
        "moved": "moved without need",
    }
    assert verdict["state"] == "failed"
    assert told[what] in verdict["seen"]


def test_a_stream_ends_with_its_run_however_that_ends(tmp_path: Path, place: Place) -> None:
    folder = tmp_path / "report"
    run = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        beside.begin(place.plan, "127.0.0.1", folder, pid=run.pid)
        run.send_signal(signal.SIGKILL)
        # As a zombie, or gone.
        ended(folder)
    finally:
        run.wait()
    asked = len(place.asked)
    time.sleep(0.5)
    assert len(place.asked) == asked


def test_a_stream_that_breaks_off_fails_its_claim(tmp_path: Path, place: Place) -> None:
    folder = tmp_path / "report"
    beside.begin(place.plan, "127.0.0.1", folder, pid=os.getpid())
    (program,) = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if str(beside.PROGRAM).encode() in (words := path.read_bytes().split(b"\0"))
        and str(beside.HOLDER).encode() not in words
        and str(folder).encode() in Path(f"/proc/{parent(path.parent)}/cmdline").read_bytes()
    ]
    os.kill(program, signal.SIGKILL)
    ended(folder)
    verdict = beside.end(place.plan, folder)["verdict"]
    assert (verdict["state"], "the stream broke off after" in verdict["seen"]) == ("failed", True)


def parent(process: Path) -> str:
    return (process / "stat").read_text().rpartition(")")[2].split()[1]


def test_without_clients_nothing_is_changed(tmp_path: Path, place: Place) -> None:
    plan = {**place.plan, "by": "addresses"}
    with refused("clients-refused: no pod … -e prove=changed"):
        beside.begin(plan, "127.0.0.1", tmp_path / "report", pod=["/bin/sh", "-c", "echo no pod >&2; exit 1"])
    assert beside.end(plan, tmp_path / "report") == {}


def test_a_target_behind_another_network_is_refused() -> None:
    said: list[Any] = []
    job = {"target": "192.0.2.1", "check_route": True}
    real = agent.checked
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agent, "checked", lambda job: real(job, lambda _: '[{"gateway": "10.0.2.2"}]'))
        assert stream.main(io.StringIO(json.dumps(job) + "\n"), said.append) == 3
    assert said == [{"refused": "192.0.2.1 is behind 10.0.2.2: no request is sent there"}]


def test_a_job_that_cannot_be_read_is_refused() -> None:
    said: list[Any] = []
    assert stream.main(io.StringIO("no job\n"), said.append) == 3
    assert "cannot be read" in said[0]["refused"]


def carried_out(place: Place, **more: Any) -> tuple[list[list[Any]], Json]:
    """The answers of a stream in this process, and its last word."""
    said: list[Any] = []
    job = {**during.job(place.plan, "127.0.0.1", 0.0), "check_route": False, **more}
    reading, writing = os.pipe()
    with os.fdopen(reading) as given, os.fdopen(writing, "w") as held:
        held.write(json.dumps(job) + "\n")
        held.flush()
        assert stream.main(given, said.append) == 0
        held.close()
        time.sleep(0.1)
    return [line for line in said if isinstance(line, list)], said[-1]


def test_a_stream_holds_its_bounds(place: Place) -> None:
    answers, last = carried_out(place, requests=10)
    assert (len(answers), last["ended"]) == (10, "requests")
    began = time.monotonic()
    answers, last = carried_out(place, seconds=1, rate=1000)
    assert last["ended"] == "time"
    assert time.monotonic() - began < 5
    assert len(answers) <= stream.MOST_RATE + 1


def test_who_comes_back_brings_the_cookie_and_others_have_none(place: Place) -> None:
    answers, _ = carried_out(place, seconds=3, sessions=4)
    back = [each for each in answers if each[2] < 4]
    assert len(back) >= 20
    # From each one's first answer on, however late that came.
    first = {client: min(each[0] + each[1] / 1000 for each in back if each[2] == client) for client in range(4)}
    later = [each for each in back if each[0] > first[each[2]]]
    assert len(later) >= 10
    assert all(each[6] == "v1" for each in later)
    assert all(each[6:8] == ["", "v1"] for each in answers if each[2] >= 4)


def test_no_client_asks_more_often_than_its_limit_allows(place: Place) -> None:
    answers, last = carried_out(place, seconds=2, sessions=3, sources=8, pace=0.8)
    assert last["late"] > 0
    by_client: dict[int, list[float]] = {}
    for each in answers:
        by_client.setdefault(each[2] if each[2] < 3 else 3 + (each[2] - 3) % 5, []).append(each[0])
    assert len(by_client) == 8
    for times in by_client.values():
        assert all(later - earlier > 0.7 for earlier, later in zip(sorted(times), sorted(times)[1:], strict=False))


def test_who_had_to_wait_for_others_comes_back_all_the_same(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """While answers are slow no more are asked for at once than the bound allows; nobody is lost by it."""
    monkeypatch.setattr(stream, "MOST_PARALLEL", 2)
    place.slow = 0.3
    answers, last = carried_out(place, seconds=6, sessions=4)
    assert last["late"] > 20
    assert {each[2] for each in answers if each[2] < 4 and each[0] > 3} == {0, 1, 2, 3}


def test_the_quickest_line_says_when_a_stream_has_begun(tmp_path: Path) -> None:
    script = "import time; time.sleep(1); print('{\"begun\": true, \"at\": 0}'); print('[0.9, 50.0, 0, 0, 200, 0]')"
    began = time.time()
    assert hold.hold(tmp_path, os.getpid(), [sys.executable, "-c", script], "{}") == 0
    first, _, last = lines(tmp_path)
    assert first["epoch"] > began + 0.9
    assert began - 0.1 < last["epoch"] < first["epoch"] - 0.9


# --- what is planned of a cluster


def cluster(place: Place, **more: Any) -> FakeCluster:
    listed = {place_of(*beside.where(kind, "shop")): items for kind, items in place.objects.items()}
    gateway = "/api/v1/namespaces/istio-system"
    return FakeCluster(
        {
            **listed,
            f"{gateway}/services/istio-ingressgateway": gateway_service("192.0.2.92"),
            f"{gateway}/pods?labelSelector=istio%3Dingressgateway": [ready_pod("gateway", node="node-2")],
            "/api/v1/namespaces": [{"metadata": {"name": "shop"}}],
            **more,
        }
    )


def test_a_cluster_is_looked_at_once_for_all(tmp_path: Path, place: Place) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / hold.END).touch()
    found = beside.looked(cluster(place), place.facts, folder, away=lambda _: "")
    assert (found["target"], found["clients"], found["plan"]["by"]) == ("192.0.2.92", {}, "here")
    assert found["plan"]["tells"] is True
    # What an earlier run has left says nothing of this one.
    assert not list(folder.iterdir())


def test_a_pod_asks_where_this_machine_may_not(tmp_path: Path, place: Place) -> None:
    left = {"metadata": {"name": "slipway-during-shop", "labels": {"app.kubernetes.io/managed-by": "slipway-prove"}}}
    found = beside.looked(
        cluster(place, **{"/api/v1/namespaces": [left]}), place.facts, tmp_path, away=lambda _: "it is behind 10.0.2.2"
    )
    assert found["clients"] == {"addresses": {"sidecar": False, "labels": {}, "node": "node-2"}}
    assert (found["namespace"], found["stale"]) == ("slipway-during-shop", True)
    left["metadata"]["labels"] = {}
    with refused("namespace-taken"):
        beside.looked(cluster(place, **{"/api/v1/namespaces": [left]}), place.facts, tmp_path, away=lambda _: "far")


def test_a_release_that_is_not_there_is_asked_nothing(tmp_path: Path, place: Place) -> None:
    found = beside.looked(FakeCluster({}), place.facts, tmp_path, away=lambda _: "")
    assert (found["plan"]["state"], found["target"]) == ("skipped", "")
    change = beside.end(found["plan"], tmp_path)
    report = beside.alone(found["plan"], change)
    assert report.passed
    assert report.as_json()["counts"]["skipped"] == 1
