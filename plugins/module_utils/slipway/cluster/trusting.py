"""What a cluster keeps of its CAs, brought after each step of their rotation; and pods that have to see new ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..errors import SlipwayError
from ..node.trust import blocks, bundle, fingerprint, key_id, trusting
from . import rollout, rotation
from .apply import Applier
from .client import Cluster, Object
from .eviction import name_of
from .rotation import ROOT_CA, Workload

MANAGER = "slipway-rotation"
PUBLIC, SYSTEM = "/api/v1/namespaces/kube-public", "/api/v1/namespaces/kube-system"
# What API servers tell those that they pass requests on to. They add to it, and take nothing away.
EXTENSIONS = "extension-apiserver-authentication"
OWNERS = (("apps/v1", "Deployment"), ("apps/v1", "ReplicaSet"), ("apps/v1", "DaemonSet"), ("apps/v1", "StatefulSet"))
HOOKS = (
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
    ("apiregistration.k8s.io/v1", "APIService"),
)
PAUSE = 1.0


@dataclass
class Rotation:
    """The part of a rotation that is done through the API. ``authorities``: by the paths of a controller."""

    cluster: Cluster
    seconds: float
    say: Callable[[str], None] = lambda _: None

    # --- before

    def plan(self, looked: Mapping[str, Mapping[str, object]]) -> tuple[dict[str, object], list[str]]:
        """Make the plan, and its words."""
        planned = rotation.steps(looked)
        others = [one for one in self._old(time.time()) if not one.ours]
        present = (self.cluster.get(f"{SYSTEM}/configmaps/{ROOT_CA}") or {}).get("data", {}).get("ca.crt", "")
        hooks = [one for kind in HOOKS for one in self.cluster.listed(*kind) or []]
        carried = sorted({name for each in blocks(present) for name in rotation.bundles_with(hooks, each)})
        secrets = [name_of(one) for one in rotation.old_tokens(self._tokens(), "")]
        return planned, rotation.told(planned, list(looked), others, secrets, carried)

    # --- each step

    def bring(self, step: str, files: Mapping[str, str]) -> bool:
        """Bring what the cluster keeps to where controllers are after a step. ``files``: what they trust."""
        authorities = bundle(blocks(files["pki/ca.crt"]))
        changed = self._cluster_info(authorities)
        if step == "issue":
            changed = self._renew_tokens(key_id(blocks(files["pki/sa.pub"])[0])) or changed
        if step == "drop":
            proxies = bundle(blocks(files["pki/front-proxy-ca.crt"]))
            wanted = {"client-ca-file": authorities, "requestheader-client-ca-file": proxies}
            changed = self._keep("kube-system", EXTENSIONS, wanted) or changed
        self._published(blocks(authorities))
        return changed

    def _keep(self, namespace: str, name: str, wanted: Mapping[str, str]) -> bool:
        """Have a ConfigMap with these texts; no other key of it is touched."""
        there = self.cluster.get(f"/api/v1/namespaces/{namespace}/configmaps/{name}")
        if there is None:
            return False
        data = there.get("data") or {}
        if all(_same(data.get(key, ""), text) for key, text in wanted.items()):
            return False
        metadata = {"namespace": namespace, "name": name}
        Applier(self.cluster, patience=self.seconds, manager=MANAGER).apply(
            [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(wanted)}]
        )
        return True

    def _cluster_info(self, authorities: str) -> bool:
        there = self.cluster.get(f"{PUBLIC}/configmaps/cluster-info")
        text = ((there or {}).get("data") or {}).get("kubeconfig", "")
        return bool(text) and self._keep("kube-public", "cluster-info", {"kubeconfig": trusting(text, authorities)})

    def _tokens(self) -> list[Object]:
        path = "/api/v1/secrets?fieldSelector=type%3Dkubernetes.io%2Fservice-account-token"
        return self.cluster.items(path) or []

    def _renew_tokens(self, key: str) -> bool:
        """Have tokens that never end signed anew: kube-controller-manager writes one where there is none."""
        old = rotation.old_tokens(self._tokens(), key)
        for one in old:
            data = {name: text for name, text in one["data"].items() if name != "token"}
            path = f"/api/v1/namespaces/{one['metadata']['namespace']}/secrets/{one['metadata']['name']}"
            status, said = self.cluster.ask(
                path, method="PUT", body={**one, "apiVersion": "v1", "kind": "Secret", "data": data}
            )
            # Written by somebody else since, or gone: seen below.
            if status not in (200, 404, 409):
                raise SlipwayError("api-refuses", f"Secret {name_of(one)}: {said.get('message', status)}")
        left, done = rollout.until(
            lambda: rotation.old_tokens(self._tokens(), key), lambda found: not found, self.seconds
        )
        if not done:
            names = ", ".join(map(name_of, left))
            what = f"the tokens of these Secrets were not signed anew within {self.seconds:g} s: {names}"
            raise SlipwayError("authority-unseen", f"{what}. Type the same command again")
        return bool(old)

    def _published(self, wanted: list[str]) -> None:
        """Wait until every namespace has the CAs for its pods."""

        def lacking() -> list[str]:
            path = f"/api/v1/configmaps?fieldSelector=metadata.name%3D{ROOT_CA}"
            found = self.cluster.items(path) or []
            return [
                one["metadata"]["namespace"]
                for one in found
                if set(blocks((one.get("data") or {}).get("ca.crt", ""))) != set(wanted)
            ]

        left, done = rollout.until(lacking, lambda spaces: not spaces, self.seconds)
        if not done:
            what = f"after {self.seconds:g} s, {ROOT_CA} has other CAs than the controllers in {', '.join(left)}"
            raise SlipwayError(
                "authority-unseen",
                f"{what}: kube-controller-manager writes it; look at its log. No further step was begun",
            )

    # --- pods

    def _old(self, since: float) -> list[Workload]:
        pods = self.cluster.listed("v1", "Pod") or []
        owners = [one for kind in OWNERS for one in self.cluster.listed(*kind) or []]
        return rotation.workloads(pods, owners, since)

    def restart(self, files: Mapping[str, str], *, everything: bool, force: bool) -> list[str]:
        """Have pods that believe the old CAs alone started again, one workload after the other; name those.

        Raises SlipwayError where workloads of others are left, unless ``everything`` is started again, or ``force``.
        """
        given = self.cluster.get(f"{SYSTEM}/configmaps/{ROOT_CA}")
        if given is None:
            raise SlipwayError("authority-unseen", f"kube-system has no ConfigMap {ROOT_CA}")
        since = rotation.changed_at(given)
        # What starts before may be taken for older than it is, and would be started again by the next run.
        rollout.until(time.time, lambda now: now > since + rotation.MARGIN + PAUSE, rotation.MARGIN + 5)
        mark = fingerprint(blocks(files["pki/ca.crt"])[-1])[:16]
        done = []
        for one in self._old(since):
            if one.kind and (one.ours or everything):
                self.say(f"{one.told} starts again")
                self._restart(one, mark)
                done.append(one.told)
        left = [one for one in self._old(since) if not (one.ours and one.kind)]
        if left and not force:
            raise rotation.refusal(left)
        return done

    def _restart(self, workload: Workload, mark: str) -> None:
        if not workload.evicted:
            item = rotation.restarted(workload, mark)
            Applier(self.cluster, patience=self.seconds, manager=MANAGER).apply([item])
            rollout.wait(self.cluster, [item], self.seconds)
            return
        for name in workload.pods:
            self._evict(workload, name)

    def _evict(self, workload: Workload, name: str) -> None:
        """Have one pod of a workload go, and wait until it is gone and as many as before are Ready."""
        space = workload.namespace
        path = f"/api/v1/namespaces/{space}/pods/{name}"
        there = self.cluster.get(path)
        if there is None:
            return
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"namespace": space, "name": name}}
        until = time.monotonic() + self.seconds
        while True:
            status, said = self.cluster.ask(f"{path}/eviction", method="POST", body=body)
            if status in (200, 201, 404):
                break
            if time.monotonic() > until:
                what = f"{space}/{name} cannot be started again: {said.get('message', status)}"
                raise SlipwayError("not-rolled-out", f"{what}. Type the same command again")
            time.sleep(PAUSE)

        def waits_for() -> str:
            pod = self.cluster.get(path)
            if pod and pod["metadata"].get("uid") == there["metadata"].get("uid"):
                return f"its pod {name} does not end"
            item = self.cluster.read("apps/v1", workload.kind, space, workload.name)
            return "" if item is None or _all_ready(item) else "it has not as many Ready pods as it wants"

        why, done = rollout.until(waits_for, lambda text: not text, self.seconds)
        if not done:
            raise SlipwayError("not-rolled-out", f"{workload.told}: after {self.seconds:g} s, {why}")


def _all_ready(item: Object) -> bool:
    """Tell whether a workload has as many pods that serve as it wants."""
    status, spec = item.get("status") or {}, item.get("spec") or {}
    wanted = status.get("desiredNumberScheduled", spec.get("replicas", 1))
    return bool(status.get("numberReady", status.get("readyReplicas", 0)) >= wanted)


def _same(there: str, wanted: str) -> bool:
    return blocks(there) == blocks(wanted) if "-----BEGIN" in wanted else there == wanted
