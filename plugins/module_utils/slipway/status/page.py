"""The report as one page in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .judge import Report, Section, State

COLOURS: dict[State, str] = {"ok": "", "note": "yellow", "wrong": "red"}
MARKS: dict[State, str] = {"ok": " ", "note": "·", "wrong": "✗"}


def table(section: Section) -> Table:
    """A section with a mark before each row that is not as it should be."""
    made = Table(box=None, pad_edge=False, title=section.title, title_justify="left", title_style="bold")
    made.add_column("", width=1)
    for number, column in enumerate(section.columns):
        made.add_column(column, header_style="dim", overflow="fold", no_wrap=number == 0)
    for row in section.rows:
        made.add_row(*(Text(text, style=COLOURS[row.state]) for text in (MARKS[row.state], *row.cells)))
    return made


def draw(report: Report, console: Console) -> None:
    """Print the page: what is wrong stands first and last."""
    verdict = (
        Text("healthy", style="bold green")
        if report.healthy
        else Text(
            f"{len(report.problems)} things wrong" if len(report.problems) > 1 else "1 thing wrong", style="bold red"
        )
    )
    console.print(
        Text.assemble(("Cluster ", "bold"), (report.cluster, "bold"), f", {report.version}, {report.server}: ", verdict)
    )
    for section in report.sections:
        console.print()
        if section.rows:
            console.print(table(section))
        else:
            console.print(Text.assemble((section.title, "bold"), f": {section.empty}"))
    if report.problems:
        console.print()
        console.print(Text("Wrong", style="bold red"))
        for problem in report.problems:
            console.print(Text.assemble(("✗ ", "red"), problem), soft_wrap=True)
