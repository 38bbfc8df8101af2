"""The machine plan, and what is found out about this computer."""

from __future__ import annotations

import http.server
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slipway.lab import decide, surroundings, vagrant
from slipway.lab import image as debian
from slipway.lab import plan as machines
from slipway.page.examine import examine
from slipway.page.model import Settings
from slipway.paths import ROOT, state_folder

HOSTS: dict[str, Any] = {
    "cluster_provider": "hosts",
    "cluster_hosts": [
        {"name": "ctrl", "address": "192.168.56.100", "role": "controller", "key": "~/key"},
        {"name": "store", "address": "192.168.56.10", "role": "mirror", "user": "me", "port": 2222},
    ],
}


def settings(**values: Any) -> Settings:
    return examine(values).accepted()


def made(vagrant: Path, name: str, provider: str, identity: str = "abc") -> None:
    folder = vagrant / "machines" / name / provider
    folder.mkdir(parents=True)
    (folder / "id").write_text(identity)


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SLIPWAY_PAGE", "SLIPWAY_STATE", "VAGRANT_DOTFILE_PATH", "VAGRANT_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "house"))


# --- places


def test_places_are_those_of_the_checkout_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert state_folder() == ROOT / ".slipway"
    assert machines.page_file() == ROOT / "group_vars/all/cluster.yml"
    monkeypatch.setenv("SLIPWAY_STATE", "lab")
    monkeypatch.setenv("SLIPWAY_PAGE", "/x/page.yml")
    assert state_folder() == Path.cwd() / "lab"
    assert machines.page_file() == Path("/x/page.yml")


def test_another_state_folder_has_vagrants_records_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert vagrant.vagrant_folder(ROOT / ".slipway") == ROOT / ".vagrant"
    assert vagrant.vagrant_folder(Path("/lab")) == Path("/lab/vagrant")
    monkeypatch.setenv("VAGRANT_DOTFILE_PATH", "/own")
    assert vagrant.vagrant_folder(Path("/lab")) == Path("/own")
    monkeypatch.setenv("VAGRANT_DOTFILE_PATH", "sub/../own")
    assert vagrant.vagrant_folder(Path("/lab")) == ROOT / "own"


def test_records_tell_which_machines_exist(tmp_path: Path) -> None:
    made(tmp_path, "ctrl", "docker")
    made(tmp_path, "node-1", "virtualbox", "def\n")
    made(tmp_path, "node-2", "docker", "\n")
    (tmp_path / "machines/node-3/docker").mkdir(parents=True)
    assert vagrant.records(tmp_path) == {"ctrl": ("docker", "abc"), "node-1": ("virtualbox", "def")}
    assert vagrant.records(tmp_path / "nowhere") == {}


def test_records_of_one_provider_are_those_of_all_that_are_its_own(tmp_path: Path) -> None:
    made(tmp_path, "ctrl", "docker")
    made(tmp_path, "ctrl", "virtualbox", "def")
    made(tmp_path, "node-1", "virtualbox")
    made(tmp_path, "node-2", "docker", "\n")
    assert vagrant.ids(tmp_path, "docker") == {"ctrl": "abc"}
    assert vagrant.ids(tmp_path, "virtualbox") == {"ctrl": "def", "node-1": "abc"}
    assert vagrant.ids(tmp_path, "libvirt") == {}


# --- the provider


@pytest.mark.parametrize(
    ("programs", "files", "platform", "plugin", "expected"),
    [
        ({"VBoxManage"}, {"/dev/vboxdrv"}, "linux", "", "virtualbox"),
        ({"VBoxManage"}, set(), "darwin", "", "virtualbox"),
        ({"VBoxManage"}, set(), "linux", "", "docker"),
        ({"VBoxManage"}, {"/dev/vboxdrv", "/run/libvirt/libvirt-sock"}, "linux", "user", "virtualbox"),
        (set(), {"/run/libvirt/libvirt-sock"}, "linux", "user", "libvirt"),
        (set(), {"/run/libvirt/virtqemud-sock"}, "linux", "debian", "libvirt"),
        (set(), {"/run/libvirt/libvirt-sock"}, "linux", "", "docker"),
        (set(), set(), "linux", "user", "docker"),
    ],
)
def test_auto_takes_virtualbox_then_libvirt_then_docker(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    programs: set[str],
    files: set[str],
    platform: str,
    plugin: str,
    expected: str,
) -> None:
    real = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: str(path) in files if str(path) == "/dev/vboxdrv" else real(path))
    monkeypatch.setattr(decide, "listens", files.__contains__)
    monkeypatch.setattr("shutil.which", lambda name: name if name in programs else None)
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr(decide, "DEBIAN_GEMS", tmp_path / "gems")
    monkeypatch.setenv("VAGRANT_HOME", str(tmp_path))
    if plugin == "user":
        (tmp_path / "plugins.json").write_text('{"version": "1", "installed": {"vagrant-libvirt": {}}}')
    if plugin == "debian":
        (tmp_path / "gems/all/specifications").mkdir(parents=True)
        (tmp_path / "gems/all/specifications/vagrant-libvirt-0.11.2.gemspec").touch()
    assert decide.detect_provider() == expected


def test_a_socket_counts_while_somebody_listens(tmp_path: Path) -> None:
    path = str(tmp_path / "libvirt-sock")
    assert not decide.listens(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        assert decide.listens(path)
    assert not decide.listens(path), "who listened was killed"


def test_machines_that_exist_keep_their_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "detect_provider", lambda: "detected")
    existing = {"ctrl": ("libvirt", "1"), "node-1": ("docker", "2")}
    assert decide.decide_provider(settings(), existing) == "libvirt"
    assert decide.decide_provider(settings(), {}) == "detected"
    assert decide.decide_provider(settings(cluster_provider="virtualbox"), existing) == "virtualbox"


# --- the mirror


@pytest.mark.parametrize(
    ("values", "provider", "existing", "expected"),
    [
        (HOSTS, "hosts", [], True),
        ({"cluster_provider": "hosts", "cluster_hosts": HOSTS["cluster_hosts"][:1]}, "hosts", [], False),
        ({"cluster_mirror": True}, "virtualbox", [], True),
        ({"cluster_mirror": False}, "docker", ["mirror-1"], False),
        ({}, "docker", [], True),
        ({}, "virtualbox", ["ctrl", "mirror-1"], True),
        ({"cluster_artifacts_from": "source"}, "virtualbox", [], True),
        ({"cluster_artifacts_from": "upstream"}, "libvirt", [], False),
        ({}, "libvirt", ["ctrl"], False),
    ],
)
def test_a_mirror_stands_where_it_is_wanted_or_needed(
    tmp_path: Path, values: dict[str, Any], provider: str, existing: list[str], expected: bool
) -> None:
    records = dict.fromkeys(existing, (provider, "1"))
    assert decide.decide_mirror(settings(**values), provider, records, tmp_path) is expected


def test_images_that_nobody_publishes_bring_a_mirror(tmp_path: Path) -> None:
    listed = settings(cluster_releases=["releases/sms-checker.yml"])
    assert decide.decide_mirror(listed, "virtualbox", {"ctrl": ("virtualbox", "1")}, tmp_path)
    refused = settings(cluster_releases=["releases/sms-checker.yml"], cluster_mirror=False)
    assert not decide.decide_mirror(refused, "virtualbox", {}, tmp_path)


@pytest.mark.parametrize("reachable", [True, False])
def test_whether_upstream_answers_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reachable: bool
) -> None:
    asked: list[str] = []

    def answers(proxy: str, url: str) -> bool:
        assert url == decide.UPSTREAM
        asked.append(proxy)
        return reachable

    monkeypatch.setattr(decide, "upstream_answers", answers)
    state = tmp_path / "state"
    assert decide.decide_mirror(settings(), "virtualbox", {}, state) is not reachable
    assert decide.decide_mirror(settings(), "virtualbox", {"ctrl": ("virtualbox", "1")}, state) is not reachable
    assert asked == [""]
    proxy = {"http": "", "https": "http://p:1", "no_proxy": []}
    decide.decide_mirror(settings(cluster_proxy=proxy), "virtualbox", {}, state)
    assert asked == ["", "http://p:1"]


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers 200 below /fine and 404 elsewhere; as a proxy it refuses to connect."""

    def do_HEAD(self) -> None:
        self.send_response(200 if self.path.endswith("/fine") else 404)
        self.end_headers()

    def do_CONNECT(self) -> None:
        self.send_error(403)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


def test_any_answer_of_upstream_is_an_answer(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert decide.upstream_answers(url=f"{server}/fine")
    assert decide.upstream_answers(url=f"{server}/gone")
    assert decide.upstream_answers(server, url="http://192.0.2.1/fine")


def test_silence_a_refusal_or_nonsense_is_no_answer(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert not decide.upstream_answers(url="http://127.0.0.1:1/")
    assert not decide.upstream_answers(server, url="https://192.0.2.1/")
    assert not decide.upstream_answers(url="nonsense")


# --- the plan


def test_the_plan_of_the_page_as_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "detect_provider", lambda: "docker")
    plan = machines.make_plan(settings(), page=tmp_path / "page.yml", state=tmp_path / "state", root=ROOT)
    runs = {"system": "debian-12", "image": debian.node_image_tag(ROOT), "box": "", "box_file": ""}
    assert plan == {
        "cluster": "slipway",
        "provider": "docker",
        "network": {
            "name": "slipway",
            "cidr": "192.168.56.0/24",
            "gateway": "192.168.56.1",
            "apart": ["10.244.0.0/16", "10.96.0.0/12"],
        },
        "machines": [
            {"name": "mirror-1", "role": "mirror", "address": "192.168.56.10", "cpus": 1, "memory": 1024, **runs},
            {"name": "ctrl", "role": "controller", "address": "192.168.56.100", "cpus": 2, "memory": 4096, **runs},
            {"name": "node-1", "role": "worker", "address": "192.168.56.101", "cpus": 2, "memory": 6144, **runs},
            {"name": "node-2", "role": "worker", "address": "192.168.56.102", "cpus": 2, "memory": 6144, **runs},
        ],
        "left": [],
        "checkout": False,
        "baked": "auto",
        "hosts": [],
        "cache": str(tmp_path / "cache"),
        "page": str(tmp_path / "page.yml"),
        "state": str(tmp_path / "state"),
        "vagrant": str(tmp_path / "state/vagrant"),
    }


def test_what_vagrant_has_beside_the_page_is_left(tmp_path: Path) -> None:
    vagrant = tmp_path / "state/vagrant"
    made(vagrant, "node-1", "docker")
    made(vagrant, "node-2", "docker")
    made(vagrant, "node-3", "virtualbox")
    values = {"cluster_provider": "docker", "cluster_workers": {"count": 1, "cpus": 1, "memory": 2048}}
    plan = machines.make_plan(settings(**values), page=tmp_path, state=tmp_path / "state", root=ROOT)
    assert plan["left"] == ["node-2"]


def test_the_plan_for_hosts_makes_nothing(tmp_path: Path) -> None:
    plan = machines.make_plan(settings(**HOSTS), page=tmp_path, state=tmp_path, root=tmp_path)
    assert plan["machines"] == []
    ctrl, store = plan["hosts"]
    assert ctrl == {
        "name": "ctrl",
        "role": "controller",
        "address": "192.168.56.100",
        "user": "",
        "port": 22,
        "key": f"{tmp_path}/house/key",
    }
    assert (store["user"], store["port"], store["key"]) == ("me", 2222, "")


def test_what_would_be_made_of_hosts_is_said_by_their_names(tmp_path: Path) -> None:
    page = settings(**HOSTS)
    lines = machines.preview(machines.make_plan(page, page=tmp_path, state=tmp_path, root=tmp_path), page)
    assert "ctrl         192.168.56.100   controller" in lines
    assert "store        192.168.56.10    mirror" in lines


def test_only_docker_has_a_node_image(tmp_path: Path) -> None:
    values = {"cluster_provider": "virtualbox", "cluster_mirror": False, "cluster_box": "debian/bookworm64"}
    plan = machines.make_plan(settings(**values), page=tmp_path, state=tmp_path, root=tmp_path)
    assert [machine["name"] for machine in plan["machines"]] == ["ctrl", "node-1", "node-2"]
    runs = {(machine["system"], machine["image"], machine["box"], machine["box_file"]) for machine in plan["machines"]}
    assert runs == {("", "", "debian/bookworm64", "")}


@pytest.mark.parametrize("provider", ["libvirt", "virtualbox"])
def test_a_box_that_is_built_is_named_by_all_that_decides_it(tmp_path: Path, provider: str) -> None:
    values = {
        "cluster_provider": provider,
        "cluster_mirror": False,
        "cluster_box": "built",
        "cluster_systems": {"node-2": "debian-13"},
    }
    plan = machines.make_plan(settings(**values), page=tmp_path, state=tmp_path, root=ROOT)
    made = {machine["name"]: machine for machine in plan["machines"]}
    assert made["ctrl"]["box"] == made["node-1"]["box"] != made["node-2"]["box"]
    assert {machine["system"] for machine in made.values()} == {"debian-12", "debian-13"}
    for machine in made.values():
        file = Path(machine["box_file"])
        assert (file.parent, machine["box"]) == (tmp_path / "cache/boxes", f"slipway-{file.stem}")
        assert file.name.startswith(f"{machine['system']}-{provider}-")


def test_a_plan_names_a_box_before_the_bundle_that_is_to_be_baked_into_it(tmp_path: Path) -> None:
    """The run gets the bundle after it has read the plan."""
    values = {"cluster_provider": "libvirt", "cluster_mirror": False, "cluster_box": "built", "cluster_baked": True}
    plan = machines.make_plan(settings(**values), page=tmp_path, state=tmp_path, root=ROOT)
    assert {machine["box"].startswith("slipway-debian-12-libvirt-") for machine in plan["machines"]} == {True}


@pytest.mark.parametrize("answers", [True, False])
def test_without_a_box_of_the_page_one_is_built_where_upstreams_is_not_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    asked: list[str] = []

    def answer(_proxy: str, url: str) -> bool:
        asked.append(url)
        return answers

    monkeypatch.setattr(decide, "upstream_answers", answer)
    values = {"cluster_provider": "libvirt", "cluster_mirror": False}
    state = tmp_path / "state"

    def box() -> str:
        return machines.make_plan(settings(**values), page=tmp_path, state=state, root=ROOT)["machines"][0]["box"]

    first = box()
    assert first.startswith("bento/" if answers else "slipway-debian-12-libvirt-")
    assert asked == [decide.BOXES]
    # What was found out for the first machine holds for as long as there is one.
    made(state / "vagrant", "ctrl", "libvirt")
    answers = not answers
    assert box() == first
    assert len(asked) == 1


def test_the_image_of_many_machines_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def tag(_root: Path, system: str) -> str:
        asked.append(system)
        return system

    monkeypatch.setattr(debian, "node_image_tag", tag)
    values = {"cluster_provider": "docker", "cluster_workers": {"count": 50, "cpus": 1, "memory": 700}}
    plan = machines.make_plan(settings(**values), page=tmp_path, state=tmp_path, root=ROOT)
    assert {machine["image"] for machine in plan["machines"]} == {"debian-12"}
    assert asked == ["debian-12"]


def test_a_machine_may_have_another_system(tmp_path: Path) -> None:
    values = {"cluster_provider": "docker", "cluster_systems": {"node-2": "debian-13"}}
    plan = machines.make_plan(settings(**values), page=tmp_path, state=tmp_path, root=ROOT)
    images = {machine["name"]: (machine["system"], machine["image"]) for machine in plan["machines"]}
    ordinary, other = (
        ("debian-12", debian.node_image_tag(ROOT)),
        ("debian-13", debian.node_image_tag(ROOT, "debian-13")),
    )
    assert images == {"mirror-1": ordinary, "ctrl": ordinary, "node-1": ordinary, "node-2": other}
    assert ordinary[1] != other[1]


# --- the command


def page(folder: Path, text: str = "cluster_name: lab\ncluster_provider: docker\n") -> str:
    (folder / "page.yml").write_text(text)
    return str(folder / "page.yml")


def test_the_plan_is_printed_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_PAGE", page(tmp_path))
    monkeypatch.setenv("SLIPWAY_STATE", str(tmp_path))
    assert machines.main([]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["cluster"], plan["provider"], plan["state"]) == ("lab", "docker", str(tmp_path))
    assert machines.main(["--provider", "libvirt", "--page", page(tmp_path, "cluster_mirror: false\n")]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["cluster"], plan["provider"]) == ("slipway", "libvirt")


def test_a_wrong_page_ends_with_status_2_and_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert machines.main(["--page", page(tmp_path, "cluster_name: A\n")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("These settings cannot work (1 problem):\n")
    assert "page.yml:1: cluster_name" in err
    assert machines.main(["--page", str(tmp_path / "none.yml")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_this_computer_is_checked_on_request_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_STATE", str(tmp_path))
    path = page(tmp_path, "cluster_provider: docker\ncluster_ssh_keys: [nobody]\n")
    assert machines.main(["--page", path]) == 0
    assert machines.main(["--check", "--page", path]) == 2
    assert "cluster_ssh_keys[0]: nobody" in capsys.readouterr().err
    monkeypatch.setattr(surroundings, "memory", lambda: (100000, 9000))
    assert machines.main(["--check", "--page", page(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["cluster"] == "lab"
    assert err.startswith("Note: ")
    assert "MiB are free here now" in err


def test_the_command_starts_fast(tmp_path: Path) -> None:
    # Every Vagrant command waits for it. The time differs from machine to machine; what is loaded does not.
    command = [sys.executable, "-X", "importtime", "-m", "slipway.lab.plan", "--page", page(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "pydantic" in loaded
    assert loaded.isdisjoint({"ansible", "kubernetes", "vagrant", "jinja2", "requests", "urllib3", "cryptography"})
