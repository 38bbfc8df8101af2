"""scripts/setup: what it installs and notes, without touching this machine."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from slipway.lab import decide
from slipway.lab.vagrant import records
from slipway.page.model import Settings

ROOT = Path(__file__).parents[2]
# Where the script stops to say what it does and begins to do it.
MAIN = 'mkdir -p "$state/log"\n'
PROGRAMS = {
    "sudo": 'exec "$@"',
    # Packages are lines of a file; apt is killed with the run, or fails, where a file says so.
    "dpkg-query": """sed 's/^/ii  /' "$FAKE/installed" """,
    "apt-get": """
        echo "$*" >> "$FAKE/asked"
        case $* in
          *check*) [ ! -e "$FAKE/interrupted" ] ;;
          *install*) cp "$POLICY" "$FAKE/policy" 2> /dev/null; echo gcc >> "$FAKE/installed"
            if [ -e "$FAKE/kill" ]; then kill -9 "$(cat "$FAKE/pid")"; fi; [ ! -e "$FAKE/broken" ] ;;
        esac""",
    "dpkg": 'echo "dpkg $*" >> "$FAKE/asked"',
}


class Setup:
    """The script's functions, with programs that only pretend and paths below a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.policy = folder / "policy-rc.d"
        self.page = folder / "cluster.yml"
        self.page.write_text("cluster_provider: auto\n")
        (self.state / "log").mkdir(parents=True)
        (folder / "bin").mkdir()
        (folder / "installed").write_text("bash\n")
        for name, text in PROGRAMS.items():
            self.program(name, text)

    def program(self, name: str, text: str) -> None:
        file = self.folder / "bin" / name
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)

    def run(self, commands: str, **environment: str) -> subprocess.CompletedProcess[str]:
        functions, main, _ = (ROOT / "scripts/setup").read_text().partition(MAIN)
        assert main
        for path in ("/usr/sbin/policy-rc.d", "/run/", "/dev/vboxdrv"):
            functions = functions.replace(path, f"{self.folder}/{path.rpartition('/')[2]}")
        script = self.folder / "checkout/scripts/setup"
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(f'{functions}\necho $$ > "$FAKE/pid"\n{commands}\n')
        return subprocess.run(
            ["bash", str(script)],
            capture_output=True,
            text=True,
            check=False,
            env={
                "PATH": f"{self.folder}/bin:/usr/bin:/bin",
                "HOME": str(self.folder),
                "FAKE": str(self.folder),
                "POLICY": str(self.policy),
                "SLIPWAY_STATE": str(self.state),
                "SLIPWAY_PAGE": str(self.page),
                **environment,
            },
        )

    def install(self) -> subprocess.CompletedProcess[str]:
        return self.run("finish_cut_off\nneed gcc 'builds runc'\ninstall_missing")

    def noted(self) -> list[str]:
        note = self.state / "packages"
        return note.read_text().split() if note.exists() else []

    def asked(self) -> str:
        return (self.folder / "asked").read_text()


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_packages_are_noted_and_start_nothing(setup: Setup) -> None:
    ended = setup.install()
    assert ended.returncode == 0, ended.stderr
    assert setup.noted() == ["gcc"]
    assert "exit 101" in (setup.folder / "policy").read_text()
    assert not setup.policy.exists()


def test_packages_of_an_apt_that_failed_are_noted(setup: Setup) -> None:
    (setup.folder / "broken").touch()
    ended = setup.install()
    assert (ended.returncode, "apt-get install gcc failed" in ended.stderr) == (1, True)
    assert setup.noted() == ["gcc"]
    assert not setup.policy.exists()


@pytest.mark.parametrize(("interrupted", "services"), [(False, False), (True, False), (True, True)])
def test_a_run_that_was_killed_in_apt_is_finished_by_the_next(setup: Setup, interrupted: bool, services: bool) -> None:
    (setup.folder / "kill").touch()
    if services:
        (setup.folder / "systemd/system").mkdir(parents=True)
    assert setup.install().returncode == -9
    assert setup.policy.exists() is not services
    if interrupted:
        (setup.folder / "interrupted").touch()
    ended = setup.run("finish_cut_off")
    assert ended.returncode == 0, ended.stderr
    assert "was cut off" in ended.stdout
    assert ("dpkg --configure -a" in setup.asked()) is interrupted
    assert setup.noted() == ["gcc"]
    assert not setup.policy.exists()
    assert setup.run("finish_cut_off").stdout == ""
    assert setup.noted() == ["gcc"]


def test_a_policy_of_the_machines_own_stays(setup: Setup) -> None:
    own = "#!/bin/sh\nexit 101\n"
    setup.policy.write_text(own)
    assert setup.install().returncode == 0
    assert setup.policy.read_text() == own


def record(folder: Path, machine: str, provider: str, text: str = "4711") -> None:
    file = folder / "machines" / machine / provider / "id"
    file.parent.mkdir(parents=True)
    file.write_text(text)


@pytest.mark.parametrize(
    ("page", "known", "virtualbox", "expected"),
    [
        ("", {}, False, "docker"),
        ("auto", {}, True, "virtualbox"),
        # VirtualBox came after the machines.
        ("auto", {"ctrl": "docker"}, True, "docker"),
        ("libvirt", {"ctrl": "docker"}, True, "libvirt"),
        ("auto", {"node-1": "docker", "ctrl": "libvirt", "ctrl-2": "virtualbox"}, False, "libvirt"),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_setup_decides_on_the_provider_of_the_plan(
    page: Any, known: dict[str, str], virtualbox: bool, expected: str, named: bool, setup: Setup
) -> None:
    setup.page.write_text(f"cluster_provider: {page}\n")
    vagrant = setup.folder / "records" if named else setup.state / "vagrant"
    for machine, name in known.items():
        record(vagrant, machine, name)
    # What Vagrant leaves of one that is gone.
    record(vagrant, "a-1", "virtualbox", "")
    if virtualbox:
        setup.program("VBoxManage", "")
        (setup.folder / "vboxdrv").touch()
    ended = setup.run("provider", **({"VAGRANT_DOTFILE_PATH": str(vagrant)} if named else {}))
    assert ended.stdout == f"{expected}\n", ended.stderr
    if known:
        settings = Settings(cluster_provider=page)
        assert decide.decide_provider(settings, records(vagrant)) == expected


def test_a_setting_of_the_environment_comes_before_the_page(setup: Setup) -> None:
    setup.page.write_text("cluster_provider: hosts\ncluster_artifacts_from: upstream\n")
    assert setup.run("provider", SLIPWAY_PROVIDER="libvirt").stdout == "libvirt\n"
    assert setup.run("provider", SLIPWAY_PROVIDER="").stdout == "hosts\n"
    assert setup.run("builds").returncode == 1
    assert setup.run("builds", SLIPWAY_ARTIFACTS_FROM="source").returncode == 0


@pytest.mark.parametrize("name", ["libvirt-sock", "virtqemud-sock"])
def test_libvirt_is_there_in_one_daemon_or_in_several(name: str, setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    setup.program("vagrant", "echo 'vagrant-libvirt (0.11.2, system)'")
    (setup.folder / "libvirt").mkdir()
    # A path of a socket has room for 107 characters.
    monkeypatch.chdir(setup.folder)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.join("libvirt", name))
        assert setup.run("provider").stdout == "libvirt\n"


def test_the_checkouts_own_machines_are_in_vagrants_own_folder(setup: Setup) -> None:
    record(setup.folder / "checkout/.vagrant", "ctrl", "libvirt")
    assert setup.run("provider", SLIPWAY_STATE=f"{setup.folder}/checkout/.slipway").stdout == "libvirt\n"


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ('cluster_proxy: {http: "", https: "", no_proxy: []}', "http://mine:1"),
        ("cluster_proxy: {https: 'https://page:1', http: \"https://other:1\"}", "https://page:1"),
        (
            "cluster_proxy:\n  http: http://other:1\n  # As below.\n  https: http://page:1 # ours\n  no_proxy: []",
            "http://page:1",
        ),
        ("", "http://mine:1"),
    ],
)
def test_upstream_is_asked_through_the_proxy_of_the_page(page: str, expected: str, setup: Setup) -> None:
    setup.page.write_text(f"cluster_artifacts_from: auto\n{page}\ncluster_ssh_keys: []\n")
    setup.program("python3", 'cat > /dev/null; echo "$https_proxy" > "$FAKE/used"')
    assert setup.run("builds", HTTPS_PROXY="http://mine:1").returncode == 1
    assert (setup.folder / "used").read_text().strip() == expected


@pytest.mark.parametrize("kind", ["docker", "virtualbox", "libvirt", "hosts"])
def test_what_copies_a_bundle_is_needed_where_none_is_mounted(kind: str, setup: Setup) -> None:
    bare = 'have() { [ "$1" != rsync ]; }\nbuilds() { false; }\n'
    ended = setup.run(f'{bare}find_missing {kind}\necho "${{packages[@]}}"')
    assert ("rsync" in ended.stdout.split()) is (kind != "docker"), ended.stderr


def needed(setup: Setup, kind: str, *there: str, before: str = "") -> list[str]:
    """The packages that setup wants where of all programs only ``there`` are found."""
    found = " | ".join(["python3", "ssh", *there])
    have = f'have() {{ case "$1" in {found}) return 0 ;; esac; return 1; }}\nbuilds() {{ false; }}\n'
    ended = setup.run(f'{have}{before}\nfind_missing {kind}\necho "${{packages[@]}}"')
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


@pytest.mark.parametrize(
    ("page", "variable", "needs"),
    [
        ('cluster_backup: {folder: ~/x, keep: 14, schedule: "", store: ""}', "", False),
        ('cluster_backup: {folder: ~/x, store: "https://s3.example.org/saves/x", keep: 3}', "", True),
        ("cluster_backup:\n  keep: 3\n  store: http://127.0.0.1:9000/saves", "", True),
        ("cluster_backup:\n  # store: https://s3.example.org/saves\n  keep: 3", "", False),
        ("cluster_backup: {keep: 3}", "https://s3.example.org/saves", True),
    ],
)
def test_what_brings_backups_to_a_store_is_needed_where_there_is_one(
    page: str, variable: str, needs: bool, setup: Setup
) -> None:
    setup.page.write_text(f"{page}\ncluster_ssh_keys: []\n")
    before = f"SLIPWAY_BACKUP_STORE={variable}" if variable else ""
    assert ("s3cmd" in needed(setup, "hosts", before=before)) is needs
    assert "s3cmd" not in needed(setup, "hosts", "s3cmd", before=before)


def test_libvirt_is_installed_with_what_it_runs_machines_with(setup: Setup) -> None:
    wanted = {
        "libvirt-daemon-system",
        "libvirt-clients",
        "qemu-system-x86",
        "qemu-utils",
        "dnsmasq-base",
        "vagrant-libvirt",
    }
    assert wanted <= set(needed(setup, "libvirt"))
    assert not wanted & set(needed(setup, "docker"))
    setup.program("vagrant", "echo 'vagrant-libvirt (0.11.2, system)'")
    there = ("libvirtd", "virsh", "qemu-system-x86_64", "qemu-img", "dnsmasq", "vagrant")
    assert not wanted & set(needed(setup, "libvirt", *there))


@pytest.mark.parametrize("kind", ["libvirt", "docker", "hosts"])
def test_what_makes_a_box_is_installed_when_one_is_made(kind: str, setup: Setup) -> None:
    tools = {"fdisk", "dosfstools", "mtools", "qemu-utils", "mmdebstrap", "e2fsprogs"}
    assert tools <= set(needed(setup, kind, before="with_box=yes"))
    assert not {"fdisk", "dosfstools", "mtools"} & set(needed(setup, kind))


LIBVIRTD = """echo $$ > "$FAKE/${0##*/}.pid"
case $0 in *virtlogd) exit ;; esac
echo "libvirtd $*" >> "$FAKE/asked"
touch "$FAKE/up"
"""


def test_libvirt_is_started_where_no_systemd_does_it(setup: Setup) -> None:
    setup.program("virsh", '[ -e "$FAKE/up" ]')
    for name in ("virtlogd", "libvirtd"):
        setup.program(name, LIBVIRTD)
    ended = setup.run('as_root() { "$@"; }\nsee_to_libvirt')
    assert ended.returncode == 0, ended.stderr
    assert "starting libvirt: virtlogd and libvirtd in the background" in ended.stdout
    # Without a system bus there is no polkit to ask: members of group libvirt may use it.
    assert setup.asked() == f"libvirtd --config {setup.state}/libvirtd.conf\n"
    assert 'unix_sock_group = "libvirt"' in (setup.state / "libvirtd.conf").read_text()
    for name in ("virtlogd", "libvirtd"):
        assert (setup.state / f"{name}.pid").read_text() == (setup.folder / f"{name}.pid").read_text()
    again = setup.run("see_to_libvirt")
    assert (again.returncode, again.stdout) == (0, "")


def test_a_user_outside_of_group_libvirt_is_put_into_it(setup: Setup) -> None:
    """It runs, and answers root alone."""
    setup.program("virsh", '[ -n "${AS_ROOT:-}" ] || [ -e "$FAKE/member" ]')
    setup.program("usermod", 'echo "$*" > "$FAKE/usermod"; touch "$FAKE/member"')
    setup.program("sg", 'shift 2; exec sh -c "$1"')
    ended = setup.run('as_root() { AS_ROOT=1 "$@"; }\nsee_to_libvirt')
    assert ended.returncode == 0, ended.stderr
    assert (setup.folder / "usermod").read_text().startswith("--append --groups libvirt ")
    assert "sg libvirt -c 'vagrant up'" in ended.stdout
    refused = setup.run('rm "$FAKE/member"\nas_root() { [ "$1" = virsh ]; }\nsee_to_libvirt')
    assert refused.returncode == 1
    assert "Ask an administrator for:  usermod -aG libvirt" in refused.stderr


@pytest.mark.parametrize(
    ("computer", "page", "expected"),
    [
        ("x86_64", "cluster_architecture: auto\n", ""),
        ("x86_64", "cluster_architecture: amd64\n", ""),
        ("x86_64", "cluster_architecture: arm64  # boards\n", "arm64"),
        ("x86_64", "cluster_hosts:\n  - {name: a, role: worker, architecture: arm64}\n", "arm64"),
        ("x86_64", "cluster_hosts:\n  - name: a\n    architecture: 'arm64'\n  - architecture: arm64\n", "arm64"),
        ("x86_64", "cluster_hosts:\n  # - {name: a, architecture: arm64}\n", ""),
        ("aarch64", "cluster_architecture: amd64\ncluster_hosts:\n  - {name: a, architecture: arm64}\n", "amd64"),
        ("aarch64", "cluster_architecture: arm64\n", ""),
        ("riscv64", "cluster_architecture: arm64\n", ""),
    ],
)
def test_the_other_architecture_of_a_page_is_found(setup: Setup, computer: str, page: str, expected: str) -> None:
    setup.page.write_text(page)
    setup.program("uname", f"echo {computer}")
    ended = setup.run("other_architecture")
    assert (ended.returncode, ended.stdout.strip()) == (0, expected), ended.stderr


@pytest.mark.parametrize(
    ("kind", "page", "needed"),
    [
        ("hosts", "arm64", True),
        ("hosts", "amd64", False),
        # Machines that are made here are as this one is.
        ("docker", "arm64", False),
    ],
)
def test_a_compiler_is_installed_for_hosts_of_another_architecture(
    setup: Setup, kind: str, page: str, needed: bool
) -> None:
    setup.page.write_text(f"cluster_architecture: {page}\n")
    setup.program("uname", "echo x86_64")
    told = 'builds() { true; }\nhave() { [ "$1" != aarch64-linux-gnu-gcc ]; }\n'
    ended = setup.run(f'{told}find_missing {kind}\necho "${{packages[*]}}"')
    assert ended.returncode == 0, ended.stderr
    assert ("gcc-aarch64-linux-gnu" in ended.stdout.split()) is needed


def test_no_box_is_built_on_another_architecture_than_amd64(setup: Setup) -> None:
    setup.page.write_text("cluster_box: auto\n")
    setup.program("python3", "cat > /dev/null; exit 1")
    setup.program("uname", "echo aarch64")
    assert setup.run("builds_box libvirt").returncode == 1


@pytest.mark.parametrize(
    ("page", "answer", "taken_in", "expected"),
    [
        ("built", 0, "", 0),
        ("debian/bookworm64", 1, "", 1),
        ("auto", 0, "", 1),
        ("auto", 1, "", 0),
        ("auto", 1, "202510.26.0/libvirt", 1),
        ("auto", 1, "202510.26.0/amd64/libvirt", 1),
        ("auto", 1, "202510.26.0/arm64/libvirt", 0),
        ("auto", 1, "202510.26.0/virtualbox", 0),
    ],
)
def test_a_box_is_built_where_the_plan_builds_one(
    page: str, answer: int, taken_in: str, expected: int, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup.page.write_text(f"cluster_box: {page}\n")
    setup.program("python3", f"cat > /dev/null; exit {answer}")
    if taken_in:
        (setup.folder / ".vagrant.d/boxes/bento-VAGRANTSLASH-ubuntu-24.04" / taken_in).mkdir(parents=True)
    assert setup.run("builds_box libvirt").returncode == expected
    if page == "auto" and answer:
        # The plan finds the same.
        monkeypatch.setenv("VAGRANT_HOME", str(setup.folder / ".vagrant.d"))
        monkeypatch.setattr(decide, "upstream_answers", lambda *_: False)
        assert (decide.decide_box(Settings(), {}, setup.folder, "libvirt") == "") is (expected == 0)
