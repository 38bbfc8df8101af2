"""Check the settings that a run of Ansible really uses: the page, and what -e or the inventory put in its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..lab.surroundings import look_around
from ..paths import ROOT
from .checks import on_this_computer
from .environment import read_settings
from .examine import Report, examine
from .form import ELSEWHERE, plain
from .model import PREFIX, Settings
from .read import Page, Problem, dotted, shown
from .rules import Surroundings

# The machines are made from the page alone, so another value of these does not reach them.
OF_THE_MACHINES = (
    "cluster_name",
    "cluster_provider",
    "cluster_controllers",
    "cluster_workers",
    "cluster_hosts",
    "cluster_node_cidr",
    "cluster_mirror",
    "cluster_box",
)


def examine_variables(
    variables: Mapping[str, Any], page_path: Path, state: Path, *, root: Path = ROOT, upgrading: bool = False
) -> Report:
    """Examine the ``cluster_*`` variables of a run, with the keys of the page that are no such variables.

    ``upgrading``: the run is to take the cluster to another release of Kubernetes.
    """

    def around(settings: Settings) -> Surroundings:
        return replace(look_around(settings, state=state, root=root), upgrading=upgrading)

    page = read_settings(page_path)
    effective = {key: value for key, value in variables.items() if key.startswith(PREFIX)}
    foreign = {key: value for key, value in page.values.items() if not str(key).startswith(PREFIX)}
    report = examine(
        {**foreign, **effective},
        page,
        complete=True,
        check=on_this_computer(around),
    )
    return Report(report.settings, report.problems, [*report.warnings, *_without_effect(effective, page)])


def _without_effect(effective: Mapping[str, Any], page: Page) -> list[Problem]:
    on_page = {**Settings().as_values(), **page.values}
    return [
        Problem(
            "no-effect",
            ELSEWHERE,
            dotted((key,)),
            shown(plain(effective[key])),
            f"machines and inventory are made from {page.where((key,))}, which says {shown(on_page[key])}",
            f"the value in {page.where((key,))}",
        )
        for key in OF_THE_MACHINES
        if key in effective and plain(effective[key]) != plain(on_page[key])
    ]
