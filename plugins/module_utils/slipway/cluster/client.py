"""A cluster, asked by whoever runs Ansible: over connections that stay open, several questions at once.

Stands on the client of kubernetes.core, so every kubeconfig works that works there. Objects are plain maps.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from . import access
from .access import BusyError, UnansweredError
from .objects import Object, identity

__all__ = ["BusyError", "Cluster", "Kind", "Object", "UnansweredError", "stripped"]

MANAGER = "slipway"
_AT_ONCE = 6
# Seconds for which nobody asks again which kinds there are, where that was not answered.
_SAME = 1.0
# Names and labels alone: what a Secret holds stays where it is.
_METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
# What the API server writes into an object's metadata.
_SERVERS = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")


T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Kind:
    """Where the objects of a kind are in the API."""

    version: str
    name: str
    plural: str
    namespaced: bool

    def path(self, namespace: str = "", name: str = "") -> str:
        """Give the path of the kind, of one ``namespace`` or of one object where they are named."""
        root = f"/apis/{self.version}" if "/" in self.version else f"/api/{self.version}"
        place = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{root}{place}/{self.plural}" + (f"/{name}" if name else "")


class Cluster:
    """An API server. ``given``: a kubeconfig, or options by the names that kubernetes.core has for them.

    Raises SlipwayError where these cannot be used; nothing is asked yet. ``patience``: of :func:`.access.connect`.
    """

    def __init__(self, given: Path | str | Mapping[str, Any], **patience: Any) -> None:
        self.given = dict(given) if isinstance(given, Mapping) else {"kubeconfig": str(given)}
        self._lock = threading.RLock()
        self._client = access.connect(self.given, **patience)
        self._failed: tuple[float, UnansweredError] | None = None
        self._known: Any = None
        self._kinds: dict[tuple[str, str], Kind] = {}

    @property
    def server(self) -> str:
        """Name the API server: ``https://…``. Raises SlipwayError."""
        return str(self._client.configuration.host)

    def kind(self, version: str, name: str) -> Kind | None:
        """Find a kind; None: this cluster does not know it. Raises UnansweredError."""
        with self._lock:
            if (version, name) not in self._kinds:
                found = self._discovered(version, name)
                if found is None:
                    return None
                self._kinds[version, name] = found
            return self._kinds[version, name]

    def _discovered(self, version: str, name: str) -> Kind | None:
        from kubernetes.dynamic.exceptions import ResourceNotFoundError, ResourceNotUniqueError

        if self._failed and time.monotonic() - self._failed[0] < _SAME:
            # The others that wait for the same answer need not find out one after the other that none comes.
            raise self._failed[1]
        group, _, own = version.rpartition("/")
        try:
            with access.asking(self.server):
                self._known = self._known or access.discover(self._client)
                try:
                    found = self._known.resources.get(
                        prefix="apis" if group else "api", group=group, api_version=own, kind=name
                    )
                except (ResourceNotFoundError, ResourceNotUniqueError):
                    return None
        except UnansweredError as exc:
            # What it knew may be half emptied.
            self._known, self._failed = None, (time.monotonic(), exc)
            raise
        return Kind(version, name, str(found.name), bool(found.namespaced))

    def forget(self) -> None:
        """Ask anew which kinds there are: one that was known is not served. Raises UnansweredError."""
        with self._lock, access.asking(self.server):
            self._kinds.clear()
            if self._known:
                self._known.resources.invalidate_cache()

    def path(self, item: Mapping[str, Any]) -> str:
        """Give the path of an object in the API. Raises BusyError where its kind is not known, or not yet."""
        version, kind, metadata = item["apiVersion"], item["kind"], item["metadata"]
        known = self.kind(version, kind)
        if known is None:
            raise BusyError(
                "unknown-kind", f"{identity(item)}: this cluster does not know the kind {kind} of {version}"
            )
        return known.path(metadata.get("namespace") or "default", metadata["name"])

    def ask(self, path: str, *, method: str = "GET", body: Any = None, accept: str = "") -> tuple[int, dict[str, Any]]:
        """Give the status and the object of an answer. Raises BusyError where no answer comes."""
        status, said = self._answer(path, method, body, accept)
        try:
            return status, _object(status, said)
        except ValueError as exc:
            raise access.silent(self.server, exc) from exc

    def text(self, path: str, accept: str = "*/*") -> str:
        """Read what is no object, as a log. Raises UnansweredError."""
        status, said = self._answer(path, "GET", None, accept)
        if status != 200:
            raise _unanswered("reading", path, status, _object(status, said))
        return said.decode(errors="replace")

    def _answer(self, path: str, method: str, body: Any, accept: str) -> tuple[int, bytes]:
        import urllib3
        from kubernetes.client import ApiException

        kind = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
        headers = {"Accept": accept or "application/json", "Content-Type": kind}
        text = json.dumps(body) if method == "PATCH" else body
        try:
            request = self._client.param_serialize(
                method, path, query_params=[], header_params=headers, body=text, auth_settings=["BearerToken"]
            )
            answer = self._client.call_api(*request)
        except (urllib3.exceptions.HTTPError, ApiException, ValueError) as exc:
            raise access.silent(self.server, exc) from exc
        return answer.status, answer.read()

    def many(self, what: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Do something for each item, several at once, and give the results in their order."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(what, items))

    def items(self, path: str, selector: str = "", *, metadata: bool = False) -> list[Object] | None:
        """List objects; None: this cluster does not know the kind. Raises UnansweredError."""
        query = f"?labelSelector={urllib.parse.quote(selector)}" if selector else ""
        status, found = self.ask(path + query, accept=_METADATA if metadata else "")
        if status == 404:
            return None
        if status != 200:
            raise _unanswered("listing", path, status, found)
        return list(found.get("items") or [])

    def get(self, path: str) -> Object | None:
        """Read one object; None: it is not there. Raises UnansweredError."""
        status, found = self.ask(path)
        if status in (200, 404):
            return found if status == 200 else None
        raise _unanswered("reading", path, status, found)

    def listed(
        self, version: str, kind: str, namespace: str = "", selector: str = "", *, metadata: bool = False
    ) -> list[Object] | None:
        """List the objects of a kind, of one ``namespace`` or of all; None: this cluster does not know the kind."""
        known = self.kind(version, kind)
        found = None if known is None else self.items(known.path(namespace), selector, metadata=metadata)
        return None if found is None else [{**item, "apiVersion": version, "kind": kind} for item in found]

    def read(self, version: str, kind: str, namespace: str, name: str) -> Object | None:
        """Read one object by its kind and name; None: it is not there, or its kind is not."""
        known = self.kind(version, kind)
        return None if known is None else self.get(known.path(namespace, name))


def _unanswered(doing: str, path: str, status: int, found: Object) -> UnansweredError:
    error = BusyError if status == 429 or status >= 500 else UnansweredError
    said = str(found.get("message") or f"HTTP status {status}")
    return error("api-refuses", f"{doing} {path} is answered with {status}: {found.get('message', '')}", status, said)


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
