# SPDX-License-Identifier: Apache-2.0
"""Action plugin: a program of Slipway's library, run in Ansible's own process."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import import_module
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail

try:
    from slipway.plugin import LocalAction
except ImportError as exc:
    raise AnsibleActionFail(
        f"Slipway's library cannot be imported ({exc}): run `make setup`, then use .venv/bin/ansible-playbook. "
        "[library-missing]"
    ) from None


class ActionModule(LocalAction):
    """Each task has a process of its own, which is a copy of Ansible's."""

    SPEC: ClassVar[dict[str, Any]] = {
        "program": {"type": "str", "required": True},
        "arguments": {"type": "list", "elements": "str", "default": []},
        "stdin": {"type": "str", "default": ""},
        "environment": {"type": "dict", "default": {}},
    }

    def work(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Give what the program printed, and how it ended."""
        # Ansible's texts are of a kind of its own.
        environment = {str(name): str(value) for name, value in arguments["environment"].items()}
        given = [str(one) for one in arguments["arguments"]]
        said, told = io.StringIO(), io.StringIO()
        with (
            _given(environment, str(arguments["stdin"])),
            redirect_stdout(said),
            redirect_stderr(told),
        ):
            try:
                code = import_module(str(arguments["program"])).main(given)
            except SystemExit as exc:
                code = exc.code if isinstance(exc.code, int) else 1
        result = {"rc": code, "stdout": said.getvalue().strip("\n"), "stderr": told.getvalue()}
        if code:
            result |= {"failed": True, "msg": told.getvalue().strip() or "non-zero return code"}
        return result


@contextmanager
def _given(environment: Mapping[str, str], text: str) -> Iterator[None]:
    """Give a program its environment and what it reads."""
    before, reads = dict(os.environ), sys.stdin
    os.environ.update(environment)
    sys.stdin = io.StringIO(text)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        sys.stdin = reads
