"""The kubeconfig of a cluster with several controllers: a context for each, and which of them answers now."""

from __future__ import annotations

import http.client
import re
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import yaml

from ..node.reach import NoAnswerError, touch

# Seconds until a server that says nothing counts as away: on the node network an answer takes a thousandth.
SECONDS = 1.0
# Seconds in which the controllers that are left go on without a lost one, as etcd elects another leader; and between
# two looks at them.
ELECTION = 15.0
# Seconds after which one that forbids everybody to ask is taken for one that is set up so.
DOUBT = 3.0
FORBIDDEN = 403
PAUSE = 0.5


def with_contexts(admin: str, server: str, controllers: Mapping[str, str]) -> str:
    """Give an administrator's kubeconfig for this computer.

    ``admin`` is kubeadm's own, with one cluster and one user. ``server`` (``host:port``) is that of its context.
    ``controllers``: name to ``host:port``; each gets a context of its name, where there are several.
    """
    text = re.sub(r"(?m)^(\s+server: ).*$", rf"\g<1>https://{server}", str(admin))
    if len(controllers) < 2:
        return text
    found = yaml.safe_load(text)
    cluster, user = found["clusters"][0]["cluster"], found["users"][0]["name"]
    # Ansible's texts are of a kind of its own, which cannot be written.
    for name, place in ((str(name), str(place)) for name, place in controllers.items()):
        found["clusters"].append({"name": name, "cluster": {**cluster, "server": f"https://{place}"}})
        found["contexts"].append({"name": name, "context": {"cluster": name, "user": user}})
    return str(yaml.safe_dump(found, sort_keys=False, width=10**6))


def answering(content: Mapping[str, Any]) -> str:
    """Name the context to use: the current one, or another one whose server answers where that of the current does not.

    Empty for the current one, also where no server answers. Just after a controller was lost, that takes up to
    ``ELECTION`` seconds; it is waited for where enough of them are left to decide.
    """
    servers = dict(_servers(content))
    current = content.get("current-context", "")
    if len(set(servers.values())) < 2 or current not in servers:
        return ""
    others = {name: server for name, server in servers.items() if server != servers[current]}
    began = time.monotonic()
    while not _is_ready(status := _readiness(servers[current])):
        with ThreadPoolExecutor(len(others)) as pool:
            asked = {pool.submit(_readiness, server): name for name, server in others.items()}
            found = next((asked[done] for done in as_completed(asked) if _is_ready(done.result())), "")
        waited = time.monotonic() - began
        if found or waited > (DOUBT if status == FORBIDDEN else ELECTION) or not decides(*lost(content)):
            return found
        time.sleep(PAUSE)
    return ""


def decides(silent: Sequence[str], number: int) -> bool:
    """Tell whether etcd can decide without the silent ones of so many controllers."""
    return number - len(silent) >= number // 2 + 1


def lost(content: Mapping[str, Any]) -> tuple[list[str], int]:
    """Name the controllers whose machines say nothing, and count all; a connection that is refused says something."""
    current = content.get("current-context", "")
    servers = {name: server for name, server in _servers(content) if name != current}
    if not servers:
        return [], 0
    with ThreadPoolExecutor(len(servers)) as pool:
        asked = {name: pool.submit(_speaks, server) for name, server in servers.items()}
    return [name for name, done in asked.items() if not done.result()], len(servers)


def _servers(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    clusters = {one["name"]: one["cluster"].get("server", "") for one in content.get("clusters") or []}
    for one in content.get("contexts") or []:
        yield one["name"], clusters.get(one["context"].get("cluster"), "")


def _is_ready(status: int) -> bool:
    # It may say who is to ask (401): then it answers.
    return 0 < status < 500 and status != FORBIDDEN


def _readiness(server: str) -> int:
    """Ask an API server whether it is ready: the status of its answer, 0 for none; nothing secret is sent.

    One that starts takes connections before it answers, and answers ``FORBIDDEN`` before it knows who may do what.
    """
    where = urlsplit(server)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        connection = http.client.HTTPSConnection(str(where.hostname), where.port, timeout=SECONDS, context=context)
        with closing(connection):
            connection.request("GET", "/readyz")
            return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0


def _speaks(server: str) -> bool:
    """Whether a machine says anything at all, and be it that nobody listens."""
    where = urlsplit(server)
    try:
        touch(str(where.hostname), where.port or 443, SECONDS)
    except NoAnswerError:
        return False
    return True
