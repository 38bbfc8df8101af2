"""What ``make test-long`` runs: all that takes longer than ``make test`` may, each phase from no machines.

What several phases would need is made once: one cluster is lost in parts and as a whole, one has all the releases.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from .phases import Phase, suite


def files(folder: str, *names: str) -> tuple[str, ...]:
    """Test files of a folder, in their order: each continues from the state that the one before left."""
    return ("--capture=no", *(f"tests/{folder}/test_{name}.py" for name in names))


def at_random(phase: Phase) -> Phase:
    """Have a phase try pages that no run has tried; it prints the seed that brings them again."""
    return replace(phase, command=("env", "SLIPWAY_FUZZ_SEED=random", *phase.command))


LONG: tuple[Phase, ...] = (
    suite(
        "refusals",
        "no Docker and no right to install it; the disk is full while artifacts are made",
        900,
        *files("faults", "rights", "disk"),
    ),
    at_random(
        suite(
            "pages",
            "20000 broken pages of settings and of releases, others in every run: refused in words, never a traceback",
            3600,
            *files("unit", "settings_broken", "release_broken"),
        )
    ),
    suite(
        "catalog",
        "what lags behind the registries is listed; a release of Kubernetes leaves the catalog, and is taken in again",
        1800,
        *files("catalog", "catalog"),
    ),
    suite(
        "faults",
        "workers with Debian 12 and 13; a machine, the mirror, all power, istiod, a gateway or its node is lost; a "
        "firewall, a foreign CNI plugin; what the page no longer has; commands of day 2 killed at each step; hosts",
        10800,
        *files("faults", "unreachable", "network", "page", "power", "mesh", "webhook", "system", "verbs", "hosts"),
    ),
    suite(
        "vm",
        "a worker in a virtual machine: its own kernel, swap, two cards, a reboot and a power cut",
        3600,
        *files("faults", "vm"),
    ),
    suite(
        "arm64",
        "a worker with arm64, emulated, in a cluster of amd64: every program and image for it is built here",
        5400,
        *files("faults", "arm64"),
    ),
    suite(
        "vagrant",
        "virtual machines of libvirt, of a box made here: vagrant up, halt, reload, suspend, snapshot, destroy",
        10800,
        "--capture=no",
        *files("vagrant", "libvirt"),
    ),
    suite(
        "vagrant-faults",
        "such machines lose their power in three phases of a run, the computer is rebooted, a disk is full",
        14400,
        "--capture=no",
        *files("vagrant", "faults"),
    ),
    suite(
        "controllers",
        "one controller becomes three; each is lost, made anew, removed; no quorum; others are asked meanwhile",
        7200,
        *files("faults", "controllers", "growth"),
    ),
    suite(
        "cis",
        "the CIS benchmark; three controllers: etcd of an older cluster gets its user, the audit policy and the key of "
        "Secrets change, while the API is asked: it answers; killed at each step",
        7200,
        *files("cis", "cis", "rotation"),
    ),
    suite(
        "authorities",
        "the CAs and the key of service accounts are replaced on three controllers, while the API is asked: it "
        "answers; killed at each step; and on a single one",
        7200,
        *files("authorities", "rotation", "single"),
    ),
    suite(
        "nodes",
        "workers are added, drained and removed, and certificates renewed, at 50 requests a second: none fails; a run "
        "beside a hundred more nodes; a node is added to three hundred",
        3600,
        *files("nodes", "nodes", "crowd", "hundreds"),
    ),
    suite(
        "backup",
        "a cluster with a release is saved, lost, and made again out of its backup, on new machines and over itself; "
        "killed at each step",
        5400,
        *files("backup", "store", "backup"),
    ),
    suite(
        "upgrade",
        "a cluster with a release goes to the next minor version of Kubernetes at 50 requests a second, killed at each "
        "step: none fails; its backup leads back",
        7200,
        *files("upgrade", "upgrade"),
    ),
    suite(
        "baked",
        "nodes that were baked and nodes that were not are the same, file by file; a kill while they are baked",
        2400,
        *files("faults", "baked"),
    ),
    suite("kills", "kill -9 in every phase, then a plain make up", 3600, *files("faults", "kills")),
    suite(
        "releases",
        "the documented systems proved alone and side by side; what is broken by hand is named; 20 proofs in a row",
        7200,
        *files("releases", "documents", "more", "side_by_side", "proofs"),
    ),
    suite(
        "keys",
        "what a page or chart may say beside routes: jobs, volumes, credentials, alerts, entries; each is proved live",
        10800,
        *files(
            "releases",
            "parts",
            "credentials",
            "protocols",
            "volumes",
            "stateful",
            "gate",
            "told",
            "pictures",
            "outside",
            "tls",
            "ingress",
            "gateway_api",
            "manifests",
            "charts",
        ),
    ),
    suite(
        "transitions",
        "changes of a release under load, killed at each step too: no request fails, nobody meets what is not theirs",
        12600,
        *files("transitions", "changes", "data", "tls", "crashes", "kills"),
    ),
    suite(
        "envoy",
        "limits of a plan in the artifact's Envoy: 500 addresses, and what the filters cost",
        600,
        "--capture=no",
        "tests/envoy",
    ),
    Phase(
        "mutations",
        "a defect in each role turns its scenario red",
        (sys.executable, "-m", "tests.mutations"),
        7200,
    ),
    Phase(
        "bench-controllers",
        "three controllers against the same steps by hand",
        ("bench/run", "--controllers=3", "--rounds=3", "--most=5"),
        5400,
    ),
    Phase("bench", "make up against the same steps by hand", ("bench/run", "--rounds=3", "--most=5"), 5400),
)
