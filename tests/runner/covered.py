"""``python -m tests.runner.covered``: how much of plugins/ the phases before it ran; fails below the limit.

They leave what they saw in one file: pytest-cov writes it in the first phase and adds to it in the next. The limit
stands in pyproject.toml.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import coverage
from coverage.exceptions import NoDataError

from .phases import REPORT, ROOT


def figures(totals: dict[str, float], limit: float) -> tuple[str, bool]:
    """Say the figures in a line, and whether both lines and branches together reach the limit."""
    lines, branches = totals["percent_statements_covered"], totals["percent_branches_covered"]
    both = totals["percent_covered"]
    said = f"{both:.1f} % of plugins/ ({lines:.1f} % of lines, {branches:.1f} % of branches)"
    return (said, True) if both >= limit else (f"{said}, below {limit:g} %", False)


def main(folder: Path = ROOT) -> int:
    """Write the XML file for tools, print what is not covered and, last, the figures."""
    measured = coverage.Coverage(data_file=str(folder / ".coverage"), config_file=str(ROOT / "pyproject.toml"))
    measured.load()
    try:
        measured.report(file=sys.stdout)
        measured.xml_report(outfile=str(REPORT / "coverage.xml"))
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            measured.json_report(outfile=file.name)
            totals = json.loads(Path(file.name).read_text(encoding="utf-8"))["totals"]
    except NoDataError:
        print("nothing was measured: run the phases unit and artifacts first")
        return 1
    said, enough = figures(totals, float(str(measured.get_option("report:fail_under"))))
    print(said)
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
