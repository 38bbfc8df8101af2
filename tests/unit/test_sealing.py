"""The key that encrypts Secrets is rotated in Kubernetes' order, from wherever a run before was cut off."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from slipway.cluster.sealing import ADD, DROP, FIRST, SAME, Key, keys_of, new_key, render, steps
from slipway.errors import SlipwayError
from slipway.node.etcd import Etcd
from slipway.node.kubeapi import ApiError
from slipway.node.sealing import PLAIN, rewrite, sealed
from slipway.node.snapshot import sealing_keys_in_order

from tests.support.plugins import load, run_module

OLD, NEW = Key("slipway-1", "b2xk"), Key("slipway-2", "bmV3")
BEFORE, BOTH, AFTER, LAST = (render(keys) for keys in ([OLD], [OLD, NEW], [NEW, OLD], [NEW]))
NAMES = ("ctrl", "ctrl-2", "ctrl-3")


def planned(*texts: str) -> list[dict[str, Any]]:
    return steps(dict(zip(NAMES, texts, strict=False)), make=lambda name: Key(name, NEW.secret))


def test_what_is_written_is_what_the_role_writes() -> None:
    template = (Path(__file__).parents[2] / "roles/control_plane/templates/encryption.yml.j2").read_text()
    (line,) = (line for line in template.splitlines() if "secret:" in line)
    assert render([OLD]) == template.replace(line, f"              secret: {OLD.secret}")
    assert keys_of(render([NEW, OLD]), "ctrl") == [NEW, OLD]
    # As backup and restore read it.
    assert sealing_keys_in_order(render([NEW, OLD])) == ["slipway-2", "slipway-1"]


def test_a_new_key_has_the_size_that_secretbox_wants() -> None:
    made = [new_key("slipway-7") for _ in range(2)]
    assert {len(base64.b64decode(key.secret)) for key in made} == {32}
    assert made[0].secret != made[1].secret
    assert made[0].secret not in repr(made[0])


@pytest.mark.parametrize(
    ("there", "told"),
    [
        ((BEFORE,) * 3, [SAME, ADD, FIRST, DROP]),
        ((BOTH, BEFORE, BEFORE), [SAME, ADD, FIRST, DROP]),
        ((BOTH, BOTH, BOTH), [SAME, FIRST, DROP]),
        ((AFTER, BOTH, BOTH), [SAME, FIRST, DROP]),
        ((AFTER, AFTER, AFTER), [SAME, DROP]),
        ((LAST, AFTER, AFTER), [SAME, DROP]),
        ((BEFORE,), [SAME, ADD, FIRST, DROP]),
    ],
)
def test_the_steps_that_are_left_are_done_from_wherever_a_run_was_cut_off(
    there: tuple[str, ...], told: list[str]
) -> None:
    found = planned(*there)
    assert [step["told"] for step in found] == told
    # First what is there: an API server may not have read it.
    assert list(found[0]["files"].values()) == list(there)
    assert set(found[-1]["files"].values()) == {LAST}
    # Once, when everybody writes with the new key, and before the old one goes.
    assert [step["rewrite"] for step in found] == [False] * (len(told) - 1) + [True]
    assert set(found[-2]["files"].values()) <= {AFTER, LAST}
    # Nobody ever meets a key that it does not have: while one writes with the new key, all of them have it.
    for step in found[1:]:
        texts = list(step["files"].values())
        keys = [keys_of(text, "") for text in texts]
        assert all(each[0] in other for each in keys for other in keys)


def test_nobody_writes_with_a_key_that_another_does_not_read_while_a_step_is_done_one_by_one() -> None:
    found = planned(*(BEFORE,) * 3)
    at = dict(found[0]["files"])
    for step in found:
        for name, text in step["files"].items():
            at[name] = text
            keys = [keys_of(text, "") for text in at.values()]
            assert all(each[0] in other for each in keys for other in keys)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        BEFORE.replace("[secrets]", "[secrets, configmaps]"),
        BEFORE.replace("secretbox", "aescbc"),
        BEFORE.replace("slipway-1", "mine"),
        BEFORE.replace("identity: {}", "aesgcm: {keys: []}"),
    ],
)
def test_a_configuration_of_somebody_else_is_refused(text: str) -> None:
    with pytest.raises(SlipwayError, match="not as Slipway writes it") as refused:
        planned(BEFORE, text)
    assert refused.value.id == "sealing-keys"


def test_keys_that_contradict_are_refused() -> None:
    with pytest.raises(SlipwayError, match="different keys of one name"):
        planned(BEFORE, render([Key("slipway-1", "x")]))
    with pytest.raises(SlipwayError, match="more than two keys"):
        planned(BOTH, render([Key("slipway-3", "x")]))


def test_the_filter_reads_what_slurp_gives_and_says_an_id() -> None:
    plugin = load("filter", "sealing")
    given = {"ctrl": base64.b64encode(BEFORE.encode()).decode()}
    assert [step["told"] for step in plugin.sealing_steps(given)] == [SAME, ADD, FIRST, DROP]
    with pytest.raises(AnsibleFilterError, match=r"\[sealing-keys\]"):
        plugin.sealing_steps({"ctrl": base64.b64encode(b"{}").decode()})


class Answers:
    """An API server with Secrets, some of which somebody else writes or removes meanwhile."""

    def __init__(self, *names: str) -> None:
        self.names, self.put = list(names), []  # type: ignore[var-annotated]
        self.conflicts: dict[str, int] = {}
        self.refused = ""

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        if path.startswith("/api/v1/secrets"):
            further = "continue=b%2F1" in path
            part = self.names[2:] if further else self.names[:2]
            items = [{"metadata": {"namespace": "default", "name": name}} for name in part]
            return 200, {"items": items, "metadata": {} if further else {"continue": "b/1"}}
        name = path.partition("?")[0].rpartition("/")[2]
        if name == "gone":
            return 404, {}
        if method == "GET":
            return 200, {"metadata": {"name": name}, "data": {"a": "b"}}
        if self.conflicts.get(name, 0):
            self.conflicts[name] -= 1
            return 409, {"message": "written meanwhile"}
        if name == self.refused:
            return 403, {"message": "no"}
        self.put.append((name, body))
        return 200, body


def test_every_secret_is_written_again_as_it_is() -> None:
    api = Answers("one", "gone", "two", "three")
    api.conflicts["two"] = 2
    assert rewrite(api) == 4  # type: ignore[arg-type]
    assert [name for name, _ in api.put] == ["one", "two", "three"]
    assert all(body == {"metadata": {"name": name}, "data": {"a": "b"}} for name, body in api.put)


@pytest.mark.parametrize("trouble", ["conflict", "refused"])
def test_a_secret_that_cannot_be_written_is_named(trouble: str) -> None:
    api = Answers("one", "two")
    if trouble == "conflict":
        api.conflicts["two"] = 99
    else:
        api.refused = "two"
    with pytest.raises(ApiError, match="default/two cannot be written again"):
        rewrite(api)  # type: ignore[arg-type]


def test_secrets_are_counted_by_the_key_that_they_rest_with(monkeypatch: pytest.MonkeyPatch) -> None:
    rest = [("a", b"k8s:enc:secretbox:v1:slipway-1:xy"), ("b", b"k8s:enc:secretbox:v1:slipway-2:xy"), ("c", b"k8s\0")]
    assert sealed(rest) == {"slipway-1": 1, "slipway-2": 1, PLAIN: 1}
    pages = [{"kvs": [kv(name, value)], "more": name != "c"} for name, value in rest]
    asked: list[dict[str, Any]] = []

    def ask(_self: Etcd, _address: str, _method: str, _path: str, body: dict[str, Any]) -> dict[str, Any]:
        asked.append({name: base64.b64decode(text) for name, text in body.items() if name != "limit"})
        return pages[len(asked) - 1]

    monkeypatch.setattr(Etcd, "_ask", ask)
    etcd = Etcd.__new__(Etcd)
    etcd.local = ""
    assert list(etcd.values("/registry/secrets/")) == rest
    assert asked[0] == {"key": b"/registry/secrets/", "range_end": b"/registry/secrets0"}
    assert asked[1]["key"] == b"a\0"


def kv(name: str, value: bytes) -> dict[str, str]:
    return {"key": base64.b64encode(name.encode()).decode(), "value": base64.b64encode(value).decode()}


class Controller:
    """A controller whose API server starts again when it is ended, if its keys are ``good``."""

    def __init__(self, plugin: Any, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        self.plugin, self.file = plugin, root / "config.yml"
        self.file.write_text(BEFORE)
        self.stale: dict[str, int] = {}
        self.bad = ""
        self.restarts: list[str] = []
        monkeypatch.setattr(plugin, "FILE", str(self.file))
        monkeypatch.setattr(plugin.lock, "FOLDER", str(root / "run"))
        monkeypatch.setattr(plugin, "processes", lambda: {"kube-apiserver": 1})
        monkeypatch.setattr(plugin, "stale", lambda: self.stale)
        monkeypatch.setattr(plugin, "restart", self.restart)
        monkeypatch.setattr(plugin, "wait_until", lambda well, _seconds: well())
        monkeypatch.setattr(plugin, "api_is_well", lambda _address: "")

    def restart(self, _part: str, _process: int, _well: object, _seconds: float) -> str:
        self.restarts.append(self.file.read_text())
        return "no answer" if self.file.read_text() == self.bad else ""


@pytest.fixture
def controller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Controller:
    return Controller(load("modules", "sealing_key"), monkeypatch, tmp_path)


def played(controller: Controller, **given: Any) -> Any:
    return run_module(controller.plugin, {"address": "192.0.2.1", **given})


def test_keys_that_are_there_restart_nothing_unless_the_api_server_has_not_read_them(controller: Controller) -> None:
    assert not played(controller, content=BEFORE).result["changed"]
    controller.stale = {"kube-apiserver": 1}
    assert played(controller, content=BEFORE).result["restarted"]
    assert controller.restarts == [BEFORE]


def test_other_keys_are_written_for_root_alone_and_read(controller: Controller) -> None:
    done = played(controller, content=BOTH)
    assert done.result["changed"]
    assert controller.file.read_text() == BOTH
    assert controller.file.stat().st_mode & 0o777 == 0o600
    assert NEW.secret not in json.dumps(done.result)


def test_an_api_server_that_does_not_come_up_gets_the_keys_of_before(controller: Controller) -> None:
    controller.bad = BOTH
    done = played(controller, content=BOTH)
    assert "[control-plane-not-well]" in done.msg
    assert "has the keys of before again, and is well" in done.msg
    assert controller.restarts == [BOTH, BEFORE]
    assert controller.file.read_text() == BEFORE


@pytest.mark.parametrize(("left", "complete"), [(b"slipway-2", True), (b"slipway-1", False)])
def test_the_old_key_stays_until_no_secret_rests_with_it(
    controller: Controller, monkeypatch: pytest.MonkeyPatch, left: bytes, complete: bool
) -> None:
    class Store:
        def values(self, _prefix: str) -> Iterator[tuple[str, bytes]]:
            yield "a", b"k8s:enc:secretbox:v1:slipway-2:x"
            yield "b", b"k8s:enc:secretbox:v1:" + left + b":x"

    controller.file.write_text(AFTER)
    monkeypatch.setattr(controller.plugin, "Etcd", Store)
    monkeypatch.setattr(controller.plugin, "Api", lambda *_, **__: None)
    monkeypatch.setattr(controller.plugin, "rewrite", lambda _api: 2)
    done = played(controller, rewrite=True)
    assert done.failed is not complete
    if complete:
        assert done.result["secrets"] == 2
    else:
        assert "1 with slipway-1" in done.msg
        assert "[sealing-incomplete]" in done.msg


def test_the_playbook_does_each_step_on_all_before_the_next() -> None:
    root = Path(__file__).parents[2] / "playbooks"
    tasks = yaml.safe_load((root / "tasks/sealing-step.yml").read_text())
    assert [("rewrite" in task["sealing_key"], "content" in task["sealing_key"]) for task in tasks] == [
        (True, False),
        (False, True),
    ]
    (play,) = (
        play
        for play in yaml.safe_load((root / "rotate-encryption-key.yml").read_text())
        if play["hosts"] == "controllers"
    )
    assert play["any_errors_fatal"] is True
    assert "serial" not in play
