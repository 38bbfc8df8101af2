"""The architectures of machines, by Debian's and Go's name for each.

Runs on the nodes too (stdlib only).
"""

from __future__ import annotations

import os

AMD64 = "amd64"
ARM64 = "arm64"
ARCHITECTURES = (AMD64, ARM64)
# On the page: the architecture of the computer that Ansible runs on, or in an entry of a host that of the others.
AUTO = "auto"
# What the kernel calls each (`uname -m`); macOS says arm64 itself.
_MACHINES = {"x86_64": AMD64, "aarch64": ARM64}
# What compilers, and the folders of libraries, call each.
TRIPLETS = {AMD64: "x86_64-linux-gnu", ARM64: "aarch64-linux-gnu"}


def of_machine(machine: str) -> str:
    """Give the architecture that ``uname -m`` means; a name that nobody knows here stays as it is."""
    return _MACHINES.get(machine, machine)


def of_this_computer() -> str:
    """Give the architecture of the computer that this runs on."""
    return of_machine(os.uname().machine)


def named(name: str, architecture: str) -> str:
    """Name what a thing is for one architecture: amd64 is as it was when there was no other."""
    return name if architecture in ("", AMD64) else f"{name}-{architecture}"
