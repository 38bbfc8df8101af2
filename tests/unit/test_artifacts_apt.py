"""Debian packages: what is unpacked into a layer, and the repository that a bundle holds."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest
from slipway.artifacts import apt
from slipway.artifacts.archive import Member
from slipway.artifacts.cache import Cache
from slipway.artifacts.catalog import AptSuite

from tests.support.errors import refused


def deb(folder: Path, name: str, depends: str = "", version: str = "1.0", architecture: str = "all") -> Path:
    """Make a package that holds one program, one link and one document."""
    tree = folder / f"{name}-{architecture}.tree"
    for path in ("DEBIAN", "bin", f"usr/share/doc/{name}"):
        (tree / path).mkdir(parents=True)
    (tree / "bin" / name).write_text(f"#!/bin/sh\necho {name}\n")
    (tree / "bin" / name).chmod(0o755)
    (tree / "bin" / f"{name}-link").symlink_to(f"/bin/{name}")
    (tree / "usr/share/doc" / name / "copyright").write_text("free")
    control = f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: me <me@example.com>\n"
    control += f"Depends: {depends}\n" if depends else ""
    (tree / "DEBIAN" / "control").write_text(f"{control}Description: x\n")
    result = folder / f"{name}_{version.replace(':', '%3a')}_{architecture}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, result], check=True, capture_output=True)
    return result


def unpacked(tmp_path: Path, *, only: list[str] | None = None, without: list[str] | None = None) -> dict[str, Member]:
    members = apt.unpacked([deb(tmp_path, "tool")], only or [], without or [])
    return {member.path: member for member in members}


def test_programs_come_below_usr(tmp_path: Path) -> None:
    members = unpacked(tmp_path)
    assert set(members) == {"usr/bin/tool", "usr/bin/tool-link", "usr/share/doc/tool/copyright"}
    assert members["usr/bin/tool"].mode == 0o755
    assert members["usr/bin/tool"].content == b"#!/bin/sh\necho tool\n"
    assert members["usr/bin/tool-link"].link == "/bin/tool"


def test_folders_can_be_left_out_or_be_all(tmp_path: Path) -> None:
    assert set(unpacked(tmp_path, without=["usr/share/doc"])) == {"usr/bin/tool", "usr/bin/tool-link"}


def test_one_folder_can_be_all(tmp_path: Path) -> None:
    assert set(unpacked(tmp_path, only=["usr/share"])) == {"usr/share/doc/tool/copyright"}


@pytest.mark.parametrize(
    ("path", "result"),
    [
        ("./sbin/ip", "usr/sbin/ip"),
        ("./lib64/ld.so", "usr/lib64/ld.so"),
        ("./usr/bin/x", "usr/bin/x"),
        ("./etc/x", "etc/x"),
        ("./lib", ""),
        ("./", ""),
    ],
)
def test_folders_that_are_links_are_merged(path: str, result: str) -> None:
    assert apt.merged(path) == result


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("Inst socat (1.7.4.4-2 Debian:12.9/stable [amd64])", "socat 1.7.4.4-2 amd64"),
        ("Inst libgcc-s1 (12.2.0-14+deb12u1 Debian:12.9/stable [amd64]) []", "libgcc-s1 12.2.0-14+deb12u1 amd64"),
        ("Inst debconf (1.5.82 Debian:12.9/stable, Debian-Security:12 [all]) [x:amd64 ]", "debconf 1.5.82 all"),
    ],
)
def test_what_apt_would_install_is_understood(line: str, name: str) -> None:
    found = apt.INSTALLED.match(line)
    assert found
    assert " ".join(found.group("name", "version", "arch")) == name


def test_an_epoch_is_no_part_of_a_pools_file_name() -> None:
    assert apt.pool_name("conntrack_1%3a1.4.7-1+b2_amd64.deb") == "conntrack_1.4.7-1+b2_amd64.deb"
    assert apt.pool_name("socat_1.7.4.4-2_amd64.deb") == "socat_1.7.4.4-2_amd64.deb"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "apt" / "bookworm"
    folder.mkdir(parents=True)
    for made in (deb(tmp_path, "leaf", version="1:2.0"), deb(tmp_path, "tree", depends="leaf (>= 1:2.0)")):
        made.rename(folder / apt.pool_name(made.name))
    apt.write_index(folder, ["amd64"])
    return folder


def apt_get(
    tmp_path: Path, repository: Path, *arguments: str, architecture: str = "amd64"
) -> subprocess.CompletedProcess[str]:
    root = tmp_path / f"root-{architecture}"
    for path in ("etc", "state/lists/partial", "cache/archives/partial"):
        (root / path).mkdir(parents=True, exist_ok=True)
    (root / "status").touch()
    user = "root" if os.geteuid() == 0 else ""
    (root / "apt.conf").write_text(apt.SETTINGS.format(root=root, user=user, architecture=architecture))
    (root / "etc" / "sources.list").write_text(f"deb [trusted=yes] file:{repository} ./\n")
    command = ["apt-get", f"--config-file={root}/apt.conf", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C"})


def test_apt_installs_from_the_bundles_repository_with_what_a_package_depends_on(
    tmp_path: Path, repository: Path
) -> None:
    update = apt_get(tmp_path, repository, "update", "--error-on=any")
    assert update.returncode == 0, update.stdout + update.stderr
    assert not [line for line in (update.stdout + update.stderr).splitlines() if line.startswith(("W:", "E:"))]
    simulated = apt_get(tmp_path, repository, "install", "--simulate", "--yes", "tree").stdout
    assert [line.split()[1] for line in simulated.splitlines() if line.startswith("Inst ")] == ["leaf", "tree"]
    fetched = apt_get(tmp_path, repository, "install", "--download-only", "--yes", "tree")
    assert fetched.returncode == 0, fetched.stderr


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_each_machines_apt_takes_its_own_of_a_repository_for_both(tmp_path: Path, architecture: str) -> None:
    folder = tmp_path / "apt" / "bookworm"
    folder.mkdir(parents=True)
    packages = [deb(tmp_path, "leaf"), *(deb(tmp_path, "tree", "leaf", architecture=one) for one in ("amd64", "arm64"))]
    for made in packages:
        made.rename(folder / apt.pool_name(made.name))
    apt.write_index(folder, ["amd64", "arm64"])
    assert "\nArchitectures: amd64 arm64\n" in (folder / "Release").read_text()
    update = apt_get(tmp_path, folder, "update", "--error-on=any", architecture=architecture)
    assert update.returncode == 0, update.stdout + update.stderr
    said = apt_get(tmp_path, folder, "install", "--simulate", "--yes", "tree", architecture=architecture).stdout
    found = [apt.INSTALLED.match(line) for line in said.splitlines() if line.startswith("Inst ")]
    assert sorted((one["name"], one["arch"]) for one in found if one) == [("leaf", "all"), ("tree", architecture)]


def test_the_index_for_amd64_alone_is_what_it_was(repository: Path) -> None:
    start = "Origin: slipway\nLabel: slipway\nDate: Thu, 01 Jan 1970 00:00:00 UTC\nArchitectures: amd64\nSHA256:\n "
    assert (repository / "Release").read_text().startswith(start)


def test_apt_notices_a_package_that_is_not_the_one_of_the_index(tmp_path: Path, repository: Path) -> None:
    apt_get(tmp_path, repository, "update")
    (repository / "leaf_2.0_all.deb").write_bytes(b"something else")
    fetched = apt_get(tmp_path, repository, "install", "--download-only", "--yes", "leaf")
    assert fetched.returncode != 0


def test_the_index_depends_on_nothing_but_the_packages(repository: Path) -> None:
    before = (repository / "Packages").read_bytes(), (repository / "Release").read_bytes()
    sums = apt.write_index(repository, ["amd64"])
    assert ((repository / "Packages").read_bytes(), (repository / "Release").read_bytes()) == before
    assert sorted(sums) == ["leaf_2.0_all.deb", "tree_1.0_all.deb"]


APT = """#!/bin/sh
echo "$@" >> "$RECORD"
case "$*" in
  *"$FAIL"*) [ -z "$FAIL" ] || { echo "E: $FAIL does not work"; exit 100; } ;;
esac
case "$*" in
  *--simulate*)
    echo "Reading package lists..."
    echo "Inst libc6 (2.36-9 Debian:12/stable [amd64])"
    echo "Inst socat (1:1.7-1 Debian:12/stable [amd64]) []"
    echo "Conf socat (1:1.7-1 Debian:12/stable [amd64])" ;;
esac
"""


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> apt.Suite:
    """A suite with a source whose key is there, and an apt-get that writes down how it is called."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/apt-get").write_text(APT)
    (tmp_path / "bin/apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("RECORD", str(tmp_path / "asked"))
    monkeypatch.setenv("FAIL", "")
    key = tmp_path / "key.gpg"
    key.touch()
    source = {"uri": "http://deb.example.org/debian", "components": ["main"], "keyring": str(key)}
    described = AptSuite.model_validate(
        {"refreshed": "2026-01-01", "sources": [{**source, "suites": ["bookworm", "bookworm-updates"]}]}
    )
    return apt.Suite("bookworm", "amd64", described, Cache(tmp_path / "cache"), tmp_path / "apt.log", threading.Event())


def test_a_suites_packages_come_with_all_they_depend_on(suite: apt.Suite, tmp_path: Path) -> None:
    archives = tmp_path / "cache/apt/bookworm/cache/archives"
    expected = [archives / "libc6_2.36-9_amd64.deb", archives / "socat_1%3a1.7-1_amd64.deb"]
    assert suite.packages(["socat"]) == expected
    assert suite.packages(["socat"]) == expected
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len([line for line in asked if "update --error-on=any" in line]) == 1
    lines = (tmp_path / "cache/apt/bookworm/etc/sources.list").read_text().splitlines()
    start = f"deb [signed-by={tmp_path}/key.gpg] http://deb.example.org/debian"
    assert lines == [f"{start} bookworm main", f"{start} bookworm-updates main"]
    settings = (tmp_path / "cache/apt/bookworm/apt.conf").read_text()
    assert 'APT::Get::AllowUnauthenticated "false";' in settings


def test_a_suite_for_another_architecture_has_a_folder_and_maybe_a_mirror_of_its_own(
    suite: apt.Suite, tmp_path: Path
) -> None:
    (source,) = suite.suite.sources
    elsewhere = source.model_copy(update={"elsewhere": {"arm64": "http://ports.example.org/debian"}})
    described = suite.suite.model_copy(update={"sources": [elsewhere]})
    other = apt.Suite("bookworm", "arm64", described, Cache(tmp_path / "cache"), tmp_path / "log", threading.Event())
    other.packages(["socat"])
    folder = tmp_path / "cache/apt/bookworm-arm64"
    assert 'APT::Architecture "arm64";\nAPT::Architectures { "arm64"; };' in (folder / "apt.conf").read_text()
    assert "] http://ports.example.org/debian bookworm main" in (folder / "etc/sources.list").read_text()
    own = apt.Suite("bookworm", "amd64", described, Cache(tmp_path / "cache"), tmp_path / "log", threading.Event())
    own.packages(["socat"])
    assert "] http://deb.example.org/debian bookworm main" in (own.root / "etc/sources.list").read_text()
    assert 'APT::Architecture "amd64";\nAPT::Architectures { "amd64"; };' in (own.root / "apt.conf").read_text()


@pytest.mark.parametrize("verb", ["update", "download-only"])
def test_a_mirror_that_does_not_answer_is_named(verb: str, suite: apt.Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL", verb)
    with refused("download-failed") as caught:
        suite.packages(["socat"])
    assert f"E: {verb} does not work" in caught.value.message
    assert "http://deb.example.org/debian" in caught.value.message
    assert caught.value.message.endswith("apt.log")


def test_a_source_without_its_key_is_not_asked(suite: apt.Suite, tmp_path: Path) -> None:
    (tmp_path / "key.gpg").unlink()
    with refused("keyring-missing: key.gpg … apt-get install key`"):
        suite.packages(["socat"])
    assert not (tmp_path / "asked").exists()


def test_a_machine_without_apt_is_told(suite: apt.Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with refused("program-missing: apt-get"):
        suite.packages(["socat"])
