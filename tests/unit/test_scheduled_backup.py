"""A controller makes a backup by itself: whole or none, readable by its recipients alone, and told in the cluster."""

from __future__ import annotations

import base64
import json
import os
import tarfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyrage
import pytest
from pyrage import x25519
from slipway.backup import archive
from slipway.cluster.sealing import Key, render
from slipway.node import lock
from slipway.node import scheduled_backup as program
from slipway.node.kubeapi import Api, ApiError
from slipway.node.scheduled_backup import FOLDER, MORE, WORK, BackupError
from slipway.node.snapshot import ENCRYPTION, KEYS, KUBERNETES, SNAPSHOT

from tests.support.sealed import KEY, entry
from tests.support.timers import is_imported, laid_out, modules
from tests.support.wiring import wired

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
NAME = "sun-20261130T030000Z.tar.age"


class Controller:
    """Files of a controller, an etcd, and an ``age`` that works as the real one."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root, self.text = root, str(root)
        self.key = root / "key"
        self.config: dict[str, Any] = {
            "cluster": "sun",
            "node": "ctrl",
            "address": "192.0.2.1",
            "recipients": [archive.new_key(self.key)],
            "keep": 2,
            "images": ["etcd", "app-model"],
        }
        self.said = ""
        self.full = False
        self.ran: list[list[str]] = []
        for name in KEYS:
            self.write(f"{KUBERNETES}/{name}", name)
        self.write(f"{KUBERNETES}/{ENCRYPTION}", render([Key("slipway-1", base64.b64encode(KEY).decode())]))
        for part, tag in (("etcd", "3.7.3-0"), ("kube-apiserver", "v1.37.0")):
            self.write(f"{KUBERNETES}/manifests/{part}.yaml", f"    image: registry.k8s.io/{part}:{tag}\n")
        self.write(f"{MORE}/page.yml", "cluster_name: sun\n")
        self.write(f"{MORE}/releases/shop.yml", "name: shop\n")
        self.write(f"{MORE}/founded.json", json.dumps({"values": {"cluster_name": "sun"}}))
        self.sealed = entry("slipway-1", b"a secret")
        outer = self

        class Store:
            def snapshot(self, path: str) -> None:
                Path(path).write_bytes(outer.sealed)

        patch.setattr(program, "Etcd", Store)
        patch.setattr(program, "sweep", lambda _run: None)
        patch.setattr(program, "try_out", lambda *_: {"revision": 7, "totalKey": 300})
        patch.setattr(program, "run", self.run)

    def write(self, name: str, text: str) -> Path:
        path = Path(f"{self.root}{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def run(self, command: Sequence[str], _held: int = -1) -> tuple[int, str, str]:
        self.ran.append(list(command))
        if command[0] == "systemctl":
            return 0, self.said, ""
        assert command[:2] == ["age", "--encrypt"]
        target = Path(command[command.index("--output") + 1])
        if self.full:
            target.write_text("half")
            return 1, "", f"age: error: {target}: no space left on device\nand more"
        to = [x25519.Recipient.from_str(command[n + 1]) for n, word in enumerate(command) if word == "--recipient"]
        pyrage.encrypt_file(command[-1], str(target), to)
        return 0, "", ""

    def save(self, now: datetime = NOW) -> str:
        return program.save(self.config, now=now, root=self.text)

    def there(self) -> list[str]:
        return sorted(os.listdir(f"{self.root}{FOLDER}"))


@pytest.fixture
def controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Controller:
    return Controller(tmp_path, monkeypatch)


def test_what_it_makes_is_a_backup_that_make_restore_reads(controller: Controller, tmp_path: Path) -> None:
    path = Path(controller.save())
    assert path == Path(f"{controller.root}{FOLDER}/{NAME}")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert b"pki/ca.key" not in path.read_bytes()
    out = tmp_path / "out"
    out.mkdir()
    manifest = archive.read(path, controller.key, out)
    assert (manifest.cluster, manifest.kubernetes, manifest.revision, manifest.keys) == ("sun", "1.37.0", 7, 300)
    assert manifest.made == "2026-11-30T03:00:00+00:00"
    assert manifest.kept == {"values": {"cluster_name": "sun"}}
    assert manifest.images == ["app-model", "etcd"]
    assert (out / "page.yml").read_text() == "cluster_name: sun\n"
    assert (out / "releases/shop.yml").read_text() == "name: shop\n"
    archive.for_controller(out)
    with tarfile.open(out / "controller.tar") as given:
        assert set(given.getnames()) == {SNAPSHOT, *KEYS}


def test_nothing_that_is_not_encrypted_stays_and_no_key_is_an_argument(controller: Controller) -> None:
    controller.save()
    assert not Path(f"{controller.root}{WORK}").exists()
    assert controller.there() == [NAME]
    (line,) = controller.ran
    assert not [word for word in line if "SECRET" in word]


def test_the_newest_are_kept_and_no_other_file_goes(controller: Controller) -> None:
    others = ["moon-20261101T030000Z.tar.age", "notes.txt", "sun-copy.tar.age"]
    for name in others:
        controller.write(f"{FOLDER}/{name}", "x")
    for day in (27, 28, 29, 30):
        controller.save(NOW.replace(day=day))
    stay = [f"sun-202611{day}T030000Z.tar.age" for day in (29, 30)]
    assert controller.there() == sorted([*others, *stay])


def test_a_full_disk_leaves_the_old_ones_and_says_so(controller: Controller) -> None:
    controller.config["keep"] = 1
    controller.save(NOW.replace(day=29))
    controller.full = True
    with pytest.raises(BackupError, match="no space left on device"):
        controller.save()
    assert controller.there() == ["sun-20261129T030000Z.tar.age"]
    assert not Path(f"{controller.root}{WORK}").exists()
    controller.full = False
    # What a killed run has left goes with the next one.
    controller.write(f"{FOLDER}/sun-20261129T040000Z.tar.age.part", "half")
    controller.save()
    assert controller.there() == [NAME]


@pytest.mark.parametrize("keep", [1, 2])
def test_a_clock_that_jumped_takes_no_backup_away(controller: Controller, keep: int) -> None:
    controller.config["keep"] = 9
    later = [Path(controller.save(NOW.replace(year=year))).name for year in (2030, 2031)]
    controller.config["keep"] = keep
    assert Path(controller.save()).name == NAME
    assert controller.there() == sorted([NAME, *later[2 - keep + 1 :]])
    # The newest is the one that was made, whatever others are called.
    told = program.report(controller.config, f"{controller.root}{FOLDER}/{NAME}", "", controller.text)
    assert told["newest"] == f"{FOLDER}/{NAME}"
    # The same second again.
    controller.config["keep"] = 9
    assert Path(controller.save()).name == "sun-20261130T030001Z.tar.age"


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (lambda one: setattr(one, "sealed", entry("slipway-9", b"x")), "not in encryption/config.yml: slipway-9"),
        (lambda one: setattr(one, "sealed", entry("slipway-1", b"x", KEY[::-1])), "the key does not fit"),
        (lambda one: Path(f"{one.root}{KUBERNETES}/pki/ca.key").unlink(), "kept elsewhere"),
        (lambda one: Path(f"{one.root}{KUBERNETES}/manifests/etcd.yaml").unlink(), "etcd.yaml"),
    ],
)
def test_what_could_not_be_restored_is_no_backup(controller: Controller, breaks: Any, said: str) -> None:
    breaks(controller)
    with pytest.raises(BackupError, match=said):
        controller.save()
    assert controller.there() == []


def test_what_came_of_it_is_told(controller: Controller) -> None:
    controller.said = "NextElapseUSecRealtime=@1796180400\n"
    assert program.report(controller.config, "", "no space left", controller.text) == {
        "error": "no space left",
        "newest": "",
        "made": "",
        "bytes": "0",
        "kept": "0",
        "next": "2026-12-02T03:00:00+00:00",
        "tried": program.report(controller.config, "", "", controller.text)["tried"],
    }
    path = controller.save()
    told = program.report(controller.config, path, "", controller.text)
    assert (told["newest"], told["made"], told["kept"]) == (f"{FOLDER}/{NAME}", "20261130T030000Z", "1")
    assert int(told["bytes"]) == Path(path).stat().st_size
    # An older one is still the newest where none was made.
    assert program.report(controller.config, "", "full", controller.text)["newest"] == f"{FOLDER}/{NAME}"
    assert program.next_time("NextElapseUSecRealtime=\n") == ""


class Server(Api):
    """Answers in the place of an API server."""

    def __init__(self, *answers: tuple[int, dict[str, Any]]) -> None:
        self.answers, self.asked = list(answers), []  # type: ignore[var-annotated]

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        self.asked.append((method, path, body))
        return self.answers.pop(0)


def test_it_is_written_into_the_cluster() -> None:
    server = Server((404, {}), (201, {}))
    program.publish(server, "ctrl", {"error": ""})
    (put, post) = server.asked
    assert put[:2] == ("PUT", "/api/v1/namespaces/kube-system/configmaps/slipway-backup-ctrl")
    assert post[:2] == ("POST", "/api/v1/namespaces/kube-system/configmaps")
    assert post[2]["metadata"]["labels"] == {"slipway.io/backup": "scheduled"}
    assert post[2]["data"] == {"error": "", "node": "ctrl"}
    with pytest.raises(ApiError, match="403: no"):
        program.publish(Server((403, {"message": "no"})), "ctrl", {})


def test_the_service_ends_with_an_error_if_none_was_made(
    controller: Controller, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[dict[str, str]] = []
    config = controller.write("/config.json", json.dumps(controller.config))
    monkeypatch.setattr(program, "CONFIG", str(config))
    monkeypatch.setattr(program, "ADMIN", str(config))
    monkeypatch.setattr(lock, "FOLDER", str(tmp_path / "run"))
    monkeypatch.setattr(program, "Api", lambda *_, **__: None)
    monkeypatch.setattr(program, "publish", lambda _api, _node, data: told.append(data))
    monkeypatch.setattr(program, "report", lambda _config, path, error: {"newest": path, "error": error})
    monkeypatch.setattr(program, "save", lambda *_: "/there")
    assert program.main() == 0
    assert capsys.readouterr().out.endswith(" s. Data of volumes is not in it.\n")

    def full(*_: object) -> str:
        raise BackupError("no space left")

    monkeypatch.setattr(program, "save", full)
    assert program.main() == 1
    assert told == [{"newest": "/there", "error": ""}, {"newest": "", "error": "no space left"}]

    def silent(*_: object) -> None:
        raise ApiError("connection refused")

    monkeypatch.setattr(program, "publish", silent)
    assert program.main() == 1
    assert "not told in the cluster: connection refused" in capsys.readouterr().out


def test_programs_are_run_with_what_they_say() -> None:
    assert lock.run(["sh", "-c", "echo a; echo b >&2; exit 3"]) == (3, "a\n", "b\n")


def test_the_controller_has_every_module_that_it_imports(tmp_path: Path) -> None:
    """As role control_plane lays them, with the standard library alone."""
    modules("backup", tmp_path)
    assert is_imported("backup", tmp_path)


def templated(schedule: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]], str]:
    """The files and units of the role, and the timer as systemd reads it."""
    return laid_out(
        "backup",
        "Make backups by a timer",
        control_plane_cluster="sun",
        control_plane_backup_schedule=schedule,
        control_plane_backup_recipients=["age1x"],
        control_plane_backup_files=[str(ROOT / "group_vars/all/cluster.yml"), str(ROOT / "releases/sms-checker.yml")],
        __control_plane_kept={"values": {"a": 1}},
    )


@pytest.mark.parametrize(
    ("schedule", "calendar"), [("daily", "daily"), ("03:00", "*-*-* 03:00:00"), ("23:59", "*-*-* 23:59:00")]
)
def test_the_role_lays_out_program_settings_and_timer(schedule: str, calendar: str) -> None:
    files, units, timer = templated(schedule)
    by_path = {each["path"]: each for each in files}
    assert f"OnCalendar={calendar}\n" in timer
    # By the clock of the wall: one that is put right moves the next backup, and what it has jumped over is made.
    assert "Persistent=true\n" in timer
    assert not [line for line in timer.splitlines() if line.startswith(("OnBoot", "OnUnit", "OnActive"))]
    config = json.loads(by_path["/etc/slipway/backup.json"]["content"])
    assert (config["cluster"], config["node"], config["keep"], config["recipients"]) == ("sun", "ctrl", 14, ["age1x"])
    page = (ROOT / "group_vars/all/cluster.yml").read_text()
    assert by_path["/etc/slipway/backup/page.yml"]["secret"] == page
    assert "/etc/slipway/backup/releases/sms-checker.yml" in by_path
    assert json.loads(by_path["/etc/slipway/backup/founded.json"]["content"]) == {"values": {"a": 1}}
    assert {each.get("mode") for path, each in by_path.items() if "/etc/slipway/" in path} == {"0600"}
    assert by_path["/usr/local/lib/slipway/slipway/scheduled_backup.py"]["content"].startswith('"""A backup')
    (unit,) = units
    assert (unit["name"], unit["enabled"], unit["state"]) == ("slipway-backup.timer", True, "started")
    # Another page restarts no timer.
    assert unit["reads"] == ["/etc/systemd/system/slipway-backup.timer"]
    assert set(unit["reads"]) < set(by_path)


def test_without_a_schedule_the_timer_goes_and_the_backups_stay() -> None:
    files, units, _ = templated("")
    assert {each["state"] for each in files} == {"absent"}
    assert not [each for each in files if each["path"].startswith(FOLDER)]
    assert units == [{"name": "slipway-backup.timer", "state": "stopped"}]


def test_controllers_that_make_backups_by_themselves_get_what_encrypts_them(tmp_path: Path) -> None:
    page: dict[str, Any] = {
        "cluster_parts": {},
        "cluster_gateway_api": False,
        "cluster_releases": ["releases/hello.yml"],
        "slipway_state": str(tmp_path),
        "slipway_page": "/p/cluster.yml",
        "playbook_dir": "/p/playbooks",
    }
    for schedule, names in (("daily", ["age"]), ("", [])):
        page["cluster_backup"] = {"schedule": schedule}
        assert ("backup" in wired("artifacts_parts", **page)) is bool(schedule)
        assert wired("host_more_packages", inventory_hostname="ctrl", **page) == names
        assert wired("host_more_packages", inventory_hostname="node-1", **page) == []
        files = ["/p/cluster.yml", "/p/releases/hello.yml"] if schedule else []
        assert wired("control_plane_backup_files", **page) == files
