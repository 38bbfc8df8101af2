"""A way past a release's limits for all clients together, for one proof: it ends with the proof, however that ends.

A copy of the limits' configuration is laid over them, in which a header with a value made up for this proof takes a
request out of the limits for all; everybody else is limited as before. The copy belongs to a Job without pods that has
a deadline: where a proof is killed, the cluster takes both away.
"""

from __future__ import annotations

import copy
import hashlib
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..cluster.apply import Applier
from ..errors import SlipwayError

Json = dict[str, Any]

HEADER = "x-slipway-prove"
FILTER = "envoy.filters.http.local_ratelimit"
MANAGED = {"app.kubernetes.io/managed-by": "slipway-prove"}
# Later than a release's own, whose priority is 0.
PRIORITY = 10
# Seconds until the cluster takes the way away by itself: an agent's most, and what is looked up before and after.
DEADLINE = 1500
# What stands for a request that carries no such value, where limits for all look for one.
_KEY, _WITHOUT = "slipway-prove", "none"
# Seconds until all gateways have to know of it, and between two looks.
SECONDS, PAUSE = 60.0, 0.5


def _configurations(limiter: Mapping[str, Any]) -> Iterable[Json]:
    for patch in limiter["spec"]["configPatches"]:
        found = (patch["patch"].get("value") or {}).get("typed_per_filter_config", {}).get(FILTER, {}).get("value")
        if found:
            yield found


def _of_all(actions: Iterable[Mapping[str, Any]]) -> bool:
    return not any("remote_address" in action for action in actions)


def has_total(limiter: Mapping[str, Any]) -> bool:
    """Tell whether an EnvoyFilter limits all clients together."""
    return any(_of_all(rate["actions"]) for found in _configurations(limiter) for rate in found.get("rate_limits", []))


def name_of(limiter: Mapping[str, Any]) -> str:
    """Name what is laid over an EnvoyFilter: the same in every proof, which finds what another left."""
    name = str(limiter["metadata"]["name"])
    return f"slipway-prove-{hashlib.sha256(name.encode()).hexdigest()[:10]}"


def overlay(limiter: Mapping[str, Any], value: str, owner: Mapping[str, Any]) -> Json:
    """Make what is laid over an EnvoyFilter: limits for all pass by who sends ``value``. ``owner``: a Job."""
    without = {"name": HEADER, "string_match": {"exact": value}}
    action = {"descriptor_key": _KEY, "descriptor_value": _WITHOUT, "expect_match": False, "headers": [without]}
    spec = copy.deepcopy(dict(limiter["spec"]))
    for found in _configurations({"spec": spec}):
        for rate, descriptor in zip(found["rate_limits"], found["descriptors"], strict=True):
            if _of_all(rate["actions"]):
                rate["actions"].append({"header_value_match": action})
                descriptor["entries"].append({"key": _KEY, "value": _WITHOUT})
    reference = {"apiVersion": "batch/v1", "kind": "Job", "name": owner["name"], "uid": owner["uid"]}
    metadata = {"name": name_of(limiter), "namespace": limiter["metadata"]["namespace"], "labels": MANAGED}
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {**metadata, "ownerReferences": [reference]},
        "spec": {**spec, "priority": PRIORITY},
    }


def deadline(limiter: Mapping[str, Any]) -> Json:
    """Make the Job that the way belongs to: it starts no pod, fails at its deadline, and is taken away then."""
    metadata = {"name": name_of(limiter), "namespace": limiter["metadata"]["namespace"], "labels": MANAGED}
    container = {"name": "none", "image": "none.invalid/none"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    spec = {"parallelism": 0, "activeDeadlineSeconds": DEADLINE, "ttlSecondsAfterFinished": 0, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


@dataclass
class Past:
    """The way past the limits of ``limiter``. ``known``: for each gateway, whether it has a text in its routes."""

    applier: Applier
    limiter: Json
    known: Callable[[str], list[bool]]
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    value: str = field(default="", repr=False)

    def open(self) -> str:
        """Make the way, wait until every gateway knows it, and give the header's value. Raises SlipwayError."""
        self._gone()
        self.value = secrets.token_hex(16)
        try:
            (job,) = self.applier.apply([deadline(self.limiter)])
            self.applier.apply([overlay(self.limiter, self.value, job.live["metadata"])])
            self._until(True, "do not learn of the way past the limits")
        except BaseException:
            self._gone()
            raise
        return self.value

    def close(self) -> None:
        """Take the way away, and wait until no gateway knows it any more. Raises SlipwayError."""
        self._gone()
        if self.value:
            self._until(False, "do not forget the way past the limits")
        self.value = ""

    def _gone(self) -> None:
        where = {"name": name_of(self.limiter), "namespace": self.limiter["metadata"]["namespace"]}
        filters = {"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter", "metadata": where}
        self.applier.remove([filters, {"apiVersion": "batch/v1", "kind": "Job", "metadata": where}])

    def _until(self, wanted: bool, what: str) -> None:
        until = self.now() + SECONDS
        while True:
            seen = self.known(self.value)
            if seen and all(each is wanted for each in seen):
                return
            if self.now() > until:
                raise SlipwayError(
                    "gateway-not-ready",
                    f"the gateway's pods {what} within {SECONDS:.0f} s\n"
                    "look at: kubectl -n istio-system get envoyfilter; istiod's log; `make status`",
                )
            self.sleep(PAUSE)
