"""Authorities that the mesh trusts for hosts outside: files in a ConfigMap, mounted into the proxies of pods."""

from __future__ import annotations

import json
from collections.abc import Mapping

from .outside_keys import Outside

FOLDER = "/etc/slipway/authorities"
_VOLUME = "slipway-authorities"


def files(outside: Mapping[str, Outside]) -> dict[str, str]:
    """Give the files that a page names, by name."""
    return {_file(host): given.ca for host, given in outside.items() if given.ca}


def path(host: str) -> str:
    """Say where a proxy has the file of a host."""
    return f"{FOLDER}/{_file(host)}"


def mounting(name: str) -> dict[str, str]:
    """Give the annotations by which a pod's proxy gets the files of the ConfigMap ``name``."""
    volume = {_VOLUME: {"configMap": {"name": name}}}
    mount = {_VOLUME: {"mountPath": FOLDER, "readOnly": True}}
    return {
        "sidecar.istio.io/userVolume": json.dumps(volume, sort_keys=True),
        "sidecar.istio.io/userVolumeMount": json.dumps(mount, sort_keys=True),
    }


def _file(host: str) -> str:
    return f"{host}.pem"
