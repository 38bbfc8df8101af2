"""The table of all ids: ``docs/reference/errors.md``, made from what the ids are said to mean.

``python -m slipway.errors_reference --write`` renews what lies between ``<!-- table: … -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import tables
from .errors_contents import CONTENTS
from .errors_pages import ANY_PAGE, CLUSTER_PAGE
from .errors_release import ON_THE_CLUSTER, RELEASE_PAGE, VALUES
from .errors_runs import ARTIFACTS, CLUSTER, COMPUTER, NODES, PROOFS, ROLES
from .paths import ROOT

DOCUMENT = ROOT / "docs" / "reference" / "errors.md"
TABLES = {
    "any_page": ANY_PAGE,
    "cluster_page": CLUSTER_PAGE,
    "values": VALUES,
    "release_page": RELEASE_PAGE,
    "contents": CONTENTS,
    "on_the_cluster": ON_THE_CLUSTER,
    "computer": COMPUTER,
    "artifacts": ARTIFACTS,
    "cluster": CLUSTER,
    "roles": ROLES,
    "nodes": NODES,
    "proofs": PROOFS,
}
KNOWN = {error_id: meaning for table in TABLES.values() for error_id, meaning in table.items()}
HEAD = ["Id", "What it means, and what to do"]


def renewed(text: str) -> str:
    """Give a document with its tables as they are now; ``KeyError`` for one that does not exist."""
    rows = {name: [HEAD, *([f"`{key}`", table[key]] for key in sorted(table))] for name, table in TABLES.items()}
    return tables.renewed(text, rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the document with fresh tables, or write it."""
    return tables.run("slipway.errors_reference", DOCUMENT, renewed, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
