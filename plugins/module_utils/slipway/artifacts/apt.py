"""Debian packages: find a list's whole closure with the machine's own apt, in a folder of its own.

A suite has such a folder for each architecture: apt finds packages for other machines than this one, too.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from ..errors import SlipwayError
from ..node.architecture import named
from .archive import Member
from .cache import Cache, locked, sha256_of
from .catalog import AptSuite
from .process import ProgramError, Say, run

MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")  # folders that are links into usr/ on every Debian of today
SETTINGS = """\
Dir "{root}";
Dir::Etc "{root}/etc";
Dir::Etc::sourcelist "{root}/etc/sources.list";
Dir::Etc::sourceparts "{root}/etc/none";
Dir::Etc::trusted "{root}/etc/none";
Dir::Etc::trustedparts "{root}/etc/none";
Dir::State "{root}/state";
Dir::State::status "{root}/status";
Dir::Cache "{root}/cache";
Dir::Log "{root}/log";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Get::AllowUnauthenticated "false";
APT::Sandbox::User "{user}";
Acquire::Languages "none";
Acquire::Retries "3";
Binary::apt-get::APT::Keep-Downloaded-Packages "true";
"""


# Inst libgcc-s1 (12.2.0-14+deb12u1 Debian:12/stable [amd64]) []
INSTALLED = re.compile(r"Inst (?P<name>\S+) .*\((?P<version>\S+) .*\[(?P<arch>\w+)\]\)")


def available() -> bool:
    return shutil.which("apt-get") is not None


class Suite:
    """A suite's package lists and archives for one architecture, kept below ``<cache>/apt/<name>``."""

    def __init__(
        self, name: str, architecture: str, suite: AptSuite, cache: Cache, log: Path, stop: threading.Event
    ) -> None:
        self.name = named(name, architecture)
        self.architecture = architecture
        self.suite = suite
        self.root = cache.root / "apt" / self.name
        self.log = log
        self.stop = stop
        self._updated = False
        self._guard = threading.Lock()

    def packages(self, names: Sequence[str], say: Say = lambda _line: None) -> list[Path]:
        """The .deb files of ``names`` and of all they depend on, down to the C library; fetched where needed."""
        with self._lists(say):
            self._apt("install", "--download-only", "--yes", *names)
            uris = self._wanted(names)
        return sorted(self.root / "cache" / "archives" / uri for uri in uris)

    def file_names(self, names: Sequence[str], say: Say = lambda _line: None) -> list[str]:
        """The names of these files as the mirrors have them now; nothing is fetched but the lists."""
        with self._lists(say):
            return sorted(self._wanted(names))

    @contextmanager
    def _lists(self, say: Say) -> Iterator[None]:
        """Hold the suite's package lists, renewed once in a run."""
        if not available():
            raise SlipwayError(
                "program-missing",
                f"apt-get is not on this machine, so {self.name}'s Debian packages cannot be fetched.",
            )
        waiting = f"{self.name}: another run is using its package lists, waiting for that"
        with self._guard, locked(self.root / "lock", lambda: say(waiting)):
            if not self._updated:
                self._prepare()
                self._apt("update", "--error-on=any")
                self._updated = True
            yield

    def _prepare(self) -> None:
        for folder in ("etc", "state/lists/partial", "cache/archives/partial", "log"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "status").touch()
        user = "root" if os.geteuid() == 0 else ""
        settings = SETTINGS.format(root=self.root, user=user, architecture=self.architecture)
        (self.root / "apt.conf").write_text(settings, encoding="utf-8")
        lines = []
        for source in self.suite.sources:
            if not Path(source.keyring).exists():
                raise SlipwayError(
                    "keyring-missing",
                    f"{source.keyring} is missing, so {source.uri_for(self.architecture)} cannot be trusted; "
                    f"install it with `sudo apt-get install {Path(source.keyring).stem}`.",
                )
            what = f"deb [signed-by={source.keyring}] {source.uri_for(self.architecture)}"
            lines += [f"{what} {suite} {' '.join(source.components)}" for suite in source.suites]
        (self.root / "etc" / "sources.list").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _command(self, *arguments: str) -> list[str]:
        return ["apt-get", f"--config-file={self.root / 'apt.conf'}", "--quiet", *arguments]

    def _apt(self, *arguments: str) -> None:
        try:
            run(self._command(*arguments), log=self.log, stop=self.stop, env=os.environ | {"LC_ALL": "C"})
        except ProgramError as exc:
            mirrors = ", ".join(source.uri_for(self.architecture) for source in self.suite.sources)
            raise SlipwayError(
                "download-failed",
                f"apt-get {arguments[0]} for {self.name} failed:\n{exc.tail}\n"
                f"Are its mirrors reachable ({mirrors}, see artifacts/catalog.yml)? Log: {self.log}",
            ) from exc

    def _wanted(self, names: Sequence[str]) -> list[str]:
        """File names of the closure: what a machine with no package at all would install."""
        command = self._command("install", "--simulate", "--yes", *names)
        answer = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"LC_ALL": "C"})
        found = [INSTALLED.match(line) for line in answer.stdout.splitlines() if line.startswith("Inst ")]
        return [f"{deb['name']}_{deb['version'].replace(':', '%3a')}_{deb['arch']}.deb" for deb in found if deb]


def control_of(deb: Path) -> str:
    """The control paragraph of a package."""
    return subprocess.run(["dpkg-deb", "--field", str(deb)], capture_output=True, text=True, check=True).stdout


def write_index(folder: Path, architectures: Sequence[str]) -> dict[str, str]:
    """Write ``Packages`` and ``Release`` for the .deb files in ``folder``; returns their sums by file name.

    A flat repository: `deb [trusted=yes] http://…/apt/<suite> ./`. Each machine's apt takes those of its architecture.
    """
    sums: dict[str, str] = {}
    paragraphs = []
    for deb in sorted(folder.glob("*.deb")):
        sums[deb.name] = sha256_of(deb)
        extra = f"Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {sums[deb.name]}\n"
        paragraphs.append(control_of(deb).rstrip() + "\n" + extra)
    index = "\n".join(paragraphs).encode()
    (folder / "Packages").write_bytes(index)
    release = (
        "Origin: slipway\nLabel: slipway\nDate: Thu, 01 Jan 1970 00:00:00 UTC\n"
        f"Architectures: {' '.join(architectures)}\n"
        f"SHA256:\n {hashlib.sha256(index).hexdigest()} {len(index)} Packages\n"
    )
    (folder / "Release").write_text(release, encoding="utf-8")
    return sums


def unpacked(debs: Sequence[Path], only: Sequence[str], without: Sequence[str]) -> Iterator[Member]:
    """What the packages put on disk, folders under usr/ merged; only what is below the folders ``only``, when there
    are any, and nothing below the folders ``without``."""
    for deb in debs:
        data = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(deb)], capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for info in tar:
                path = merged(info.name)
                if not path or info.isdir() or below(path, without) or (only and not below(path, only)):
                    continue
                mode = info.mode & 0o7777
                if info.issym():
                    yield Member(path, mode, link=info.linkname)
                elif info.islnk() or info.isreg():
                    file = tar.extractfile(info)
                    yield Member(path, mode, file.read() if file else b"")


def below(path: str, folders: Sequence[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def merged(path: str) -> str:
    """``./sbin/x`` → ``usr/sbin/x``; empty for the folders that are links."""
    parts = PurePosixPath(path).parts
    if not parts or (len(parts) == 1 and parts[0] in MERGED):
        return ""
    return "/".join(("usr", *parts) if parts[0] in MERGED else parts)


def pool_name(archive: str) -> str:
    """An archive's name without the version's epoch, as Debian's own pool has it."""
    name, version, rest = archive.split("_")
    return f"{name}_{version.rpartition('%3a')[2]}_{rest}"
