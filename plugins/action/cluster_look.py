# SPDX-License-Identifier: Apache-2.0
"""Action plugin: read objects of a cluster, and wait until they are as they should be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail

try:
    from slipway.cluster import access
    from slipway.plugin import ClusterAction
except ImportError as exc:
    raise AnsibleActionFail(
        f"Slipway's library cannot be imported ({exc}): run `make setup`, then use .venv/bin/ansible-playbook. "
        "[library-missing]"
    ) from None


class ActionModule(ClusterAction):
    """Look once, or until what is looked at is as it should be, or time is up."""

    SPEC: ClassVar[dict[str, Any]] = {
        "api_version": {"type": "str", "default": "v1"},
        "kind": {"type": "str", "required": True},
        "namespace": {"type": "str", "default": ""},
        "name": {"type": "str", "default": ""},
        "field_selectors": {"type": "list", "elements": "str", "default": []},
        "label_selectors": {"type": "list", "elements": "str", "default": []},
        "hidden_fields": {"type": "list", "elements": "str", "default": []},
        "wait": {"type": "bool", "default": False},
        "wait_timeout": {"type": "int", "default": 180},
        "wait_condition": {
            "type": "dict",
            "options": {"type": {"type": "str", "required": True}, "status": {"type": "str", "default": "True"}},
        },
        "wait_until": {"type": "str", "default": ""},
        "wait_enough": {"type": "int"},
    }

    def work(self, arguments: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Give the objects."""
        from slipway.cluster import rollout
        from slipway.cluster.apply import Applier
        from slipway.cluster.client import Cluster
        from slipway.cluster.objects import without

        version, kind, namespace, name = (arguments[key] for key in ("api_version", "kind", "namespace", "name"))
        cluster, seconds = Cluster(access.given(arguments)), arguments["wait_timeout"]
        fit = self._fit(arguments, variables)
        waits = arguments["wait"] and not self._task.check_mode
        if waits and fit is None:
            place = {"apiVersion": version, "kind": kind, "metadata": {"namespace": namespace, "name": name}}
            rollout.wait(cluster, [place], seconds, enough=arguments["wait_enough"])
        selectors = (arguments["field_selectors"], arguments["label_selectors"])
        applier = Applier(cluster, patience=seconds if waits else 0)

        def look() -> list[dict[str, Any]]:
            found = map(without, applier.look(version, kind, namespace, name, *selectors))
            return [self._hidden(one, arguments["hidden_fields"]) for one in found]

        if not waits or fit is None:
            return {"changed": False, "resources": look()}
        found, fits = rollout.until(look, fit, seconds)
        result = {"changed": False, "resources": found}
        return (
            result
            if fits
            else {**result, "failed": True, "msg": f"{f'{kind} {name}'.strip()}: not so within {seconds} s"}
        )

    def _hidden(self, item: dict[str, Any], fields: list[str]) -> dict[str, Any]:
        """Give an object without these fields."""
        if not fields:
            return item
        # Few tasks hide something, and this loads much.
        from ansible_collections.kubernetes.core.plugins.module_utils.k8s.service import hide_fields

        shown: dict[str, Any] = hide_fields(item, fields)
        return shown

    def _fit(
        self, arguments: dict[str, Any], variables: Mapping[str, Any]
    ) -> Callable[[list[dict[str, Any]]], bool] | None:
        """Give what tells whether objects are as they should be; None: that their pods can serve is what is meant."""
        from slipway.cluster.holdups import condition

        wanted, expression = arguments["wait_condition"], arguments["wait_until"]
        if wanted:
            return lambda found: (
                bool(found) and all(condition(one, wanted["type"]).get("status") == wanted["status"] for one in found)
            )
        if expression:
            return lambda found: self._templar.copy_with_new_env(
                available_variables={**variables, "resources": found}
            ).evaluate_conditional(expression)
        return None
