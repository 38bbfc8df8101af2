# SPDX-License-Identifier: Apache-2.0
"""Action plugin: plan a release and hold the plan against the cluster, without touching it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
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

PENDING = "there is no cluster with a mesh yet that this could be held against: all of it would be made"


class ActionModule(ClusterAction):
    """Work in this very process: the library is loaded, and values of Secrets stay in it."""

    SPEC: ClassVar[dict[str, Any]] = {
        "page": {"type": "str", "required": True},
        "name": {"type": "str", "default": ""},
        "namespace": {"type": "str", "default": ""},
        "hosts": {"type": "list", "elements": "str", "default": []},
        "weights": {"type": "dict", "default": {}},
        "adopt": {"type": "bool", "default": False},
        "delete_claims": {"type": "list", "elements": "str", "default": []},
        "mail": {"type": "dict", "default": {}},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "cluster": {"type": "dict", "default": {}},
        "pending": {"type": "bool", "default": False},
        "ca_folder": {"type": "path", "default": ""},
        "programs": {"type": "dict", "default": {}},
    }

    def work(self, arguments: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Give what has to be applied and taken away, and show the difference."""
        from slipway.contents.spec import is_of_contents

        if is_of_contents(self._page(arguments)):
            found = self._of_contents(arguments, variables)
        elif arguments["state"] == "absent":
            found = self._absent(arguments)
        else:
            found = self._present(arguments, variables)
        differences = found.pop("differences")
        # Ansible shows a difference only of what is changed; in check mode nothing comes after this that could say so.
        shown = self._task.check_mode or self._task.diff
        result = {"changed": found["differs"] and shown, **found}
        return {**result, "diff": differences} if self._task.diff else result

    def _page(self, arguments: dict[str, Any]) -> Path:
        from slipway.paths import page_path

        return page_path(Path(arguments["page"]))

    def _of_contents(self, arguments: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Plan a release whose objects come as they are, of a chart or of manifests."""
        from slipway.contents.held import Held
        from slipway.release.look import ReleaseClient

        reached = access.given(arguments)
        there = not (arguments["pending"] and access.is_missing(reached))
        held = Held(self._page(arguments), arguments, ReleaseClient(reached) if there else None)
        if arguments["state"] == "absent":
            return held.absent()
        return held.present(lambda secrets: self._variables(secrets, variables))

    def _spec(self, arguments: dict[str, Any]) -> Any:
        """Read the page."""
        from slipway.release.spec import OVERRIDES, load

        page = self._page(arguments)
        given = {key: arguments[key] for key in OVERRIDES if arguments[key]}
        if "weights" in given:
            given["weights"] = {str(version): _number(share) for version, share in given["weights"].items()}
        return load(page, given)

    def _present(self, arguments: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        from slipway.cluster.client import stripped
        from slipway.cluster.objects import identity
        from slipway.release.environment import Environment
        from slipway.release.job_runs import failed
        from slipway.release.judge import environment, secret_revisions, secret_values, strangers
        from slipway.release.live import has_users
        from slipway.release.planner import declared_secrets, plan
        from slipway.release.transition import costs, due, kept_claims, refusals, transition

        spec = self._spec(arguments)
        namespace = spec.release.namespace or spec.release.name
        cluster, found = self._look(arguments, spec.release.name, namespace)
        declared = declared_secrets(spec.release)
        own = [secret["name"] for secret in declared if not secret["existing"]]
        present = cluster.present_secrets(namespace, own) if cluster and own and found.has_namespace else {}
        secrets, faults = secret_values(
            declared, present, found.whose, os.environ, self._variables(declared, variables)
        )
        settled = {key: value for key, value in arguments["cluster"].items() if value}
        settled["secret_revisions"] = secret_revisions(secrets, present)
        settled["renewable"] = self._renewable(arguments["ca_folder"], found)
        planned = plan(spec, environment(found, **settled) if cluster else Environment.of(settled))
        spec.refuse(faults)
        spec.refuse(refusals(planned, found.own, found.orphans))
        claims = [*spec.release.delete_claims, *arguments["delete_claims"]]
        stages = transition(planned, found.own, found.orphans, claims)
        objects = list({id(item): item for stage in stages for item in stage.apply}.values())
        anew = [identity(item) for stage in stages for item in stage.take_over]
        # A job that has failed runs again, as it is.
        anew += [identity(item) for item in found.own if failed(item)]
        changes = [(item, None, item) for item in objects]
        if cluster:
            changes = self._changes(cluster, found, objects, anew, planned, spec)
        pairs = [(item, before) for item, before, _ in changes]
        faults, adopted = strangers(pairs, found.whose, planned.places, adopt=spec.release.adopt)
        spec.refuse(faults)
        touched = {id(item) for item, _, _ in changes}
        left = due(stages, lambda item: id(item) in touched, busy=has_users(found.own))
        live = set(map(identity, [*found.own, *found.orphans]))
        gone = [item for stage in stages for item in stage.removed if identity(item) in live]
        waits = [wait for step in planned.steps for wait in step.wait]
        late, demoted = (
            {item["metadata"]["name"] for item in left.get(name, {"apply": []})["apply"]}
            for name in ("callers", "retire")
        )
        kept = kept_claims(planned, found.own, claims)
        # What is there only between the page before and this one is no difference between the two.
        final = {id(item) for item in planned.objects}
        differences = [
            _difference(item, stripped(before) if before else None, stripped(after))
            for item, before, after in changes
            if id(item) in final
        ]
        if planned.certificate:
            differences.append({"prepared": f"the gateway's certificate\n{_lines('+ ', planned.certificate)}"})
        for secret in secrets:
            text = "".join(f"+ {key}: from {origin}\n" for key, origin in secret.said.items())
            text = text or "changed by somebody else, or not made by this version of Slipway: pods are made anew\n"
            differences.append({"prepared": f"Secret/{namespace}/{secret.name}\n{text}"})
        differences += [_difference(item, _shown(item), None) for item in gone]
        return {
            "differences": differences,
            "differs": bool(left or secrets),
            "release": planned.release,
            "namespace": namespace,
            "labels": planned.labels,
            "stages": left,
            "waits": {
                "workloads": [wait for wait in waits if wait["name"] not in {*late, *demoted}],
                "callers": [wait for wait in waits if wait["name"] in late],
                "retire": [wait for wait in waits if wait["name"] in demoted],
            },
            "secrets": planned.secrets,
            "secrets_due": [secret.name for secret in secrets],
            # Made up, and nothing of what the Secrets hold.
            "secret_revisions": {secret.name: secret.revision for secret in secrets},
            "certificate": planned.certificate,
            "facts": planned.facts,
            "warnings": [
                *planned.warnings,
                *costs(planned, found.own),
                *adopted,
                *_kept(kept, namespace),
                *([] if cluster else [PENDING]),
            ],
        }

    def _changes(self, cluster: Any, found: Any, objects: list[Any], anew: list[str], planned: Any, spec: Any) -> Any:
        """Ask what an apply would change; what is refused is said of the page, where it comes from there."""
        from slipway.release.look import RefusedError
        from slipway.release.refusals import faults

        try:
            return cluster.changes(found, objects, anew)
        except RefusedError as exc:
            spec.refuse(faults(exc.refused, planned.places, spec))
            raise

    def _look(self, arguments: dict[str, Any], name: str, namespace: str) -> tuple[Any, Any]:
        """Look at the cluster; None and an empty look where it, or its mesh, is still to be made."""
        from slipway.contents.held import looked
        from slipway.release.judge import Found
        from slipway.release.look import NoMeshError, ReleaseClient

        reached = access.given(arguments)
        if arguments["pending"] and access.is_missing(reached):
            return None, Found(name, namespace)
        cluster = ReleaseClient(reached)
        try:
            return cluster, looked(cluster, name, namespace)
        except NoMeshError:
            if not arguments["pending"]:
                raise
        return None, Found(name, namespace)

    def _renewable(self, folder: str, found: Any) -> list[str]:
        """Name the Secrets whose certificate this machine can make anew with more names."""
        from slipway.mesh.certificate import authority_of
        from slipway.release.certificate import AUTHORITY, GATEWAY_TLS

        held = found.certificates.get(GATEWAY_TLS, {}).get(AUTHORITY)
        return [GATEWAY_TLS] if folder and held and held == authority_of(Path(folder)) else []

    def _absent(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from slipway.contents import stages
        from slipway.contents.plan import record_of
        from slipway.release.judge import removal
        from slipway.release.transition import reference

        spec = self._spec(arguments)
        namespace = spec.release.namespace or spec.release.name
        _, found = self._look(arguments, spec.release.name, namespace)
        claims = [*spec.release.delete_claims, *arguments["delete_claims"]]
        was_chart = record_of(found.own, spec.release.name)
        gone, kept = stages.removal(found.own, claims) if was_chart else removal(found, claims)
        return {
            "differs": bool(gone),
            "warnings": _kept(kept, namespace),
            "differences": [_difference(item, _shown(item), None) for item in gone],
            "release": spec.release.name,
            "namespace": namespace,
            "prune": [reference(item) for item in gone],
        }

    def _variables(self, secrets: list[dict[str, Any]], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Work out the variables that Secrets name."""
        names = [source.get("variable") for secret in secrets for source in secret["keys"].values()]
        known = variables
        return {name: self._templar.template(known[name]) for name in names if name and name in known}


def _lines(before: str, texts: list[str]) -> str:
    return "".join(f"{before}{text}\n" for text in texts)


def _kept(names: list[str], namespace: str) -> list[str]:
    """Say which claims stay, and how they go."""
    return [
        f"PersistentVolumeClaim {namespace}/{name} is no longer named and is kept, with its data; "
        f'delete_claims: [{name}] on the page, or -e \'{{"release_delete_claims": ["{name}"]}}\', takes both away'
        for name in names
    ]


def _number(value: Any) -> Any:
    """Read a number that came as text, as key=value gives it."""
    text = str(value)
    return int(text) if text.isdecimal() else value


def _shown(item: dict[str, Any]) -> dict[str, Any]:
    from slipway.cluster.client import stripped
    from slipway.release.transition import reference

    return reference(item) if item["kind"] == "Secret" else stripped(item)


def _difference(item: dict[str, Any], before: dict[str, Any] | None, after: dict[str, Any] | None) -> dict[str, str]:
    """Give what Ansible shows with --diff."""
    from slipway.cluster.objects import identity
    from slipway.difference import written

    name = identity(item)
    return {"before": written(before), "after": written(after), "before_header": name, "after_header": name}
