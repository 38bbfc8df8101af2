"""What a run would add: machines that are made or started, and nodes that join.

Pure: names in, words out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any


def machines_to_make(
    machines: Sequence[Mapping[str, Any]], missing: Collection[str], made: Collection[str]
) -> list[str]:
    """Say of each of ``machines`` that is ``missing`` what it would be; those ``made`` already are only started."""
    return [
        f"{machine['name']}: its machine to be started"
        if machine["name"] in made
        else f"{machine['name']}: a machine to be made ({machine['role']}, {machine['cpus']} CPUs, "
        f"{machine['memory']} MiB)"
        for machine in machines
        if machine["name"] in missing
    ]


def nodes_to_add(
    controllers: Sequence[str], workers: Sequence[str], joined: Collection[str], silent: Collection[str]
) -> list[str]:
    """Say which nodes of the page would join the cluster, and what becomes of those that are in it.

    ``joined``: the nodes of the cluster; ``silent``: those that are asked and do not answer.
    """
    roles = dict.fromkeys(controllers, "controller") | dict.fromkeys(workers, "worker")
    new = {name: role for name, role in roles.items() if name not in joined}
    if not new:
        return ["Every node of the page is in the cluster already."]
    lines = [
        f"{name} does not answer, and would not join" if name in silent else f"{name}: to join as a {role}"
        for name, role in new.items()
    ]
    there = [name for name in roles if name in joined]
    if there and "controller" in new.values():
        return [*lines, f"{', '.join(there)}: to get to know the new controller"]
    old = [name for name in workers if name in joined]
    return [*lines, f"{len(old)} other workers stay as they are"] if old else lines
