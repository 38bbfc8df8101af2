"""``python -m slipway.status``: one page about the cluster; 0 healthy, 1 something is wrong, 2 it cannot be asked."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from ..errors import SlipwayError
from ..lab.plan import page_file
from ..page.examine import examine_page
from ..paths import state_folder
from .collect import collect
from .judge import judge
from .network import ask_nodes

UNASKED = 2


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make status", description="How the cluster is.")
    parser.add_argument("--json", action="store_true", help="print it for machines")
    parser.add_argument("--kubeconfig", help="of a cluster that somebody else made")
    parser.add_argument("--context", help="of the kubeconfig, where it is not the current one")
    options = parser.parse_args(arguments)
    other = {key: value for key, value in (("kubeconfig", options.kubeconfig), ("context", options.context)) if value}
    try:
        settings, state = examine_page(page_file()).accepted(), state_folder()
        facts = collect(state, settings, other or None)
        if not other:
            ask_nodes(facts, settings, state)
        report = judge(facts)
    except SlipwayError as exc:
        print(json.dumps({"healthy": False, "problems": [exc.message]}) if options.json else f"status: {exc.message}")
        return UNASKED
    if options.json:
        print(json.dumps(report.as_json(), indent=1))
    else:
        from rich.console import Console

        from .page import draw

        # Where nobody looks at a terminal, lines are not cut to the width of one.
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
        draw(report, console)
    return 0 if report.healthy else 1


if __name__ == "__main__":
    sys.exit(main())
