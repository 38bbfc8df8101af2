"""Credentials of registries and Secrets of a type: what Kubernetes asks of their keys, and what a kubelet reads."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..page.form import Fault
from .model import Release
from .shape import Shape
from .storage_keys import Secret

OPAQUE = "Opaque"
DOCKER = "kubernetes.io/dockerconfigjson"
DOCKER_KEY = ".dockerconfigjson"
_OLD_DOCKER = "kubernetes.io/dockercfg"
# Keys that a Secret of a type must have: all of a list, else the API server refuses it.
NEEDED: dict[str, tuple[str, ...]] = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/basic-auth": ("username", "password"),
    DOCKER: (DOCKER_KEY,),
    _OLD_DOCKER: (".dockercfg",),
}
# The registry that an image without one is from, and the name under which clients keep its password.
_HUB, _HUB_KEPT = "docker.io", "https://index.docker.io/v1/"


def kind(secret: Secret) -> str:
    """Give the type of a Secret."""
    return DOCKER if secret.registry else secret.type


def content(server: str, user: str, password: str) -> str:
    """Write credentials as a kubelet reads them."""
    auth = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
    kept = {"username": user, "password": password, "auth": auth}
    return json.dumps({"auths": {_kept(server): kept}}, sort_keys=True)


def password(data: Mapping[str, str], server: str) -> str | None:
    """Give the password for a registry that a Secret's data (base64) holds; None: it holds none."""
    try:
        held = json.loads(base64.b64decode(data[DOCKER_KEY]))["auths"][_kept(server)]["password"]
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None
    return held if isinstance(held, str) else None


def _kept(server: str) -> str:
    return _HUB_KEPT if server == _HUB else server


def registry_of(image: str) -> str:
    """Give the registry that an image is pulled from."""
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else _HUB


def pulling(release: Release) -> list[str]:
    """Name the Secrets that pods pull their images with: those of the page's list, then its registries."""
    own = [name for name, secret in release.secrets.items() if secret.registry]
    return list(dict.fromkeys([*release.image_pull_secrets, *own]))


def keys_fit(shape: Shape) -> Iterator[Fault]:
    """Refuse a Secret that lacks a key of its type."""
    for name, secret in shape.release.secrets.items():
        needed = NEEDED.get(secret.type, ())
        missing = next((key for key in needed if key not in secret.keys), "")
        if missing and not secret.existing and not secret.registry:
            what = f"is {secret.type}, which must have the key {missing}"
            keys = ", ".join(f"{key}: {{environment: {_variable(name, key)}}}" for key in needed)
            yield Fault("secret-type-keys", ("secrets", name), what, f"keys: {{{keys}}}, or no type")


def _variable(name: str, key: str) -> str:
    text = f"{name}_{key.strip('.')}".upper()
    return "".join(letter if letter.isalnum() else "_" for letter in text)


def pulls_fit(shape: Shape) -> Iterator[Fault]:
    """Warn of pull secrets that no kubelet reads, and of registries that no image is from."""
    release = shape.release
    used: dict[str, str] = {}
    for declared in release.services.values():
        for own in declared.versions.values():
            image = own.image or declared.image or ""
            used.setdefault(registry_of(image), image)
    for index, name in enumerate(release.image_pull_secrets):
        secret = release.secrets.get(name)
        if secret and not secret.existing and kind(secret) not in (DOCKER, _OLD_DOCKER):
            what = f"{name} is {secret.type}, and kubelets read credentials only from {DOCKER}"
            registry = next(iter(used), "ghcr.io")
            fix = f"secrets: {{{name}: {{registry: {registry}, user: bot, password: {{environment: REGISTRY_TOKEN}}}}}}"
            yield Fault("pull-secret-type", ("image_pull_secrets", index), what, fix, warning=True)
    for name, secret in release.secrets.items():
        if secret.registry and secret.registry not in used:
            what = f"is {secret.registry}, and no image of this page is from there"
            key = ("secrets", name, "registry")
            yield Fault("registry-without-image", key, what, f"registry: {next(iter(used))}", warning=True)


def planned(secret: Secret) -> dict[str, Any]:
    """Give what a plan says of a Secret's type, and of its registry."""
    made: dict[str, Any] = {"type": kind(secret)}
    if secret.registry:
        made["registry"] = {"server": secret.registry, "user": secret.user}
    return made
