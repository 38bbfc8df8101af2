"""A cluster, asked by whoever runs Ansible: over connections that stay open, several questions at once."""

from __future__ import annotations

import http.client
import json
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ..errors import SlipwayError
from ..node.kubeapi import Api, ApiError

Object = dict[str, Any]

MANAGER = "slipway"
_TIMEOUT = 30.0
_AT_ONCE = 6
# Names and labels alone: what a Secret holds stays where it is.
_METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
# What the API server writes into an object's metadata.
_SERVERS = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")


class BusyError(SlipwayError):
    """No answer, or one that says: not now."""


T = TypeVar("T")
R = TypeVar("R")


class Cluster(Api):
    """An API server, asked over connections that stay open."""

    def __init__(self, kubeconfig: Path) -> None:
        try:
            super().__init__(kubeconfig.read_text(encoding="utf-8"), timeout=_TIMEOUT)
        except OSError as exc:
            raise SlipwayError(f"{kubeconfig}: {exc.strerror}: `make up` makes the cluster and this file") from exc
        except ApiError as exc:
            raise SlipwayError(f"{kubeconfig}: {exc}") from exc
        self.mine = threading.local()

    def ask(self, path: str, *, method: str = "GET", body: Any = None, accept: str = "") -> tuple[int, dict[str, Any]]:
        """Give the status and the object of an answer. Raises BusyError where no answer comes."""
        return self._answer(path, method, body, accept, _object)

    def text(self, path: str) -> str:
        """Read what is no object, as a log. Raises SlipwayError."""
        status, said = self._answer(path, "GET", None, "*/*", lambda _, text: text.decode(errors="replace"))
        if status != 200:
            raise SlipwayError(f"reading {path} is answered with {status}: {said[:200]}")
        return said

    def _answer(self, path: str, method: str, body: Any, accept: str, read: Callable[[int, bytes], T]) -> tuple[int, T]:
        kind = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
        headers = {"Accept": accept or "application/json", "Content-Type": kind}
        text = json.dumps(body) if body is not None else None
        for again in (True, False):
            connection = getattr(self.mine, "connection", None)
            if connection is None:
                connection = http.client.HTTPSConnection(
                    self.host, self.port, timeout=self.timeout, context=self.context
                )
                self.mine.connection = connection
            try:
                connection.request(method, path, text, headers)
                with connection.getresponse() as answer:
                    return answer.status, read(answer.status, answer.read())
            except (OSError, ValueError, http.client.HTTPException) as exc:
                connection.close()
                self.mine.connection = None
                # The server may have closed a connection that lay idle; all that is asked can be asked twice.
                if not again:
                    where = f"https://{self.host}:{self.port}"
                    raise BusyError(f"the cluster does not answer at {where}: {exc}; see `make status`") from exc
        raise AssertionError

    def many(self, what: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Do something for each item, several at once, and give the results in their order."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(what, items))

    def items(self, path: str, selector: str = "", *, metadata: bool = False) -> list[Object] | None:
        """List objects; None: this cluster does not know the kind."""
        query = f"?labelSelector={urllib.parse.quote(selector)}" if selector else ""
        status, found = self.ask(path + query, accept=_METADATA if metadata else "")
        if status == 404:
            return None
        if status != 200:
            raise SlipwayError(f"listing {path} is answered with {status}: {found.get('message', '')}")
        return list(found.get("items") or [])

    def get(self, path: str) -> Object | None:
        """Read one object; None: it is not there."""
        status, found = self.ask(path)
        if status in (200, 404):
            return found if status == 200 else None
        error = BusyError if status == 429 or status >= 500 else SlipwayError
        raise error(f"reading {path} is answered with {status}: {found.get('message', '')}")


def _object(status: int, text: bytes) -> Object:
    """Read an answer. What the API server does not know it refuses in a line of plain text."""
    try:
        found = json.loads(text or b"{}")
    except ValueError:
        if status < 400:
            raise
        return {"message": text.decode(errors="replace").strip()}
    return found if isinstance(found, dict) else {}


def stripped(item: Mapping[str, Any]) -> Object:
    """Give an object without what the API server keeps for itself."""
    metadata = {key: value for key, value in item["metadata"].items() if key not in _SERVERS}
    return {key: value for key, value in {**item, "metadata": metadata}.items() if key != "status"}
