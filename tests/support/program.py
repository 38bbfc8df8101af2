"""Programs of the catalog for tests: what a run has made, or what is made now, as a run would make it."""

from __future__ import annotations

import os
import queue
import tarfile
import threading
from pathlib import Path

from slipway.artifacts import engine, plan
from slipway.artifacts.cache import default_root
from slipway.artifacts.catalog import Folder
from slipway.artifacts.jobs import Jobs
from slipway.artifacts.lock import Lock

from .kubernetes import SHIPPED
from .lab import ROOT, take_out


def have(name: str, folder: Path) -> Path:
    """A program of the catalog's version; ``folder`` takes what is made. ``SLIPWAY_<NAME>`` names another one.

    It comes out of the cache of artifacts, else from upstream, else it is built (a few minutes, once).
    """
    if named := os.environ.get(f"SLIPWAY_{name.upper()}"):
        return Path(named)
    artifacts = Folder(ROOT / "artifacts")
    settings = plan.BundleSettings(
        kubernetes_version=SHIPPED, parts=[], suites=[], folder=artifacts.path, state=folder, cache=default_root()
    )
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    stop = threading.Event()
    # Sums that are learnt here go nowhere: the lock is the checkout's own business.
    lock = folder / "lock.yml"
    lock.write_text((artifacts.path / "lock.yml").read_text(encoding="utf-8"), encoding="utf-8")
    jobs = Jobs(artifacts, settings, Lock(lock), lines.put, stop)
    item = plan.file_item(artifacts.catalog, name, settings, settings.here)
    job = jobs.built_file(item)
    if not job.found:
        url = f"{settings.upstream_prefix}{item.checksum}"
        if not plan.probe({"files": {"upstream": url}})["files"]:
            job = jobs.upstream_file(item)
    entry = engine.Progress(engine.in_order([job]), lines, print, stop).run()[job.id]
    with tarfile.open(entry.path / entry.facts["file"]) as archive:
        (member,) = (one for one in archive.getmembers() if one.name.rpartition("/")[2] == name)
        program = folder / name
        take_out(archive, member, program)
    return program
