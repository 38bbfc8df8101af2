"""A box that no machine can be made of is refused before anything is made; one built here is taken in or made again."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slipway.lab import box, decide, fit, obstacles, provider, vagrant
from slipway.page.model import Settings
from slipway.paths import ROOT

from tests.support.errors import refused, tells
from tests.support.provider import of, plan_in

V1 = {"provider": "libvirt", "format": "qcow2", "virtual_size": 40}
V2 = {"provider": "libvirt", "disks": [{"path": "a.img"}, {"path": "b.img"}]}
OVF = {"provider": "virtualbox"}
# How Vagrant 2.3 and, since 2.4, with an architecture, lays out what it has taken in.
LAYOUTS = ("12.1/libvirt", "12.1/amd64/libvirt")
NAME = "debian/bookworm64"


@pytest.mark.parametrize(
    ("metadata", "files", "kind", "told"),
    [
        (V1, ["box.img"], "libvirt", ""),
        ({**V1, "architecture": "amd64"}, ["box.img"], "libvirt", ""),
        ({**V1, "architecture": "unknown"}, ["box.img"], "libvirt", ""),
        (V2, ["a.img", "b.img"], "libvirt", ""),
        (OVF, ["box.ovf"], "virtualbox", ""),
        (None, ["box.img"], "libvirt", "no metadata.json"),
        ("{", ["box.img"], "libvirt", "names no provider"),
        ("[]", ["box.img"], "libvirt", "names no provider"),
        ({}, ["box.ovf"], "virtualbox", "names no provider"),
        (OVF, ["box.ovf"], "libvirt", "for virtualbox, and the machines are of libvirt"),
        ({**V1, "architecture": "arm64"}, ["box.img"], "libvirt", "for arm64, and this computer is amd64"),
        (V1, [], "libvirt", "no box.img"),
        ({**V1, "format": "raw"}, ["box.img"], "libvirt", "format: qcow2"),
        ({"provider": "libvirt", "format": "qcow2"}, ["box.img"], "libvirt", "virtual_size"),
        (V2, ["a.img"], "libvirt", "no b.img"),
        ({**V2, "disks": [{}]}, [], "libvirt", "disk without path"),
        (OVF, [], "virtualbox", "no box.ovf"),
    ],
)
def test_what_keeps_machines_from_being_made_of_a_box_is_told(
    metadata: Any, files: list[str], kind: str, told: str
) -> None:
    text = metadata if isinstance(metadata, str | None) else json.dumps(metadata)
    said = fit.misfit(text, files, kind, "amd64")
    assert (told in said) if told else not said


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Machines of libvirt, of a box that is somebody's; Vagrant's own folder is the test's."""
    monkeypatch.setenv("VAGRANT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(fit, "of_this_computer", lambda: "amd64")
    made = of(plan_in(tmp_path), "libvirt")
    for machine in made["machines"]:
        machine["box"] = NAME
    return made


def take_in(place: str, metadata: Any, *files: str, name: str = NAME) -> Path:
    """Lay out a box as Vagrant does."""
    folder = vagrant.box_folder(name) / place
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text(json.dumps(metadata))
    for file in files:
        (folder / file).touch()
    return folder


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_box_that_vagrant_has_is_looked_at_in_both_of_its_layouts(plan: Any, layout: str) -> None:
    folder = take_in(layout, V1, "box.img")
    assert vagrant.taken_in(NAME, "libvirt", "amd64")
    assert fit.in_the_way(plan, []) == []
    (folder / "metadata.json").unlink()
    (refusal,) = fit.in_the_way(plan, [])
    tells(refusal, f"box-unfit: {NAME} … no metadata.json … rm -r {folder} … cluster_box: built")
    # Machines that are there need no box any more.
    assert fit.in_the_way(plan, ["mirror-1", "ctrl", "node-1"]) == []


def test_a_box_of_another_architecture_that_vagrant_has_downloaded_is_told(plan: Any) -> None:
    """Vagrant 2.3 knows no architectures, and takes the last one of those that are published."""
    take_in("12.1/libvirt", {**V1, "architecture": "arm64"}, "box.img")
    (refusal,) = fit.in_the_way(plan, [])
    tells(refusal, "box-unfit: it is for arm64")


def test_the_newest_version_counts(plan: Any) -> None:
    take_in("12.20/amd64/libvirt", V1, "box.img")
    take_in("12.9/libvirt", {}, "box.img")
    take_in("12.20.pre/libvirt", {}, "box.img")
    assert fit.in_the_way(plan, []) == []


@pytest.mark.parametrize(
    ("layout", "named"), [("12.1/virtualbox", "for virtualbox,"), ("12.1/arm64/libvirt", "for libvirt on arm64,")]
)
def test_a_box_for_others_alone_is_refused_unless_its_publisher_can_be_asked(
    plan: Any, layout: str, named: str
) -> None:
    take_in(layout, OVF, "box.ovf")
    assert not vagrant.taken_in(NAME, "libvirt", "amd64")
    (refusal,) = fit.in_the_way(plan, [])
    tells(refusal, f"box-unfit: {named} … cluster_box: built")
    (vagrant.box_folder(NAME) / "metadata_url").write_text("https://vagrantcloud.com/debian/bookworm64")
    assert fit.in_the_way(plan, []) == []


def test_a_box_that_nobody_has_yet_is_vagrants_to_get(plan: Any) -> None:
    assert fit.in_the_way(plan, []) == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_published_box_that_vagrant_has_needs_no_answer(
    plan: Any, layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decide, "of_this_computer", lambda: "amd64")
    monkeypatch.setattr(decide, "upstream_answers", lambda *_: False)
    take_in(layout, V1, name=decide.UPSTREAM_BOX)
    assert decide.decide_box(Settings(), {}, tmp_path, plan["provider"]) == decide.UPSTREAM_BOX
    assert decide.decide_box(Settings(), {}, tmp_path, "virtualbox") == ""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_built_box_that_vagrant_was_killed_over_is_taken_in_again(plan: Any, layout: str, tmp_path: Path) -> None:
    name = "slipway-debian-12-libvirt-0123456789ab"
    whole, half = take_in(layout, V1, "box.img", name=name), take_in("12.2/libvirt", V1, name=name)
    for machine in plan["machines"]:
        machine |= {"box": name, "box_file": str(tmp_path / "x.box")}
    assert fit.in_the_way(plan, []) == []
    said: list[str] = []
    fit.forget_half_taken_in(plan, [], said.append)
    assert (whole.is_dir(), half.exists(), len(said)) == (True, False, 1)
    fit.forget_half_taken_in(plan, [], pytest.fail)


def test_a_plan_with_an_unfit_box_ends_before_anything_is_made(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    take_in("12.1/libvirt", {})
    # The networks of this computer, too, may be in the way.
    monkeypatch.setattr(obstacles, "interfaces", lambda _: [])
    monkeypatch.setattr(provider, "in_the_way", lambda *_: [])
    monkeypatch.setattr(provider, "clear_half_made", lambda *_: None)
    monkeypatch.setattr(provider, "answering", lambda *_: [])
    monkeypatch.setattr(provider, "resize", pytest.fail)
    with refused("box-unfit"):
        provider.prepare(plan, Path(), lambda _: None)
    with refused("vagrant-plugin-missing: box-unfit"):
        provider.prepare(plan, Path(), lambda _: None, plugin=False)


# --- the file of a box that is built here


def packed(file: Path, **content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as tar:
        for name, text in content.items():
            member = file.with_name(name)
            member.write_text(text)
            tar.add(member, arcname=f"./{name.replace('_', '.')}")
            member.unlink()


WHOLE = {"metadata_json": json.dumps(V1), "box_img": "disk" * 5000}


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:2000])


def change(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[10_000] ^= 1
    file.write_bytes(bytes(data))


def earlier(file: Path) -> None:
    """Earlier versions kept no sum."""
    fit.sum_file(file).unlink()


def cut_earlier(file: Path) -> None:
    earlier(file)
    cut(file)


def without_metadata(file: Path) -> None:
    earlier(file)
    packed(file, box_img="x")


def of_another_provider(file: Path) -> None:
    packed(file, **{**WHOLE, "metadata_json": json.dumps(OVF)})
    fit.write_sum(file)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda _: None, ""),
        (change, "checksum"),
        (cut, "checksum"),
        (earlier, ""),
        (cut_earlier, "no archive"),
        (without_metadata, "no metadata.json"),
        (of_another_provider, "virtualbox"),
    ],
)
def test_a_box_that_was_damaged_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], Any], told: str
) -> None:
    for name in ("_check_tools", "_write_disk", "_pack"):
        monkeypatch.setattr(box, name, lambda *_: None)
    monkeypatch.setattr(box, "make", lambda *_: tmp_path / "root.tar")
    monkeypatch.setattr(box, "of_this_computer", lambda: "amd64")
    monkeypatch.setattr(box, "_write_disk", lambda _tar, _disk, work: (work / "kernel").touch())
    monkeypatch.setattr(box, "_archive", lambda _folder, made: packed(made, **WHOLE))
    made = box.ensure_box(ROOT, tmp_path / "cache", "debian-12", "libvirt", lambda _: None)
    harm(made.file)
    said: list[str] = []
    box.ensure_box(ROOT, tmp_path / "cache", "debian-12", "libvirt", said.append)
    assert bool(said) is bool(told)
    assert told in "\n".join(said)
    assert fit.damage(made.file, "libvirt", "amd64") == ""
    box.ensure_box(ROOT, tmp_path / "cache", "debian-12", "libvirt", pytest.fail)
