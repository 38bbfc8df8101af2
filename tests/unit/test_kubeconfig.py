"""A kubeconfig with a context for each controller, and the one that is taken when a controller is silent."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.cluster import access, kubeconfig

from tests.support.authorities import SERVER, signed

ADMIN = """\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Q0E=
    server: https://api.sun.internal:6443
  name: sun
contexts:
- context:
    cluster: sun
    user: kubernetes-admin
  name: kubernetes-admin@sun
current-context: kubernetes-admin@sun
kind: Config
users:
- name: kubernetes-admin
  user: {}
"""


def test_one_controller_needs_no_choice() -> None:
    made = kubeconfig.with_contexts(ADMIN, "192.0.2.1:6443", {"ctrl": "192.0.2.1:6443"})
    assert made == ADMIN.replace("api.sun.internal", "192.0.2.1")


def test_several_have_a_context_each_with_the_same_user_and_ca() -> None:
    servers = {"ctrl": "192.0.2.1:6443", "ctrl-2": "192.0.2.2:6443"}
    made = yaml.safe_load(kubeconfig.with_contexts(ADMIN, "192.0.2.2:6443", servers))
    assert made["current-context"] == "kubernetes-admin@sun"
    assert {one["name"]: one["cluster"]["server"] for one in made["clusters"]} == {
        "sun": "https://192.0.2.2:6443",
        "ctrl": "https://192.0.2.1:6443",
        "ctrl-2": "https://192.0.2.2:6443",
    }
    assert {one["cluster"]["certificate-authority-data"] for one in made["clusters"]} == {"Q0E="}
    assert [one["context"]["user"] for one in made["contexts"]] == ["kubernetes-admin"] * 3


def test_texts_of_ansible_are_texts() -> None:
    class Tagged(str):
        """As Ansible's own: PyYAML cannot write it."""

        __slots__ = ()

        def __str__(self) -> str:
            return "".join(self)

    servers: dict[str, str] = {Tagged("ctrl"): Tagged("192.0.2.1:6443"), Tagged("ctrl-2"): Tagged("192.0.2.2:6443")}
    made = yaml.safe_load(kubeconfig.with_contexts(Tagged(ADMIN), "192.0.2.2:6443", servers))
    assert [one["name"] for one in made["clusters"]] == ["sun", "ctrl", "ctrl-2"]


@contextmanager
def serving(folder: Path, status: int) -> Iterator[str]:
    """An API server that says ``status`` when it is asked whether it is ready."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    made = signed("server", signed("ca"), SERVER)
    (folder / "pem").write_text(made.crt + made.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pem")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path, 200) as server:
        yield server


@pytest.fixture
def starting(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path, 500) as server:
        yield server


@pytest.fixture
def silent() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def content(current: str, **servers: str) -> Any:
    return yaml.safe_load(kubeconfig.with_contexts(ADMIN, current, servers))


def test_the_current_context_stays_while_its_server_answers(listening: str, silent: str) -> None:
    assert kubeconfig.answering(content(listening, a=listening, b=silent)) == ""


def test_another_controller_is_taken_where_the_current_one_is_silent(listening: str, silent: str) -> None:
    assert kubeconfig.answering(content(silent, a=silent, b=listening)) == "b"


def test_one_that_starts_is_no_answer_and_one_that_wants_to_know_who_asks_is(
    listening: str, starting: str, tmp_path: Path
) -> None:
    assert kubeconfig.answering(content(starting, a=starting, b=listening)) == "b"
    with serving(tmp_path, 401) as asking:
        assert kubeconfig.answering(content(asking, a=asking, b=listening)) == ""


def test_one_that_does_not_know_yet_who_may_ask_is_not_taken(listening: str, tmp_path: Path) -> None:
    """An API server answers 403 to everybody until it has read who may do what."""
    with serving(tmp_path, 403) as forbidding:
        assert kubeconfig.answering(content(forbidding, a=forbidding, b=listening)) == "b"


def test_where_all_forbid_everybody_they_are_set_up_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeconfig, "DOUBT", 0)
    monkeypatch.setattr(kubeconfig, "ELECTION", 1000)
    with serving(tmp_path, 403) as forbidding:
        assert kubeconfig.answering(content(forbidding, a=forbidding, b="127.0.0.1:1")) == ""


def test_where_none_answers_the_current_one_says_so(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeconfig, "ELECTION", 0)
    assert kubeconfig.answering(content(silent, a=silent, b="127.0.0.1:1")) == ""


@pytest.mark.parametrize("back", ["", "b"], ids=["the current one", "another one"])
def test_one_is_waited_for_where_enough_are_left_to_elect_a_leader(back: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[str] = []

    def answers(server: str) -> int:
        rounds.append(server)
        ready = rounds.count("https://192.0.2.1:6443") > 2 and server == f"https://192.0.2.{'2' if back else '1'}:6443"
        return 200 if ready else 0

    monkeypatch.setattr(kubeconfig, "_readiness", answers)
    monkeypatch.setattr(kubeconfig, "lost", lambda _: (["a"], 3))
    monkeypatch.setattr(kubeconfig, "PAUSE", 0)
    servers = {"a": "192.0.2.1:6443", "b": "192.0.2.2:6443", "c": "192.0.2.3:6443"}
    assert kubeconfig.answering(content("192.0.2.1:6443", **servers)) == back
    assert rounds.count("https://192.0.2.1:6443") == 3


def test_nobody_is_waited_for_where_too_many_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeconfig, "_readiness", lambda _: 0)
    monkeypatch.setattr(kubeconfig, "lost", lambda _: (["a", "b"], 3))
    monkeypatch.setattr(kubeconfig, "PAUSE", 1000)
    servers = {"a": "192.0.2.1:6443", "b": "192.0.2.2:6443", "c": "192.0.2.3:6443"}
    assert kubeconfig.answering(content("192.0.2.1:6443", **servers)) == ""


def test_one_server_is_not_asked_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeconfig, "_readiness", lambda _: pytest.fail("nobody has to be asked"))
    assert kubeconfig.answering(content("192.0.2.1:6443", a="192.0.2.1:6443", b="192.0.2.1:6443")) == ""


def test_the_own_cluster_is_reached_through_whichever_controller_answers(
    tmp_path: Path, listening: str, silent: str
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    file = state / "kubeconfig"
    made = content(silent, a=silent, b=listening)
    for one in made["clusters"]:
        del one["cluster"]["certificate-authority-data"]
    file.write_text(yaml.safe_dump(made))
    assert access.connect({"kubeconfig": str(file)}).configuration.host == f"https://{silent}"
    access.work_for(state)
    assert access.connect({"kubeconfig": str(file)}).configuration.host == f"https://{listening}"
    assert access.of_kubectl({"kubeconfig": str(file)})["context"] == "b"
    # Who names a context means it.
    assert access.connect({"kubeconfig": str(file), "context": "a"}).configuration.host == f"https://{silent}"


@pytest.fixture
def mute() -> Iterator[str]:
    """A server that lets no more connections in, as a machine that is off."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        with socket.create_connection(server.getsockname()):
            yield f"127.0.0.1:{server.getsockname()[1]}"


def test_lost_is_a_controller_whose_machine_says_nothing(listening: str, silent: str, mute: str) -> None:
    assert kubeconfig.lost(content(mute, a=listening, b=silent, c=mute)) == (["c"], 3)
    assert kubeconfig.lost(content(listening, a=listening)) == ([], 0)


def test_without_a_quorum_is_said_of_the_own_cluster_alone(
    tmp_path: Path, listening: str, mute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "state/kubeconfig"
    assert access.without_quorum({"kubeconfig": str(file)}) == ""
    file.parent.mkdir()
    monkeypatch.setattr(access, "_OWN", {file.parent.resolve() / "kubeconfig"})
    for more, said in (
        ({"b": listening, "c": mute}, ""),
        ({"b": mute, "c": mute}, "b and c do not answer, and etcd needs 2 of its 3"),
    ):
        file.write_text(yaml.safe_dump(content(listening, a=listening, **more)))
        assert access.without_quorum({"kubeconfig": str(file)})[: len(said)] == said
        assert bool(access.without_quorum({"kubeconfig": str(file)})) is bool(said)
    monkeypatch.setattr(access, "_OWN", set())
    assert access.without_quorum({"kubeconfig": str(file)}) == ""
