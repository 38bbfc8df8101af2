"""Pure parts of the module node_service: managed blocks, unit states, staleness.

Runs on the nodes (stdlib only).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime

BEGIN = "# BEGIN slipway"
END = "# END slipway"
SHOWN = ("LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload", "ActiveEnterTimestamp")


# The password of a URL, as in http://user:password@proxy.example.org:3128.
PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")


def with_block(text: str, block: str, substitute: Mapping[str, str] | None = None) -> str:
    """Put ``block`` between our markers into ``text`` and leave every other line as it is.

    The markers stay where they are; without them the block goes to the end. An empty block takes them out.
    ``substitute`` are regular expressions and what takes the place of their matches in the other lines.
    """
    lines = text.splitlines()
    wanted = [BEGIN, *block.strip("\n").splitlines(), END] if block.strip() else []
    place = len(lines)
    if BEGIN in lines and END in lines[lines.index(BEGIN) :]:
        place = lines.index(BEGIN)
        del lines[place : lines.index(END, place) + 1]
    for pattern, replacement in (substitute or {}).items():
        lines = [re.sub(pattern, replacement, line) for line in lines]
    lines[place:place] = wanted
    return "\n".join(lines) + "\n" if lines else ""


def difference(path: str, before: str, after: str, secret: bool) -> dict[str, str]:
    """Say for ``--diff`` what changes in a file: of a secret only that it does, and of a URL all but its password."""
    if secret:
        after = ("(secret, another one)\n" if before else "(secret)\n") if after else ""
        before = "(secret)\n" if before else ""
    return {
        "before_header": path,
        "after_header": path,
        "before": PASSWORD.sub(r"\1********@", before),
        "after": PASSWORD.sub(r"\1********@", after),
    }


def parse_show(text: str) -> dict[str, str]:
    """Read the ``Key=value`` lines of ``systemctl show``."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def entered(timestamp: str) -> float:
    """Turn ``Sat 2026-11-21 04:00:00.123456 UTC`` into seconds since the epoch, 0.0 when unset."""
    parts = timestamp.split()
    if len(parts) != 4:
        return 0.0
    return datetime.fromisoformat(f"{parts[1]}T{parts[2]}+00:00").timestamp()


def steps(
    wanted: Mapping[str, object], shown: Mapping[str, str], changed_at: Iterable[float], written: bool
) -> list[str]:
    """List the systemctl verbs that bring a unit from what ``systemctl show`` says to what is wanted.

    ``wanted`` has ``enabled`` (bool, or None: leave alone) and ``state`` (started, restarted, stopped or None).
    ``changed_at`` are the modification times (seconds) of the files the unit reads: when one is newer than the moment
    the unit became active, it is restarted. That moment survives a killed run, which a pending handler does not.
    ``written`` says that this very call changed one of them.
    """
    verbs = []
    enabled, state = wanted.get("enabled"), wanted.get("state")
    now_enabled = shown.get("UnitFileState") in ("enabled", "enabled-runtime", "static", "alias", "generated")
    if enabled is not None and enabled != now_enabled:
        verbs.append("enable" if enabled else "disable")
    active = shown.get("ActiveState") in ("active", "activating", "reloading")
    if state == "stopped" and active:
        verbs.append("stop")
    if state == "restarted":
        verbs.append("restart")
    if state == "started":
        if not active:
            verbs.append("start")
        elif written or any(moment > entered(shown.get("ActiveEnterTimestamp", "")) for moment in changed_at):
            verbs.append("restart")
    return verbs
