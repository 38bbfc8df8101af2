"""Ask registries which versions they serve, each by its ordinary client as the user has it configured.

Every question has a limit of time. What cannot be asked raises SlipwayError with the reason.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..errors import SlipwayError
from . import maven
from .download import AGENT
from .plan import REGISTRY_HOSTS

SECONDS = 30.0
PAGES = 20  # of an image's tags, 1000 on each
CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
LOCKED = re.compile(r"^(?P<name>[A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)", re.M)


class SilentRegistryError(SlipwayError):
    """A registry did not answer in time: whoever asks it again waits as long."""


def no_answer(whose: str, seconds: float) -> SilentRegistryError:
    return SilentRegistryError("registry-silent", f"{whose}: no answer within {seconds:.0f} s.")


def go_versions(go: str, environ: Mapping[str, str], module: str, seconds: float = SECONDS) -> list[str]:
    """The versions of a Go module that the Go proxy lists; a module without any is known by commits alone."""
    with TemporaryDirectory() as folder:
        answer = ask([go, "list", "-m", "-versions", "-json", module], seconds, env=environ, cwd=Path(folder))
    return list(_json(answer, "go list").get("Versions") or [])


def pypi_versions(name: str, seconds: float = SECONDS) -> list[str]:
    """The versions of a package of PyPI, for this machine's Python."""
    command = [sys.executable, "-m", "pip", "index", "versions", name, "--disable-pip-version-check", "--no-input"]
    found = re.search(r"^Available versions: (.*)$", ask(command, seconds), re.M)
    if not found:
        raise SlipwayError("registry-silent", f"pip index versions {name} names no versions.")
    return [word.strip() for word in found[1].split(",")]


def locked(text: str) -> dict[str, str]:
    """The versions that a file of requirements pins."""
    return {found["name"]: found["version"] for found in LOCKED.finditer(text)}


def upgraded(uv: str, source: Path, options: Sequence[str], seconds: float = SECONDS) -> dict[str, str]:
    """What uv would lock today out of a file of requirements, if it kept nothing."""
    command = [uv, "pip", "compile", "--quiet", "--upgrade", "--no-header", "--no-annotate", *options, source.name]
    return locked(ask(command, seconds, cwd=source.parent))


def maven_versions(name: str, repository: Path, seconds: float = SECONDS) -> list[str]:
    """The versions of a file of Maven Central; ``repository`` keeps mvn's own plugins."""
    group, artifact, *_classifier = name.split(":")
    if not maven.available():
        raise SlipwayError("program-missing", "mvn is not on this machine (sudo apt-get install maven).")
    repository.mkdir(parents=True, exist_ok=True)
    command = ["mvn", "--batch-mode", "--quiet", "--update-snapshots", f"-Dmaven.repo.local={repository}", maven.PLUGIN]
    # The description of the newest release is a small file, and on the way to it mvn gets the list of all.
    ask([*command, f"-Dartifact={group}:{artifact}:RELEASE:pom", "-Dtransitive=false"], seconds, cwd=repository)
    lists = sorted((repository / group.replace(".", "/") / artifact).glob("maven-metadata-*.xml"))
    versions = [text for file in lists for text in re.findall(r"<version>([^<]+)</version>", file.read_text("utf-8"))]
    if not versions:
        raise SlipwayError("registry-silent", f"mvn left no list of the versions of {name}.")
    return versions


def image_tags(image: str, prefix: str = "https://", seconds: float = SECONDS) -> list[str]:
    """The tags of an image, from its own registry."""
    host, _, repository = image.partition("/")
    base = f"{prefix}{REGISTRY_HOSTS.get(host, host)}"
    url, tags, headers = f"{base}/v2/{repository}/tags/list?n=1000", list[str](), dict[str, str]()
    for _page in range(PAGES):
        try:
            value, links = _get(url, headers, seconds)
        except urllib.error.HTTPError as exc:
            with exc:
                challenge = exc.headers.get("WWW-Authenticate", "")
                if exc.code != 401 or headers or not challenge.lower().startswith("bearer"):
                    raise SlipwayError("registry-silent", f"{url} answers HTTP {exc.code} {exc.reason}.") from exc
            headers = {"Authorization": f"Bearer {_token(challenge, seconds)}"}
            continue
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "reason", None) or exc
            if isinstance(reason, TimeoutError):
                raise no_answer(host, seconds) from exc
            raise SlipwayError("registry-silent", f"{host}: {reason}.") from exc
        tags += value.get("tags") or []
        following = re.match(r'<([^>]+)>;\s*rel="?next', links)
        if not following:
            break
        url = urllib.parse.urljoin(url, following[1])
    return tags


def _token(challenge: str, seconds: float) -> str:
    """What a registry gives to everybody who asks."""
    said = dict(CHALLENGE.findall(challenge))
    asked = urllib.parse.urlencode({key: said[key] for key in ("service", "scope") if key in said})
    try:
        value, _links = _get(f"{said['realm']}?{asked}", {}, seconds)
        return str(value.get("token") or value["access_token"])
    except (OSError, ValueError, KeyError) as exc:
        raise SlipwayError("registry-silent", f"{said.get('realm', challenge)} gives no token: {exc}.") from exc


def _get(url: str, headers: Mapping[str, str], seconds: float) -> tuple[dict[str, Any], str]:
    request = urllib.request.Request(url, headers={**AGENT, **headers})  # noqa: S310  the catalog's addresses
    with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310
        value = json.loads(answer.read())
        return value if isinstance(value, dict) else {}, answer.headers.get("Link", "")


def release_dates(lists: Path) -> list[datetime]:
    """When the suites in a folder of apt's lists were published, from their signed files."""
    texts = [file.read_text("utf-8", errors="replace") for file in sorted(lists.glob("*Release"))]
    found = [re.search(r"^Date: (.+)$", text, re.M) for text in texts]
    return [parsedate_to_datetime(date[1]).astimezone(UTC) for date in found if date]


def ask(
    command: Sequence[str], seconds: float, *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> str:
    """What a program prints. Raises SlipwayError with the line that it complains with."""
    name = Path(command[0]).name if command[0] != sys.executable else "pip"
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    except OSError as exc:
        raise SlipwayError("program-missing", f"{name}: {exc.strerror or exc}.") from exc
    with process:
        try:
            printed, complained = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as exc:
            raise no_answer(name, seconds) from exc
        finally:
            # With what it started: mvn is a script around Java.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        lines = [line.strip() for line in (complained + printed).splitlines() if line.strip()]
        said = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "it says nothing")
        raise SlipwayError("registry-silent", f"{name}: {said[:300]}")
    return printed


def _json(text: str, whose: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as exc:
        raise SlipwayError("registry-silent", f"{whose} printed no JSON: {text[:80]!r}.") from exc
    return value if isinstance(value, dict) else {}
