"""Get files of Maven Central with mvn, from whatever repository the user has configured."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

from ..errors import SlipwayError
from .cache import sha256_of
from .catalog import Jar
from .process import ProgramError, run

# What fetches one file and nothing that it depends on.
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:2.8:get"


def available() -> bool:
    """Whether this machine has Maven."""
    return shutil.which("mvn") is not None


def fetch(name: str, jar: Jar, target: Path, *, log: Path, stop: threading.Event) -> dict[str, Any]:
    """Get the file into ``target``; returns the item's facts.

    ``name`` is group:artifact or group:artifact:classifier. Raises SlipwayError.
    """
    group, artifact, *classifier = name.split(":")
    repository = target / "repository"
    coordinates = ":".join([group, artifact, jar.version, "jar", *classifier])
    command = ["mvn", "--batch-mode", "--quiet", f"-Dmaven.repo.local={repository}", PLUGIN]
    try:
        run([*command, f"-Dartifact={coordinates}", "-Dtransitive=false"], log=log, stop=stop, cwd=target)
    except ProgramError as exc:
        raise SlipwayError(
            "download-failed",
            f"{name} {jar.version} could not be had from Maven Central (mvn, exit code {exc.code}):\n{exc.tail}\n"
            f"Does the repository answer that mvn uses (`mvn help:effective-settings`)? Log: {log}",
        ) from exc
    found = sorted((repository / group.replace(".", "/") / artifact / jar.version).glob("*.jar"))
    sums = [sha256_of(path) for path in found]
    if sums != [jar.sha256]:
        got = f"has sha256 {sums[0]}" if len(sums) == 1 else f"gave {len(sums)} files"
        raise SlipwayError(
            "checksum-differs",
            f"{name} {jar.version}: mvn's repository {got}, but artifacts/images says {jar.sha256}. Nothing was kept.",
        )
    result = target / found[0].name
    found[0].replace(result)
    shutil.rmtree(repository)
    return {
        "file": result.name,
        "version": jar.version,
        "sha256": jar.sha256,
        "size": result.stat().st_size,
        "source": "upstream",
    }
