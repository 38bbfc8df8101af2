"""``make catalog``: which releases of Kubernetes the catalog has, and which one is shipped."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ..errors import SlipwayError
from ..paths import ROOT, state_folder
from . import intake, shipped
from .cache import default_root
from .catalog import Folder


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make catalog", description="Releases of Kubernetes in the catalog.")
    parser.add_argument("--kubernetes", help="take this release in, such as 1.37.2")
    parser.add_argument("--default", action="store_true", help="and make it the shipped one")
    parser.add_argument("--without", help="take this release out")
    options = parser.parse_args(arguments)
    artifacts = ROOT / "artifacts"

    def say(line: str) -> None:
        print(line, flush=True)

    try:
        if options.kubernetes:
            go = intake.Go(artifacts, default_root(), state_folder() / "log" / "catalog.log")
            intake.take_in(artifacts, options.kubernetes, go, say)
            if options.default:
                shipped.ship(ROOT, options.kubernetes, go, say)
        if options.without:
            intake.leave_out(artifacts, options.without, shipped.shipped(ROOT), say)
        catalog = Folder(artifacts).catalog
        for release in catalog.releases():
            row, mark = catalog.kubernetes[release], "  (shipped)" if release == shipped.shipped(ROOT) else ""
            say(f"Kubernetes {release}: etcd {row.etcd}, CoreDNS {row.coredns}, pause {row.pause}{mark}")
    except SlipwayError as exc:
        print(exc.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
