"""What the API server refuses of a plan, said of the page: file, line and key, where an object comes from one."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..cluster.holdups import hints
from ..page.form import Fault
from ..page.read import Key
from .form import FORM
from .spec import Spec

# What the message says is wrong of an object's kind, and the key of the page that it follows from.
_FIELDS: tuple[tuple[str, str, Key], ...] = (
    ("Deployment", r"resources", ("resources",)),
    ("Deployment", r"replicas", ("replicas",)),
    ("Deployment", r"\.image\b", ("image",)),
    ("Deployment", r"\.env(From)?\[", ("env",)),
    ("Deployment", r"Probe", ("probes",)),
    ("Deployment", r"[vV]olume", ("mounts",)),
    ("Deployment", r"containerPort|\.ports\[", ("port",)),
    ("Service", r"\.ports\[", ("port",)),
    ("ConfigMap", r"data", ("config",)),
)
# Objects that are made of one key and not found by their name.
_WHOLE: dict[str, Key] = {
    "PrometheusRule": ("alerts",),
    "AlertmanagerConfig": ("mail",),
    "Gateway": ("gateway",),
    "HTTPRoute": ("routes",),
    "EnvoyFilter": ("limits",),
    "Sidecar": ("egress",),
    "RequestAuthentication": ("jwt",),
}


def faults(refused: Mapping[str, tuple[int, str]], places: Mapping[str, Key], spec: Spec) -> list[Fault]:
    """Say of the page what was refused, by identity with status and message; what comes from nowhere is left out."""
    found = []
    for name, (status, said) in refused.items():
        if name in places:
            key = _key(name, said, places[name], spec)
            what = f"makes {name}, which the API server refuses ({status}): {' '.join(said.split())}"
            found.append(Fault("refused-by-api", key, what, _works(name, said, key, spec)))
    return found


def _key(name: str, said: str, place: Key, spec: Spec) -> Key:
    """Find the key that a refusal is about: the one of the field, at the version or at its service."""
    kind, own = name.partition("/")[0], name.rpartition("/")[2]
    if kind == "PersistentVolumeClaim" and own in spec.release.volumes:
        return ("volumes", own)
    if re.search(r"metadata\.name", said):
        return place
    if kind in _WHOLE and _WHOLE[kind] in spec.page.lines:
        return _WHOLE[kind]
    above = place[: place.index("names")] if "names" in place else place
    kind = "Deployment" if kind == "StatefulSet" else kind
    for of, pattern, inner in _FIELDS:
        if of == kind and re.search(pattern, said):
            for upper in (above, above[:2]):
                if (*upper, *inner) in spec.page.lines:
                    return (*upper, *inner)
    return above or place


def _works(name: str, said: str, key: Key, spec: Spec) -> str:
    found = next(hints(said, spec.release.namespace or spec.release.name), "")
    if found:
        return found
    if name.startswith("PersistentVolumeClaim/"):
        return f"{key[-1]} as it was made, or {key[-1]}-2: {{…}}, which is another claim and begins empty"
    return FORM.works(key) if key[-1] in ("replicas", "port") else _asked(said)


def _asked(said: str) -> str:
    """Give what the message itself asks for, else where to look."""
    match = re.search(r"(?:must|should|may|can not|cannot|expected)\b[^;]*", said)
    return f"a value for which that holds: {match[0].strip()}" if match else "without this key, or another value of it"
