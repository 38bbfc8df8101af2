"""What pages have in common: how a key is declared, and how what is wrong with one is said.

A page's model declares each key once, with ``setting``; ``Form`` turns what pydantic finds, and what checks yield, into
problems with file, line, key, value and a value that would work.
"""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from . import repairs
from .read import Key, Page, Problem, Respelt, dotted, flow, holds_a_secret, may_be_a_name, names_a_secret, shown_at

ELSEWHERE = "(from -e or inventory)"
_ABSENT = object()
# There is nothing on the page that the value could be made of, or it is the whole map that is wrong.
_NOTHING_OWN = ("missing", "list_type", "dict_type", "model_type", "too_short", "too_long", "string_too_short")
# The ids of what pydantic itself finds.
_IDS = {
    "missing": "missing-key",
    "extra_forbidden": "unknown-key",
    "literal_error": "not-one-of",
    "greater_than_equal": "too-small",
    "less_than_equal": "too-large",
    "too_short": "empty-value",
    "string_too_short": "empty-value",
    "too_long": "too-long",
    "string_too_long": "too-long",
    "string_pattern_mismatch": "wrong-form",
}
_SPELT = {"true": True, "yes": True, "True": True, "false": False, "no": False, "False": False}


def setting(
    default: Any, about: str, *, example: Any, unit: str = "", rule: str = "", names: str = "", **limits: Any
) -> Any:
    """Declare a key: ``about`` says what it does, ``unit`` what a number counts, ``rule`` what its pattern means.

    ``default`` is ``...`` for a key that must be written out. ``names`` says of what the value is the name, where the
    key looks as if it held a secret itself.
    """
    known = (("x-unit", unit), ("patternErrorMessage", rule), ("x-names", names))
    extra: dict[str, Any] = {name: text for name, text in known if text}
    description = f"{about} Unit: {unit}." if unit else about
    return Field(default, description=description, examples=[example], json_schema_extra=extra, **limits)


class WrongError(ValueError):
    """What a validator of a model says: the id of its rule, the rule in words, and a value that would work."""

    works: Any

    def __init__(self, error_id: str, what: str, works: Any = None) -> None:
        super().__init__(what)
        self.id = error_id
        if works is not None:
            self.works = works


class Map(BaseModel):
    """A map of settings: typed as written (no text for a number), and nothing unknown in it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


@dataclass(frozen=True)
class Fault:
    """What a check found: the id of the rule that is broken, the key, the rule in words, a value that would work.

    ``override`` says the same for -e, where key=value gives nothing but texts.
    """

    id: str
    key: Key
    what: str
    works: str
    warning: bool = False
    override: str = ""


def plain(value: Any) -> Any:
    """Copy into builtin types: Ansible's texts and lists are subclasses that carry their origin.

    A number that the page writes another way keeps its text, for messages.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Respelt):
        return value
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def map_of(declared: FieldInfo) -> type[BaseModel] | None:
    """Find the model of a key that is a map, a list of maps or a map of maps."""
    for kind in (declared.annotation, *get_args(declared.annotation)):
        for inner in (kind, *get_args(kind)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                return inner
    return None


def keys_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Give the keys of a map as they are written, each with its declaration."""
    return {declared.alias or name: declared for name, declared in model.model_fields.items()}


def choices(declared: FieldInfo | None) -> tuple[Any, ...]:
    """List what a key of fixed values takes."""
    return tuple(_literals(declared.annotation)) if declared else ()


def _literals(kind: Any) -> Iterator[Any]:
    if get_origin(kind) is Literal:
        yield from get_args(kind)
    else:
        for part in get_args(kind):
            yield from _literals(part)


def _is_map_by_name(declared: FieldInfo) -> bool:
    """Tell whether the keys below are names that the user chose."""
    return any(get_origin(kind) is dict for kind in (declared.annotation, *get_args(declared.annotation)))


@dataclass(frozen=True)
class Form:
    """A sort of page: its model, the prefix that its keys share, where a key that is no setting belongs.

    ``defaults`` gives the values of keys that are not on the page, ``absent`` is shown for the value of others.
    """

    model: type[BaseModel]
    prefix: str = ""
    home: str = ""
    defaults: Callable[[], dict[str, Any]] = field(default=dict)
    elsewhere: str = ELSEWHERE
    absent: str = ""

    def field_at(self, key: Key) -> FieldInfo | None:
        """Find the declaration of ``key``; of an element or of an entry under a chosen name, that of the whole."""
        return self._find(key)[0]

    def _find(self, key: Key) -> tuple[FieldInfo | None, Any]:
        """Find the declaration of ``key``, and an example for exactly this key."""
        model: type[BaseModel] | None = self.model
        found: FieldInfo | None = None
        example: Any = None
        by_name = False
        for part in key:
            if isinstance(part, int):
                continue
            if by_name:
                by_name = False
                if isinstance(example, dict) and example:
                    example = example.get(part, next(iter(example.values())))
            else:
                found = keys_of(model).get(part) if model else None
                model = map_of(found) if found else None
                by_name = bool(found and _is_map_by_name(found))
                example = found.examples[0] if found and found.examples else None
        return found, example

    def works(self, key: Key, value: Any = None) -> str:
        """Write a line that would work for ``key``: with ``value``, else with the model's example."""
        if value is None:
            value = self._find(key)[1]
        name = next(part for part in reversed(key) if isinstance(part, str))
        return f"{name}: {flow(value)}"

    def fault(self, error: Any, given: Mapping[str, Any] | None = None, page: Page | None = None) -> Fault:
        """Say in our own words what pydantic found. With what was ``given`` a fix is made of that where it can be."""
        found = self._fault(error)
        key, secret = found.key, holds_a_secret(str(error["input"]))
        named = error["loc"][-1:] == ("[key]",) or self._only_names(key, error["input"])
        secret = secret or (any(map(names_a_secret, key[-2:])) and not named)
        if given is None or not key or secret:
            return found
        if error["type"] == "extra_forbidden":
            near = self._nearest(key)
            own = near and repairs.moved(self.model, given, key, near)
            return replace(found, works=self.works((*key[:-1], near), repairs.value_at(given, key))) if own else found
        if error["type"] in _NOTHING_OWN:
            return found
        on_page = page is not None and key[0] in given and given[str(key[0])] is page.values.get(str(key[0]))
        works = self._own(key, error, given, page.written if page and on_page else {})
        return replace(found, works=works) if works else found

    def misread(self, given: Mapping[str, Any], page: Page, faults: Iterable[Fault] = ()) -> Iterator[Fault]:
        """Refuse numbers of the page that YAML reads as others (``010``, ``22:22``), unless ``faults`` do already."""
        known = [fault.key for fault in faults]
        for key, number in _respelt(page.values, ()):
            better = number.meant
            if better is None or given.get(str(key[0])) != page.values[str(key[0])]:
                continue
            if any(other[: len(key)] == key for other in known):
                continue
            changed = copy.deepcopy(dict(given))
            repairs.value_at(changed, key[:-1])[key[-1]] = better
            place = key[:-1] if isinstance(key[-1], int) else key
            fix = None if repairs.is_wrong(self.model, changed, key) else repairs.value_at(changed, place)
            base = "numbers with a colon in base 60" if ":" in number.text else "one with a 0 before it in base 8"
            yield Fault("misread-number", key, f"is read as {int(number)}: YAML takes {base}", self.works(place, fix))

    def _own(self, key: Key, error: Any, given: Mapping[str, Any], written: Mapping[Key, str]) -> str:
        """Make a line that would work, or a name, of what is there; empty where nothing comes of it."""
        if error["loc"][-1] == "[key]":
            name = repairs.renamed(self.model, given, key, str(_told(error) or ""))
            return flow(name) if name else ""
        key = repairs.stands(given, key)
        there = repairs.value_at(given, key)
        if not key or isinstance(there, (dict, list)) or (error["loc"][-1] == "image" and not isinstance(there, str)):
            return ""
        told = _told(error)
        if isinstance(key[-1], int):
            key, index = key[:-1], key[-1]
            if any(holds_a_secret(str(item)) for item in repairs.value_at(given, key)):
                return ""
            value = repairs.repaired_list(self.model, given, key, written, {index: told})
        else:
            value = repairs.repaired(self.model, given, key, written, choices(self.field_at(key)), told)
        return "" if value is None else self.works(key, value)

    def _fault(self, error: Any) -> Fault:
        key: Key = error["loc"]
        if error["type"] == "extra_forbidden":
            return self._unknown(key)
        if key and key[-1] == "[key]":
            return self._wrong_name(key[:-1], error)
        declared, example = self._find(key)
        error_id, what = _id(error), self._said(declared, error)
        value = error["input"]
        if not isinstance(value, str):
            return Fault(error_id, key, what, self._fix(key, error, example))
        spelt = _SPELT.get(value)
        if error["type"] == "literal_error" and spelt is not None and spelt in choices(declared):
            return Fault(
                error_id, key, f"{what}, without quotes", self.works(key, spelt), override=_as_json(key[0], spelt)
            )
        if error["type"] in ("int_type", "bool_type", "list_type", "dict_type", "model_type"):
            return Fault(error_id, key, what, self.works(key), override=_as_json(key[0], self._find(key[:1])[1]))
        return Fault(error_id, key, what, self._fix(key, error, example))

    def _fix(self, key: Key, error: Any, example: Any) -> str:
        """A validator of the model may name a value that fits better than the example."""
        if any(names_a_secret(part) for part in key[-2:]):
            return self.works(key, example)
        told = _told(error)
        return self.works(key, example if told is None else told)

    def _wrong_name(self, key: Key, error: Any) -> Fault:
        declared, _ = self._find(key[:-1])
        extra = declared.json_schema_extra if declared and isinstance(declared.json_schema_extra, dict) else {}
        example = self._find(key[:-1])[1]
        name = next(iter(example)) if isinstance(example, dict) and example else "name"
        said = str(error.get("ctx", {}).get("error") or "")
        what = said or str(extra.get("patternErrorMessage", "")) or str(error["msg"])
        error_id = _id(error) if error["type"] == "value_error" else "wrong-name"
        return Fault(error_id, key, f"the name {what}", flow(name))

    def _said(self, declared: FieldInfo | None, error: Any) -> str:
        extra = declared.json_schema_extra if declared and isinstance(declared.json_schema_extra, dict) else {}
        context = error.get("ctx", {})
        about = (declared.description or "").partition(" Unit: ")[0] if declared else ""
        inner = map_of(declared) if declared else None
        bound = next((context[name] for name in ("ge", "le", "gt", "lt") if name in context), "")
        limit = f"{bound if bound == '' else format(bound, 'g')} {extra.get('x-unit', '')}".strip()
        value = error["input"]
        pattern = str(extra.get("patternErrorMessage", "must be one word"))
        sayings = {
            "missing": f"is missing. {about}",
            "int_type": "must be a whole number" + (", without quotes" if isinstance(value, str) else ""),
            "bool_type": "must be true or false" + (", without quotes" if isinstance(value, str) else ""),
            "string_type": "must be a text" + (", in quotes" if isinstance(value, (int, float)) else ""),
            "list_type": "must be a list",
            "dict_type": "must be a map of names and values",
            "model_type": f"must be a map with {', '.join(keys_of(inner)) if inner else ''}",
            "literal_error": f"must be one of {', '.join(map(flow, choices(declared)))}",
            "greater_than_equal": f"must be at least {limit}. {about}",
            "less_than_equal": f"must be at most {limit}. {about}",
            "finite_number": "must be a number",
            "too_short": "must not be empty",
            "too_long": f"must have at most {context.get('max_length')} entries",
            "string_pattern_mismatch": pattern,
            "string_too_short": "must not be empty",
            "string_too_long": pattern,
            "value_error": str(context.get("error")),
        }
        return sayings.get(error["type"], str(error["msg"]))

    def _known(self, key: Key) -> list[str]:
        """List the keys that there are beside ``key``."""
        declared = self.field_at(key[:-1]) if len(key) > 1 else None
        return list(keys_of((map_of(declared) if declared else None) or self.model))

    def _nearest(self, key: Key) -> str:
        """Give the known key that is nearest to an unknown one; empty: none is near."""
        short = {item.removeprefix(self.prefix): item for item in self._known(key)}
        typed = str(key[-1]).removeprefix(self.prefix)
        near = difflib.get_close_matches(typed, short, n=1) or [item for item in short if item.startswith(typed)]
        return short[near[0]] if near else ""

    def _unknown(self, key: Key) -> Fault:
        """Name the known key that is nearest to an unknown one."""
        *above, name = key
        if names_a_secret(name):
            what = "is no setting; and a secret does not belong on this page"
            return Fault("secret-on-page", key, what, "a vault file: -e @secrets.yml")
        if nearest := self._nearest(key):
            return Fault(
                "unknown-key", key, f"is no setting; the nearest one is {nearest}", self.works((*above, nearest))
            )
        if self.home and not above and str(name).removeprefix(self.prefix) == name:
            return Fault("unknown-key", key, "is no setting, and this page holds nothing else", self.home)
        return Fault("unknown-key", key, "is no setting", f"one of {', '.join(self._known(key))}")

    def placed(
        self, faults: Iterable[Fault], given: dict[str, Any], page: Page | None, *, warning: bool = False
    ) -> list[Problem]:
        """Give faults (or warnings) their place and value, each once."""
        return [self._problem(fault, given, page) for fault in dict.fromkeys(faults) if fault.warning == warning]

    def _value(self, values: Any, key: Key) -> tuple[Any, str | int]:
        """Find the value at ``key`` and the name under which it stands: a map may be written as its usual value."""
        value, name = values, key[0]
        for index, part in enumerate(key):
            inner = _step(value, part)
            if inner is _ABSENT and not isinstance(value, (dict, list)) and self._is_short(key[:index], part):
                return value, name
            value, name = inner, part
        return value, name

    def _is_short(self, above: Key, part: str | int) -> bool:
        declared = self.field_at(above)
        return declared is not None and getattr(map_of(declared), "short", None) == part

    def _only_names(self, key: Key, value: Any) -> bool:
        """Tell whether a key takes the name of a Secret, not what it holds, and the value can be one."""
        declared, _ = self._find(key)
        extra = declared.json_schema_extra if declared and isinstance(declared.json_schema_extra, dict) else {}
        return bool(extra.get("x-names")) and may_be_a_name(value)

    def _problem(self, fault: Fault, given: dict[str, Any], page: Page | None) -> Problem:
        top = str(fault.key[0])
        defaults = self.defaults()
        value, name = self._value({**defaults, **given}, fault.key)
        hidden = names_a_secret(name) and value is not _ABSENT and not self._only_names(fault.key, value)
        text = self.absent if value is _ABSENT else "(not shown)" if hidden else shown_at(fault.key, value)
        on_page = plain({**defaults, **page.values}.get(top)) if page is not None else None
        # By their text, because a number that is none is not equal to itself.
        if page is not None and (top not in given or repr(plain(given[top])) == repr(on_page)):
            where, line = page.where(fault.key), page.line(fault.key)
            return Problem(fault.id, where, dotted(fault.key), text, fault.what, fault.works, line)
        return Problem(fault.id, self.elsewhere, dotted(fault.key), text, fault.what, fault.override or fault.works)


def _told(error: Any) -> Any:
    """Give the value that a validator of a model says would work; None: it says none."""
    return getattr(error.get("ctx", {}).get("error"), "works", None)


def _id(error: Any) -> str:
    """Name the rule that pydantic, or a validator of a model, found broken."""
    if error["type"] == "string_type" and isinstance(error["input"], (int, float)):
        return "needs-quotes"
    return str(getattr(error.get("ctx", {}).get("error"), "id", "")) or _IDS.get(error["type"], "wrong-type")


def _respelt(value: Any, key: Key) -> Iterator[tuple[Key, Respelt]]:
    """Yield every number of the page that is not written as it is shown."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield from _respelt(item, (*key, name))
    if isinstance(value, Respelt):
        yield key, value


def _as_json(key: str | int, value: Any) -> str:
    return f"-e '{json.dumps({str(key): value})}'"


def _step(value: Any, part: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(str(part), _ABSENT)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return _ABSENT
