# SPDX-License-Identifier: Apache-2.0
"""Action plugin: write the administrator's kubeconfig here. Options: plugins/modules/admin_kubeconfig.py."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

try:
    from slipway.cluster import kubeconfig
    from slipway.errors import SlipwayError
    from slipway.node.durable import write
    from slipway.node.settled import note, record_beside, still
    from slipway.plugin import failed
except ImportError as exc:
    raise AnsibleActionFail(
        f"Slipway's library cannot be imported ({exc}): run `make setup`, then use .venv/bin/ansible-playbook. "
        "[library-missing]"
    ) from None

SOURCE = "/etc/kubernetes/admin.conf"
PRIVATE, PUBLIC = 0o600, 0o644


class ActionModule(ActionBase):
    """Reads on the controller, and writes in Ansible's own process."""

    _supports_check_mode = True
    SPEC: ClassVar[dict[str, Any]] = {
        "path": {"type": "path", "required": True},
        "server": {"type": "str", "required": True},
        "servers": {"type": "dict", "default": {}},
        "kept": {"type": "str", "required": True},
        "kept_path": {"type": "path", "required": True},
        "content": {"type": "str", "default": "", "no_log": True},
        "source": {"type": "str", "default": ""},
        "looked": {"type": "bool", "default": False},
    }

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write both files, if one of them differs."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(argument_spec=self.SPEC)
        path, looked, source, content = given["path"], given.pop("looked"), given["source"], given.pop("content")
        record = record_beside(path)
        if looked and source and _digest(given) in still(record, lambda _: ""):
            return {**result, "changed": False, "written": []}
        if not content:
            read = self._execute_module(
                module_name="ansible.legacy.slurp", module_args={"src": SOURCE}, task_vars=task_vars or {}
            )
            if read.get("failed"):
                return {**result, **read}
            content = base64.b64decode(read["content"]).decode()
        files = [
            (path, kubeconfig.with_contexts(content, given["server"], given["servers"]), PRIVATE),
            (given["kept_path"], given["kept"], PUBLIC),
        ]
        try:
            before = [_read(file) for file, _, _ in files]
            due = [
                file
                for (file, text, mode), there in zip(files, before, strict=True)
                if there != text or stat.S_IMODE(os.stat(file).st_mode) != mode
            ]
            if not self._task.check_mode:
                for file, text, mode in files:
                    if file in due:
                        _write(Path(file), text, mode)
                # What was looked at may have been another one, or none yet.
                now = {**given, "source": hashlib.sha256(content.encode()).hexdigest()}
                note(_digest(now), [file for file, _, _ in files], record=record)
        except SlipwayError as exc:
            raise failed(exc) from None
        result |= {"changed": bool(due), "written": due}
        if self._task.diff and before[1] != given["kept"]:
            header = given["kept_path"]
            result["diff"] = {
                "before": before[1] or "",
                "after": given["kept"],
                "before_header": header,
                "after_header": header,
            }
        return result


def _digest(given: dict[str, Any]) -> str:
    """Give the name of a call, which another text of what writes the file changes too."""
    texts = b"\0".join(Path(file).read_bytes() for file in (__file__, str(kubeconfig.__file__)))
    return hashlib.sha256(texts + json.dumps(given, sort_keys=True, default=str).encode()).hexdigest()


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as exc:
        raise SlipwayError("file-not-written", f"{path} cannot be read: {exc}") from None


def _write(path: Path, text: str, mode: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(text, str(path), mode)
    except OSError as exc:
        raise SlipwayError("file-not-written", f"{path} cannot be written: {exc}") from None
