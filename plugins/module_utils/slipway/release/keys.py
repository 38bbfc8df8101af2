"""What the keys of a release have in common: how names are written, and maps that may be written short."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from ..page.form import Map
from .values import LABEL

LABEL_RULE = "must be lower-case letters, digits and hyphens, at most 63 of them"
NAME_RULE = "must start with a letter and have only lower-case letters, digits and hyphens, at most 63"

Label = Annotated[str, Field(pattern=rf"^{LABEL}$", max_length=63)]
ObjectName = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$", max_length=63)]
Version = Annotated[str, Field(pattern=rf"^{LABEL}$", max_length=63)]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$", max_length=200)]


class Short(Map):
    """A map that may be written as the value of its one usual key, ``short``, alone."""

    short: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _written_short(cls, value: Any) -> Any:
        return value if isinstance(value, (dict, Map)) else {cls.short: value}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Say in the schema too that both ways work."""
        written = handler(core_schema)
        resolved = handler.resolve_ref_schema(written)
        whole = dict(resolved)
        short = {key: item for key, item in whole["properties"][cls.short].items() if key != "default"}
        resolved.clear()
        resolved.update(anyOf=[short, whole])
        return written
