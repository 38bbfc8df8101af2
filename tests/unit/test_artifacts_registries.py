"""What registries are asked, and what is said when they do not answer. Programs are stand-ins; tags come over HTTP."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from slipway.artifacts import registries

from tests.support.errors import refused


def program(folder: Path, name: str, text: str) -> str:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


def test_the_versions_of_a_go_module(tmp_path: Path) -> None:
    says = json.dumps({"Path": "x.org/y", "Versions": ["v1.0.0", "v1.1.0"]})
    go = program(tmp_path, "go", f"test \"$*\" = 'list -m -versions -json x.org/y' && test \"$A\" = b && echo '{says}'")
    assert registries.go_versions(go, {"A": "b"}, "x.org/y") == ["v1.0.0", "v1.1.0"]
    assert registries.go_versions(program(tmp_path, "go", "echo '{}'"), {}, "x.org/y") == []


def test_what_a_program_complains_of_is_said(tmp_path: Path) -> None:
    go = program(tmp_path, "go", "echo looking >&2; echo 'error: 403 Forbidden' >&2; echo bye >&2; exit 1")
    with refused("registry-silent: go: error: 403 Forbidden"):
        registries.go_versions(go, {}, "x.org/y")
    with refused("registry-silent: printed no JSON … hello"):
        registries.go_versions(program(tmp_path, "go", "echo hello"), {}, "x.org/y")
    with refused("program-missing: none"):
        registries.ask([str(tmp_path / "none")], 1)


def test_who_does_not_answer_in_time_is_ended_with_all_it_started(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    slow = program(tmp_path, "mvn", f"(sleep 2; touch {alive}) & sleep 30")
    with refused("registry-silent: mvn: no answer within", registries.SilentRegistryError):
        registries.ask([slow], 0.3)
    threading.Event().wait(2.2)
    assert not alive.exists()


def test_the_versions_of_a_package_of_pypi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says = "echo 'proxy (1.40.0)'; echo 'Available versions: 1.40.0, 1.39.3'; echo '  INSTALLED: 1.0'"
    asked = 'test "$1 $2 $3 $4 $5" = "-m pip index versions proxy" || exit 9'
    monkeypatch.setattr(sys, "executable", program(tmp_path, "python", f"{asked}\n{says}"))
    assert registries.pypi_versions("proxy") == ["1.40.0", "1.39.3"]
    monkeypatch.setattr(sys, "executable", program(tmp_path, "python", "echo 'proxy (1.40.0)'"))
    with refused("registry-silent: proxy names no versions"):
        registries.pypi_versions("proxy")


LOCK = """\
# words
attrs==25.4.0 \\
    --hash=sha256:aa
    # via x==1
coverage[toml]==7.17.3 \\
colorama==0.4.6 ; sys_platform == 'win32'
plain
"""


def test_what_a_lock_pins() -> None:
    assert registries.locked(LOCK) == {"attrs": "25.4.0", "coverage": "7.17.3", "colorama": "0.4.6"}


def test_what_would_be_locked_today(tmp_path: Path) -> None:
    asked = tmp_path / "all.in"
    asked.write_text("attrs\n")
    uv = program(tmp_path, "uv", 'case "$*" in *--upgrade*--universal*all.in) cat all.in; echo attrs==26.0;; esac')
    assert registries.upgraded(uv, asked, ["--universal"]) == {"attrs": "26.0"}


def test_the_versions_of_a_file_of_maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = "<v><version>3.6.1</version><version>3.10.0</version></v>"
    folder = "$repository/io/zipkin/server"
    program(
        tmp_path,
        "mvn",
        'for one; do case "$one" in -Dmaven.repo.local=*) repository="${one#*=}";; esac; done\n'
        f'case "$*" in *io.zipkin:server:RELEASE:pom*) mkdir -p "{folder}";'
        f" echo '{metadata}' > \"{folder}/maven-metadata-central.xml\";; esac",
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert registries.maven_versions("io.zipkin:server:exec", tmp_path / "repository") == ["3.6.1", "3.10.0"]
    with refused("registry-silent: org.other:one"):
        registries.maven_versions("org.other:one", tmp_path / "repository")
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with refused("program-missing: mvn"):
        registries.maven_versions("io.zipkin:server", tmp_path / "repository")


def test_when_a_suite_was_published(tmp_path: Path) -> None:
    (tmp_path / "a_InRelease").write_text("Origin: Debian\nDate: Sat, 28 Nov 2026 20:11:01 UTC\nSuite: x\n")
    (tmp_path / "b_Release").write_text("Date: Sun, 01 Nov 2026 09:00:00 +0200\n")
    (tmp_path / "c_InRelease").write_text("Suite: x\n")
    (tmp_path / "c_Packages").write_text("Date: Sun, 01 Jan 2029 09:00:00 UTC\n")
    assert [when.date() for when in registries.release_dates(tmp_path)] == [date(2026, 11, 28), date(2026, 11, 1)]


class Hub:
    """A registry of images that wants a token, and gives two tags on each page."""

    def __init__(self) -> None:
        self.tags = ["1.0", "1.1", "2.0"]
        self.token = "open"
        self.code = 0

    def answer(self, path: str, authorization: str, address: str) -> tuple[int, dict[str, str], object]:
        where, _, query = path.partition("?")
        if where == "/token":
            assert query == "service=hub&scope=repository%3Ax%2Fy%3Apull"
            return 200, {}, {"access_token": "open"}
        if self.code:
            return self.code, {}, {}
        if authorization != f"Bearer {self.token}":
            challenge = f'Bearer realm="http://{address}/token",service="hub",scope="repository:x/y:pull"'
            return 401, {"WWW-Authenticate": challenge}, {}
        start = int(query.partition("from=")[2] or 0)
        following = {"Link": f'</v2/x/y/tags/list?from={start + 2}>; rel="next"'} if start + 2 < len(self.tags) else {}
        return 200, following, {"tags": self.tags[start : start + 2]}


@pytest.fixture
def hub() -> Iterator[tuple[Hub, str]]:
    served = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = self.headers["Host"]
            code, headers, value = served.answer(self.path, self.headers.get("Authorization", ""), address)
            body = json.dumps(value).encode()
            self.send_response(code)
            for name, text in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name in the base class
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield served, f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_the_tags_of_an_image_on_all_pages(hub: tuple[Hub, str]) -> None:
    served, address = hub
    assert registries.image_tags(f"{address}/x/y", "http://", 5) == ["1.0", "1.1", "2.0"]
    served.tags = []
    assert registries.image_tags(f"{address}/x/y", "http://", 5) == []


def test_a_registry_that_refuses_is_named(hub: tuple[Hub, str]) -> None:
    served, address = hub
    served.token = "another"
    with refused("registry-silent: HTTP 401"):
        registries.image_tags(f"{address}/x/y", "http://", 5)
    served.code = 404
    with refused("registry-silent: HTTP 404"):
        registries.image_tags(f"{address}/x/y", "http://", 5)
    with refused("registry-silent: 127.0.0.1:9"):
        registries.image_tags("127.0.0.1:9/x/y", "http://", 5)
