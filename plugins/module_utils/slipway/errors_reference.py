"""The table of all ids: ``docs/reference/errors.md``, made from what the ids are said to mean.

``python -m slipway.errors_reference --write`` renews what lies between ``<!-- table: … -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors_pages import ANY_PAGE, CLUSTER_PAGE
from .errors_release import ON_THE_CLUSTER, RELEASE_PAGE, VALUES
from .errors_runs import ARTIFACTS, CLUSTER, COMPUTER, PROOFS, ROLES
from .paths import ROOT

DOCUMENT = ROOT / "docs" / "reference" / "errors.md"
TABLES = {
    "any_page": ANY_PAGE,
    "cluster_page": CLUSTER_PAGE,
    "values": VALUES,
    "release_page": RELEASE_PAGE,
    "on_the_cluster": ON_THE_CLUSTER,
    "computer": COMPUTER,
    "artifacts": ARTIFACTS,
    "cluster": CLUSTER,
    "roles": ROLES,
    "proofs": PROOFS,
}
KNOWN = {error_id: meaning for table in TABLES.values() for error_id, meaning in table.items()}
_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def renewed(text: str) -> str:
    """Give a document with its tables as they are now; ``KeyError`` for one that does not exist."""
    return _TABLE.sub(lambda match: f"{match[1]}\n{_written(TABLES[match[2]])}\n{match[3]}", text)


def _written(table: dict[str, str]) -> str:
    rows = [f"| `{error_id}` | {table[error_id].replace('|', chr(92) + '|')} |" for error_id in sorted(table)]
    return "\n".join(["| Id | What it means, and what to do |", "|---|---|", *rows]) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the document with fresh tables, or write it."""
    parser = argparse.ArgumentParser(prog="slipway.errors_reference", description="Renew docs/reference/errors.md.")
    parser.add_argument("--write", action="store_true", help="write the document")
    parser.add_argument("--document", type=Path, default=DOCUMENT, help="another document")
    options = parser.parse_args(arguments)
    text = renewed(options.document.read_text(encoding="utf-8"))
    if options.write:
        options.document.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
