"""A virtual machine as one more worker: containers have no kernel, modules, swap, cards and boots of their own."""

from __future__ import annotations

import platform
from collections.abc import Iterator

import pytest

from tests.support.checkout import Checkout
from tests.support.guest import NAME, ROLES, Guest, joining
from tests.support.kube import eventually, ready


@pytest.fixture(scope="module")
def guest(clone: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    with joining(clone, tmp_path_factory.mktemp("vm")) as there:
        yield there


def test_it_has_what_a_virtual_machine_has(guest: Guest) -> None:
    """Else the rest would show nothing."""
    assert guest.says("swapon --noheadings --show=NAME") == "/dev/vdb"
    assert guest.says("uname -r") != platform.release()
    assert guest.says("stat --file-system --format=%T /sys/fs/cgroup") == "cgroup2fs"
    assert guest.says("ip -4 -json route show default | grep -c 10.0.2.2") == "1"
    assert guest.says("systemd-detect-virt --container || true") == "none"


def test_a_clock_that_is_an_hour_off_is_named_before_anything_is_made(guest: Guest) -> None:
    guest.says("sudo date --set='1 hour ago'")
    refused = guest.site()
    guest.says("sudo date --set='1 hour'")
    assert refused.total("changed") == 0
    assert "[clock-apart]" in refused.output
    assert f"{NAME} is not fit yet" in refused.output


def test_it_becomes_a_worker(guest: Guest) -> None:
    done = guest.site().expect()
    print(f"the cluster with it: {done.seconds:.0f} s")
    assert ready(guest.node)
    assert guest.node["status"]["nodeInfo"]["kernelVersion"] == guest.says("uname -r")
    addresses = {each["type"]: each["address"] for each in guest.node["status"]["addresses"]}
    assert addresses["InternalIP"] == guest.machine.address
    guest.works()


def test_swap_is_off_and_modules_and_time_are_its_own(guest: Guest) -> None:
    assert guest.says("swapon --noheadings") == ""
    assert guest.says("lsmod | grep -c -w -e ^vxlan -e ^br_netfilter -e ^overlay") == "3"
    assert guest.says("systemctl is-active chrony.service") == "active"
    assert guest.says("sysctl -n net.ipv4.ip_forward") == "1"


def test_a_second_run_changes_nothing(guest: Guest) -> None:
    again = guest.site().expect()
    print(f"a second run: {again.seconds:.0f} s")
    assert again.total("changed") == 0
    assert set(again.recap) == {"localhost", NAME, *ROLES}


def back(guest: Guest, boot: str) -> None:
    """Wait until the machine has rebooted, and assert that it works as before without any help."""

    def anew() -> bool:
        return guest.says("cat /proc/sys/kernel/random/boot_id") != boot

    def booted() -> bool:
        status = guest.node["status"]
        return ready(guest.node) and status["nodeInfo"]["bootID"] != boot

    guest.machine.wait()
    eventually(anew, seconds=300, what="it boots")
    eventually(booted, seconds=300, what="its node is Ready")
    guest.works()
    assert guest.says("swapon --noheadings") == ""


def test_it_comes_back_after_a_reboot(guest: Guest) -> None:
    boot = guest.says("cat /proc/sys/kernel/random/boot_id")
    guest.says("sudo systemd-run --quiet --on-active=1 systemctl reboot")
    back(guest, boot)


def test_it_comes_back_after_a_power_cut(guest: Guest) -> None:
    boot = guest.says("cat /proc/sys/kernel/random/boot_id")
    guest.machine.cut()
    guest.machine.start()
    back(guest, boot)
    assert guest.site().expect().total("changed") == 0
