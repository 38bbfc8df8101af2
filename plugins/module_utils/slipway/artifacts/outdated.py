"""``make outdated``: what of all that is pinned here lags behind the registries. It changes nothing.

Each pin is asked for at the registry that a build gets it from, by that registry's ordinary client, several at once
and within a limit of time. What could not be asked is said, and is no failure.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import SlipwayError
from ..node.architecture import AMD64
from ..paths import ROOT, state_folder
from . import apt, golang, registries, versions
from .cache import FACTS, Cache, default_root
from .catalog import Folder
from .pins import COMMIT, LOCK, Kind, Pin, every
from .process import CancelledError

if TYPE_CHECKING:
    from rich.console import Console

WHAT: dict[Kind, str] = {
    "go": "Go modules",
    "image": "images that only upstream has",
    "pypi": "packages of PyPI",
    "maven": "files of Maven Central",
    "python": "locked Python packages",
    "debian": "Debian packages",
}
# As scripts/lock has it.
LOCKING = (
    "--universal",
    "--python-version",
    "3.11",
    "--no-strip-extras",
    "--no-emit-index-url",
    "--no-emit-find-links",
)
AT_ONCE = 6
SUITE_SECONDS = 120.0
NAMED = 4  # of Debian's packages that are newer, in one row


class Row(NamedTuple):
    """A pin and what its registry has; ``problem`` says why that could not be asked."""

    pin: Pin
    patch: str = ""
    newest: str = ""
    note: str = ""
    problem: str = ""

    @property
    def lags(self) -> bool:
        """Whether somebody should look at it."""
        return bool(not self.pin.named and (self.patch or (self.newest and not self.pin.held)))

    def as_json(self) -> dict[str, Any]:
        own = {"patch": self.patch, "newest": self.newest, "note": self.note, "problem": self.problem}
        return {**self.pin._asdict(), **own, "lags": self.lags}


def judged(pin: Pin, served: Sequence[str]) -> Row:
    """A pin against the versions that a registry serves."""
    if COMMIT.fullmatch(pin.version):
        return Row(pin, note=pin.held or "pinned by a commit; the registry lists no releases to compare with")
    found = versions.lag(pin.version, served)
    return Row(pin, found.patch, found.newest, pin.held if any(found) else "")


def renewed(pin: Pin, upgrade: dict[str, str]) -> Row:
    """A locked package against what would be locked today."""
    return judged(pin, [upgrade[pin.name]] if pin.name in upgrade else [])


def packages(pin: Pin, published: str, held: Iterable[str], served: Iterable[str]) -> Row:
    """A suite's packages: when it was published, the files that the cache has of it, and those that it has today.

    Nothing in the cache: then the date decides alone.
    """
    known = set(held)
    newer = sorted(deb.partition("_")[0] for deb in served if known and apt.pool_name(deb) not in known)
    more = f" and {len(newer) - NAMED} more" if len(newer) > NAMED else ""
    if known:
        note = f"{len(newer)} packages: {', '.join(newer[:NAMED])}{more}" if newer else ""
        return Row(pin, patch=published if newer else "", note=note)
    note = "the cache has none of these packages to compare with (make bundle)"
    return Row(pin, patch=published if published > pin.version else "", note=note)


class Registries:
    """The registries, as this machine reaches them."""

    def __init__(self, root: Path, cache: Path, state: Path) -> None:
        self.root = root
        self.folder = Folder(root / "artifacts")
        self.cache = cache
        self.state = state
        # Who did not answer in time, by registry: nobody waits for it again.
        self._silent: dict[str, SlipwayError] = {}

    def rows(self, pins: Sequence[Pin]) -> list[Row]:
        """Ask for all pins; a question that several share is asked once."""
        ordered = sorted(pins, key=_question)
        asked = [list(group) for _, group in groupby(ordered, _question)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = pool.map(self._answered, asked)
            found = {row.pin: row for rows in answers for row in rows}
        return [found[pin] for pin in pins]

    def _answered(self, pins: list[Pin]) -> list[Row]:
        first = pins[0]
        whose = first.source.partition("/")[0] if first.kind == "image" else first.kind
        try:
            if whose in self._silent:
                raise self._silent[whose]
            if first.kind == "debian":
                return [self._suite(first)]
            if first.kind == "python":
                upgrade = registries.upgraded(self._uv(), self.root / f"{LOCK}.in", LOCKING)
                return [renewed(pin, upgrade) for pin in pins]
            served = self._versions(first)
        except SlipwayError as exc:
            if isinstance(exc, registries.SilentRegistryError):
                self._silent[whose] = exc
            return [Row(pin, problem=exc.text) for pin in pins]
        return [judged(pin, served) for pin in pins]

    def _versions(self, pin: Pin) -> list[str]:
        if pin.kind == "go":
            log = self.state / "log" / "outdated.log"
            go = golang.bootstrap(Cache(self.cache), self.folder.path, log, threading.Event())
            return registries.go_versions(go, golang.environment(self.cache, cgo=False), pin.source)
        if pin.kind == "pypi":
            return registries.pypi_versions(pin.source)
        if pin.kind == "maven":
            return registries.maven_versions(pin.source, self.cache / "outdated" / "maven")
        return registries.image_tags(pin.source)

    @staticmethod
    def _uv() -> str:
        beside = Path(sys.executable).with_name("uv")
        found = str(beside) if beside.exists() else shutil.which("uv")
        if not found:
            raise SlipwayError("program-missing", "uv is not in .venv (make setup-dev).")
        return found

    def _suite(self, pin: Pin) -> Row:
        """Apart from the lists that a build uses, which another run may hold for long."""
        stop = threading.Event()
        timer = threading.Timer(SUITE_SECONDS, stop.set)
        timer.daemon = True
        timer.start()
        log = self.state / "log" / f"outdated-{pin.name}.log"
        suite = apt.Suite(
            pin.name,
            AMD64,
            self.folder.catalog.packages.suites[pin.name],
            Cache(self.cache / "outdated"),
            log,
            stop,
        )
        names = sorted({name for one in self.folder.catalog.packages.sets.values() for name in one.names})
        try:
            served = suite.file_names(names)
        except CancelledError:
            raise registries.no_answer("apt-get", SUITE_SECONDS) from None
        finally:
            timer.cancel()
        dates = registries.release_dates(suite.root / "state" / "lists")
        return packages(pin, max(dates).date().isoformat() if dates else "", self._held(pin.name), served)

    def _held(self, suite: str) -> list[str]:
        """The files of the newest repository of a suite in the cache."""
        items = sorted(
            (self.cache / "items" / f"apt-{suite}").glob(f"*/{FACTS}"), key=lambda file: file.stat().st_mtime
        )
        return list(json.loads(items[-1].read_text("utf-8"))["debs"]) if items else []


def _question(pin: Pin) -> tuple[str, str]:
    return (pin.kind, "" if pin.kind == "python" else pin.source)


def told(rows: Sequence[Row], all_of_them: bool) -> Iterator[Row]:
    """The rows that are shown: what lags, what is held, what could not be compared; or all that was asked."""
    return (row for row in rows if not row.problem and (all_of_them or row.lags or row.note))


def silent(rows: Sequence[Row]) -> dict[str, list[str]]:
    """What could not be asked: names by reason."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.problem:
            found.setdefault(f"{WHAT[row.pin.kind]}: {row.problem}", []).append(row.pin.name)
    return found


def summary(rows: Sequence[Row]) -> str:
    asked = [row for row in rows if not row.problem]
    lagging = sum(row.lags for row in asked)
    rest = len(rows) - len(asked)
    return f"{lagging} of {len(asked)} lag" + (f"; {rest} could not be asked" if rest else "")


def draw(rows: Sequence[Row], console: Console, *, all_of_them: bool = False) -> None:
    """Print a table of each kind, then what could not be asked, then the figures."""
    from rich.table import Table
    from rich.text import Text

    for kind, title in WHAT.items():
        shown = [row for row in told(rows, all_of_them) if row.pin.kind == kind]
        if not shown:
            continue
        table = Table(box=None, pad_edge=False, title=title, title_justify="left", title_style="bold")
        for column in ("name", "here", "patch", "newest", ""):
            table.add_column(column, header_style="dim", overflow="fold", no_wrap=column == "name")
        for row in shown:
            style = "yellow" if row.lags else ""
            cells = (row.pin.name, row.pin.version, row.patch, row.newest, row.note)
            table.add_row(*(Text(cell, style=style if number < 4 else "dim") for number, cell in enumerate(cells)))
        console.print(table)
        console.print()
    for reason, names in silent(rows).items():
        few = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        console.print(Text.assemble(("Not asked: ", "yellow"), f"{few} ({reason})"), soft_wrap=True)
    console.print(Text(summary(rows), style="bold"))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make outdated", description="What lags behind the registries.")
    parser.add_argument("--json", action="store_true", help="print everything, for machines")
    parser.add_argument("--all", action="store_true", help="show what is newest, too")
    options = parser.parse_args(arguments)
    try:
        rows = Registries(ROOT, default_root(), state_folder()).rows(every(ROOT))
    except SlipwayError as exc:
        print(f"outdated: {exc.message}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps([row.as_json() for row in rows], indent=1))
    else:
        from rich.console import Console

        draw(rows, Console(highlight=False, width=None if sys.stdout.isatty() else 140), all_of_them=options.all)
    return 0


if __name__ == "__main__":
    sys.exit(main())
