"""Talk to an API server with what a kubeconfig file says, where no Kubernetes library is.

Runs on the nodes too (stdlib only), and as part of a program of its own on controllers (see ``serving.py``).
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit


class ApiError(Exception):
    """The API server was not reached, or did not give what was asked for; the text says why."""


def entry(kubeconfig: str, name: str) -> str:
    """Give the first value of ``name`` in the text of a kubeconfig with one cluster and one user; ``""`` if none."""
    found = re.search(rf"^[\s-]*{re.escape(name)}:[ \t]*[\"']?([^\s\"']+)", kubeconfig, re.MULTILINE)
    return found.group(1) if found else ""


def _pem(kubeconfig: str, name: str) -> str:
    """Give a PEM text that stands in the file as ``<name>-data``, or in the file that ``<name>`` names."""
    data = entry(kubeconfig, f"{name}-data")
    if data:
        return base64.b64decode(data).decode("ascii")
    path = entry(kubeconfig, name)
    if not path:
        return ""
    with open(path, encoding="ascii") as file:
        return file.read()


def tls(kubeconfig: str) -> ssl.SSLContext:
    """Trust the cluster's CA alone, and show the user's certificate. Raises OSError, ValueError (which ssl's is)."""
    context = ssl.create_default_context(cadata=_pem(kubeconfig, "certificate-authority"))
    # Python 3.13 wants extensions that not every Kubernetes CA has.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    certificate, key = _pem(kubeconfig, "client-certificate"), _pem(kubeconfig, "client-key")
    if certificate:
        # ssl reads from files alone; this one is for its owner alone, and gone at once.
        with tempfile.NamedTemporaryFile("w", encoding="ascii") as file:
            file.write(certificate + (key if key not in certificate else ""))
            file.flush()
            context.load_cert_chain(file.name)
    return context


class Api:
    """An API server.

    ``kubeconfig`` is the text of such a file; ``server`` (``host:port``) stands in for the one it names. ``timeout`` is
    in seconds, for each step of a connection. Raises ApiError where what the text names cannot be used.
    """

    def __init__(self, kubeconfig: str, server: str = "", timeout: float = 5.0) -> None:
        where = urlsplit(f"https://{server}" if server else entry(kubeconfig, "server"))
        if not where.hostname:
            raise ApiError("the kubeconfig names no server")
        self.host, self.port, self.timeout = where.hostname, where.port or 443, timeout
        try:
            self.context = tls(kubeconfig)
        except (OSError, ValueError) as exc:
            raise ApiError(f"the kubeconfig's certificates cannot be used: {exc}") from exc

    @contextmanager
    def _asked(self, method: str, path: str, body: Any, timeout: float) -> Iterator[http.client.HTTPResponse]:
        """Send a request and give its answer to be read. Raises ApiError for all that goes wrong meanwhile."""
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=self.context)
        # Not all that the API server gives is application/json: its keys of service accounts are a type of their own.
        headers = {"Accept": "application/json, */*;q=0.1", "Content-Type": "application/json"}
        with closing(connection):
            try:
                connection.request(method, path, json.dumps(body) if body is not None else None, headers)
                with connection.getresponse() as answer:
                    yield answer
            except (OSError, ValueError, KeyError, http.client.HTTPException) as exc:
                raise ApiError(f"https://{self.host}:{self.port}{path.partition('?')[0]}: {exc}") from exc

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """Give the status and the object of an answer, whatever the status is."""
        with self._asked(method, path, body, self.timeout) as answer:
            found = json.loads(answer.read() or b"{}")
            return answer.status, found if isinstance(found, dict) else {}

    def watch(self, path: str, seconds: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Give the events of a list, first those of the objects that are there, as (type, object), for ``seconds``."""
        joint = "&" if "?" in path else "?"
        # Where the other end is gone without a word, this one ends a little after the time that the server was given.
        with self._asked("GET", f"{path}{joint}watch=1&timeoutSeconds={seconds}", None, seconds + 30.0) as answer:
            if answer.status != 200:
                raise ApiError(f"watching {path} is answered with {answer.status}")
            for line in answer:
                event = json.loads(line)
                yield event["type"], event["object"]


def find_node(kubeconfig: str, name: str) -> dict[str, Any] | None:
    """Ask, as the kubelet whose kubeconfig it is, for its node: ``{}`` is none there, None is no telling."""
    try:
        status, node = Api(kubeconfig, timeout=2.0).request("GET", f"/api/v1/nodes/{name}")
    except ApiError:
        return None
    return {200: node, 404: {}}.get(status)
