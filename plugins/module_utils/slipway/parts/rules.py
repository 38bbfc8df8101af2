"""Rules of Prometheus, held against Prometheus' own promtool before a cluster sees them."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import SlipwayError

_PLACE = re.compile(r"^\S+?:\s*(\d+:\d+:\s*)?")


def explained(output: str, folder: str, name: str) -> list[str]:
    """Read what promtool prints of the rule file ``folder/name.yml``; each fault on a line, without the file's place.

    promtool names group, rule and expression itself: ``group "disks", rule 1, "Full": could not parse expression: …``.
    """
    found = []
    for line in output.splitlines():
        text = line.strip()
        if text and "FAILED" not in text and not re.match(r"Checking |SUCCESS", text):
            text = text.replace(f"{folder}/{name}.yml: ", "").replace(f"{folder}/{name}.yml", name)
            found.append(_PLACE.sub("", text) if _PLACE.match(text) and text.startswith("/") else text)
    return [re.sub(r"^\d+:\d+: ", "", text) for text in found]


def faults(promtool: Path, rules: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Say what Prometheus could not read of ``rules`` (groups by the name of their set); empty when all is well.

    Raises SlipwayError when promtool cannot be run.
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="slipway-rules-") as folder:
        for name, groups in rules.items():
            path = Path(folder) / f"{name}.yml"
            # JSON is YAML, and keeps every text what it is.
            path.write_text(json.dumps({"groups": groups}, indent=1), encoding="utf-8")
            try:
                done = subprocess.run(
                    [str(promtool), "check", "rules", str(path)],
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=60,
                )
            except OSError as exc:
                raise SlipwayError(
                    "program-missing",
                    f"promtool cannot be run ({promtool}: {exc.strerror}); the bundle has it as the file promtool, "
                    "and `make up` puts it into .slipway/bin",
                ) from exc
            if done.returncode:
                lines = explained(f"{done.stdout}\n{done.stderr}", folder, name)
                found += [f"{name}: {line}" for line in lines or ["promtool refuses it without a reason"]]
    return found
