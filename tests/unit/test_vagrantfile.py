"""The Vagrantfile, evaluated for each provider: names, CPUs, memory, networks, boxes and images of the machines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = """\
cluster_name: sun
cluster_node_cidr: 192.168.58.0/24
cluster_metallb_addresses: []
cluster_gateway: {{address: "", ports: [80]}}
cluster_controllers: {{count: 1, cpus: 2, memory: 2048}}
cluster_workers: {{count: 2, cpus: 3, memory: 1024}}
cluster_mirror: {mirror}
cluster_box: debian/bookworm64
{more}
"""
ADDRESSES = {"ctrl": "192.168.58.100", "node-1": "192.168.58.101", "node-2": "192.168.58.102"}
SIZES = {"ctrl": (2, 2048), "node-1": (3, 1024), "node-2": (3, 1024)}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not shutil.which("ruby") or not (ROOT / ".venv/bin/python").exists(),
        reason="the Vagrantfile is Ruby and calls .venv/bin/python: there is no ruby, or no .venv, on this machine",
    ),
]


def evaluated(
    folder: Path,
    provider: str,
    more: str = "",
    *,
    mirror: bool = False,
    status: int = 0,
    verb: str = "status",
    more_words: Sequence[str] = (),
    said: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    """Give what the Vagrantfile configures for ``vagrant status``; what it says where it ends otherwise."""
    (folder / "page.yml").write_text(PAGE.format(mirror=str(mirror).lower(), more=more))
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SLIPWAY_", "VAGRANT_"))}
    environment |= {
        "SLIPWAY_PAGE": str(folder / "page.yml"),
        "SLIPWAY_STATE": str(folder / "state"),
        "SLIPWAY_CACHE": str(folder / "cache"),
        "SLIPWAY_INVENTORY": str(folder / "inventory"),
        "VAGRANT_DOTFILE_PATH": str(folder / "vagrant"),
        "PYTHONPATH": str(ROOT / "plugins/module_utils"),
        **said,
    }
    command = ["ruby", str(ROOT / "tests/support/vagrantfile.rb"), str(ROOT / "Vagrantfile"), verb]
    done = subprocess.run(
        [*command, f"--provider={provider}", *more_words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == status, done.stderr
    # What the inventory says of itself comes after it.
    return json.loads(done.stdout.partition("\n")[0]) if not status else done.stderr


@pytest.fixture(scope="module", params=["virtualbox", "libvirt"])
def virtual(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    """A provider of virtual machines, and what is configured for it."""
    return request.param, evaluated(tmp_path_factory.mktemp("virtual"), request.param)


def test_virtual_machines_have_their_sizes_and_addresses(virtual: tuple[str, Any]) -> None:
    provider, told = virtual
    machines = told["machines"]
    assert {(machine["box"], machine.get("box_url")) for machine in machines.values()} == {("debian/bookworm64", None)}
    assert {name: machine["hostname"] for name, machine in machines.items()} == {name: name for name in ADDRESSES}
    made = {name: machine["providers"][provider] for name, machine in machines.items()}
    assert {name: (one["cpus"], one["memory"]) for name, one in made.items()} == SIZES
    for name, machine in machines.items():
        (network,) = machine["networks"]
        assert (network["kind"], network["ip"], network["netmask"]) == (
            "private_network",
            ADDRESSES[name],
            "255.255.255.0",
        )


def test_providers_know_machines_and_their_network_by_the_clusters_name(virtual: tuple[str, Any]) -> None:
    machines = virtual[1]["machines"]
    names = {name: machine["providers"]["virtualbox"]["name"] for name, machine in machines.items()}
    assert names == {name: f"sun-{name}" for name in ADDRESSES}
    assert {machine["providers"]["libvirt"]["default_prefix"] for machine in machines.values()} == {"sun-"}
    assert {machine["networks"][0]["libvirt__network_name"] for machine in machines.values()} == {"sun"}


def test_workers_of_virtualbox_share_a_folder_and_a_mirror_has_none(tmp_path: Path) -> None:
    machines = evaluated(tmp_path, "virtualbox", mirror=True)["machines"]
    folders = {name: [folder["to"] for folder in machine["folders"]] for name, machine in machines.items()}
    assert folders == {"mirror-1": [], **{name: ["/mnt/shared"] for name in ADDRESSES}}
    assert machines["mirror-1"]["networks"][0]["ip"] == "192.168.58.10"


def test_a_container_gets_the_image_of_its_system(tmp_path: Path) -> None:
    told = evaluated(tmp_path, "docker", "cluster_systems: {node-2: debian-13}")
    images = {name: machine["providers"]["docker"]["image"] for name, machine in told["machines"].items()}
    assert images["ctrl"] == images["node-1"] != images["node-2"]
    assert all(image.startswith("slipway-node:") for image in images.values())
    assert {machine["providers"]["docker"]["name"] for machine in told["machines"].values()} == {
        f"sun-{name}" for name in ADDRESSES
    }
    # Vagrant's well-known key opens none of them.
    assert (told["ssh"]["insert_key"], told["ssh"]["private_key_path"]) == (False, str(tmp_path / "vagrant/key"))


@pytest.mark.parametrize("provider", ["docker", "libvirt"])
def test_a_machine_that_the_page_no_longer_has_can_be_destroyed_and_is_not_started(
    tmp_path: Path, provider: str
) -> None:
    record = tmp_path / "vagrant/machines/node-3" / provider
    record.mkdir(parents=True)
    (record / "id").write_text("c3")
    machines = evaluated(tmp_path, provider)["machines"]
    assert machines["node-3"]["options"] == {"autostart": False}
    assert "autostart" not in machines["node-2"]["options"]
    assert [name for name, machine in machines.items() if machine["provisioners"]] == ["node-2"]


def test_only_the_last_machine_provisions_and_it_does_so_for_all(virtual: tuple[str, Any]) -> None:
    machines = virtual[1]["machines"]
    assert [name for name, machine in machines.items() if machine["provisioners"]] == ["node-2"]
    site = machines["node-2"]["provisioners"]["site"]
    assert (site["playbook"], site["limit"]) == ("playbooks/site.yml", "all,localhost")
    assert Path(site["inventory_path"]).name == "inventory"


@pytest.mark.parametrize("verb", ["resume", "snapshot"])
def test_machines_that_go_on_as_they_were_are_not_provisioned(tmp_path: Path, verb: str) -> None:
    machines = evaluated(tmp_path, "libvirt", verb=verb)["machines"]
    assert [name for name, machine in machines.items() if machine["provisioners"]] == []


def test_what_the_callers_shell_says_does_not_decide_what_is_found(tmp_path: Path) -> None:
    foreign = {"PYTHONHOME": "/nonexistent", "ANSIBLE_CONFIG": "/x", "ANSIBLE_LIBRARY": "/x", "LC_ALL": "xx_XX.UTF-8"}
    told = evaluated(tmp_path, "virtualbox", said=foreign)
    assert len(told["machines"]) == 3
    environment = told["environment"]
    assert environment["ANSIBLE_CONFIG"] == str(ROOT / "ansible.cfg")
    assert environment["LC_ALL"] == "C.UTF-8"
    assert not {"PYTHONHOME", "PYTHONPATH", "ANSIBLE_LIBRARY"} & set(environment)


@pytest.mark.parametrize(("verb", "status"), [("up", 1), ("provision", 1), ("status", 0)])
def test_machines_of_one_page_are_not_provisioned_by_another(tmp_path: Path, verb: str, status: int) -> None:
    own = {"SLIPWAY_STATE": str(ROOT / ".slipway"), "VAGRANT_DOTFILE_PATH": str(ROOT / ".vagrant")}
    told = evaluated(
        tmp_path, "virtualbox", status=status, verb=verb, said={**own, "SLIPWAY_INVENTORY": str(ROOT / "inventory")}
    )
    if status:
        assert "SLIPWAY_PAGE is another lab's" in told
        assert "SLIPWAY_INVENTORY" in told


def test_workers_and_sizes_of_the_environment_are_made(tmp_path: Path) -> None:
    said = {"SLIPWAY_WORKERS": "3", "SLIPWAY_WORKERS_MEMORY": "1536", "SLIPWAY_CONTROLLERS_CPUS": "4"}
    machines = evaluated(tmp_path, "virtualbox", said=said)["machines"]
    sizes = {name: machine["providers"]["virtualbox"] for name, machine in machines.items()}
    assert {name: (size["cpus"], size["memory"]) for name, size in sizes.items()} == {
        "ctrl": (4, 2048),
        **dict.fromkeys(("node-1", "node-2", "node-3"), (3, 1536)),
    }
    # The last one provisions all of them.
    assert [name for name, machine in machines.items() if machine["provisioners"]] == ["node-3"]


@pytest.mark.parametrize(("name", "text"), [("SLIPWAY_WORKERS", "three"), ("SLIPWAY_WORKER", "3")])
def test_a_wrong_variable_of_the_environment_ends_vagrant_and_is_named(tmp_path: Path, name: str, text: str) -> None:
    assert name in evaluated(tmp_path, "virtualbox", status=2, said={name: text})


# --- what is refused before Vagrant makes anything


@pytest.mark.parametrize(
    ("arguments", "records", "refused"),
    [
        (("up",), (), True),
        (("up",), ("ctrl",), True),
        (("up", "--no-provision"), (), True),
        # They are started only; and what is asked, or taken away, needs no room.
        (("up", "--no-provision"), ("ctrl",), False),
        (("status",), (), False),
        (("destroy",), (), False),
    ],
)
def test_machines_that_are_too_large_for_this_computer_are_refused(
    tmp_path: Path, arguments: tuple[str, ...], records: tuple[str, ...], refused: bool
) -> None:
    for name in records:
        folder = tmp_path / "vagrant/machines" / name / "virtualbox"
        folder.mkdir(parents=True)
        (folder / "id").write_text("1")
    bare = programs(tmp_path, VBoxManage="true", vagrant="true")
    large = "cluster_nodes: {node-2: {memory: 99999999}}"
    verb, *more = arguments
    told = evaluated(tmp_path, "virtualbox", large, verb=verb, more_words=more, status=2 * refused, said=bare)
    if refused:
        assert "[machines-exceed-memory]" in told


def test_a_provider_without_its_plugin_is_refused_and_so_is_a_libvirt_that_is_away(tmp_path: Path) -> None:
    away = programs(tmp_path, virsh="exit 1")
    told = evaluated(tmp_path, "libvirt", verb="up", status=1, said=away)
    assert "[libvirt-silent]" in told
    assert "[vagrant-plugin-missing]" not in told
    told = evaluated(tmp_path, "libvirt", verb="up", status=1, said={**away, "STANDIN_PLUGINS": "another"})
    assert "[vagrant-plugin-missing]" in told
    assert "[libvirt-silent]" in told
    # Vagrant itself says which providers it knows.
    evaluated(tmp_path, "libvirt", said={**away, "STANDIN_PLUGINS": "another"})


@pytest.mark.parametrize(
    ("provider", "more", "error"),
    [
        ("libvirt", "cluster_box: mine", "box-unfit"),
        ("virtualbox", "cluster_box: mine", "box-unfit"),
        ("libvirt", "cluster_node_cidr: 192.168.121.0/24", "network-in-use"),
        ("libvirt", "", "name-taken"),
        ("libvirt", "cluster_name: moon", "network-in-use"),
    ],
)
def test_boxes_and_networks_that_do_not_fit_are_refused(tmp_path: Path, provider: str, more: str, error: str) -> None:
    box = tmp_path / "home/boxes/mine/0" / provider
    box.mkdir(parents=True)
    (box / "metadata.json").write_text('{"provider": "another"}')
    network = """case "$3 $4" in
      "net-list --all") echo sun ;;
      net-dumpxml*) echo "<network><ip address='192.168.58.1' prefix='25'/></network>" ;;
    esac"""
    fakes = programs(tmp_path, virsh=network if error != "box-unfit" else "true", VBoxManage="true", vagrant="true")
    key, _, value = more.partition(": ")
    page = dict(line.split(": ", 1) for line in PAGE.splitlines() if ": " in line)
    said = {**fakes, "VAGRANT_HOME": str(tmp_path / "home")}
    said |= {f"SLIPWAY_{key.removeprefix('cluster_').upper()}": value} if key in page else {}
    told = evaluated(tmp_path, provider, verb="up", status=2 if "121" in more else 1, said=said)
    assert f"[{error}]" in told


def programs(folder: Path, **scripts: str) -> dict[str, str]:
    """Put programs in front of those of this computer."""
    (folder / "bin").mkdir(exist_ok=True)
    for name, text in scripts.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    return {"PATH": f"{folder}/bin:{os.environ['PATH']}"}


def test_hosts_and_a_wrong_page_end_vagrant_with_a_sentence(tmp_path: Path) -> None:
    hosts = "cluster_hosts: [{name: ctrl, address: 192.168.58.100, role: controller}]"
    assert "there is nothing for Vagrant to make" in evaluated(tmp_path, "hosts", hosts, status=1)
    assert "cluster_dns_domain" in evaluated(tmp_path, "virtualbox", "cluster_dns_domain: -", status=2)


@pytest.mark.parametrize("provider", ["virtualbox", "libvirt"])
def test_a_box_that_is_built_is_a_file(tmp_path: Path, provider: str) -> None:
    (tmp_path / "page.yml").touch()
    page = PAGE.replace("cluster_box: debian/bookworm64", "cluster_box: built\ncluster_systems: {{node-2: debian-13}}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{__name__}.PAGE", page)
        machines = evaluated(tmp_path, provider)["machines"]
    for name, system in {"ctrl": "debian-12", "node-1": "debian-12", "node-2": "debian-13"}.items():
        box = machines[name]["box"]
        assert box.startswith(f"slipway-{system}-{provider}-")
        assert machines[name]["box_url"] == f"file://{tmp_path}/cache/boxes/{box.removeprefix('slipway-')}.box"


def test_machines_of_libvirt_share_a_folder_without_a_password(tmp_path: Path) -> None:
    told = evaluated(tmp_path, "libvirt")["machines"]
    for machine in told.values():
        (folder,) = machine["folders"]
        assert (folder["to"], folder["type"], folder["create"]) == ("/mnt/shared", "virtiofs", True)
        backing = machine["providers"]["libvirt"]["backing"]
        assert backing == {"access": {"mode": "shared"}, "source": {"type": "memfd"}}


@pytest.mark.parametrize("found", ["kvm", "qemu"])
def test_machines_of_libvirt_are_emulated_where_nothing_boots_under_kvm(tmp_path: Path, found: str) -> None:
    state = tmp_path / "state"
    state.mkdir()
    # What was found out for the machine that is there.
    (state / "libvirt.json").write_text(json.dumps({"driver": found}))
    record = tmp_path / "vagrant/machines/ctrl/libvirt"
    record.mkdir(parents=True)
    (record / "id").write_text("1")
    # A libvirt that has nothing yet.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/virsh").write_text("#!/bin/sh\n")
    (tmp_path / "bin/virsh").chmod(0o755)
    told = evaluated(tmp_path, "libvirt", verb="up", said={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"})
    names = ("driver", "machine_type", "cpu_mode", "cpu_model")
    made = {tuple(m["providers"]["libvirt"].get(name) for name in names) for m in told["machines"].values()}
    if found == "kvm":
        assert made == {(None, None, None, None)}
        assert "boot_timeout" not in told["all"]
    else:
        assert made == {("qemu", "q35", "custom", "Haswell-noTSX")}
        assert told["all"]["boot_timeout"] == 1800


@pytest.mark.parametrize("provider", ["docker", "libvirt", "virtualbox"])
def test_the_checkout_is_at_vagrant_where_that_is_wanted(tmp_path: Path, provider: str) -> None:
    (without,) = evaluated(tmp_path, provider)["all"]["folders"]
    assert without == {"from": ".", "to": "/vagrant", "disabled": True}
    (wanted,) = evaluated(tmp_path, provider, "cluster_vagrant_folder: true")["all"]["folders"]
    kind = {"type": "virtiofs"} if provider == "libvirt" else {}
    assert wanted == {"from": ".", "to": "/vagrant", **kind}
