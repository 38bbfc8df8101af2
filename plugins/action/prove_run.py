# SPDX-License-Identifier: Apache-2.0
"""Action plugin: carry a plan out, judge what was seen, and write the report."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail

try:
    from slipway.cluster import access
    from slipway.errors import SlipwayError
    from slipway.plugin import ClusterAction
except ImportError as exc:
    raise AnsibleActionFail(
        f"Slipway's library cannot be imported ({exc}): run `make setup`, then use .venv/bin/ansible-playbook. "
        "[library-missing]"
    ) from None


class ActionModule(ClusterAction):
    """Hand jobs to the agents in client pods; the jobs are on their stdin, and nothing of them is secret."""

    SPEC: ClassVar[dict[str, Any]] = {
        "plan": {"type": "dict", "required": True},
        "targets": {"type": "dict", "required": True},
        "namespace": {"type": "str", "required": True},
        "kubectl": {"type": "path", "required": True},
        "folder": {"type": "path", "required": True},
        "change": {"type": "dict", "default": {}},
        "sink": {"type": "list", "elements": "str", "default": []},
        "hooks": {"type": "list", "elements": "str", "default": []},
        "alertmanager": {"type": "str", "default": ""},
        "quiet": {"type": "int", "default": 180},
        "note": {"type": "str", "default": ""},
        "authority": {"type": "path", "default": ""},
        "limiter": {"type": "dict", "default": {}},
        "token": {"type": "str", "default": "", "no_log": True},
        "jwt_key": {"type": "path", "default": ""},
    }

    def work(self, arguments: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Give what it comes to in a few lines; fail when a claim does not hold."""
        return {"changed": False, **self._proved(arguments)}

    def _proved(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from slipway import prove
        from slipway.cluster.apply import Applier
        from slipway.cluster.client import Cluster
        from slipway.cluster.reader import Reader
        from slipway.prove.jobs import authorities
        from slipway.prove.look import MONITORING
        from slipway.prove.past import Past
        from slipway.prove.reads import Reads
        from slipway.prove.report import place, write
        from slipway.prove.run import Kubectl, Runner, keep
        from slipway.prove.terminal import failures, summary
        from slipway.prove.token import given
        from slipway.prove.verdicts import joined

        plan, program = arguments["plan"], Path(arguments["kubectl"])
        if not program.is_file():
            raise SlipwayError(
                "program-missing", f"{program} is not there; `make up` puts it there, else -e prove_kubectl=…"
            )
        pods = Kubectl(program, arguments["namespace"], **access.of_kubectl(arguments))
        alertmanagers = [(MONITORING, "alertmanager")]
        if arguments["alertmanager"]:
            alertmanagers.append((plan["namespace"], arguments["alertmanager"]))
        reads = Reads(
            Reader(access.given(arguments)),
            pods.proxy,
            plan,
            sink=arguments["sink"] or None,
            hooks=arguments["hooks"] or None,
            alertmanagers=tuple(alertmanagers),
        )
        # Without a name it is a folder, and so no file of an authority.
        trusted = authorities(Path(arguments["authority"]))
        more = {"quiet": arguments["quiet"], "authorities": trusted, "tell": self._tell}
        more["token"] = given(plan.get("jwt"), arguments["token"], arguments["jwt_key"])
        if arguments["limiter"]:
            more["past"] = Past(Applier(Cluster(access.given(arguments))), arguments["limiter"], reads.gateways)
        runner = Runner(plan, arguments["targets"], pods.send, reads, **more)
        observations = runner.observations()
        report = prove.judge(plan, observations)
        folder = place(Path(arguments["folder"]), plan["release"], plan["namespace"])
        keep(folder, plan=plan, observations=observations)
        report = joined(report, arguments["change"])
        code = write(report, folder)
        lines = summary(report, folder)
        if code:
            for line in lines:
                self._display.display(line)
            raise AnsibleActionFail(failures(report, folder))
        if arguments["note"]:
            Path(arguments["note"]).unlink(missing_ok=True)
        return {"lines": lines, "report": str(folder / "report.html"), "counts": report.as_json()["counts"]}

    def _tell(self, stage: str) -> None:
        if threading.current_thread() is threading.main_thread():
            self._display.v(f"prove: {stage}")
