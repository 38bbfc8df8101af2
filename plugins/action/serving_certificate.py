# SPDX-License-Identifier: Apache-2.0
"""Action plugin: a certificate for a server inside the cluster, made when the one it has is none or near its end."""

from __future__ import annotations

import base64
import datetime as dt
from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Judge the present certificate in this very process: starting another one costs more than all the rest."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Give the present certificate back, or a new one with its key."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "name": {"type": "str", "required": True},
                "certificate": {"type": "str", "default": ""},
                "days": {"type": "int", "required": True},
                "renew_days": {"type": "int", "required": True},
            }
        )
        from slipway.errors import SlipwayError
        from slipway.parts.selfsigned import fault, make
        from slipway.plugin import failed

        name, present = arguments["name"], arguments["certificate"]
        days, renew = (dt.timedelta(days=arguments[key]) for key in ("days", "renew_days"))
        if renew >= days:
            what = (
                f"a certificate for {days.days} days is at once within {renew.days} of its end: let renew_days be less"
            )
            raise failed(SlipwayError("certificate-not-made", what))
        now = dt.datetime.now(dt.UTC)
        try:
            reason = fault(base64.b64decode(present), name, now, renew)
        except ValueError:
            reason = "it is not in base64"
        if not reason:
            return {**result, "changed": False, "certificate": present, "key": "", "reason": ""}
        certificate, key = (base64.b64encode(pem).decode("ascii") for pem in make(name, now, days))
        return {**result, "changed": True, "certificate": certificate, "key": key, "reason": reason}
