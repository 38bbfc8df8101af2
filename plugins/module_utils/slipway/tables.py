"""Generated tables of documents: what lies between ``<!-- table: name -->`` and ``<!-- end -->`` is made anew."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Rows = list[list[str]]

_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def renewed(text: str, tables: Mapping[str, Rows]) -> str:
    """Give a document with its tables as they are now; ``KeyError`` for one that does not exist.

    The first row of a table is its head.
    """
    return _TABLE.sub(lambda match: f"{match[1]}\n{_written(tables[match[2]])}\n{match[3]}", text)


def _written(rows: Rows) -> str:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]) + "\n"


def run(program: str, document: Path, renew: Callable[[str], str], arguments: Sequence[str] | None) -> int:
    """Run a program that prints ``document`` with fresh tables, or writes it."""
    parser = argparse.ArgumentParser(prog=program, description=f"Renew the tables of {document.name}.")
    parser.add_argument("--write", action="store_true", help="write the document")
    parser.add_argument("--document", type=Path, default=document, help="another document")
    options = parser.parse_args(arguments)
    text = renew(options.document.read_text(encoding="utf-8"))
    if options.write:
        options.document.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0
