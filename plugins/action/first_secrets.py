# SPDX-License-Identifier: Apache-2.0
"""Action plugin: Secrets that pods would wait for."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Iterator, Mapping
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

# Whoever applies the rest of the part must not own the values: it would take them away.
MANAGER = "slipway-first"


class ActionModule(ClusterAction):
    """Hold keys in this very process; nothing of them is in the result."""

    SPEC: ClassVar[dict[str, Any]] = {
        "namespace": {"type": "str", "required": True},
        "secrets": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "name": {"type": "str", "required": True},
                "random": {"type": "dict"},
                "webhook": {
                    "type": "dict",
                    "options": {
                        "service": {"type": "str", "required": True},
                        "authority": {"type": "str", "required": True},
                    },
                },
                "mesh": {
                    "type": "dict",
                    "options": {
                        "root": {"type": "str", "required": True},
                        "organization": {"type": "str", "required": True},
                        "unless": {"type": "list", "elements": "str", "default": []},
                    },
                },
            },
            "mutually_exclusive": [["random", "webhook", "mesh"]],
            "required_one_of": [["random", "webhook", "mesh"]],
        },
    }

    def work(self, arguments: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Apply those that are not there, or have no values."""
        from slipway.cluster.apply import Applier
        from slipway.cluster.client import Cluster

        namespace = str(arguments["namespace"])
        applier = Applier(Cluster(access.given(arguments)), patience=10, manager=MANAGER)
        found = {item["metadata"]["name"]: item.get("data") or {} for item in applier.look("v1", "Secret", namespace)}
        missing = [secret for secret in arguments["secrets"] if not found.get(secret["name"])]
        # An authority of somebody's own, or one that the mesh trusts already.
        missing = [
            secret
            for secret in missing
            if not secret["mesh"]
            or (
                not found.keys() & set(secret["mesh"]["unless"])
                and not applier.look("v1", "ConfigMap", namespace, str(secret["mesh"]["root"]))
            )
        ]
        if missing and not self._task.check_mode:
            place = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            applier.apply([place, *(item for secret in missing for item in _made(secret, namespace))])
        return {"changed": bool(missing), "made": [str(secret["name"]) for secret in missing]}


def _made(secret: Mapping[str, Any], namespace: str) -> Iterator[dict[str, Any]]:
    from slipway.parts.kept import token
    from slipway.parts.selfsigned import make_authority, make_pair

    kind, now = "Opaque", dt.datetime.now(dt.UTC)
    if secret["random"]:
        values = {str(key): token(int(length)).encode() for key, length in secret["random"].items()}
    elif secret["webhook"]:
        service = f"{secret['webhook']['service']}.{namespace}.svc"
        values = make_pair(str(secret["webhook"]["authority"]), service, now)
    else:
        certificate, key = make_authority(str(secret["mesh"]["organization"]), now)
        kind = "istio.io/ca-root"
        values = {"ca-cert.pem": certificate, "ca-key.pem": key, "root-cert.pem": certificate}
        yield {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": str(secret["mesh"]["root"]),
                "namespace": namespace,
                "labels": {"istio.io/config": "true"},
            },
            "data": {"root-cert.pem": certificate.decode()},
        }
    yield {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": str(secret["name"]), "namespace": namespace},
        "type": kind,
        "data": {key: base64.b64encode(value).decode() for key, value in values.items()},
    }
