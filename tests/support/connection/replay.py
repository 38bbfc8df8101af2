"""A connection to machines that are not there: after a delay, each module is answered as a file says."""

from __future__ import annotations

import json
import os
import re
import time
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: replay
short_description: Answers modules with what was recorded
description:
  - The variable REPLAY of the environment names a file with C(delay) in seconds, C(log), and C(answers), which are of
    each address module to answer.
options:
  remote_addr:
    description: Address of the machine.
    vars: [{name: ansible_host}]
"""
_MODULE = re.compile(rb"ansible_module=['\"]([a-z_.]+)['\"]")


class Connection(ConnectionBase):
    """Never leaves this process. What was asked goes to a log, a line for each module."""

    transport = "replay"
    has_pipelining = True
    always_pipeline_modules = True

    def _connect(self) -> Connection:
        self._connected = True
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        found = _MODULE.search(in_data or b"")
        if found is None:
            raise AnsibleError(f"this is no module: {cmd[:200]} {(in_data or b'')[:2000]!r}")
        name = found.group(1).decode().rpartition(".")[2]
        with open(os.environ["REPLAY"], encoding="utf-8") as file:
            replay: dict[str, Any] = json.load(file)
        address = self.get_option("remote_addr")
        with open(replay["log"], "a", encoding="utf-8") as file:
            file.write(f"{address} {name}\n")
        time.sleep(replay["delay"])
        if name not in replay["answers"][address]:
            raise AnsibleError(f"no answer was recorded for {name} of {address}")
        return 0, json.dumps(replay["answers"][address][name]).encode(), b""

    def put_file(self, in_path: str, out_path: str) -> None:
        raise AnsibleError(f"no file is to be copied: {in_path} to {out_path}")

    def fetch_file(self, in_path: str, out_path: str) -> None:
        raise AnsibleError(f"no file is to be fetched: {in_path} to {out_path}")

    def close(self) -> None:
        self._connected = False
