"""Fetch one file over HTTP: what was already received is kept, and the rest asked for again."""

from __future__ import annotations

import http.client
import re
import threading
import urllib.error
import urllib.request
from pathlib import Path

from ..errors import SlipwayError
from .cache import CHUNK, DISK_FULL, digest_of, megabytes
from .process import CancelledError

TRIES = 5
TIMEOUT = 20.0
FIRST_WAIT = 0.5  # seconds before the second try, and twice as long before each further one
AGENT = {"User-Agent": "slipway"}
SUM = re.compile(r"[0-9a-fA-F]{64}")
BSD = re.compile(r"^SHA256 \((?P<name>.+)\) = (?P<sum>[0-9a-fA-F]{64})$")


class NotThereError(SlipwayError):
    """The server says that it has no such file."""


class TruncatedError(Exception):
    """The server closed the connection before the last byte."""


def download(url: str, folder: Path, stop: threading.Event) -> Path:
    """Fetch ``url`` into a file below ``folder`` and return its path; a partial file of an earlier run is continued."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{digest_of(url)}.part"
    problem: Exception | None = None
    for attempt in range(TRIES):
        pause_before(attempt, stop)
        try:
            _receive(url, part, stop)
        except urllib.error.HTTPError as exc:
            with exc:
                problem = exc
                if exc.code in {404, 410}:
                    raise NotThereError("not-on-server", missing_message(url)) from exc
                if exc.code == 416:
                    if exc.headers.get("Content-Range") == f"bytes */{part.stat().st_size}":
                        return part
                    part.unlink(missing_ok=True)
                elif exc.code < 500 and exc.code != 429:
                    raise SlipwayError(
                        "download-failed", f"{url} is refused by its server: HTTP {exc.code} {exc.reason}."
                    ) from exc
        except (TruncatedError, http.client.HTTPException, OSError) as exc:
            if isinstance(exc, OSError) and exc.errno in DISK_FULL:
                part.unlink(missing_ok=True)
                raise
            problem = exc
        else:
            return part
    raise SlipwayError("download-failed", gone_message(url, part, problem))


def pause_before(attempt: int, stop: threading.Event) -> None:
    if attempt and stop.wait(FIRST_WAIT * 2 ** (attempt - 1)):
        raise CancelledError


def missing_message(url: str) -> str:
    return (
        f"{url} does not exist (HTTP 404). Is the version right? See cluster_kubernetes_version in "
        f"group_vars/all/cluster.yml and the item's version in artifacts/catalog.yml."
    )


def gone_message(url: str, part: Path, problem: Exception | None) -> str:
    got = part.stat().st_size if part.is_file() else 0
    reason = getattr(problem, "reason", None) or problem
    return (
        f"{url} could not be fetched after {TRIES} tries, {megabytes(got)} received: {reason}. "
        f"What was received is kept; run again when the server answers, or set cluster_artifacts_from: source."
    )


def _receive(url: str, part: Path, stop: threading.Event) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = AGENT | ({"Range": f"bytes={have}-"} if have else {})
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  the catalog's addresses behind http(s)://
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
        continued = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        got = have if continued else 0
        length = answer.headers.get("Content-Length")
        total = got + int(length) if length else None
        with part.open("ab" if continued else "wb") as file:
            while chunk := answer.read(CHUNK):
                if stop.is_set():
                    raise CancelledError
                file.write(chunk)
                got += len(chunk)
    if total is not None and got != total:
        raise TruncatedError(f"the connection was closed after {megabytes(got)} of {megabytes(total)}")


def read_text(url: str, stop: threading.Event) -> str:
    """Fetch a small text."""
    problem: Exception | None = None
    request = urllib.request.Request(url, headers=AGENT)  # noqa: S310
    for attempt in range(TRIES):
        pause_before(attempt, stop)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
                text: str = answer.read(CHUNK).decode(errors="replace")
                return text
        except urllib.error.HTTPError as exc:
            with exc:
                problem = exc
                if exc.code < 500 and exc.code != 429:
                    raise NotThereError("not-on-server", missing_message(url)) from exc
        except (http.client.HTTPException, OSError) as exc:
            problem = exc
    raise SlipwayError("download-failed", gone_message(url, Path(), problem))


def find_sum(text: str, name: str) -> str:
    """The sha256 of file ``name`` in a publisher's checksum file, empty when it names no such file.

    Understood: a bare sum, ``sum  name`` and ``sum *name`` lines (also with a folder before the name), and BSD's form.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) == 1 and SUM.fullmatch(lines[0]):
        return lines[0].lower()
    for line in lines:
        bsd = BSD.match(line)
        if bsd and bsd["name"] == name:
            return bsd["sum"].lower()
        words = line.split()
        if len(words) == 2 and SUM.fullmatch(words[0]) and words[1].lstrip("*").rpartition("/")[2] == name:
            return words[0].lower()
    return ""


def reachable(url: str, timeout: float) -> str:
    """Empty when a server answers for ``url``, else why not. A registry asking for a login has answered."""
    request = urllib.request.Request(url, headers=AGENT, method="HEAD")  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=timeout):  # noqa: S310
            return ""
    except urllib.error.HTTPError as exc:
        with exc:
            return "" if exc.code == 401 else f"HTTP {exc.code}"
    except (http.client.HTTPException, OSError) as exc:
        return str(getattr(exc, "reason", None) or exc)
