"""The mail sink as it runs in a pod: this Python, its archive of packages and nothing else that is installed here."""

from __future__ import annotations

import base64
import json
import os
import smtplib
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from slipway.prove import packing

from tests.support.errors import refused

TO = ["team@example.org"]
PAGER = {"routing_key": "k", "event_action": "trigger"}


@dataclass
class Sink:
    """A sink that runs: where mail goes in, where it is read, and the file of its password."""

    mail: int
    read: int
    password: Path

    def held(self) -> dict[str, Any]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        found: dict[str, Any] = json.load(opener.open(f"http://127.0.0.1:{self.read}/", timeout=60))
        return found

    def send(self, password: str, text: str = "Subject: FIRING\r\n\r\nAlert") -> None:
        with smtplib.SMTP("127.0.0.1", self.mail, local_hostname="alertmanager", timeout=60) as client:
            client.ehlo()
            assert "PLAIN" not in client.esmtp_features["auth"]
            client.user, client.password = "alerts@example.org", password
            client.auth("LOGIN", client.auth_login)
            client.sendmail("alerts@example.org", TO, text)


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    (tmp_path / "packages.zip").write_bytes(base64.b64decode(packing.packages("sink")))
    (tmp_path / "sink.py").write_text(packing.program("sink"))
    password = tmp_path / "password"
    environment = {
        "PYTHONPATH": str(tmp_path / "packages.zip"),
        "PASSWORD_FILE": str(password),
        "MAIL_PORT": "0",
        "READ_PORT": "0",
        "PATH": os.environ["PATH"],
    }
    # -S: without what is installed here.
    command = [sys.executable, "-S", str(tmp_path / "sink.py")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert line, f"the sink ended with {process.wait(timeout=10)}"
            ports = json.loads(line)
            yield Sink(ports["mail"], ports["read"], password)
        finally:
            process.kill()


def test_mail_comes_in_with_the_right_password_alone(sink: Sink) -> None:
    sink.password.write_text("right\n")
    sink.send("right")
    with pytest.raises(smtplib.SMTPAuthenticationError):
        sink.send("wrong")
    held = sink.held()
    (mail,) = held["mails"]
    assert (mail["from"], mail["to"], mail["user"]) == ("alerts@example.org", TO, "alerts@example.org")
    assert "FIRING" in mail["text"]
    assert held["refused"] == ["alerts@example.org"]
    assert "right" not in json.dumps(held)
    # A Secret that changes is seen without a restart.
    sink.password.write_text("wrong")
    sink.send("wrong")
    assert len(sink.held()["mails"]) == 2


def test_without_a_password_any_is_right(sink: Sink) -> None:
    sink.send("whatever")
    assert len(sink.held()["mails"]) == 1


def test_the_same_packages_are_the_same_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packing.packages("sink") == packing.packages("sink")
    monkeypatch.setitem(packing.PACKAGES, "sink", ("aiosmtpd", "not_installed_here"))
    with refused("package-missing: not_installed_here … `make setup-dev`"):
        packing.packages("sink")


def post(sink: Sink, path: str, body: str) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{sink.read}{path}", body.encode(), method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        return int(opener.open(request, timeout=60).status)
    except urllib.error.HTTPError as exc:
        return int(exc.code)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/slack", {"attachments": [{"title": "FIRING"}]}, 200),
        ("/discord", {"embeds": [{"title": "FIRING"}]}, 204),
        ("/teams/x", {"type": "message", "attachments": [{"contentType": "card", "content": {"body": [{}]}}]}, 202),
        ("/pagerduty", {**PAGER, "payload": {"summary": "s", "source": "a", "severity": "error"}}, 202),
        ("/webhook/night", {"version": "4", "receiver": "r", "alerts": [{}]}, 200),
        ("/slack", {"embeds": []}, 400),
        ("/teams", {"type": "message", "attachments": [{}]}, 400),
        ("/pagerduty", {"service_key": "k"}, 400),
        ("/pagerduty", PAGER, 400),
        ("/webhook", {"version": "4", "receiver": "r", "alerts": []}, 400),
        ("/webhook", ["alerts"], 400),
        ("/fax", {"a": 1}, 404),
    ],
)
def test_others_than_mail_are_taken_as_their_services_take_them(sink: Sink, path: str, body: Any, status: int) -> None:
    assert post(sink, path, json.dumps(body)) == status
    kept = [(each["path"], json.loads(each["text"])) for each in sink.held()["hooks"]]
    assert kept == ([(path, body)] if status < 300 else [])


def test_what_is_no_json_is_refused(sink: Sink) -> None:
    assert post(sink, "/webhook", "alerts") == 400
