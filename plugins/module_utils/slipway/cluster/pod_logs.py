"""The last lines of a container's log, asked of the API server, without what the pod's Secrets hold."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

from . import last_words
from .client import Cluster


def hidden(cluster: Cluster, namespace: str, pod: Mapping[str, Any]) -> list[str]:
    """Give what the Secrets of a pod hold, which nobody may read in its log. Raises SlipwayError."""
    secrets = [cluster.read("v1", "Secret", namespace, secret) for secret in last_words.secrets_of(pod)]
    return [value for secret in secrets if secret for value in last_words.values_of(secret)]


def last_lines(
    cluster: Cluster,
    namespace: str,
    pod: Mapping[str, Any],
    values: Iterable[str],
    *,
    container: str = "",
    previous: bool = False,
) -> list[str]:
    """Give the last lines of a log without ``values``; without a ``container`` of the only one. Raises SlipwayError."""
    cut = {"tailLines": last_words.LINES, "limitBytes": last_words.ASKED}
    of = {"container": container} if container else {}
    query = urllib.parse.urlencode({**of, **cut, **({"previous": "true"} if previous else {})})
    log = cluster.text(f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}/log?{query}")
    return last_words.shown(log, values)


def written(lines: Iterable[str], where: str) -> list[str]:
    """Give the lines of a message that show them; ``where``: the command that shows all."""
    shown = [f"    | {line}" for line in lines]
    return [f"    its last lines ({where}):", *shown] if shown else []
