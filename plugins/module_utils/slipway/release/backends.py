"""Where HTTPRoutes of a release lead: to a Service of each version, because the Gateway API has no subsets. Pure.

Such a Service is called ``<service>--<version>``. By that name role ``monitoring`` and all that reads routes know the
service and the version, as they know them by the subset of another route.
"""

from __future__ import annotations

from ..contents import gateway_api
from .render import Object

KIND = "HTTPRoute"
# The Gateway of role istio.
GATEWAY = gateway_api.HOME
HTTPS = 443
BETWEEN = "--"


def listener(port: int) -> str:
    """Name a listener of the Gateway, as role istio does."""
    return f"{'https' if port == HTTPS else 'http'}-{port}"


def backend(service: str, version: str) -> str:
    """Name the Service of one version that routes lead to; ``service`` is the name of the Service for all."""
    return f"{service}{BETWEEN}{version}"


def versioned(name: str) -> tuple[str, str]:
    """Give the Service and the version that a ``backend`` is of; of another Service no version."""
    service, _, version = name.partition(BETWEEN)
    return service, version


def seen(item: Object, domain: str) -> Object:
    """Read an HTTPRoute of a release as the VirtualService that would do the same, subsets named."""
    made = gateway_api.as_route(item, [GATEWAY], domain)
    for rule in made["spec"]["http"]:
        for to in [*rule["route"], *rule.get("mirrors", [])]:
            name, _, rest = to["destination"]["host"].partition(".")
            service, version = versioned(name)
            to["destination"] |= {"host": f"{service}.{rest}", **({"subset": version} if version else {})}
    return made


def ports(item: Object) -> dict[int, bool]:
    """Give the ports that an HTTPRoute is for, and whether it answers there or only sends clients to https."""
    rules = item["spec"].get("rules") or []
    answers = any(rule.get("backendRefs") for rule in rules)
    named = [str(one.get("sectionName") or "") for one in item["spec"].get("parentRefs") or []]
    return {int(name.rpartition("-")[2]): answers for name in named if name.rpartition("-")[2].isdecimal()}
