"""The arguments of the API server: those in its manifest, those that it runs with, and those that are wanted.

Runs on the nodes (stdlib only).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
# What was declared before a change, until the API server is well with the new one.
BEFORE = "/var/lib/slipway/kube-apiserver.yaml"
# Arguments of ours that go when they are no longer wanted. Others may be an operator's.
OURS = ("audit-",)
Argument = tuple[str, str]
_LINE = re.compile(r"""(?m)^    - (["']?)--([a-z0-9-]+)=(.*)\1$""")


def declared(manifest: str) -> set[Argument]:
    """Give the arguments in a manifest of kubeadm's."""
    return {(name, value) for _, name, value in _LINE.findall(manifest)}


def running(command: bytes) -> set[Argument]:
    """Give the arguments of a process, as /proc has them."""
    words = (word.decode(errors="replace") for word in command.split(b"\0"))
    return {(name[2:], value) for name, _, value in (word.partition("=") for word in words) if name.startswith("--")}


def wanted(arguments: Iterable[Mapping[str, str]]) -> set[Argument]:
    """Give the arguments of a ClusterConfiguration."""
    return {(each["name"], str(each["value"])) for each in arguments}


def differences(there: Collection[Argument], wished: Collection[Argument]) -> list[str]:
    """Name the arguments that have to change, be added, or go."""
    names = {name for name, _ in wished}
    ours = {name for name, _ in there if name.startswith(OURS)}
    return sorted({name for name, value in wished if (name, value) not in there} | (ours - names))
