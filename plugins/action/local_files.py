# SPDX-License-Identifier: Apache-2.0
"""Action plugin: write files on the computer that runs Ansible. Options: plugins/modules/local_files.py."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail

try:
    from slipway.errors import SlipwayError
    from slipway.node.durable import replace
    from slipway.plugin import LocalAction
except ImportError as exc:
    raise AnsibleActionFail(
        f"Slipway's library cannot be imported ({exc}): run `make setup`, then use .venv/bin/ansible-playbook. "
        "[library-missing]"
    ) from None


class ActionModule(LocalAction):
    """Files of the user who runs Ansible."""

    _supports_check_mode = True
    SPEC: ClassVar[dict[str, Any]] = {
        "files": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "path": {"type": "path", "required": True},
                "content": {"type": "str"},
                "secret": {"type": "str", "no_log": True},
                "mode": {"type": "str", "default": "0644"},
            },
            "mutually_exclusive": [["content", "secret"]],
            "required_one_of": [["content", "secret"]],
        }
    }

    def work(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Write those that differ."""
        written, differences = [], []
        for one in arguments["files"]:
            path, mode = Path(one["path"]), int(one["mode"], 8)
            secret = one["content"] is None
            text = str(one["secret"] if secret else one["content"])
            before = _read(path)
            if before == text and stat.S_IMODE(path.stat().st_mode) == mode:
                continue
            written.append(str(path))
            if not secret and before != text:
                header = str(path)
                differences.append(
                    {"before": before or "", "after": text, "before_header": header, "after_header": header}
                )
            if not self._task.check_mode:
                _write(path, text, mode)
        result: dict[str, Any] = {"changed": bool(written), "written": written}
        return {**result, "diff": differences} if self._task.diff else result


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as exc:
        raise SlipwayError("file-not-written", f"{path} cannot be read: {exc}") from None


def _write(path: Path, text: str, mode: int) -> None:
    # Beside it, as a file that nobody else may read until it has its permissions.
    beside = path.with_name(f".{path.name}.slipway")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            beside.unlink()
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
        replace(str(beside), str(path))
    except OSError as exc:
        raise SlipwayError("file-not-written", f"{path} cannot be written: {exc}") from None
