"""The keys of what pods use beside their image: secrets and volumes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..page.form import Map, WrongError, setting
from .keys import LABEL_RULE, Label, Variable
from .values import LABEL, Folder, Memory, Registry

# As Kubernetes has them: files of credentials begin with a dot.
SecretEntry = Annotated[str, Field(pattern=r"^\.?[A-Za-z0-9_-][A-Za-z0-9_.-]*$", max_length=253)]
SecretType = Annotated[
    str, Field(pattern=rf"^(Opaque|({LABEL}(\.{LABEL})*/)?[A-Za-z0-9][A-Za-z0-9_.-]*)$", max_length=253)
]
# What the cluster makes, or a node asks for, itself.
_OF_THE_CLUSTER = ("kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token")


class Source(Map):
    """Where a secret value comes from; it is never on the page."""

    environment: Variable | None = setting(
        None, "An environment variable of the machine that runs Ansible.", example="API_TOKEN", rule="must be a name"
    )
    variable: Variable | None = setting(
        None, "A variable of Ansible, from a vault file (-e @secrets.yml).", example="api_token", rule="must be a name"
    )
    random: bool = setting(False, "If there is no other value: make a random value once, and keep it.", example=True)

    @model_validator(mode="after")
    def _somewhere(self) -> Source:
        if self.environment and self.variable:
            raise WrongError("needs-one-of", "must have one of environment and variable")
        if not (self.environment or self.variable or self.random):
            raise WrongError("needs-one-of", "must have environment, variable or random: true")
        return self


class Secret(Map):
    """A Secret: made of values from elsewhere, the credentials of a registry, or there already."""

    keys: dict[SecretEntry, Source] = setting(
        {}, "Its keys, and where each value comes from.", example={"TOKEN": {"environment": "API_TOKEN"}},
        rule="must be the key of a Secret",
    )  # fmt: skip
    type: SecretType = setting(
        "Opaque",
        "Type of the Secret. kubernetes.io/tls needs the keys tls.crt and tls.key.",
        example="kubernetes.io/tls",
        rule="must be the type of a Secret, such as kubernetes.io/tls",
    )
    registry: Registry | None = setting(
        None,
        "A registry: the Secret holds its credentials, instead of keys. All pods of the release pull with it.",
        example="ghcr.io",
    )
    user: str | None = setting(None, "User at the registry.", example="deploy-bot", min_length=1)
    password: Source | None = setting(
        None, "Where the password or token for the registry comes from.", example={"environment": "REGISTRY_TOKEN"}
    )
    existing: bool = setting(
        False, "Does the Secret exist in the namespace already, made by another owner?", example=True
    )

    @model_validator(mode="after")
    def _one_origin(self) -> Secret:
        if (self.existing, bool(self.keys), self.registry is not None).count(True) != 1:
            raise WrongError("needs-one-of", "must have one of keys, registry, and existing: true")
        if self.type in _OF_THE_CLUSTER:
            raise WrongError("keys-contradict", f"is {self.type}, which only the cluster itself makes")
        if (self.user is not None) != bool(self.registry) or (self.password is not None) != bool(self.registry):
            raise WrongError("keys-contradict", "must have registry, user and password together, or none of them")
        if self.password and self.password.random:
            raise WrongError("keys-contradict", "has a random password, which no registry knows")
        if self.type != "Opaque" and not self.keys:
            raise WrongError("keys-contradict", "has a type, which is for keys")
        return self


ClaimName = Annotated[str, Field(pattern=rf"^{LABEL}(\.{LABEL})*$", max_length=253)]


class Volume(Map):
    """Storage that services can mount: a claim, a folder of the node, or room that goes with the pod."""

    size: Memory | None = setting(
        None, "Size of a PersistentVolumeClaim. The claim stays when its pods are deleted.", example="1Gi"
    )
    storage_class: Label | None = setting(
        None,
        "StorageClass of the claim. By default the default StorageClass of the cluster.",
        example="local-path",
        rule=LABEL_RULE,
    )
    access: Literal["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany", "ReadWriteOncePod"] = setting(
        "ReadWriteOnce",
        "Access mode of the claim. ReadWriteOnce: pods of one node; ReadWriteMany: of all nodes; ReadOnlyMany: of all "
        "nodes, to read; ReadWriteOncePod: one pod.",
        example="ReadWriteOnce",
    )
    per_pod: bool = setting(
        False, "A claim of its own for each pod of a stateful service? It stays when its pod is deleted.", example=True
    )
    claim: ClaimName | None = setting(
        None, "An existing PersistentVolumeClaim of the namespace. Its owner keeps it.", example="old-data",
        rule="must be the name of a claim: lower-case letters, digits, hyphens and dots",
    )  # fmt: skip
    host_path: Folder | None = setting(
        None, "A folder of the node. It must be there, unless create is true.", example="/mnt/shared"
    )
    create: bool = setting(
        False,
        "Make the folder of host_path on a node that does not have it? A new folder belongs to the user of the first "
        "pod.",
        example=True,
    )
    read_only: bool = setting(False, "May pods only read it?", example=True)
    temporary: Memory | None = setting(None, "Size of a temporary volume. It is deleted with the pod.", example="64Mi")

    @model_validator(mode="after")
    def _one_kind(self) -> Volume:
        if sum(item is not None for item in (self.size, self.claim, self.host_path, self.temporary)) != 1:
            raise WrongError("needs-one-of", "must have one of size, claim, host_path and temporary")
        if self.per_pod and not self.size:
            raise WrongError("keys-contradict", "has per_pod, which is for a size", {"size": "1Gi", "per_pod": True})
        if self.create and not self.host_path:
            raise WrongError("keys-contradict", "has create, which is for a host_path")
        if self.claim and self.storage_class:
            raise WrongError("keys-contradict", "has a storage_class, and the claim is there with its own")
        return self
