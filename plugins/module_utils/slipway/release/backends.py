"""Where HTTPRoutes of a release lead: to a Service of each version, because the Gateway API has no subsets. Pure.

Such a Service is called ``<service>--<version>``. By that name role ``monitoring`` and all that reads routes know the
service and the version, as they know them by the subset of another route.
"""

from __future__ import annotations

from collections.abc import Callable

from ..contents import gateway_api
from ..mesh.manifests import TLS_PORTS
from .render import Object

KIND = "HTTPRoute"
# The Gateway of role istio.
GATEWAY = gateway_api.HOME
HTTPS = 443
BETWEEN = "--"


def listener(port: int) -> str:
    """Name a listener of the Gateway, as role istio does."""
    return f"{'https' if port in TLS_PORTS else 'http'}-{port}"


def backend(service: str, version: str) -> str:
    """Name the Service of one version that routes lead to; ``service`` is the name of the Service for all."""
    return f"{service}{BETWEEN}{version}"


def versioned(name: str) -> tuple[str, str]:
    """Give the Service and the version that a ``backend`` is of; of another Service no version."""
    service, _, version = name.partition(BETWEEN)
    return service, version


def is_one(service: Object) -> bool:
    """Tell whether a Service is one of one version that HTTPRoutes lead to."""
    return BETWEEN in service["metadata"]["name"]


def own_ports(service: Object) -> list[Object]:
    """Give the ports of a Service that is there, as they are applied."""
    keys = ("name", "appProtocol", "port", "targetPort", "protocol")
    return [{key: port[key] for key in keys if key in port} for port in service["spec"]["ports"]]


def seen(item: Object, domain: str) -> Object:
    """Read an HTTPRoute of a release as the VirtualService that would do the same, subsets named."""
    made = gateway_api.as_route(item, [GATEWAY], domain)
    for rule in made["spec"]["http"]:
        if len(rule["route"]) == 1:
            # All of it: of one destination the weight says nothing.
            del rule["route"][0]["weight"]
        for to in [*rule["route"], *rule.get("mirrors", [])]:
            name, _, rest = to["destination"]["host"].partition(".")
            service, version = versioned(name)
            to["destination"] |= {"host": f"{service}.{rest}", **({"subset": version} if version else {})}
    return made


def without_mirrors(item: Object, unwanted: Callable[[str, str], bool]) -> Object:
    """Give an HTTPRoute without the copies to what is ``unwanted``, by the name of the Service and the version."""

    def stays(one: Object) -> bool:
        return one["type"] != "RequestMirror" or not unwanted(*versioned(one["requestMirror"]["backendRef"]["name"]))

    before, rules = item["spec"].get("rules") or [], []
    for rule in before:
        kept = [one for one in rule.get("filters") or [] if stays(one)]
        bare = {key: value for key, value in rule.items() if key != "filters"}
        rules.append({**bare, "filters": kept} if kept else bare)
    return item if rules == before else {**item, "spec": {**item["spec"], "rules": rules}}


def unaccepted(item: Object) -> str:
    """Say why an HTTPRoute leads nobody yet, by what istiod says of its present generation; empty: it does."""
    generation = item["metadata"].get("generation", 0)
    said = {_parent(one.get("parentRef") or {}): one for one in (item.get("status") or {}).get("parents") or []}
    for parent in item["spec"]["parentRefs"]:
        conditions = (said.get(_parent(parent)) or {}).get("conditions") or []
        known = {one["type"]: one for one in conditions if one.get("observedGeneration", 0) >= generation}
        for kind in ("Accepted", "ResolvedRefs"):
            found = known.get(kind, {"message": "nobody says whether it is taken"})
            if found.get("status") != "True":
                return f"{parent.get('sectionName', parent['name'])}: {found.get('message') or found.get('reason')}"
    return ""


def _parent(one: Object) -> tuple[str, str, str]:
    return str(one.get("namespace", "")), str(one.get("name", "")), str(one.get("sectionName", ""))


def ports(item: Object) -> dict[int, bool]:
    """Give the ports that an HTTPRoute is for, and whether it answers there or only sends clients to https."""
    rules = item["spec"].get("rules") or []
    answers = any(rule.get("backendRefs") for rule in rules)
    named = [str(one.get("sectionName") or "") for one in item["spec"].get("parentRefs") or []]
    return {int(name.rpartition("-")[2]): answers for name in named if name.rpartition("-")[2].isdecimal()}
