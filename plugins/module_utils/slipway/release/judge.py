"""Judge what a cluster has against what a release plans. Pure: objects in, decisions out; nobody is asked.

Objects are those of the API as plain maps; ``Kind/namespace/name`` is the identity that the planner gives them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets as randomness
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..cluster.objects import identity
from ..contents.gateway_api import HOME, parents
from ..page.form import Fault
from ..page.read import Key
from . import certificate, registries
from .environment import Environment
from .live import WORKLOADS, labels_of, last_of, versions_by_label
from .objects import KINDS, OF_NAMESPACE
from .pod_security import LEVEL, MODES
from .transition import stays
from .workload import VERSION

Object = dict[str, Any]

OF_RELEASE = "slipway.io/release"
MANAGED = "app.kubernetes.io/managed-by"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_CONTROLLER = "node-role.kubernetes.io/control-plane"
REVISION = "slipway.io/revision"
CONTENT = "slipway.io/content"


def owner(item: Mapping[str, Any]) -> str:
    """Say whose an object is: ``namespace/release``; empty: no release's."""
    labels = item["metadata"].get("labels") or {}
    if labels.get(MANAGED) != "slipway" or not labels.get(OF_RELEASE):
        return ""
    return f"{labels.get(OF_NAMESPACE, '')}/{labels[OF_RELEASE]}"


@dataclass(frozen=True)
class Claimant:
    """Whose an object is: ``who`` as words after "is", and whether a release may take it over when it is told to."""

    who: str
    yields: bool


def claimant(item: Mapping[str, Any]) -> Claimant:
    """Say whose an object is that is not this release's, as far as it says so itself."""
    metadata = item["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    if metadata.get("ownerReferences"):
        first = metadata["ownerReferences"][0]
        # Whoever made it would make it anew.
        return Claimant(f"made by {first.get('kind', 'a controller')} {first['name']}", yields=False)
    if owner(item):
        return Claimant(f"release {owner(item)}'s", yields=True)
    manager = labels.get(MANAGED, "")
    if manager == "slipway":
        return Claimant("a part of the cluster that Slipway sees to", yields=False)
    helm = [annotations.get(f"meta.helm.sh/release-{key}") for key in ("namespace", "name")]
    if all(helm):
        return Claimant(f"Helm release {helm[0]}/{helm[1]}'s", yields=True)
    if manager:
        return Claimant(f"managed by {manager}", yields=True)
    written = [entry for entry in metadata.get("managedFields") or [] if not entry.get("subresource")]
    oldest: Mapping[str, Any] = min(written, key=lambda entry: str(entry.get("time", "")), default={})
    return Claimant(f"made with {oldest['manager']}" if oldest.get("manager") else "somebody else's", yields=True)


def strangers(
    changes: Iterable[tuple[Object, Object | None]], whose: str, places: Mapping[str, Key], *, adopt: bool
) -> tuple[list[Fault], list[str]]:
    """Find what an apply would change though it is not this release's: faults, and sentences on what is taken over.

    ``changes``: what is planned and what is there. ``places``: key of the page by identity. With ``adopt`` the release
    takes objects over, but for those that belong to a controller or to the cluster.
    """
    faults: list[Fault] = []
    adopted: list[str] = []
    for item, before in changes:
        if before is None or (owner(before) == whose and not before["metadata"].get("ownerReferences")):
            continue
        name, claim = identity(item), claimant(before)
        what = f"would change {name}, which is there already and is {claim.who}"
        key = places.get(name, ("name",))
        if not claim.yields:
            faults.append(Fault("object-taken", key, what, "another name in names, or -e release_namespace=another"))
        elif adopt:
            adopted.append(f"{name} is {claim.who}: this release takes it over")
        else:
            fix = "another name in names, or adopt: true (-e release_adopt=true), which takes it over"
            faults.append(Fault("object-taken", key, what, fix))
    return faults, adopted


@dataclass(frozen=True)
class Found:
    """What a look at the cluster brought, for the release ``name`` in ``namespace``.

    ``applied``: objects of all releases. ``missing_kinds``: kinds that this cluster does not know. ``secrets`` and
    ``storage_classes``: names; ``namespaces`` and ``services``: objects of which only the metadata counts. ``orphans``:
    ReplicaSets whose Deployment was taken over, and whose pods serve on until the new ones do. ``certificates``:
    annotations of Secrets beside the gateway, by name. ``gateway_of_routes``: the Gateway that HTTPRoutes attach to,
    of role istio. ``classes``: StorageClasses; ``claims`` and ``accounts``: all of
    the namespace; ``nodes``: of which only the metadata counts.
    """

    name: str
    namespace: str
    applied: list[Object] = field(default_factory=list)
    missing_kinds: frozenset[str] = frozenset()
    namespaces: list[Object] = field(default_factory=list)
    secrets: list[Object] = field(default_factory=list)
    storage_classes: list[str] = field(default_factory=list)
    classes: list[Object] = field(default_factory=list)
    claims: list[Object] | None = None
    accounts: list[Object] | None = None
    nodes: list[Object] = field(default_factory=list)
    orphans: list[Object] = field(default_factory=list)
    services: list[Object] = field(default_factory=list)
    gateway_service: Object | None = None
    gateway_deployment: Object | None = None
    gateway_of_routes: Object | None = None
    certificates: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def whose(self) -> str:
        """Write the release as ``owner`` does."""
        return f"{self.namespace}/{self.name}"

    @property
    def own(self) -> list[Object]:
        """Objects that this release applied and that stay; what a controller made after them is the controller's."""
        return [
            item for item in self.applied if owner(item) == self.whose and not _made_by_another(item) and not goes(item)
        ]

    @property
    def has_namespace(self) -> bool:
        """Tell whether the release's namespace is there."""
        return any(item["metadata"]["name"] == self.namespace for item in self.namespaces)


def goes(item: Mapping[str, Any]) -> bool:
    """Tell whether an object is being taken away already: what is applied to it goes with it."""
    return bool(item["metadata"].get("deletionTimestamp"))


def _made_by_another(item: Mapping[str, Any]) -> bool:
    return bool(item["metadata"].get("ownerReferences"))


def environment(found: Found, **settled: Any) -> Environment:
    """Say what the planner has to know of the cluster; ``settled`` are values that the look does not give."""
    others = [item for item in found.applied if owner(item) != found.whose and owner(item)]
    foreign = {item["metadata"]["name"] for item in found.namespaces if owner(item) != found.whose}
    bare = Environment()
    there = {f"{item['metadata']['name']}.{item['metadata']['namespace']}" for item in found.services}
    tools = {**bare.tools, **settled.get("tools", {})}
    values = {
        "monitoring": "ServiceMonitor" not in found.missing_kinds,
        "gateway_ports": gateway_ports(found.gateway_service),
        "gateway_replicas": gateway_replicas(found.gateway_deployment),
        "listeners": listeners(found.gateway_of_routes),
        **gateway_identity(found.gateway_deployment),
        "foreign_namespaces": frozenset(foreign) | bare.foreign_namespaces,
        "pod_security": _pod_security(found),
        "hosts_taken": {host: owner(item) for item in others for host in hosts(item)},
        "host_holders": _holders(others),
        "outside_named": {
            host: owner(item)
            for item in others
            if item["kind"] == "ServiceEntry" and item["metadata"].get("namespace") == found.namespace
            for host in item["spec"].get("hosts") or []
        },
        "objects_taken": {identity(item): owner(item) for item in others if item["kind"] != "Namespace"},
        "secrets": frozenset(item["metadata"]["name"] for item in found.secrets),
        "accounts": None if found.accounts is None else frozenset(each["metadata"]["name"] for each in found.accounts),
        "storage_classes": frozenset(found.storage_classes),
        **_storage(found),
        "certificates": {
            name: known for name, told in found.certificates.items() if (known := certificate.names(told)) is not None
        },
        "missing_tools": frozenset(tool for tool, place in tools.items() if place.partition(":")[0] not in there),
        "ports": {item["metadata"]["name"]: ports(item) for item in found.own if item["kind"] == "Service"},
        "deployments": _deployments(found.own),
        "bands": _bands(found.own),
    }
    return Environment.of({**values, **settled})


def _storage(found: Found) -> dict[str, Any]:
    """Say what storage there is, and how many nodes may share it."""
    defaults = [
        item["metadata"]["name"]
        for item in found.classes
        if (item["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
    ]
    claims = None if found.claims is None else {item["metadata"]["name"]: _claim(item) for item in found.claims}
    return {
        "provisioners": {item["metadata"]["name"]: str(item.get("provisioner", "")) for item in found.classes},
        "default_class": defaults[0] if defaults else "",
        "workers": sum(_CONTROLLER not in (item["metadata"].get("labels") or {}) for item in found.nodes),
        "claims": claims,
    }


def _claim(item: Object) -> dict[str, Any]:
    spec = item.get("spec") or {}
    return {"access": list(spec.get("accessModes") or []), "class": spec.get("storageClassName") or ""}


def _pod_security(found: Found) -> dict[str, str]:
    """Give the Pod Security level of each mode in the release's namespace, where that is somebody else's."""
    labels = next(
        (
            item["metadata"].get("labels") or {}
            for item in found.namespaces
            if item["metadata"]["name"] == found.namespace and owner(item) != found.whose
        ),
        {},
    )
    return {name.removeprefix(LEVEL): level for name, level in labels.items() if name in map(LEVEL.__add__, MODES)}


def _holders(items: Iterable[Object]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in items:
        for host in hosts(item):
            found.setdefault(host, []).append(identity(item))
    return found


def hosts(item: Mapping[str, Any]) -> list[str]:
    """List the hosts that a Gateway answers on, or a VirtualService or HTTPRoute at the mesh's gateway."""
    spec = item.get("spec") or {}
    if item["kind"] == "Gateway":
        named = [host for server in spec.get("servers") or [] for host in server.get("hosts") or []]
    elif item["kind"] == "VirtualService" and any(name != "mesh" for name in spec.get("gateways") or []):
        named = spec.get("hosts") or []
    elif item["kind"] == "HTTPRoute" and HOME in parents(item):
        named = spec.get("hostnames") or ["*"]
    else:
        named = []
    # A Gateway may say which namespace's routes it takes: namespace/host.
    return list(dict.fromkeys(host.rpartition("/")[2] for host in named))


def answers_for(pattern: str, host: str) -> bool:
    """Tell whether a Gateway with that host answers for another; ``*`` stands for any number of labels."""
    return host.endswith(pattern[1:]) if pattern.startswith("*") else host == pattern


def ports(service: Mapping[str, Any]) -> dict[int, str]:
    """Give the names of a Service's ports by their number."""
    listed = (service.get("spec") or {}).get("ports") or []
    return {port["port"]: port["name"] for port in listed if port.get("name")}


def _deployments(items: Iterable[Object]) -> dict[str, Object]:
    """Say of each Deployment and StatefulSet which version it is of, and which pods it selects."""
    items = list(items)
    names = versions_by_label(items)
    found = {}
    for item in items:
        if item["kind"] in WORKLOADS:
            labels = labels_of(item)
            label = labels.get("version", "")
            version = labels.get(VERSION) or names.get(label, label)
            selector = item["spec"]["selector"].get("matchLabels") or {}
            found[item["metadata"]["name"]] = {"version": version, "selector": selector}
    return found


def _bands(items: Iterable[Object]) -> tuple[tuple[str, int], ...]:
    """Give the bands by which a hash picks the version of a new client: those of the longest path that has some."""
    for item in items:
        if item["kind"] == "VirtualService" and item["spec"].get("gateways") != ["mesh"]:
            for rule in item["spec"].get("http") or []:
                if last_of(rule) in ("hash", "weights"):
                    routes = [
                        (to["destination"].get("subset"), to.get("weight", 100)) for to in rule.get("route") or []
                    ]
                    if all(version for version, _ in routes):
                        return tuple(routes)
    return ()


def gateway_ports(service: Mapping[str, Any] | None) -> tuple[int, ...]:
    """List the ports of the gateway's Service that take requests; empty: there is no Service."""
    ports = ((service or {}).get("spec") or {}).get("ports") or []
    return tuple(port["port"] for port in ports if port.get("name") != "status-port" and port["port"] != 15021)


def listeners(gateway: Mapping[str, Any] | None) -> dict[int, str]:
    """Give the names of a Gateway's listeners by their port; none where there is no such Gateway."""
    return {int(one["port"]): str(one["name"]) for one in ((gateway or {}).get("spec") or {}).get("listeners") or []}


def gateway_replicas(deployment: Mapping[str, Any] | None) -> int:
    """Count the gateway's pods."""
    wanted = ((deployment or {}).get("spec") or {}).get("replicas")
    return 1 if wanted is None else max(1, int(wanted))


def gateway_identity(deployment: Mapping[str, Any] | None) -> dict[str, str]:
    """Give the ServiceAccount and the label ``app`` of the gateway's pods, as far as they are known."""
    template = ((deployment or {}).get("spec") or {}).get("template") or {}
    account = (template.get("spec") or {}).get("serviceAccountName")
    app = ((template.get("metadata") or {}).get("labels") or {}).get("app")
    return {key: value for key, value in (("gateway_account", account), ("gateway_app", app)) if value}


def removal(found: Found, delete_claims: Iterable[str] = ()) -> tuple[list[Object], list[str]]:
    """List everything of the release, what routes to something before that, its namespace last; and claims that stay.

    A claim goes with its data, so it stays unless ``delete_claims`` has its name or ``*``, and with it its namespace.
    """
    order = [kind for _, kind in KINDS]
    own = [item for item in found.own if item["kind"] in order]
    kept = [item["metadata"]["name"] for item in own if stays(item, delete_claims)]
    gone = [i for i in own if not stays(i, delete_claims) and not (kept and i["kind"] == "Namespace")]
    return sorted(gone, key=lambda item: (order.index(item["kind"]), identity(item))), sorted(kept)


@dataclass(frozen=True)
class Made:
    """A Secret that has to be applied: its ``data`` in base64, and what each changed key is ``said`` to come from.

    ``revision`` is made up for each content, so it says nothing of it; pods that use the Secret carry it. ``content``
    is what the Secret itself remembers, so that a change by somebody else is seen too.
    """

    name: str
    data: dict[str, str]
    said: dict[str, str]
    revision: str
    type: str = registries.OPAQUE

    @property
    def annotations(self) -> dict[str, str]:
        """Write revision and content as the Secret carries them."""
        return {REVISION: self.revision, CONTENT: content(self.data, self.revision)}


def content(data: Mapping[str, str], revision: str) -> str:
    """Give the HMAC of a Secret's data under its revision."""
    text = json.dumps(dict(data), sort_keys=True)
    return hmac.new(revision.encode(), text.encode(), hashlib.sha256).hexdigest()


def revision_of(secret: Mapping[str, Any] | None) -> str:
    """Give the revision that a Secret carries; empty where it has none, or holds something else than when it got it."""
    if secret is None:
        return ""
    carried = secret["metadata"].get("annotations") or {}
    revision = str(carried.get(REVISION, ""))
    told = str(carried.get(CONTENT, ""))
    return revision if revision and hmac.compare_digest(told, content(secret.get("data") or {}, revision)) else ""


def secret_values(
    secrets: Iterable[Mapping[str, Any]],
    found: Mapping[str, Object],
    whose: str,
    surroundings: Mapping[str, str],
    variables: Mapping[str, Any],
    revisions: Mapping[str, str] | None = None,
) -> tuple[list[Made], list[Fault]]:
    """Give the Secrets that have to be applied, and what is wrong with where their values come from.

    ``secrets``: as the plan lists them. ``found``: the present ones by name, with their data. A value comes from the
    environment or a variable; where nothing gives one, what is there stays, else a random one is made. ``revisions``:
    those that have been made up for Secrets already, by name.
    """
    made: list[Made] = []
    faults: list[Fault] = []
    for secret in secrets:
        if secret["existing"]:
            continue
        name, present = secret["name"], found.get(secret["name"])
        if present is not None and owner(present) != whose:
            what = f"is there already, and is {claimant(present).who}"
            faults.append(
                Fault("object-taken", ("secrets", name), what, f"{name}: {{existing: true}}, or another name")
            )
            continue
        before = dict((present or {}).get("data") or {})
        data: dict[str, str] = {}
        said: dict[str, str] = {}
        if present is not None and secret.get("type", registries.OPAQUE) != present.get("type", registries.OPAQUE):
            what = f"is {present['type']} on the cluster, and a Secret keeps its type"
            fix = f"{name} with type: {present['type']}, or {name}-2, which is another Secret"
            faults.append(Fault("secret-type-changed", ("secrets", name), what, fix))
            continue
        registry = secret.get("registry")
        for asked, source in secret["keys"].items():
            key = registries.DOCKER_KEY if registry else asked
            value, origin = _value(source, surroundings, variables)
            if registry:
                known = registries.password(before, registry["server"]) if value is None else value
                value = None if known is None else registries.content(registry["server"], registry["user"], known)
            if value is not None:
                data[key] = base64.b64encode(value.encode()).decode("ascii")
            elif key in before and not registry:
                data[key] = before[key]
            elif source.get("random"):
                data[key], origin = base64.b64encode(randomness.token_urlsafe(24).encode()).decode("ascii"), "random"
            else:
                place: Key = ("secrets", name, "password") if registry else ("secrets", name, "keys", asked)
                faults.append(_unset(place, source))
                continue
            if data[key] != before.get(key):
                said[key] = origin
        if len(data) == len(secret["keys"]) and (said or set(before) - set(data) or not revision_of(present)):
            revision = (revisions or {}).get(name) or randomness.token_hex(8)
            made.append(Made(name, data, said, revision, secret.get("type", registries.OPAQUE)))
    return made, faults


def secret_revisions(made: Iterable[Made], found: Mapping[str, Object]) -> dict[str, str]:
    """Give the revision that each Secret of the release has, or will have."""
    present = {name: revision for name, secret in found.items() if (revision := revision_of(secret))}
    return {**present, **{one.name: one.revision for one in made}}


def _value(
    source: Mapping[str, Any], surroundings: Mapping[str, str], variables: Mapping[str, Any]
) -> tuple[str | None, str]:
    """Find a value and say where it is from; none where nothing is set, or it is empty."""
    if source.get("environment"):
        return surroundings.get(source["environment"]) or None, f"environment variable {source['environment']}"
    if source.get("variable"):
        given = variables.get(source["variable"])
        return (None if given is None or given == "" else str(given)), f"variable {source['variable']}"
    return None, "random"


def _unset(place: Key, source: Mapping[str, Any]) -> Fault:
    if source.get("environment"):
        variable = source["environment"]
        return Fault(
            "value-not-set",
            place,
            f"the environment variable {variable} is not set",
            f"export {variable}=…, then run again",
        )
    variable = source["variable"]
    return Fault(
        "value-not-set",
        place,
        f"the variable {variable} is not set",
        f"-e @secrets.yml, a vault file that sets {variable}",
    )
