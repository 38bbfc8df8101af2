"""An S3-compatible store for backups: s3cmd of Debian, with keys from the environment or a file, never arguments.

What is there is compared with the folder on this computer, so what a store that went away has not got is brought by the
next backup. An upload in parts goes on behind the part that was cut off.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import SlipwayError
from .archive import archives, is_archive

# Seconds for one call: s3cmd itself tries five times, within a minute, and a slow line needs its time.
PATIENCE = 3600
OWN = "~/.s3cfg"
_ENTRY = re.compile(r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}\s+(\d+)\s+(s3://\S+)$")


@dataclass(frozen=True)
class Store:
    """A folder of a bucket."""

    host: str
    secure: bool
    bucket: str
    prefix: str
    program: str = "s3cmd"

    @classmethod
    def of(cls, address: str) -> Store:
        """Read it out of an address as the page has it: ``https://host/bucket/folder``."""
        where = urlsplit(address)
        bucket, _, prefix = where.path.strip("/").partition("/")
        return cls(where.netloc, where.scheme == "https", bucket, f"{prefix}/" if prefix else "")

    @property
    def place(self) -> str:
        """Name it as s3cmd does."""
        return f"s3://{self.bucket}/{self.prefix}"

    def names(self, cluster: str) -> dict[str, int]:
        """Give the backups of a cluster that are there, with their sizes. Raises SlipwayError."""
        found = {}
        for line in self._call("ls", self.place).splitlines():
            if (match := _ENTRY.match(line.strip())) and is_archive(name := match.group(2).rpartition("/")[2], cluster):
                found[name] = int(match.group(1))
        return dict(sorted(found.items()))

    def put(self, path: Path) -> None:
        """Bring a file there, from behind what was brought before. Raises SlipwayError."""
        target = f"{self.place}{path.name}"
        more = ["--continue-put"] if self._begun(target) else []
        self._call("put", "--no-progress", *more, str(path), target)

    def _begun(self, target: str) -> bool:
        """Tell whether a part of a file is there: a store may say so with an error where there is none."""
        try:
            said = self._call("multipart", f"s3://{self.bucket}/")
        except SlipwayError:
            return False
        return any(target in line.split() for line in said.splitlines())

    def get(self, name: str, path: Path) -> None:
        """Get a file. Raises SlipwayError."""
        self._call("get", "--no-progress", "--force", f"{self.place}{name}", str(path))

    def remove(self, name: str) -> None:
        """Remove a file there. Raises SlipwayError."""
        self._call("del", f"{self.place}{name}")

    def bring(self, folder: Path, cluster: str, keep: int, made: str = "") -> list[str]:
        """Bring the backups of a folder that are not there, and remove all but the newest there; say what was done.

        Nothing goes before all is there, and ``made``, the one of just now, stays whatever the clock has called it.
        Raises SlipwayError, and the next call does what is left.
        """
        there = self.names(cluster)
        new = [path for path in archives(folder, cluster) if there.get(path.name) != path.stat().st_size]
        for path in new:
            self.put(path)
        there = self.names(cluster)
        if lost := [path.name for path in new if there.get(path.name) != path.stat().st_size]:
            raise self._failed(f"it has not got all of {', '.join(lost)}")
        others = [name for name in there if name != made]
        stay = keep - (made in there)
        gone = others[:-stay] if stay else others
        for name in gone:
            self.remove(name)
        told = [f"in {self.place} on {self.host}: {path.name}" for path in new]
        return told + [f"removed there: {name}" for name in gone]

    def _call(self, *words: str) -> str:
        scheme = [] if self.secure else ["--no-ssl"]
        # Buckets as folders of the path: any store has them, and names need no certificates of their own.
        reach = ["--config", _credentials(os.environ), "--host", self.host, "--host-bucket", self.host, *scheme]
        try:
            done = subprocess.run(
                [self.program, *reach, *words], capture_output=True, text=True, check=False, timeout=PATIENCE
            )
        except FileNotFoundError as exc:
            raise self._failed("s3cmd is not installed; make setup installs it") from exc
        except subprocess.TimeoutExpired as exc:
            raise self._failed(f"s3cmd {words[0]} has not ended after {PATIENCE} s") from exc
        if done.returncode:
            raise self._failed(_reason(done.stderr) or f"s3cmd {words[0]} ends with {done.returncode}")
        return done.stdout

    def _failed(self, why: str) -> SlipwayError:
        return SlipwayError("backup-store", f"the store {self.place} on {self.host} fails: {why}")


def _credentials(environment: Mapping[str, str]) -> str:
    """Name the file that s3cmd reads credentials from, an empty one where they are in the environment."""
    if environment.get("AWS_ACCESS_KEY_ID") and environment.get("AWS_SECRET_ACCESS_KEY"):
        return os.devnull
    own = Path(OWN).expanduser()
    if own.is_file():
        return str(own)
    raise SlipwayError(
        "backup-store-keys",
        f"the store of cluster_backup needs keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write {own} with "
        "access_key and secret_key (s3cmd --configure)",
    )


def _reason(said: str) -> str:
    """Keep what s3cmd says is wrong: its errors, else the last of its warnings."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.partition(":")[2].strip() for line in lines if line.startswith("ERROR:")]
    return "; ".join(dict.fromkeys(errors)) or (lines[-1] if lines else "")
