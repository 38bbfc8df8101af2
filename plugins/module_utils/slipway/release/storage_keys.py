"""The keys of what pods use beside their image: secrets and volumes."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from ..page.form import Map, WrongError, setting
from .keys import LABEL_RULE, Label, Variable
from .values import Folder, Memory


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
    """A Secret: made of values from elsewhere, or there already."""

    keys: dict[Variable, Source] = setting(
        {}, "Its keys, and where each value comes from.", example={"TOKEN": {"environment": "API_TOKEN"}},
        rule="must be the key of a Secret",
    )  # fmt: skip
    existing: bool = setting(
        False, "Does the Secret exist in the namespace already, made by another owner?", example=True
    )

    @model_validator(mode="after")
    def _one_origin(self) -> Secret:
        if self.existing == bool(self.keys):
            raise WrongError("needs-one-of", "must have either keys or existing: true")
        return self


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
    access: Literal["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"] = setting(
        "ReadWriteOnce",
        "Access mode of the claim: ReadWriteOnce, ReadWriteMany or ReadOnlyMany.",
        example="ReadWriteOnce",
    )
    host_path: Folder | None = setting(None, "A folder of the node.", example="/mnt/shared")
    temporary: Memory | None = setting(None, "Size of a temporary volume. It is deleted with the pod.", example="64Mi")

    @model_validator(mode="after")
    def _one_kind(self) -> Volume:
        if sum(item is not None for item in (self.size, self.host_path, self.temporary)) != 1:
            raise WrongError("needs-one-of", "must have one of size, host_path and temporary")
        return self
