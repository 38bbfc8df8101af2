"""Runs Ansible's plugins of this repository in the process of the test, as Ansible would call them."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import slipway
from ansible.module_utils.testing import patch_module_args
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


def load(kind: str, name: str) -> Any:
    """Give the plugin file ``plugins/<kind>/<name>.py`` as a module of its own, so that a test can patch it."""
    # Ansible packs our library up under this name; its parts are then found through the path of the package.
    sys.modules.setdefault("ansible.module_utils.slipway", slipway)
    spec = importlib.util.spec_from_file_location(f"slipway_{kind}_{name}", PLUGINS / kind / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@dataclass(frozen=True)
class Ended:
    """How a module ended: what it gave back, and whether it failed."""

    result: dict[str, Any]
    failed: bool

    @property
    def msg(self) -> str:
        """Its message without line breaks of its own."""
        return str(self.result.get("msg", ""))


def run_module(loaded: Any, arguments: Mapping[str, Any], *, check: bool = False, diff: bool = False) -> Ended:
    """Call ``main`` of a module with arguments, and read what it prints at its end."""
    given = {**arguments, "_ansible_check_mode": check, "_ansible_diff": diff}
    printed = io.StringIO()
    with patch_module_args(given), redirect_stdout(printed):
        try:
            loaded.main()
        except SystemExit as exit_:
            code = exit_.code
        else:
            raise AssertionError("the module came back without an end")
    result: dict[str, Any] = json.loads(printed.getvalue().splitlines()[-1])
    return Ended(result, bool(code))


def run_action(
    loaded: Any,
    arguments: Mapping[str, Any],
    variables: Mapping[str, Any] | None = None,
    *,
    check: bool = False,
    diff: bool = False,
    delegate_to: str | None = None,
    local: bool = False,
) -> dict[str, Any]:
    """Run an action plugin as a task would; what fails raises AnsibleActionFail."""
    loader = DataLoader()
    known = dict(variables or {})
    action = loaded.ActionModule(
        task=mock.Mock(
            args=dict(arguments), check_mode=check, async_val=0, diff=diff, delegate_to=delegate_to, _role=None
        ),
        connection=mock.Mock(transport="local" if local else "ssh"),
        play_context=mock.Mock(become=not local),
        loader=loader,
        templar=Templar(loader=loader, variables=known),
        shared_loader_obj=mock.Mock(),
    )
    result: dict[str, Any] = action.run(task_vars=known)
    return result
