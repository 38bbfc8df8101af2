"""Baked images of container nodes: when they are made and taken, and what becomes of older ones and of failures."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from slipway.artifacts.manifest import Manifest
from slipway.errors import SlipwayError
from slipway.lab import bake, container, provider, purge
from slipway.lab import docker as client
from slipway.lab.baked import bundle_of
from slipway.lab.obstacles import Findings, Seen

from tests.support.bundle import write_bundle
from tests.support.errors import refused
from tests.support.provider import INFO, Docker, plan_in, record


class Registry(Docker):
    """A Docker whose images are those that were made, and a container that does as ``slipway.node.bake`` would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(monkeypatch, {"info": json.dumps(INFO)})
        self.images: list[str] = []
        self.in_use: list[str] = []
        self.containers: list[str] = []
        self.failure = ""
        self.orders: dict[str, dict[str, Any]] = {}
        monkeypatch.setattr(subprocess, "run", self.client)
        monkeypatch.setattr(bake, "ensure_node_image", lambda *_: "slipway-node:0")

    def __call__(self, *arguments: str) -> str:
        super().__call__(*arguments)
        match arguments:
            case ("images", "--quiet", tag):
                return "sha256:0" if tag in self.images else ""
            case ("images", *_, "slipway-baked" | "--filter=reference=slipway-node"):
                return "\n".join(self.images)
            case ("commit", *_, made, tag):
                assert made in self.containers
                self.images.append(tag)
            case ("rmi", tag) if tag in self.in_use:
                raise SlipwayError("program-failed", "image is in use")
            case ("rmi", tag):
                self.images.remove(tag)
            case ("ps", *_):
                return "\n".join(self.containers)
            case ("rm", *_, name):
                self.containers.remove(name)
        return self.answers.get(arguments[0], "")

    def client(self, command: list[str], *, input: str = "", **_: Any) -> subprocess.CompletedProcess[str]:  # noqa: A002
        assert command[:2] == ["docker", "run"]
        (name,) = (word.partition("=")[2] for word in command if word.startswith("--name="))
        assert name not in self.containers, "Docker refuses a name that is taken"
        self.containers.append(name)
        self.orders[name] = json.loads(input)
        return subprocess.CompletedProcess(command, 1 if self.failure else 0, "", self.failure)


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> Registry:
    return Registry(monkeypatch)


@pytest.fixture
def plan(tmp_path: Path) -> Any:
    write_bundle(tmp_path / "cache", tmp_path / "state")
    return {**plan_in(tmp_path), "baked": "auto"}


def kinds(images: list[str]) -> list[str]:
    return [tag.partition(":")[2].rpartition("-")[0] for tag in images]


def test_they_are_made_once_and_every_machine_takes_its_own(plan: Any, docker: Registry) -> None:
    said: list[str] = []
    bake.ensure(plan, said.append)
    assert sorted(kinds(docker.images)) == ["controller-debian-12", "mirror-debian-12", "worker-debian-12"]
    assert docker.containers == []
    taken = bake.chosen(plan)
    assert kinds(list(taken.values())) == ["mirror-debian-12", "controller-debian-12", "worker-debian-12"]
    assert list(docker.images).index(taken["node-1"]) < list(docker.images).index(taken["ctrl"])
    assert docker.orders[f"slipway-baking-{taken['mirror-1'][-12:]}"]["packages"]
    before = len(docker.orders)
    said.clear()
    bake.ensure(plan, said.append)
    assert (len(docker.orders), said) == (before, [])


@pytest.mark.usefixtures("docker")
def test_the_plan_of_the_machines_names_them(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bake.ensure(plan, lambda _: None)
    stand_ins = {"look": Seen(), "judge": Findings(), "answering": [], "resize": [], "make_key": "key"}
    stand_ins |= {"this_host": None, "ensure_node_image": "", "make_network": None, "run_arguments": []}
    for name, answer in stand_ins.items():
        monkeypatch.setattr(provider, name, lambda *_, answer=answer: answer)
    prepared = provider.prepare(plan, Path(), lambda _: None)
    assert prepared["images"] == bake.chosen(plan)
    assert prepared["images"]["ctrl"].startswith("slipway-baked:controller-debian-12-")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"baked": "never"}, id="the page says no"),
        pytest.param({"provider": "libvirt"}, id="virtual machines"),
        pytest.param({"state": "/nowhere"}, id="no bundle yet"),
    ],
)
def test_others_start_from_their_system_alone(plan: Any, docker: Registry, change: dict[str, str]) -> None:
    bake.ensure(plan, lambda _: None)
    made = list(docker.images)
    docker.images.clear()
    plan = {**plan, **change}
    bake.ensure(plan, lambda _: None)
    assert docker.images == []
    docker.images = made
    assert set(bake.chosen(plan).values()) == {"slipway-node:0"}


def test_machines_that_are_there_need_none(plan: Any, docker: Registry) -> None:
    record(Path(plan["vagrant"]), mirror_1="m", ctrl="c")
    bake.ensure(plan, lambda _: None)
    assert kinds(docker.images) == ["worker-debian-12"]
    record(Path(plan["vagrant"]), node_1="n")
    docker.images.clear()
    bake.ensure(plan, lambda _: None)
    assert docker.images == []


def test_each_system_has_its_own(plan: Any, docker: Registry) -> None:
    plan["machines"][2] |= {"system": "debian-13", "image": "slipway-node:13"}
    bake.ensure(plan, lambda _: None)
    assert set(kinds(docker.images)) == {
        *("mirror-debian-12", "worker-debian-12", "controller-debian-12"),
        "worker-debian-13",
    }
    assert bake.chosen(plan)["node-1"].startswith("slipway-baked:worker-debian-13-")


@pytest.mark.parametrize("said", ["auto", "always"])
def test_what_cannot_be_baked_stops_only_where_the_page_insists(plan: Any, docker: Registry, said: str) -> None:
    docker.failure = "containerd cannot get pause: no space left on device"
    plan["baked"] = said
    told: list[str] = []
    if said == "always":
        with refused("not-baked: containerd cannot get pause"):
            bake.ensure(plan, told.append)
    else:
        bake.ensure(plan, told.append)
        assert "containerd cannot get pause" in told[-1]
    assert (docker.images, docker.containers) == ([], [])
    assert set(bake.chosen(plan).values()) == {"slipway-node:0"}


def test_without_a_bundle_a_page_that_insists_is_refused(plan: Any, docker: Registry) -> None:
    plan |= {"baked": "always", "state": "/nowhere"}
    with refused("not-baked: make bundle"):
        bake.ensure(plan, lambda _: None)
    assert docker.images == []


def test_what_a_kill_left_half_made_goes(plan: Any, docker: Registry) -> None:
    manifest = bundle_of(Path(plan["state"]))
    assert manifest
    left = f"slipway-baking-{bake.wanted(plan, manifest)['mirror-1'].digest}"
    docker.containers += [left, "slipway-baking-of-mine"]
    bake.ensure(plan, lambda _: None)
    assert docker.containers == ["slipway-baking-of-mine"]
    assert len(docker.images) == 3


def test_one_of_each_kind_is_kept_but_none_goes_that_is_in_use_or_about_to_be(
    plan: Any, docker: Registry, tmp_path: Path
) -> None:
    bake.ensure(plan, lambda _: None)
    old = list(docker.images)
    bake.chosen(plan)
    docker.images.append("slipway-baked:worker-debian-13-000000000000")
    write_bundle(tmp_path / "cache", tmp_path / "state", runc="2.0", registry="2.0")
    bake.ensure(plan, lambda _: None)
    # A run that chose them a moment ago may not have started its machines yet.
    assert set(old) <= set(docker.images)
    for stamp in (tmp_path / "cache/baked").iterdir():
        os.utime(stamp, (time.time() - 7200, time.time() - 7200))
    docker.in_use = [tag for tag in old if ":worker" in tag]
    bake.ensure(plan, lambda _: None)
    assert [tag for tag in old if tag in docker.images] == docker.in_use
    # Of a system that this page does not have: another cluster's.
    assert "slipway-baked:worker-debian-13-000000000000" in docker.images
    assert set(bake.chosen(plan).values()) <= set(docker.images)


def test_purge_takes_all_of_it_away(plan: Any, docker: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "is_there", lambda: True)
    bake.ensure(plan, lambda _: None)
    docker.containers.append("slipway-baking-000000000000")
    purge.remove_images(lambda _: None)
    assert (docker.images, docker.containers) == ([], [])


def test_a_container_that_bakes_has_no_network_and_leaves_no_folder(plan: Any) -> None:
    host = container.Host(bounding=(1 << 40) - 1, server="28.0", cpus=2, limits_memory=True, limits_cpus=True)
    arguments = bake.run_arguments(plan, host)
    assert "--network=none" in arguments
    # Docker makes a folder in the image for each of these, but below a volume it makes it there.
    mounts = [word.partition("=")[2] for word in arguments if word.startswith("--mount=")]
    places = [dict(field.partition("=")[::2] for field in word.split(",")) for word in mounts]
    assert [place["dst"] for place in places] == ["/mnt", "/mnt/bundles", "/mnt/lib"]
    assert [place.get("src") for place in places] == [None, str(Path(plan["cache"]) / "bundles"), str(bake.LIBRARY)]
    assert all("readonly" in place for place in places[1:])


def test_an_image_is_named_only_when_it_is_whole(plan: Any, docker: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bake, "_run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    manifest = bundle_of(Path(plan["state"]))
    assert isinstance(manifest, Manifest)
    with pytest.raises(KeyboardInterrupt):
        bake.make(plan, manifest, bake.wanted(plan, manifest)["node-1"], lambda _: None)
    assert docker.images == []
    assert not [words for words in docker.asked if words.startswith("commit")]
