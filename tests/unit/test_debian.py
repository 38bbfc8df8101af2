"""Debian roots: what names them, where their packages come from, and that a kill or a failure leaves no half one."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from slipway.artifacts.cache import default_root
from slipway.lab import docker
from slipway.lab import image as debian

from tests.support.errors import refused

RECIPE = debian.Recipe("bookworm", ("iptables",), "essential")
# What a program on PATH says instead of the real one.
MMDEBSTRAP = """#!/bin/sh
printf '%s\\n' "$@" > "$RECORD"
[ -z "$FAIL" ] || { echo "$FAIL" >&2; exit 1; }
for last in "$@"; do case $last in */root.tar) echo root > "$last" ;; esac; done
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH but for the system's own, with a mmdebstrap that writes down how it was called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    write_program(folder / "mmdebstrap", MMDEBSTRAP)
    write_program(folder / "apt-get", "#!/bin/sh\nexit 100\n")
    write_program(folder / "apt-config", "#!/bin/sh\nexit 100\n")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("RECORD", str(tmp_path / "record"))
    monkeypatch.setenv("FAIL", "")
    return folder


def write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def test_a_root_is_made_once(tmp_path: Path, programs: Path) -> None:
    lines: list[str] = []
    first = debian.build_root("bookworm", ["b", "a", "b"], tmp_path / "cache", lines.append)
    assert first.read_text() == "root\n"
    assert first.parent == tmp_path / "cache/roots"
    assert len(lines) == 2
    write_program(programs / "mmdebstrap", "#!/bin/sh\nexit 1\n")
    assert debian.build_root("bookworm", ["a", "b"], tmp_path / "cache", lines.append) == first
    assert len(lines) == 2
    assert "--include=a,b,usr-is-merged" in (tmp_path / "record").read_text().splitlines()


@pytest.mark.parametrize(
    ("log", "remedy"),
    [
        ("write: No space left on device", "SLIPWAY_CACHE"),
        ("E: newuidmap 2669  0 1000 1 failed", "/etc/subuid"),
        ("NO_PUBKEY 6ED0E7B82643E131", "debian-archive-keyring"),
        ("Could not resolve 'deb.debian.org'", "apt-get update"),
        ("E: Unable to locate package nonsense", "nonsense"),
    ],
)
@pytest.mark.usefixtures("programs")
def test_a_failure_is_explained_and_leaves_nothing(
    log: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL", log)
    with refused("build-failed: bookworm") as raised:
        debian.make(RECIPE, tmp_path, lambda _: None)
    assert log in raised.value.message
    assert remedy in raised.value.message
    assert [path.name for path in (tmp_path / "roots").iterdir() if not path.name.endswith(".lock")] == []


@pytest.mark.usefixtures("programs")
def test_what_a_killed_run_left_goes(tmp_path: Path) -> None:
    stale = tmp_path / f"roots/.bookworm-{RECIPE.digest}.tar.x1y2"
    stale.mkdir(parents=True)
    (stale / "root.tar").write_text("half")
    debian.make(RECIPE, tmp_path, lambda _: None)
    assert not stale.exists()


def test_without_mmdebstrap_the_user_learns_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with refused("program-missing: make setup"):
        debian.make(RECIPE, tmp_path, lambda _: None)


@pytest.mark.parametrize(
    "other",
    [
        replace(RECIPE, suite="trixie"),
        replace(RECIPE, packages=("iptables", "nftables")),
        replace(RECIPE, variant="minbase"),
        replace(RECIPE, overlay=b"x"),
        replace(RECIPE, script="true"),
    ],
)
def test_everything_in_a_recipe_names_it(other: debian.Recipe) -> None:
    assert other.digest != RECIPE.digest
    assert replace(other).digest == other.digest


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        pytest.param(
            [
                "http://mirror/debian/|bookworm|main|",
                "http://mirror/debian/|bookworm|contrib|",
                "http://mirror/security/|bookworm-security|main|",
                "http://mirror/debian/|bookworm-backports|main|",
            ],
            ["deb http://mirror/debian/ bookworm main", "deb http://mirror/security/ bookworm-security main"],
            id="this machine's own",
        ),
        pytest.param(["http://mirror/debian/|trixie|main|"], None, id="this machine is another release"),
        pytest.param([], None, id="no package lists"),
    ],
)
def test_packages_come_from_where_this_machine_has_its_own(
    targets: list[str], expected: list[str] | None, programs: Path
) -> None:
    body = "\n".join(f"echo '{line.removesuffix('|')}'" for line in targets)
    write_program(programs / "apt-get", f"#!/bin/sh\n{body}\n")
    found = debian.sources("bookworm")
    assert found == expected or (expected is None and all(" http://deb.debian.org/" in line for line in found))


@pytest.mark.parametrize(
    ("computer", "archive"),
    [("amd64", "http://archive.ubuntu.com/ubuntu"), ("arm64", "http://ports.ubuntu.com/ubuntu-ports")],
)
def test_ubuntus_packages_are_where_they_are_for_this_computer(
    computer: str, archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keyring").touch()
    monkeypatch.setattr(debian, "UBUNTU_KEYRING", tmp_path / "keyring")
    monkeypatch.setattr(debian, "of_this_computer", lambda: computer)
    assert all(f"] {archive} noble" in line for line in debian.sources("noble"))
    assert f"URIs: {archive}\n" in debian.archive("noble")
    assert "deb.debian.org" in debian.archive("bookworm")


def test_a_root_for_another_architecture_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for computer in ("amd64", "arm64"):
        monkeypatch.setattr(debian, "of_this_computer", lambda computer=computer: computer)
        found.add(RECIPE.digest)
    assert len(found) == 2


def test_the_way_out_of_this_machine_is_apts_own(programs: Path) -> None:
    write_program(
        programs / "apt-config",
        """#!/bin/sh
cat << 'END'
APT::Architecture "amd64";
Acquire::http::Proxy "http://proxy:3128";
Acquire::https::Verify-Peer "";
Acquire::Languages "none";
END
""",
    )
    assert debian.host_apt_options() == ['Acquire::http::Proxy "http://proxy:3128";']


def lay_out(root: Path) -> Path:
    """The part of a checkout that container nodes are made of."""
    folder = root / "machines/container"
    common = root / "machines/common"
    (folder / "root/etc").mkdir(parents=True)
    common.mkdir()
    (common / "packages").write_text("# a comment\nsystemd dbus   # boots\n\nsudo\n")
    (common / "customize").write_text("#!/bin/sh\n")
    (folder / "customize").write_text("#!/bin/sh\n")
    (folder / "root/etc/a.conf").write_text("a\n")
    (folder / "root/run").write_text("b\n")
    (folder / "root/run").chmod(0o700)
    return folder


def test_the_node_image_is_named_by_all_that_decides_it(tmp_path: Path) -> None:
    folder = lay_out(tmp_path)
    assert debian.node_recipe(tmp_path).packages == ("dbus", "sudo", "systemd")
    names = [debian.node_image_tag(tmp_path)]
    assert names[0] == debian.node_image_tag(tmp_path)
    (folder / "root/etc/a.conf").write_text("c\n")
    names.append(debian.node_image_tag(tmp_path))
    (folder / "customize").write_text("#!/bin/sh\ntrue\n")
    names.append(debian.node_image_tag(tmp_path))
    (tmp_path / "machines/common/customize").write_text("#!/bin/sh\nfalse\n")
    names.append(debian.node_image_tag(tmp_path))
    (folder / "packages").write_text("udev\n")
    names.append(debian.node_image_tag(tmp_path))
    names.append(debian.node_image_tag(tmp_path, "debian-13"))
    assert len(set(names)) == 6
    assert all(name.startswith("slipway-node:") and len(name) == 25 for name in names)


def test_what_is_laid_over_a_root_is_the_same_for_any_user_and_time(tmp_path: Path) -> None:
    folder = lay_out(tmp_path)
    before = debian.overlay(folder / "root")
    os.utime(folder / "root/etc/a.conf", (1, 1))
    (folder / "root/etc/a.conf").chmod(0o600)
    assert debian.overlay(folder / "root") == before
    with tarfile.open(fileobj=io.BytesIO(before)) as tar:
        entries = {entry.name: (stat.filemode(entry.mode), entry.uid, entry.mtime) for entry in tar}
    assert entries == {"etc": ("?rwxr-xr-x", 0, 0), "etc/a.conf": ("?rw-r--r--", 0, 0), "run": ("?rwxr-xr-x", 0, 0)}


def test_nodes_of_this_checkout_hold_nothing_of_the_cluster() -> None:
    recipe = debian.node_recipe(Path(__file__).parents[2])
    assert {"systemd", "openssh-server", "sudo", "python3-apt", "conntrack"} <= set(recipe.packages)
    assert not {"containerd", "runc", "docker.io", "kubernetes-client", "nginx", "nginx-light"} & set(recipe.packages)


def test_an_image_that_is_there_is_not_made_again(tmp_path: Path, programs: Path) -> None:
    lay_out(tmp_path)
    write_program(programs / "mmdebstrap", "#!/bin/sh\nexit 1\n")
    write_program(programs / "docker", "#!/bin/sh\necho 0123456789ab\n")
    tag = debian.ensure_node_image(tmp_path, tmp_path / "cache", lambda _: None)
    assert tag == debian.node_image_tag(tmp_path)


def test_a_complaint_of_docker_is_for_the_user(programs: Path) -> None:
    write_program(programs / "docker", "#!/bin/sh\necho permission denied >&2\nexit 1\n")
    with refused("program-failed: `docker images --quiet` … permission denied"):
        debian.has_image("x")


def test_an_image_that_is_missing_is_made_once_and_handed_to_docker(tmp_path: Path, programs: Path) -> None:
    write_program(programs / "docker", DOCKER.format(held=tmp_path / "held", asked=tmp_path / "asked"))
    said: list[str] = []
    root = tmp_path / "checkout"
    lay_out(root)
    tag = debian.ensure_node_image(root, tmp_path / "cache", said.append)
    (imported,) = [line for line in (tmp_path / "asked").read_text().splitlines() if line.startswith("import")]
    assert imported.endswith(f".tar {tag}")
    assert all(f"--change {change}" in imported for change in debian.IMAGE_CHANGES)
    assert f"node image {tag}: handing it to Docker" in said
    assert debian.ensure_node_image(root, tmp_path / "cache", said.append) == tag
    assert (tmp_path / "asked").read_text().count("import ") == 1


DOCKER = """#!/bin/sh
echo "$@" >> {asked}
case $1 in
  images) [ -e {held} ] && echo 0123456789ab ;;
  import) touch {held} ;;
esac
exit 0
"""


@pytest.mark.usefixtures("programs")
def test_an_image_that_another_run_has_made_meanwhile_is_not_imported_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two runs at once the second one waits for the first, and then looks again."""
    looks = iter([False, True])
    asked: list[str] = []
    lay_out(tmp_path / "checkout")
    monkeypatch.setattr(debian, "has_image", lambda _: next(looks))
    monkeypatch.setattr(docker, "run", lambda *words: asked.append(words[0]))
    debian.ensure_node_image(tmp_path / "checkout", tmp_path / "cache", lambda _: None)
    assert asked == []


def test_a_machine_without_docker_is_told(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(programs))
    with refused("program-missing: Docker's client … run `make setup`"):
        docker.run("info")


def test_a_run_that_has_to_wait_says_so_once(tmp_path: Path) -> None:
    said: list[str] = []
    inside = threading.Event()

    def second() -> None:
        with debian.alone(tmp_path / "root.tar.lock", said.append):
            inside.set()

    with debian.alone(tmp_path / "root.tar.lock", said.append):
        waiting = threading.Thread(target=second)
        waiting.start()
        assert not inside.wait(0.3)
    waiting.join()
    assert inside.is_set()
    assert said == ["another run is at work on root.tar: waiting for it"]


@pytest.mark.usefixtures("programs")
def test_the_image_is_named_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout = Path(__file__).parents[2]
    names = set()
    for system in ("debian-12", "debian-13"):
        assert debian.main(["node-tag", "--system", system]) == 0
        names.add(capsys.readouterr().out.strip())
    assert names == {debian.node_image_tag(checkout), debian.node_image_tag(checkout, "debian-13")}
    assert len(names) == 2
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(docker, "run", lambda *_: "0123456789ab\n")
    assert debian.main(["node-image"]) == 0
    assert capsys.readouterr().out.strip() == debian.node_image_tag(checkout)
    monkeypatch.setattr(docker, "run", lambda *_: "")
    monkeypatch.setenv("FAIL", "E: nonsense")
    assert debian.main(["node-image"]) == 1
    assert "could not make a Debian bookworm root" in capsys.readouterr().err


def test_the_command_finds_a_cache_in_the_users_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SLIPWAY_CACHE", "~/large")
    monkeypatch.setattr(debian, "ensure_node_image", lambda _, cache, *__: f"made below {cache}")
    assert debian.main(["node-image"]) == 0
    assert capsys.readouterr().out == f"made below {tmp_path}/large\n"


def test_the_cache_is_where_the_user_says_or_keeps_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    monkeypatch.setenv("SLIPWAY_CACHE", "/large/cache")
    assert default_root() == Path("/large/cache")
    monkeypatch.delenv("SLIPWAY_CACHE")
    assert default_root() == Path("/caches/slipway")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_root() == Path.home() / ".cache/slipway"


def test_ubuntu_comes_from_its_own_archive_with_its_own_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = Path(__file__).parents[2]
    recipe = debian.node_recipe(checkout, "ubuntu-24.04")
    assert recipe.suite == "noble"
    assert "ubuntu-keyring" in recipe.packages
    assert "debian-archive-keyring" not in recipe.packages
    monkeypatch.setattr(debian, "UBUNTU_KEYRING", tmp_path / "keys")
    with refused("keyring-missing: apt-get install ubuntu-archive-keyring"):
        debian.sources("noble")
    (tmp_path / "keys").touch()
    start = f"deb [signed-by={tmp_path}/keys] http://archive.ubuntu.com/ubuntu"
    assert debian.sources("noble") == [
        f"{start} {suite} main universe" for suite in ("noble", "noble-updates", "noble-security")
    ]
    assert "archive.ubuntu.com" in debian.archive("noble")
    assert "debian" not in debian.archive("noble")


@pytest.mark.usefixtures("programs")
def test_a_root_is_left_with_the_sources_of_its_own_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_program(tmp_path / "bin/mmdebstrap", '#!/bin/sh\nprintf %s "$SLIPWAY_SOURCES" > "$RECORD"\n' + MMDEBSTRAP_END)
    monkeypatch.setattr(debian, "UBUNTU_KEYRING", tmp_path)
    for suite, host in (("trixie", "deb.debian.org"), ("noble", "archive.ubuntu.com")):
        debian.make(replace(RECIPE, suite=suite), tmp_path / "cache", lambda _: None)
        told = (tmp_path / "record").read_text()
        assert host in told
        assert f"Suites: {suite} {suite}-updates" in told


MMDEBSTRAP_END = 'for last in "$@"; do case $last in */root.tar) echo root > "$last" ;; esac; done\n'


def test_a_root_of_another_architecture_is_asked_for_and_kept_apart(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "of_this_computer", lambda: "amd64")
    made = debian.make(replace(RECIPE, architecture="arm64"), tmp_path, lambda _: None)
    assert made.parent == programs.parent / "roots"
    assert "--architectures=arm64" in (tmp_path / "record").read_text().splitlines()
    assert made.name != debian.make(RECIPE, tmp_path, lambda _: None).name
    assert "--architectures" not in (tmp_path / "record").read_text()
    # Named or not, this computer's own is one and the same.
    assert replace(RECIPE, architecture="amd64").digest == RECIPE.digest
