"""The keys that all containers have: environment, mounts, resources."""

from __future__ import annotations

from pydantic import model_validator

from ..page.form import Map, WrongError, setting
from .keys import LABEL_RULE, Label, Short, Variable
from .values import Below, Cpu, Folder, Memory, Text


class Resources(Map):
    """What a container asks for, and may use at most."""

    cpu: Cpu = setting("50m", "CPU request. The default is never above cpu_limit.", example="50m")
    memory: Memory = setting("64Mi", "Memory request. The default is never above memory_limit.", example="64Mi")
    cpu_limit: Cpu | None = setting(None, "CPU limit.", example="500m")
    memory_limit: Memory | None = setting(None, "Memory limit.", example="256Mi")


class EnvValue(Short):
    """The value of an environment variable: a text, or where it comes from."""

    short = "value"

    value: Text | None = setting(None, "The value, as text.", example="debug")
    secret: Label | None = setting(
        None, "Name of an entry of secrets.", example="api-token", rule=LABEL_RULE, names="Secret"
    )
    key: Variable | None = setting(None, "Key in that Secret.", example="TOKEN", rule="must be the key of a Secret")
    field: str | None = setting(
        None,
        "Field of the pod.",
        example="metadata.name",
        pattern=r"^(metadata|spec|status)\.[\w.\[\]'/-]+$",
        rule="must be a field of the pod, such as metadata.name",
    )

    @model_validator(mode="after")
    def _one_source(self) -> EnvValue:
        given = [item is not None for item in (self.value, self.secret, self.field)]
        if sum(given) != 1 or (self.key is None) != (self.secret is None):
            raise WrongError("needs-one-of", "must have a value, or a secret with its key, or a field: one of them")
        return self


class Mount(Short):
    """Where an entry of volumes or secrets appears."""

    short = "path"

    path: Folder = setting(..., "Folder of the container.", example="/var/cache/app")
    sub_path: Below | None = setting(None, "A folder or file of the volume, instead of all of it.", example="models")
    read_only: bool = setting(False, "May the container only read it?", example=True)
