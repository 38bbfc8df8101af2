"""Vagrant's verbs with the provider VirtualBox, and what VirtualBox is told: a stand-in for VBoxManage writes it down.

The stand-in's machines are containers, so Vagrant gets in, and what it does inside is what it does in a box built here.
The tests build on each other, in this order.
"""

from __future__ import annotations

import ipaddress
import json
import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slipway.lab.box import box_of

from tests.support.lab import CANDIDATES, ROOT, clean, free_network, lab_values, networks_in_use, rewrite_page

from .conftest import Lab, make_lab

NAMES = ("ctrl", "node-1")
# Where VirtualBox makes networks without /etc/vbox/networks.conf.
ALLOWED = ipaddress.IPv4Network("192.168.56.0/21")


class VirtualBox(Lab):
    """The lab with its provider's stand-in."""

    def __init__(self, lab: Lab, image: str) -> None:
        super().__init__(lab.folder, lab.name)
        self.image = image
        self.standin = lab.folder / "virtualbox"
        self.cache = lab.folder / "cache"
        programs = lab.folder / "bin"
        for folder in (self.standin, self.cache, programs):
            folder.mkdir()
        program = programs / "VBoxManage"
        program.write_text(f'#!/bin/sh\ncd {ROOT} && exec {sys.executable} -m tests.support.vboxmanage "$@"\n')
        program.chmod(0o755)
        self.programs = programs

    @property
    def environment(self) -> dict[str, str]:
        own = super().environment
        return {
            **own,
            "PATH": f"{self.programs}:{own['PATH']}",
            "SLIPWAY_CACHE": str(self.cache),
            "STANDIN": str(self.standin),
            "STANDIN_IMAGE": self.image,
            "STANDIN_LAB": self.name,
        }

    def told(self, *start: str) -> list[list[str]]:
        """The calls that begin with ``start``; none of all of them may have been refused."""
        lines = (self.standin / "calls.jsonl").read_text().splitlines()
        calls = [json.loads(line) for line in lines]
        # Vagrant asks for a DHCP server that a network may have, and for snapshots of a machine that has none.
        expected = {("dhcpserver", "remove"), ("snapshot", "list")}
        refused = [call["words"] for call in calls if call["status"]]
        assert [words for words in refused if not any({*pair} <= {*words} for pair in expected)] == []
        return [call["words"] for call in calls if call["words"][: len(start)] == list(start)]

    def forget(self) -> None:
        """Let later questions be about later calls."""
        (self.standin / "calls.jsonl").write_text("")

    @property
    def there(self) -> dict[str, Any]:
        """What VirtualBox has: machines by their names."""
        state = json.loads((self.standin / "state.json").read_text())
        return {vm["name"]: {**vm, "id": identity} for identity, vm in state["vms"].items()}

    def expect(self, *words: str) -> str:
        """Run Vagrant, which ends well."""
        done = self.vagrant(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


def small_box(lab: VirtualBox) -> str:
    """Put a box with an empty disk where the built one is looked for; give the box's name."""
    box = box_of(ROOT, lab.cache, "debian-12", "virtualbox")
    folder = lab.folder / "box"
    folder.mkdir()
    box.file.parent.mkdir()
    text = (ROOT / "machines/box/box.ovf").read_text()
    for key, value in {"NAME": box.name, "CAPACITY": "1048576", "FILE": "5"}.items():
        text = text.replace(f"@{key}@", value)
    (folder / "box.ovf").write_text(text)
    (folder / "disk.vmdk").write_text("empty")
    (folder / "Vagrantfile").write_text('Vagrant.configure("2") { |config| config.vm.base_mac = "080027510FAB" }\n')
    (folder / "metadata.json").write_text('{"provider": "virtualbox"}\n')
    with tarfile.open(box.file, "w") as tar:
        for name in ("metadata.json", "Vagrantfile", "box.ovf", "disk.vmdk"):
            tar.add(folder / name, arcname=name)
    return box.name


@pytest.fixture(scope="module")
def lab() -> Iterator[VirtualBox]:
    plain = make_lab("virtualbox")
    image = plain.run(sys.executable, "-m", "slipway.lab.image", "node-image")
    assert image.returncode == 0, image.stderr
    made = VirtualBox(plain, image.stdout.strip())
    used = [*networks_in_use(), *(network for network in CANDIDATES if not network.subnet_of(ALLOWED))]
    workers = {"count": 1, "cpus": 2, "memory": 1024}
    more = {"cluster_provider": "virtualbox", "cluster_box": "built", "cluster_mirror": False}
    values = lab_values(made.name, free_network(used, made.name), cluster_workers=workers, **more)
    made.page.write_text(rewrite_page(made.page.read_text(), values))
    yield made
    made.vagrant("destroy", "--force")
    clean(made.name)


@pytest.fixture(scope="module")
def box(lab: VirtualBox) -> str:
    return small_box(lab)


def test_up_makes_machines_of_one_copy_of_the_box(lab: VirtualBox, box: str) -> None:
    lab.expect("up", "--no-provision", "--provider=virtualbox")
    # The first import asks for names alone.
    imports = [words for words in lab.told("import") if "-n" not in words]
    assert len(imports) == 1
    (master,) = (vm for name, vm in lab.there.items() if name.startswith(box))
    assert lab.told("snapshot", master["id"], "take") == [["snapshot", master["id"], "take", "base"]]
    clones = lab.told("clonevm", master["id"], "--register", "--name")
    assert [words[5:] for words in clones] == [["--snapshot", "base", "--options", "link"]] * len(NAMES)
    assert set(lab.there) == {master["name"], *(f"{lab.name}-{name}" for name in NAMES)}


def test_each_has_its_name_size_and_cards(lab: VirtualBox) -> None:
    plan = {machine["name"]: machine for machine in lab.plan()["machines"]}
    assert len(lab.told("hostonlyif", "create")) == 1
    (card,) = lab.told("hostonlyif", "ipconfig")
    gateway = lab.plan()["network"]["gateway"]
    assert card[3:] == ["--ip", gateway, "--netmask", "255.255.255.0"]
    for name in NAMES:
        made = lab.there[f"{lab.name}-{name}"]
        assert (made["memory"], made["cpus"]) == (plan[name]["memory"], plan[name]["cpus"])
        assert (made["cards"]["1"]["kind"], made["cards"]["2"]["kind"]) == ("nat", "hostonly")
        assert made["cards"]["2"]["network"] == card[2]
        (rule,) = made["cards"]["1"]["rules"]
        assert re.fullmatch(r"ssh,tcp,127\.0\.0\.1,\d+,,22", rule)
        assert lab.told("startvm", made["id"]) == [["startvm", made["id"], "--type", "headless"]]


def test_the_inventory_reaches_them_over_their_own_network(lab: VirtualBox) -> None:
    command = str(Path(sys.executable).parent / "ansible")
    done = lab.run(command, f"--inventory={lab.inventory}", "all", "-m", "ansible.builtin.command", "-a", "hostname")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name for name in NAMES if re.search(rf"^{name} \|.*\n{name}$", done.stdout, re.M)} == set(NAMES)
    for machine in lab.plan()["machines"]:
        addresses = lab.vagrant("ssh", machine["name"], "-c", "ip -4 -oneline address show dev eth1").stdout
        # Beside the one that Docker gave the card.
        assert f"{machine['address']}/24" in re.findall(r"inet (\S+)", addresses)


def test_they_share_a_folder_that_all_may_write_to(lab: VirtualBox) -> None:
    (lab.state / "shared/from-here").write_text("here\n")
    for name in NAMES:
        made = lab.there[f"{lab.name}-{name}"]
        assert made["folders"] == {"mnt_shared": str(lab.state / "shared")}
        assert lab.vagrant("ssh", name, "-c", "cat /mnt/shared/from-here").stdout.strip() == "here"
        mounted = lab.vagrant("ssh", name, "-c", "cat /var/log/mount.vboxsf").stdout
        assert re.search(r"^mnt_shared /mnt/shared -o \S*dmode=0777,fmode=0666\S*", mounted)


def test_the_well_known_key_no_longer_opens_them(lab: VirtualBox) -> None:
    for name in NAMES:
        assert lab.ssh(name, "true", key=lab.state / "vagrant-home/insecure_private_key").returncode == 255
        assert lab.ssh(name, "true", key=lab.records / f"machines/{name}/virtualbox/private_key").returncode == 0


def test_up_again_tells_virtualbox_nothing(lab: VirtualBox) -> None:
    lab.forget()
    lab.expect("up", "--no-provision")
    asked = {"--version", "list", "showvminfo", "guestproperty"}
    assert [words for words in lab.told() if words[0] not in asked] == []


def test_another_size_is_named_and_a_reload_gives_it(lab: VirtualBox) -> None:
    lab.page.write_text(
        rewrite_page(lab.page.read_text(), {"cluster_workers": {"count": 1, "cpus": 3, "memory": 1536}})
    )
    said = lab.expect("up", "--no-provision")
    assert "`vagrant reload --no-provision node-1`" in said
    assert (lab.there[f"{lab.name}-node-1"]["memory"], lab.there[f"{lab.name}-node-1"]["cpus"]) == (1024, 2)
    lab.expect("reload", "--no-provision", "node-1")
    assert (lab.there[f"{lab.name}-node-1"]["memory"], lab.there[f"{lab.name}-node-1"]["cpus"]) == (1536, 3)
    assert "vagrant reload" not in lab.expect("up", "--no-provision")


def states(lab: VirtualBox) -> set[str]:
    rows = [line.split(",") for line in lab.expect("status", "--machine-readable").splitlines()]
    return {row[3] for row in rows if row[2:3] == ["state"]}


def test_they_are_suspended_resumed_halted_and_started(lab: VirtualBox) -> None:
    lab.expect("suspend")
    assert states(lab) == {"saved"}
    lab.expect("resume")
    assert states(lab) == {"running"}
    lab.expect("halt")
    assert states(lab) == {"poweroff"}
    lab.expect("up", "--no-provision")
    for name in NAMES:
        assert lab.vagrant("ssh", name, "-c", "cat /mnt/shared/from-here").stdout.strip() == "here"
    assert lab.told("controlvm", lab.there[f"{lab.name}-ctrl"]["id"], "poweroff") == []


def test_destroy_leaves_the_copy_of_the_box_alone(lab: VirtualBox, box: str) -> None:
    lab.expect("destroy", "--force")
    assert [name.startswith(box) for name in lab.there] == [True]
    # Vagrant leaves the network, as other machines may use it.
    assert lab.told("hostonlyif", "remove") == []
    assert lab.containers() == []


def test_purge_takes_the_copy_of_the_box_too(lab: VirtualBox) -> None:
    script = "from slipway.lab.purge import remove_boxes; remove_boxes(print)"
    done = lab.run(sys.executable, "-c", script)
    assert done.returncode == 0, done.stderr
    assert lab.there == {}
