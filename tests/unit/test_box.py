"""Vagrant boxes: what is on the disk and where, what is beside it, and that a box is made once."""

from __future__ import annotations

import errno
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from slipway.lab import box, decide
from slipway.lab.baked import of_box
from slipway.lab.image import Recipe, machine_recipe
from slipway.page.model import Settings
from slipway.paths import ROOT

from tests.support.bundle import write_bundle
from tests.support.errors import refused

PLACES = "/usr/sbin:/usr/bin:/sbin:/bin"
MISSING = sorted({package for tool, package in box.TOOLS.items() if not shutil.which(tool, path=PLACES)})
needs_tools = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {' '.join(MISSING)}")


def add(tar: tarfile.TarFile, name: str, content: bytes | None = None, uid: int = 0) -> None:
    entry = tarfile.TarInfo(name)
    entry.uid = entry.gid = uid
    if content is None:
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(entry)
    else:
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A root with a boot loader in the place of Debian's; names of the recipes that were asked for."""
    root = tmp_path / "root.tar"
    with tarfile.open(root, "w") as tar:
        for folder in ("boot", "boot/box", "boot/box/EFI", "boot/box/EFI/BOOT", "etc", "srv"):
            add(tar, folder)
        add(tar, "boot/box/boot.img", b"B" * 512)
        add(tar, "boot/box/core.img", b"C" * 3000)
        add(tar, "boot/box/EFI/BOOT/BOOTX64.EFI", b"E" * 5000)
        add(tar, "boot/vmlinuz-6.1", b"K" * 10)
        add(tar, "etc/resolv.conf", b"")
        add(tar, "srv/mine", b"m", uid=1000)
    asked: list[str] = []

    def make(recipe: Recipe, _cache: Path, _progress: object) -> Path:
        asked.append(recipe.suite)
        return root

    monkeypatch.setattr(box, "make", make)
    monkeypatch.setattr(box, "DISK", 64)
    return asked


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_no_box_is_made_on_another_architecture_than_amd64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box, "of_this_computer", lambda: "arm64")
    with refused("no-box-for-architecture: amd64 … arm64: cluster_box: auto"):
        box.ensure_box(ROOT, tmp_path, "debian-12", "libvirt", lambda _: None)


def test_a_box_that_is_published_is_taken_on_another_architecture_than_amd64(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decide, "taken_in", lambda *_: False)
    monkeypatch.setattr(decide, "upstream_answers", lambda *_: False)
    for computer, name in (("amd64", ""), ("arm64", decide.UPSTREAM_BOX)):
        monkeypatch.setattr(decide, "of_this_computer", lambda computer=computer: computer)
        assert decide.decide_box(Settings(), {}, tmp_path, "libvirt") == name


@needs_tools
def test_a_disk_boots_with_bios_and_uefi_and_holds_the_root(tmp_path: Path, made: list[str]) -> None:
    done = box.ensure_box(ROOT, tmp_path / "cache", "debian-13", "libvirt", lambda _: None)
    assert made == ["trixie"]
    run("tar", "-xf", str(done.file), "-C", str(tmp_path))
    assert json.loads((tmp_path / "metadata.json").read_text())["provider"] == "libvirt"
    disk = tmp_path / "disk.raw"
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(tmp_path / "box.img"), str(disk))
    table = json.loads(run("/sbin/sfdisk", "--json", str(disk)))["partitiontable"]
    assert table["label"] == "dos"
    first, second = table["partitions"]
    assert (first["start"], first["size"], first["type"]) == (2048, 16 * 2048, "ef")
    assert (second["start"], second["type"], second["bootable"]) == (17 * 2048, "83", True)
    data = disk.read_bytes()
    # The boot sector up to the partition table, and the rest of the boot loader right behind it.
    assert data[:440] == b"B" * 440
    assert data[510:512] == b"\x55\xaa"
    assert data[512 : 512 + 3000] == b"C" * 3000
    assert "BOOTX64" in run("mdir", "-i", f"{disk}@@{first['start'] * 512}", "::/EFI/BOOT")
    root = tmp_path / "root.ext4"
    root.write_bytes(data[second["start"] * 512 :])
    run("/sbin/e2fsck", "-fn", str(root))
    assert "Filesystem volume name:   slipway" in run("/sbin/dumpe2fs", "-h", str(root))
    assert "User:  1000" in run("/sbin/debugfs", "-R", "stat /srv/mine", str(root))
    assert box.RESOLVER in run("/sbin/debugfs", "-R", "stat /etc/resolv.conf", str(root))
    assert box.kernel_of(done.file).read_bytes() == b"K" * 10


@needs_tools
@pytest.mark.parametrize("provider", ["libvirt", "virtualbox"])
def test_a_box_has_what_vagrant_wants_and_is_made_once(tmp_path: Path, made: list[str], provider: str) -> None:
    said: list[str] = []
    first = box.ensure_box(ROOT, tmp_path, "debian-12", provider, said.append)
    with tarfile.open(first.file) as tar:
        names = tar.getnames()
        if provider == "virtualbox":
            text = tar.extractfile("box.ovf")
            assert text is not None
            ovf = text.read().decode()
            assert f'ovf:size="{tar.getmember("disk.vmdk").size}"' in ovf
            assert f'ovf:capacity="{64 * 2**20}"' in ovf
            assert f'ovf:id="{first.name}"' in ovf
            assert "@" not in ovf
    assert names[0] == "metadata.json"
    disks = {"libvirt": {"box.img"}, "virtualbox": {"box.ovf", "disk.vmdk"}}
    assert set(names) == {"metadata.json", "Vagrantfile", *disks[provider]}
    assert box.ensure_box(ROOT, tmp_path, "debian-12", provider, said.append) == first
    assert made == ["bookworm"]
    assert [file.name for file in first.file.parent.iterdir() if file.name.startswith(".")] == []


@needs_tools
def test_what_is_half_made_is_taken_away(tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = box.box_of(ROOT, tmp_path, "debian-12", "libvirt")
    killed = wanted.file.parent / f".{wanted.file.name}.abc"
    killed.mkdir(parents=True)
    monkeypatch.setattr(box, "CODE_SIZE", 100)
    with refused("build-failed: 3000 bytes"):
        box.ensure_box(ROOT, tmp_path, "debian-12", "libvirt", lambda _: None)
    assert made == ["bookworm"]
    assert [file.name for file in wanted.file.parent.iterdir()] == [f"{wanted.file.name}.lock"]


@needs_tools
@pytest.mark.usefixtures("made")
def test_a_disk_that_is_full_is_said_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(box, "_archive", full)
    with refused("disk-full"):
        box.ensure_box(ROOT, tmp_path, "debian-12", "libvirt", lambda _: None)


def test_missing_programs_are_named_with_their_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box, "TOOLS", {"mke2fs": "e2fsprogs", "no-such-program": "some-package"})
    with refused("program-missing: sudo apt-get install … some-package"):
        box.ensure_box(ROOT, tmp_path, "debian-12", "libvirt", lambda _: None)


def test_a_box_is_named_by_all_that_decides_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {box.box_of(ROOT, tmp_path, system, provider).name for system in box.SYSTEMS for provider in box.PROVIDERS}
    monkeypatch.setattr(box, "DISK", 1)
    names.add(box.box_of(ROOT, tmp_path, "debian-12", "libvirt").name)
    assert len(names) == 5


def test_a_box_that_is_baked_has_another_name_and_that_says_so(tmp_path: Path) -> None:
    write_bundle(tmp_path / "cache", tmp_path / "state")
    content = of_box(tmp_path / "state", "always", "debian-12")
    assert content
    plain = box.box_of(ROOT, tmp_path, "debian-12", "libvirt")
    baked = box.box_of(ROOT, tmp_path, "debian-12", "libvirt", content)
    assert baked.name.startswith("slipway-debian-12-libvirt-baked-")
    write_bundle(tmp_path / "cache", tmp_path / "state", runc="2.0")
    other = box.box_of(ROOT, tmp_path, "debian-12", "libvirt", of_box(tmp_path / "state", "always", "debian-12"))
    assert len({plain.name, baked.name, other.name}) == 3


@needs_tools
def test_a_baked_box_gets_its_packages_and_programs_and_takes_the_place_of_an_older_one(
    tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = vars(box)["make"]
    recipes: list[Recipe] = []

    def make(recipe: Recipe, cache: Path, progress: object) -> Path:
        recipes.append(recipe)
        path: Path = root(recipe, cache, progress)
        return path

    monkeypatch.setattr(box, "make", make)
    files = []
    for version in ("1.0", "2.0"):
        write_bundle(tmp_path / "cache", tmp_path / "state", runc=version)
        content = of_box(tmp_path / "state", "always", "debian-12")
        files.append(box.ensure_box(ROOT, tmp_path, "debian-12", "libvirt", lambda _: None, content).file)
    plain = box.ensure_box(ROOT, tmp_path, "debian-12", "libvirt", lambda _: None).file
    assert [file.exists() for file in (*files, plain)] == [False, True, True]
    assert [box.kernel_of(file).exists() for file in (*files, plain)] == [False, True, True]
    assert [{"chrony", "socat"} <= set(recipe.packages) for recipe in recipes] == [True, True, False]
    with tarfile.open(fileobj=io.BytesIO(recipes[1].overlay)) as tar:
        entry = tar.getmember("usr/local/bin/runc")
        runc = tar.extractfile(entry)
        assert runc
        assert (runc.read(), entry.uid, entry.mode, entry.mtime) == (b"runc 2.0", 0, 0o755, 0)
    assert len(made) == 3


def test_of_boxes_that_are_there_machines_get_the_baked_one(tmp_path: Path) -> None:
    write_bundle(tmp_path / "cache", tmp_path / "state")
    content = of_box(tmp_path / "state", "auto", "debian-12")
    plain = box.box_of(ROOT, tmp_path, "debian-12", "libvirt").file
    baked = box.box_of(ROOT, tmp_path, "debian-12", "libvirt", content).file
    baked.parent.mkdir()

    def chosen(said: str) -> bool:
        content = of_box(tmp_path / "state", said, "debian-12")
        return box.of_machines(ROOT, tmp_path, said, "debian-12", "libvirt", content) is not None

    assert [chosen(said) for said in ("auto", "always", "never")] == [True, True, False]
    plain.touch()
    assert [chosen(said) for said in ("auto", "always", "never")] == [False, True, False]
    baked.touch()
    assert [chosen(said) for said in ("auto", "always", "never")] == [True, True, False]


def test_without_a_bundle_only_a_page_that_asks_for_a_baked_box_is_refused(tmp_path: Path) -> None:
    assert [box.content_of(tmp_path, said, "debian-12") for said in ("auto", "never")] == [None, None]
    with refused("not-baked: make bundle"):
        box.content_of(tmp_path, "always", "debian-12")


def test_a_box_holds_nothing_of_the_cluster() -> None:
    recipe = machine_recipe(ROOT, "box", "debian-12")
    assert {"linux-image-amd64", "openssh-server", "python3", "sudo"} <= set(recipe.packages)
    assert not {"containerd", "runc", "docker.io", "kubernetes-client", "nginx"} & set(recipe.packages)
