"""A mail server that keeps what it gets, so that a proof can read the mail of an alert; it hands nothing on to anybody.

At port 8025 it also is what Alertmanager tells of alerts: ``POST /slack``, ``/discord``, ``/teams``, ``/pagerduty`` and
``/webhook`` take what these services take, answer as they do, and refuse anything else with 400. More may follow in the
path, as ``/webhook/night``.

Runs alone in a pod: this file, a Python, and aiosmtpd. Mail comes in at port 2525 (AUTH LOGIN, without TLS), and
``GET /`` at port 8025 gives ``{"mails": [{"from", "to", "user", "text"}], "hooks": [{"kind", "path", "text"}],
"refused": [user, …]}``. Without a password in the file that the environment variable ``PASSWORD_FILE`` names, any is
right. The newest are kept, in memory. Once both ports listen, a line on standard output names them; ``MAIL_PORT`` and
``READ_PORT`` ask for others, 0 for any.
"""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import socketserver
import threading
from collections import deque
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

MAIL_PORT, READ_PORT = 2525, 8025
EVERYWHERE = "0.0.0.0"  # noqa: S104  a pod's own network
MOST_MAILS, MOST_BYTES = 500, 2**20

MAILS: deque[dict[str, Any]] = deque(maxlen=MOST_MAILS)
HOOKS: deque[dict[str, str]] = deque(maxlen=MOST_MAILS)
# What each service needs of a message, and how it answers: paths of keys that all have to lead to something, or one of
# several; status, text. A list is looked into at its first entry.
SPOKEN: dict[str, tuple[tuple[tuple[str, ...], ...], int, str]] = {
    "slack": ((("attachments", "text", "blocks"),), 200, "ok"),
    "discord": ((("embeds", "content"),), 204, ""),
    "teams": ((("attachments.contentType",), ("attachments.content.body",)), 202, "1"),
    "pagerduty": (
        (("routing_key",), ("event_action",), ("payload.summary",), ("payload.source",), ("payload.severity",)),
        202,
        '{"status": "success", "message": "Event processed", "dedup_key": "a"}',
    ),
    "webhook": ((("alerts",), ("version",), ("receiver",)), 200, ""),
}
REFUSED: deque[str] = deque(maxlen=MOST_MAILS)


def password() -> str:
    """Give the password that is asked for; it is read anew each time, as a Secret changes in its file."""
    path = os.environ.get("PASSWORD_FILE", "")
    return Path(path).read_text(encoding="utf-8").strip() if path and Path(path).is_file() else ""


class Box:
    """Takes every mail."""

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  aiosmtpd's
        """Keep a mail."""
        held = envelope.content or b""
        text = held if isinstance(held, str) else held.decode(errors="replace")
        MAILS.append({"from": envelope.mail_from, "to": envelope.rcpt_tos, "user": session.auth_data, "text": text})
        return "250 kept"


def known(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> AuthResult:
    """Tell whether user and password are right."""
    if not isinstance(data, LoginPassword):
        return AuthResult(success=False, handled=False)
    user, wanted = data.login.decode(errors="replace"), password()
    if not wanted or data.password.decode(errors="replace") == wanted:
        return AuthResult(success=True, auth_data=user)
    REFUSED.append(user)
    return AuthResult(success=False, handled=False)


def connection() -> SMTP:
    """Make what serves one connection; it speaks as the mail client of Alertmanager expects it."""
    # The words that Go's client waits for; and PLAIN is what it refuses without TLS.
    SMTP.AuthLoginUsernameChallenge, SMTP.AuthLoginPasswordChallenge = "Username:", "Password:"
    return SMTP(
        Box(),
        hostname="mail-sink",
        authenticator=known,
        auth_required=bool(password()),
        auth_require_tls=False,
        auth_exclude_mechanism=["PLAIN"],
        data_size_limit=MOST_BYTES,
    )


def missing(text: str, needed: tuple[tuple[str, ...], ...]) -> list[str]:
    """Name what a message lacks of what is needed."""
    try:
        message = json.loads(text)
    except ValueError:
        return ["JSON"]
    return [" or ".join(choice) for choice in needed if not any(_at(message, path) for path in choice)]


def _at(message: Any, path: str) -> Any:
    for key in path.split("."):
        first = message[0] if isinstance(message, list) and message else message
        message = first.get(key) if isinstance(first, dict) else None
    return message


class Reader(http.server.BaseHTTPRequestHandler):
    """Gives what has come."""

    def do_GET(self) -> None:
        """Answer with everything, whatever the path is."""
        data = json.dumps({"mails": list(MAILS), "hooks": list(HOOKS), "refused": list(REFUSED)}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        """Take a message as the service that the path names does."""
        kind = self.path.strip("/").partition("/")[0]
        size = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(min(size, MOST_BYTES)).decode(errors="replace")
        needed, status, answer = SPOKEN.get(kind, ((), 404, "no such service"))
        if needed:
            if lacks := missing(text, needed):
                status, answer = 400, f"{kind} needs {', '.join(lacks)}"
            else:
                HOOKS.append({"kind": kind, "path": self.path, "text": text})
        data = answer.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if answer.startswith("{") else "text/plain")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Say nothing: the kubelet asks every second."""


class Web(socketserver.ThreadingTCPServer):
    """A web server that does not ask DNS for its own name before it listens, as the standard one does."""

    allow_reuse_address = True
    daemon_threads = True


async def serve(mail_port: int = MAIL_PORT, read_port: int = READ_PORT) -> None:
    """Serve both ports until the process is stopped."""
    # Not by aiosmtpd's controller: it gives up when a busy machine does not answer it within a second.
    mail = await asyncio.get_running_loop().create_server(connection, EVERYWHERE, mail_port)
    web = Web((EVERYWHERE, read_port), Reader)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    print(json.dumps({"mail": mail.sockets[0].getsockname()[1], "read": web.server_address[1]}), flush=True)
    await mail.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(os.environ.get("MAIL_PORT", MAIL_PORT)), int(os.environ.get("READ_PORT", READ_PORT))))
