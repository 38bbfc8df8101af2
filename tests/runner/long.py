"""What ``make test-long`` runs on top of ``make test``: the faults, each from no machines, and the bench."""

from __future__ import annotations

import sys

from .phases import Phase, suite

LONG: tuple[Phase, ...] = (
    suite("rights", "no Docker, and no right to install it", 300, "--capture=no", "tests/faults/test_rights.py"),
    suite("disk", "the disk is full while artifacts are made", 900, "--capture=no", "tests/faults/test_disk.py"),
    suite(
        "unreachable",
        "a machine, or the mirror, is gone half-way",
        1800,
        "--capture=no",
        "tests/faults/test_unreachable.py",
    ),
    suite("hosts", "machines that exist, one of them the mirror", 900, "tests/faults/test_hosts.py"),
    suite(
        "systems",
        "workers with Debian 12 and Debian 13 in one cluster; another system is refused",
        1800,
        "--capture=no",
        "tests/faults/test_systems.py",
    ),
    suite("power", "all machines lose power at once", 1200, "--capture=no", "tests/faults/test_power.py"),
    suite(
        "mesh",
        "istiod, a gateway pod, or the node with the address is lost",
        1800,
        "--capture=no",
        "tests/faults/test_mesh.py",
    ),
    suite(
        "kills",
        "kill -9 in every phase, then a plain make up",
        3600,
        "--capture=no",
        "tests/faults/test_kill_everywhere.py",
    ),
    suite(
        "envoy",
        "limits of a plan in the artifact's Envoy: 500 addresses, and what the filters cost",
        600,
        "--capture=no",
        "tests/envoy",
    ),
    suite(
        "documents",
        "the four documented systems, released and proved alone and side by side, with their mail",
        7200,
        "--capture=no",
        "tests/releases/test_documents.py",
        "tests/releases/test_more.py",
    ),
    suite(
        "breaks",
        "sixteen things broken by hand, each named by a proof",
        7200,
        "--capture=no",
        "tests/releases/test_breaks.py",
    ),
    suite(
        "proofs",
        "20 proofs in a row, half of them under load; weights changed under load",
        7200,
        "--capture=no",
        "tests/releases/test_proofs.py",
    ),
    Phase(
        "mutations",
        "a defect in each role turns its scenario red",
        (sys.executable, "-m", "tests.mutations"),
        7200,
    ),
    Phase("bench", "make up against the same steps by hand", ("bench/run",), 3600),
)
