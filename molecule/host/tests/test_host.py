"""Machines know each other, take the registered keys and route packets."""

from __future__ import annotations

import subprocess
from pathlib import Path

from testinfra.host import Host

testinfra_hosts = ["ansible://all"]


def machines(host: Host) -> dict[str, str]:
    """Node address of every machine of the lab."""
    variables = host.ansible.get_variables()
    names = variables["groups"]["all"]
    return {name: other(host, name)["node_address"] for name in names}


def other(host: Host, name: str) -> dict[str, str]:
    """Variables of another machine of the same inventory."""
    found: dict[str, str] = host.get_host(
        f"ansible://{name}", ansible_inventory=host.backend.ansible_inventory
    ).ansible.get_variables()
    return found


def test_a_machine_finds_those_that_it_needs_by_name(host: Host) -> None:
    """A controller finds all machines; another one itself, the controllers and the mirror."""
    variables = host.ansible.get_variables()
    own, groups = variables["inventory_hostname"], variables["groups"]
    needed = [own, *groups["controllers"], *groups["mirror"]]
    for name, address in machines(host).items():
        if own not in groups["controllers"] and name not in needed:
            assert host.run("getent ahostsv4 %s", name).rc
            continue
        found = {line.split()[0] for line in host.check_output("getent ahostsv4 %s", name).splitlines()}
        assert found == {address}


def test_a_machine_is_known_by_its_own_name(host: Host) -> None:
    variables = host.ansible.get_variables()
    assert host.check_output("hostname") == variables["inventory_hostname"]


def test_a_registered_key_opens_the_machine(host: Host, state: Path) -> None:
    variables = host.ansible.get_variables()
    key = state.parent / "user_key"
    done = subprocess.run(
        [
            "ssh",
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "IdentityAgent=none",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-i",
            str(key),
            f"{variables['ansible_user']}@{variables['node_address']}",
            "true",
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_packets_are_forwarded(host: Host) -> None:
    assert host.sysctl("net.ipv4.ip_forward") == 1


def test_there_is_room_for_many_watches(host: Host) -> None:
    assert host.sysctl("fs.inotify.max_user_instances") >= 8192


def test_kubeadm_finds_its_programs(host: Host) -> None:
    for program in ("conntrack", "ethtool", "ip", "iptables", "mount", "nft", "socat"):
        assert host.run("command -v %s || ls /usr/sbin/%s", program, program).rc == 0, program


def test_nothing_failed_at_boot(host: Host) -> None:
    failed = host.check_output("systemctl list-units --state=failed --plain --no-legend")
    # A kubelet that is not in a cluster yet ends and is started again; it has scenarios of its own.
    assert [line for line in failed.splitlines() if not line.startswith("kubelet.service")] == []
