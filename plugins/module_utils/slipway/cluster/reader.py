"""What pages and proofs ask a cluster, by path: an answer, or an error that says why there is none."""

from __future__ import annotations

import json
import ssl
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import SlipwayError
from .access import UnansweredError, is_missing
from .client import Cluster, Object

# Seconds to connect, and to wait for each part of an answer: somebody waits for the page.
TIMEOUT = (5.0, 20.0)


class Reader:
    """An API server that is read. ``given`` is what :class:`.client.Cluster` takes."""

    def __init__(self, given: Path | str | Mapping[str, Any]) -> None:
        options = given if isinstance(given, Mapping) else {"kubeconfig": str(given)}
        if is_missing(options):
            raise SlipwayError(
                "kubeconfig-missing",
                f"there is no cluster here: {options['kubeconfig']} does not exist; `make up` makes one",
            )
        self.cluster = Cluster(options, timeout=TIMEOUT, tries=1)

    @property
    def server(self) -> str:
        """Name the API server: ``https://…``. Raises SlipwayError."""
        return self.cluster.server

    def text(self, path: str) -> str:
        """Give the text of an answer. Raises UnansweredError."""
        with _plainly():
            return self.cluster.text(path)

    def get(self, path: str) -> Any:
        """Give the JSON of an answer. Raises UnansweredError."""
        with _plainly():
            return json.loads(self.cluster.text(path, accept="application/json"))

    def items(self, path: str) -> list[Object]:
        """Give the objects of a list, none where the API has no such kind. Raises UnansweredError."""
        with _plainly():
            return self.cluster.items(path) or []

    def listed(self, version: str, kind: str, namespace: str = "") -> list[Object]:
        """Give the objects of a kind, of one ``namespace`` or of all. Raises UnansweredError."""
        with _plainly():
            return self.cluster.listed(version, kind, namespace) or []

    def read(self, version: str, kind: str, namespace: str, name: str) -> Object | None:
        """Give one object; None: it is not there, or its kind is not. Raises UnansweredError."""
        with _plainly():
            return self.cluster.read(version, kind, namespace, name)

    def certificate(self) -> str:
        """Give the API server's own certificate as PEM. Raises UnansweredError."""
        where = urllib.parse.urlsplit(self.server)
        try:
            return ssl.get_server_certificate((str(where.hostname), where.port or 443), timeout=TIMEOUT[0])
        except OSError as exc:
            raise UnansweredError("api-silent", f"{self.server} shows no certificate ({exc})") from exc


@contextmanager
def _plainly() -> Iterator[None]:
    """Leave the path out of an error: who reads it knows what was asked."""
    try:
        yield
    except UnansweredError as exc:
        raise UnansweredError(exc.id, exc.said, exc.status) from exc
