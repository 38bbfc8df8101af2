"""Get a chart out of an OCI registry, once, into the cache. Its digest is remembered: a tag stays what it was."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..artifacts.cache import sha256_of, write_atomically
from ..errors import SlipwayError
from ..page.form import Fault
from ..page.read import Key
from . import programs
from .chart import ChartError

PREFIX = "oci://"
KEY: Key = ("chart", "path")
_REFERENCE = re.compile(
    r"oci://(?P<host>[a-zA-Z0-9.-]+(:\d+)?)/(?P<repository>[a-z0-9._/-]*[a-z0-9])"
    r"(:(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_DIGEST = re.compile(r"^Digest: (sha256:[0-9a-f]{64})$", re.MULTILINE)
_REFUSED = re.compile(r"\b(401|403)\b|unauthorized|denied", re.IGNORECASE)


@dataclass(frozen=True)
class Reference:
    """A chart in a registry. ``digest``: empty where the page leaves it to the tag."""

    host: str
    repository: str
    tag: str
    digest: str

    @property
    def name(self) -> str:
        """Write it without the digest, if it has a tag."""
        return f"{self.host}/{self.repository}" + (f":{self.tag}" if self.tag else f"@{self.digest}")

    def at(self, digest: str) -> str:
        """Write it with a digest."""
        return f"{self.name.partition('@')[0]}@{digest}"

    @property
    def address(self) -> str:
        """Write it as Helm takes it."""
        return f"{PREFIX}{self.at(self.digest) if self.digest else self.name}"

    @property
    def archive(self) -> str:
        """Name the file that `helm pull` makes of it."""
        name = self.repository.rpartition("/")[2]
        return f"{name}@{self.digest.replace(':', '-')}.tgz" if self.digest else f"{name}-{self.tag}.tgz"


@dataclass(frozen=True)
class Pulled:
    """An archive in the cache, and the reference with its digest."""

    path: Path
    reference: str


def is_one(path: str) -> bool:
    """Tell whether the path of a chart is in a registry."""
    return path.startswith(PREFIX)


def faults(path: str) -> Iterator[Fault]:
    """Refuse what is no reference, or might be another chart tomorrow."""
    found = _REFERENCE.fullmatch(path)
    if found is None:
        yield Fault("chart-reference", KEY, f"is no chart in a registry: {path}", "oci://ghcr.io/team/shop:1.2.3")
    elif not found["tag"] and not found["digest"]:
        what = "has neither a tag nor a digest: it would be the newest one, another one tomorrow"
        yield Fault("chart-reference", KEY, what, f"{path}:1.2.3, or @sha256:… behind it")


def read(path: str) -> Reference:
    """Read a reference. Raises ChartError."""
    for fault in faults(path):
        raise ChartError(fault)
    found = _REFERENCE.fullmatch(path)
    assert found is not None  # noqa: S101, faults() has seen to it
    return Reference(found["host"], found["repository"], found["tag"] or "", found["digest"] or "")


def pull(path: str, helm: Path, cache: Path) -> Pulled:
    """Give the chart's archive, out of the cache if it is there as it was. Raises ChartError, SlipwayError."""
    reference = read(path)
    note = cache / f"{hashlib.sha256(reference.name.encode()).hexdigest()[:32]}.json"
    known = _noted(note)
    digest = reference.digest or known.get("digest", "")
    archive = cache / f"{digest.removeprefix('sha256:')}.tgz"
    if known.get("digest") == digest and _sum(archive) == known.get("sha256"):
        return Pulled(archive, reference.at(digest))
    with tempfile.TemporaryDirectory(prefix="slipway-pull-") as room:
        got, made = _pulled(reference, helm, Path(room))
        if reference.digest not in ("", got):
            what = f"is {got} in the registry, and not {reference.digest}"
            raise ChartError(Fault("chart-changed", KEY, what, f"{PREFIX}{reference.at(got)}"))
        if not reference.digest and digest not in ("", got):
            raise ChartError(changed(reference.name, digest, got))
        archive = cache / f"{got.removeprefix('sha256:')}.tgz"
        write_atomically(archive, made.read_bytes())
    noted = {"chart": reference.name, "digest": got, "sha256": _sum(archive)}
    write_atomically(note, json.dumps(noted, indent=1, sort_keys=True))
    return Pulled(archive, reference.at(got))


def changed(name: str, before: str, now: str) -> Fault:
    """Refuse a tag that is another chart than it was."""
    what = f"has a tag that was moved: {name} was {before} when it was released, and is {now} now"
    return Fault("chart-changed", KEY, what, f"path: {PREFIX}{name}@{now}, if that is meant; else …@{before}")


def _pulled(reference: Reference, helm: Path, room: Path) -> tuple[str, Path]:
    """Have Helm pull it into a folder; give its digest and the archive."""
    command = ["pull", reference.address, "--destination", str(room)]
    command += ["--plain-http"] if _is_loopback(reference.host) else []
    try:
        code, out, err = programs.run(helm, command, room, _logins(os.environ))
    except SlipwayError as exc:
        if exc.id != "chart-fails":
            raise
        code, out, err = 1, "", str(exc)
    # Helm 3 prints the digest with the errors.
    digest = _DIGEST.search(f"{out}\n{err}")
    archives = sorted(room.glob("*.tgz"))
    if code or digest is None or len(archives) != 1:
        said = " ".join(err.replace("Error: ", "").split())[:600] or "it has no chart, or not one alone"
        works = f"`helm registry login {reference.host}`, and this run once more"
        if not _REFUSED.search(said):
            pulled = f"`helm pull {reference.address}` where {reference.host} can be reached"
            works = f"{pulled}; then path: ./{reference.archive}, with the file beside this page"
        raise ChartError(Fault("chart-unreachable", KEY, f"cannot be pulled: {said}", works))
    return digest[1], archives[0]


def _logins(given: Mapping[str, str]) -> dict[str, str]:
    """Say where `helm registry login` and `docker login` of the user have noted what registries ask for."""
    home = Path(given.get("HOME") or "~").expanduser()
    settings = Path(given.get("HELM_CONFIG_HOME") or Path(given.get("XDG_CONFIG_HOME") or home / ".config") / "helm")
    helm = Path(given.get("HELM_REGISTRY_CONFIG") or settings / "registry" / "config.json")
    found = {"HELM_REGISTRY_CONFIG": str(helm)} if helm.is_file() else {}
    docker = Path(given.get("DOCKER_CONFIG") or home / ".docker")
    return {**found, **({"DOCKER_CONFIG": str(docker)} if docker.is_dir() else {})}


def _is_loopback(host: str) -> bool:
    name = host.partition(":")[0]
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _noted(note: Path) -> dict[str, str]:
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _sum(file: Path) -> str:
    return sha256_of(file) if file.is_file() else "none"
