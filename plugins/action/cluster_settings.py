# SPDX-License-Identifier: Apache-2.0
"""Action plugin: check the settings of the cluster on the computer that runs Ansible."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Hand the effective variables to the library, and its report to the user."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fail with everything that is wrong in one text; else give the settings back."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "page": {"type": "path"},
                "state": {"type": "path"},
                "upgrading": {"type": "bool", "default": False},
            }
        )
        try:
            from slipway.errors import SlipwayError
            from slipway.lab.plan import make_plan, other_lab, page_file, preview
            from slipway.page.environment import changes, read_settings
            from slipway.page.form import plain
            from slipway.page.model import PREFIX
            from slipway.page.read import holds_a_secret, texts
            from slipway.page.validation import examine_variables
            from slipway.paths import ROOT, state_folder
            from slipway.plugin import failed
        except ImportError as exc:
            raise AnsibleActionFail(
                f"Slipway's library cannot be imported ({exc}): run `make setup`, then use .venv/bin/ansible-playbook. "
                "[library-missing]"
            ) from None
        known = task_vars or {}
        names = [key for key in known if key.startswith(PREFIX)]
        if not names:
            # Each of them would be missed by its name.
            sources = ", ".join(context.CLIARGS.get("inventory") or ()) or "of Ansible's own settings"
            own = shlex.quote(str(ROOT / "inventory"))
            what = (
                f"None of the settings is known: this run reads the inventory {sources}, which is not one of this "
                f"checkout. Take its own with -i {own}, and unset ANSIBLE_INVENTORY and ANSIBLE_CONFIG; "
                "make does all of that."
            )
            raise failed(SlipwayError("settings-unknown", what))
        page = arguments["page"] or self._value("slipway_page", known.get("slipway_page")) or page_file()
        state = arguments["state"] or self._value("slipway_state", known.get("slipway_state")) or state_folder()
        if foreign := other_lab(Path(page), Path(state)):
            raise failed(SlipwayError("other-lab", foreign))
        try:
            # What the page says is no template, or is refused as one; it is never worked out.
            said = read_settings(Path(page))
            variables = {
                key: known[key] if plain(known[key]) == plain(said.values.get(key)) else self._value(key, known[key])
                for key in names
            }
            report = examine_variables(variables, Path(page), Path(state), upgrading=arguments["upgrading"])
            settings = report.accepted().as_values()
            self._check_roles(ROOT / "roles", known)
        except SlipwayError as exc:
            raise failed(exc) from None
        result.update(changed=False, settings=settings)
        lines = changes(said, variables)
        if self._task.check_mode and self._value("slipway_stands", known.get("slipway_stands")) is False:
            plan = make_plan(report.accepted(), page=Path(page), state=Path(state))
            lines += preview(plan, report.accepted())
        if lines:
            result["ansible_stats"] = {"data": {"slipway": lines}, "per_host": False, "aggregate": False}
        if report.warnings:
            result["warnings"] = [str(warning) for warning in report.warnings]
        if any(holds_a_secret(text) for _, text in texts(settings, ())):
            result["_ansible_no_log"] = True
        return result

    def _check_roles(self, folder: Path, known: dict[str, Any]) -> None:
        """Refuse a variable of a role that is set to what it cannot be."""
        from slipway.errors import SlipwayError, together
        from slipway.page.role_variables import literals, options, usual

        specs = options(folder)
        faults = []
        for name, value in sorted(literals(specs, known).items()):
            found = ArgumentSpecValidator({name: specs[name]}).validate({name: value}).error_messages
            if found:
                works = usual(folder, name)
                words = specs[name].get("description", "").rstrip(".")
                hint = f"\n  works: {name}: {json.dumps(works, default=str)}" if works is not None else ""
                faults.append(SlipwayError("role-variable-wrong", f"{name} ({words}): {'; '.join(found)}{hint}"))
        if faults:
            raise together(faults)

    def _value(self, name: str, value: Any) -> Any:
        """Work out a variable's templates."""
        from slipway.errors import SlipwayError
        from slipway.plugin import failed

        try:
            return self._templar.template(value)
        except AnsibleError as exc:
            what = f"{name}: its template cannot be worked out: {exc}"
            raise failed(SlipwayError("template-fails", what)) from exc
