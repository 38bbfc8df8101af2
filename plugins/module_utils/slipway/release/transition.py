"""From what a release has on a cluster to what its plan wants, in stages between which nothing is lost. Pure.

Every stage may last for ever, or be the last one: at any moment a request reaches only versions that the page before or
the page now gives it, and a call that both allow is let in. So what is let in grows before new pods are there, and
shrinks after old pods are gone; routes name a subset, always; what a route leads to is there before it and after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..cluster.objects import identity
from ..page.form import Fault
from ..page.read import Key
from . import backends, outside_change, stateful
from .between import Between
from .live import WORKLOADS, applied, in_mesh, labels_of
from .outside_change import is_denial
from .planner import Plan
from .render import Object
from .values import amount
from .workload import VERSION

# A policy beside the one whose place it takes while both the page before and the page now hold.
MEANWHILE = "-meanwhile"
_OF_USERS = ("Gateway", "VirtualService", backends.KIND, "EnvoyFilter")
_AROUND = ("HorizontalPodAutoscaler", "PodDisruptionBudget")


@dataclass(frozen=True)
class Stage:
    """What is done at once, in this order.

    ``remove_first``: before the rest. ``hand_over``: Deployments, each with the number of pods that an autoscaler
    takes over. ``take_over``: Deployments that go while their pods stay. ``apply``. ``remove``. ``in_turn``:
    Deployments, those of one list when the pods of the list before are gone; ``orphans``: with the first of them all
    ReplicaSets whose Deployment was taken over. ``taken``: HTTPRoutes that istiod must have taken before anything goes.
    """

    name: str
    apply: list[Object] = field(default_factory=list)
    remove: list[Object] = field(default_factory=list)
    remove_first: list[Object] = field(default_factory=list)
    hand_over: list[Object] = field(default_factory=list)
    take_over: list[Object] = field(default_factory=list)
    in_turn: list[list[Object]] = field(default_factory=list)
    orphans: bool = False
    taken: list[Object] = field(default_factory=list)

    @property
    def removed(self) -> list[Object]:
        """All that is taken away by name."""
        return [*self.remove_first, *self.remove, *(item for turn in self.in_turn for item in turn)]


def transition(
    planned: Plan, live: Iterable[Object], orphans: Iterable[Object] = (), delete_claims: Iterable[str] = ()
) -> list[Stage]:
    """Give the stages, in order. ``live``: objects of the release on the cluster. ``orphans``: ReplicaSets of
    Deployments that were taken over. ``delete_claims``: names of claims that may go with their data; ``*``: all.
    """
    made = _Transition(planned, live, orphans)
    made.delete_claims = frozenset(delete_claims)
    return list(made.stages())


def refusals(planned: Plan, live: Iterable[Object], orphans: Iterable[Object] = ()) -> list[Fault]:
    """Find what cannot be changed on a cluster, before it is tried."""
    made = _Transition(planned, live, orphans)
    changed = stateful.refusals(made.wanted(*WORKLOADS), made.live, planned.volumes)
    return [*made.claims_refused(), *changed, *made.labels_refused(), *made.output_refused()]


def kept_claims(planned: Plan, live: Iterable[Object], delete_claims: Iterable[str] = ()) -> list[str]:
    """Name the claims of the release that its page no longer names, and that stay."""
    rest = _Transition(planned, live).rest()
    return [item["metadata"]["name"] for item in rest if stays(item, delete_claims)]


def costs(planned: Plan, live: Iterable[Object]) -> list[str]:
    """Say which changes lose requests all the same."""
    there = {identity(item): item for item in live}
    found = []
    for item in [item for item in planned.objects if item["kind"] == "Service"]:
        before = {port["port"]: port for port in there.get(identity(item), {"spec": {}})["spec"].get("ports") or []}
        for port in item["spec"]["ports"]:
            spoken = before.get(port["port"], port).get("appProtocol")
            if spoken not in (None, port.get("appProtocol")):
                found.append(
                    f"{identity(item)} speaks {port['appProtocol']} on port {port['port']}, where its present pods "
                    f"speak {spoken}: requests fail while these are replaced; a service_port of its own avoids that"
                )
    return [*found, *stateful.costs(planned.objects, there), *outside_change.costs(planned, there)]


def stays(item: Mapping[str, Any], delete_claims: Iterable[str]) -> bool:
    """Tell whether an object is a claim that nobody has said may go."""
    return item["kind"] == "PersistentVolumeClaim" and not {"*", item["metadata"]["name"]} & set(delete_claims)


class _Transition(Between):
    delete_claims: frozenset[str] = frozenset()

    # The stages.

    def stages(self) -> Iterator[Stage]:
        now, later, opened = self.policies()
        outside_now, outside_later, let_go = outside_change.sorted_out(self)
        peers_now, peers_later = self.peers()
        services = [self.grown_service(item) for item in self.steps.get("services", [])]
        rules = self.wanted("DestinationRule")
        calls, users = self.calls(), self.entries()
        others = [item for item in self.steps.get("policies", []) if item["kind"] == "Telemetry"]
        yield Stage("namespace", self.steps.get("namespace", []))
        yield Stage(
            "prepare",
            [
                *self.steps.get("foundation", []),
                *services,
                *map(self.grown_rule, rules),
                *self.renamed_rules(),
                *self.renamed_backends(),
                *now,
                *peers_now,
                *others,
                *outside_now,
                *map(self.grown_patches, self.patches_of_routes()),
            ],
            [*opened, *let_go],
        )
        yield Stage("jobs", self.steps.get("jobs", []))
        yield Stage("pin", list(self.pins()))
        workloads = self.workloads()
        demoted = [item for item in workloads.apply if self.is_demoted(item)]
        late = [item for item in workloads.apply if item not in demoted and self.waits_for_what_it_calls(item)]
        yield replace(workloads, apply=[item for item in workloads.apply if item not in [*late, *demoted]])
        yield Stage("calls", calls, list(self.renamed_calls()))
        yield Stage("callers", late)
        gone = [item for item in self.rest() if self.leads_users(item)]
        replaced = [item for item in gone if self.is_replaced(item)]
        yield Stage("users", [*self.beside_entries(), *users], [item for item in gone if item not in replaced])
        taken = self.wanted(backends.KIND)
        yield Stage("leave", [], replaced, taken=taken)
        around, in_turn = self.retired()
        orphans = bool(self.orphans or workloads.take_over)
        yield Stage("retire", demoted, around, in_turn=in_turn, orphans=orphans, taken=taken)
        quiet = map(self.without_new_copies, self.wanted_calls())
        patches = self.patches_of_routes()
        stricter = [*later, *peers_later, *outside_later]
        yield Stage("close", [*quiet, *rules, *patches, *stricter, *self.steps.get("services", [])])
        yield Stage("copies", self.wanted("VirtualService", backends.KIND))
        yield Stage("tidy", self.steps.get("monitoring", []), self.left())

    def rest(self) -> list[Object]:
        """Give the live objects that the plan does not have; the order is that of taking them away."""
        kept = {*self.planned.keep, *stateful.claims(self.wanted("StatefulSet"))}
        return [item for name, item in self.live.items() if name not in kept and item["kind"] != "Namespace"]

    def leads_users(self, item: Object) -> bool:
        """Tell whether an object is part of how users are routed."""
        return item["kind"] in _OF_USERS and not in_mesh(item)

    def is_replaced(self, item: Object) -> bool:
        """Tell whether routes of users of another API take the place of an object: istiod reads each by itself."""
        return item["kind"] == backends.KIND or bool(self.wanted(backends.KIND))

    def retired(self) -> tuple[list[Object], list[list[Object]]]:
        """Give what is around the Deployments that go, and these: callers before what they call."""
        around = [i for i in self.rest() if i["kind"] in _AROUND and not self.scales_what_stays(i)]
        turns: dict[int, list[Object]] = {}
        for item in self.rest():
            if item["kind"] in WORKLOADS:
                turns.setdefault(self.depth(labels_of(item).get("app", "")), []).append(item)
        return around, [turns[depth] for depth in sorted(turns)]

    def depth(self, service: str) -> int:
        """Give how many calls lead to a service at most; services that the plan does not have come after all others."""
        if service not in self.services:
            return len(self.services)
        callers = [name for name, other in self.services.items() if service in other["calls"]]
        return 1 + max(map(self.depth, callers)) if callers else 0

    def scales_what_stays(self, item: Object) -> bool:
        """Tell whether an object is the autoscaler of a Deployment that the plan has."""
        if item["kind"] != "HorizontalPodAutoscaler":
            return False
        target = item["spec"]["scaleTargetRef"]["name"]
        return any(one["metadata"]["name"] == target for one in self.wanted("Deployment"))

    def left(self) -> list[Object]:
        """Give what is taken away last."""
        now, _, opened = self.policies()
        opened += outside_change.sorted_out(self)[2]
        around, in_turn = self.retired()
        retired = [item for turn in in_turn for item in turn]
        before = {identity(item) for item in [*around, *retired, *self.renamed_calls(), *opened]}
        rest = [
            item
            for item in self.rest()
            if not self.leads_users(item)
            and not stays(item, self.delete_claims)
            and not self.scales_what_stays(item)
            and identity(item) not in before
        ]
        known = set(map(identity, rest))
        return [*(item for item in now if _meanwhile(item) and identity(item) not in known), *rest]

    # Who is let in.

    def policies(self) -> tuple[list[Object], list[Object], list[Object]]:
        """Sort policies: applied before new pods, after old ones are gone, and taken away before new pods.

        Several policies let in what any of them does, so one beside what is there only ever adds.
        """
        live = [item for item in self.there("AuthorizationPolicy") if not (_meanwhile(item) or is_denial(item))]
        now: list[Object] = []
        later: list[Object] = []
        for item in self.wanted("AuthorizationPolicy"):
            service = item["spec"]["selector"]["matchLabels"]["app"]
            pods = [one for one in self.pods if one.get("app") == service]
            if not pods:
                now.append(item)
                continue
            later.append(item)
            guarding = [one for one in live if any(_selects(one, each) for each in pods)]
            guarded = all(any(_selects(one, each) for one in guarding) for each in pods)
            # Where everybody is let in now, nobody is kept out before the old pods are gone.
            if guarded and (service in self.rerouted or self.differs(item)):
                more = [rule for one in guarding for rule in one["spec"].get("rules") or []]
                made = self.meanwhile(item, more)
                before = self.live.get(identity(item), {"spec": {}})["spec"]
                if {**made["spec"], "rules": []} != {**before, "rules": []} or any(
                    rule not in (before.get("rules") or []) for rule in made["spec"].get("rules", [])
                ):
                    now.append(made)
        opened = [item for item in live if identity(item) not in self.final and self.is_opened(item)]
        now += self.before([item for item in live if item not in opened])
        return now, later, opened

    def is_opened(self, item: Object) -> bool:
        """Tell whether pods that a policy is about are to let in everybody."""
        wanted = self.wanted("AuthorizationPolicy")
        selected = {(one.get("app", ""), self.version_of(one)) for one in self.pods if _selects(item, one)}
        return any(
            (labels["app"], labels[VERSION]) in selected and not any(_selects(one, labels) for one in wanted)
            for labels in map(labels_of, self.wanted(*WORKLOADS))
        )

    def differs(self, item: Object) -> bool:
        """Tell whether an object is another one, or none, on the cluster."""
        there = self.live.get(identity(item))
        return there is None or there["spec"] != item["spec"]

    def meanwhile(self, item: Object, more: list[Object]) -> Object:
        """Give a policy for as long as old and new pods are there: ``more`` are the rules of the service now.

        Present callers may be led to any of its versions before they are gone, also where the page no longer has them.
        """
        metadata = {**item["metadata"], "name": item["metadata"]["name"] + MEANWHILE}
        spec = {**item["spec"], "selector": {"matchLabels": self.by_name(item["spec"]["selector"]["matchLabels"])}}
        rules = list(item["spec"].get("rules") or [])
        rules += [rule for index, rule in enumerate(more) if rule not in rules and rule not in more[:index]]
        return {**item, "metadata": metadata, "spec": {**spec, **({"rules": rules} if rules else {})}}

    def before(self, live: Iterable[Object]) -> Iterator[Object]:
        """Give present policies as they are for pods told by name: of those that get their label they know nothing."""
        for item in live:
            labels = (item["spec"].get("selector") or {}).get("matchLabels") or {}
            version = self.name_before(labels.get("app", ""), labels.get("version", ""))
            if version:
                told = {**{key: value for key, value in labels.items() if key != "version"}, VERSION: version}
                yield applied(item, {**item["spec"], "selector": {"matchLabels": told}})

    def peers(self) -> tuple[list[Object], list[Object]]:
        """Sort what says whether pods take plain requests: laxer now, stricter later."""
        now: list[Object] = []
        later: list[Object] = []
        for item in self.wanted("PeerAuthentication"):
            before = self.live.get(identity(item))
            stricter = before is not None and before["spec"].get("mtls", {}).get("mode") == "PERMISSIVE"
            (later if stricter else now).append(item)
        return now, later

    # Pods.

    def workloads(self) -> Stage:
        """Give what makes pods: numbers of pods change hands first, Deployments that cannot be changed go."""
        hand_over, take_over = [], []
        for item in self.wanted("Deployment"):
            live = self.live.get(identity(item))
            if live is None:
                continue
            if live["spec"]["selector"] != item["spec"]["selector"]:
                take_over.append(live)
            elif "replicas" not in item["spec"] and _owns_replicas(live):
                hand_over.append({**reference(item), "spec": {"replicas": live["spec"].get("replicas", 1)}})
        scalers = [item for item in self.rest() if self.scales_what_stays(item)]
        return Stage(
            "workloads",
            self.steps.get("workloads", []),
            remove_first=scalers,
            hand_over=hand_over,
            take_over=take_over,
        )

    # What cannot be.

    def claims_refused(self) -> Iterator[Fault]:
        """Find what of a claim cannot be changed."""
        for item in self.wanted("PersistentVolumeClaim"):
            live = self.live.get(identity(item))
            if live is None:
                continue
            name, spec, before = item["metadata"]["name"], item["spec"], live["spec"]
            key: Key = ("volumes", name)
            of_class = before.get("storageClassName", "")
            if spec.get("storageClassName", of_class) != of_class:
                what = f"is {of_class} on the cluster, and a claim keeps its StorageClass"
                yield Fault(
                    "claim-changed",
                    (*key, "storage_class"),
                    what,
                    f"storage_class: {of_class}, or a volume of another name",
                )
            if spec["accessModes"] != before["accessModes"]:
                what = f"is {', '.join(before['accessModes'])} on the cluster, and a claim keeps it"
                yield Fault(
                    "claim-changed",
                    (*key, "access"),
                    what,
                    f"access: {before['accessModes'][0]}, or a volume of another name",
                )
            size, had = (one["resources"]["requests"]["storage"] for one in (spec, before))
            if amount(str(size)) < amount(str(had)):
                what = f"is smaller than the {had} on the cluster, and no claim shrinks"
                yield Fault("claim-changed", (*key, "size"), what, f"size: {had}, or a volume of another name")

    def labels_refused(self) -> Iterator[Fault]:
        """Find labels that change hands between pods that do not say which version they are."""
        for service in self.services:
            if self.moved(service) and self.unmarked(service):
                yield Fault(
                    "labels-moved",
                    ("version_labels",),
                    f"moves labels of {service} between pods that an older Slipway made, which cannot be told apart",
                    "first release this page with the labels as they were, then with these",
                )
                return

    def output_refused(self) -> Iterator[Fault]:
        """Find that users of https would be left behind: of two Gateways for every host the older one counts."""
        servers = [server for item in self.wanted("Gateway") for server in item["spec"]["servers"]]
        if self.there(backends.KIND) and any(
            "*" in server["hosts"] and server["port"]["number"] == backends.HTTPS for server in servers
        ):
            what = f"takes https for every host from the Gateway {'/'.join(backends.GATEWAY)}, which keeps it"
            yield Fault("output-cannot-change", ("output",), what, "output: gateway-api, or hosts with their names")


def due(stages: Iterable[Stage], differs: Callable[[Object], bool], *, busy: bool) -> dict[str, dict[str, Any]]:
    """Leave out of each stage what need not be done, and stages of which nothing is left; as plain values, by name.

    ``differs``: whether an object is another one on the cluster. ``busy``: users have routes. ``settle``: every proxy
    has to have learned what was changed before, and pods that go have to be gone.
    """
    made: dict[str, dict[str, Any]] = {}
    last: dict[str, Object] = {}
    for stage in stages:
        apply = [i for i in stage.apply if (last[identity(i)] != i if identity(i) in last else differs(i))]
        last.update((identity(item), item) for item in apply)
        parts: dict[str, list[Object]] = {
            "remove_first": [reference(item) for item in stage.remove_first],
            "hand_over": stage.hand_over,
            "take_over": [reference(item) for item in stage.take_over],
            "apply": apply,
            "remove": [reference(item) for item in stage.remove],
        }
        in_turn = [[reference(item) for item in turn] for turn in stage.in_turn]
        if any(parts.values()) or in_turn or stage.orphans:
            shrinks = stage.name in ("leave", "retire", "close", "copies") or (
                stage.name == "tidy" and bool(stage.remove)
            )
            after = set(made) - {"namespace"} and stage.name not in ("prepare", "jobs", "tidy")
            more: dict[str, Any] = {"in_turn": in_turn, "orphans": stage.orphans}
            more |= {"taken": [reference(item) for item in stage.taken]} if stage.taken else {}
            made[stage.name] = {**parts, **more, "settle": busy and bool(shrinks or after)}
    return made


def reference(item: Mapping[str, Any]) -> Object:
    """Give the part of an object that names it."""
    metadata = {key: item["metadata"][key] for key in ("name", "namespace") if item["metadata"].get(key)}
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": metadata}


def _meanwhile(item: Mapping[str, Any]) -> bool:
    return str(item["metadata"]["name"]).endswith(MEANWHILE)


def _selects(item: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    wanted = (item["spec"].get("selector") or {}).get("matchLabels") or {}
    return bool(wanted.items() <= labels.items())


def _owns_replicas(live: Mapping[str, Any]) -> bool:
    """Tell whether the number of pods is what this toolkit applied."""
    return any(
        entry.get("manager") == "slipway" and "f:replicas" in (entry.get("fieldsV1") or {}).get("f:spec", {})
        for entry in live["metadata"].get("managedFields") or []
        if not entry.get("subresource")
    )
