"""What would work in the place of a value that does not, made of that value: tried on the model, never guessed.

A name with a dot becomes one with a hyphen, ``*.shop.local`` becomes ``shop.local``, ``0.5`` gets its quotes.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from .read import Key

_MOST = 300


def stands(given: Any, key: Key) -> Key:
    """Give the key under which a value is written: a map may stand as its usual value, a list as its only one."""
    value = given
    for index, part in enumerate(key):
        if isinstance(value, Mapping) and str(part) in value:
            value = value[str(part)]
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return key[:index]
    return key


def value_at(given: Any, key: Key) -> Any:
    """Give what stands at a key that is there."""
    for part in key:
        given = given[part if isinstance(given, list) else str(part)]
    return given


def is_wrong(model: type[BaseModel], given: Mapping[str, Any], key: Key) -> bool:
    """Tell whether the model finds anything at a key, or below it."""
    try:
        model.model_validate(given)
    except ValidationError as exc:
        return any(error["loc"][: len(key)] == key for error in exc.errors(include_url=False, include_context=False))
    return False


def repaired(
    model: type[BaseModel],
    given: Mapping[str, Any],
    key: Key,
    written: Mapping[Key, str],
    choices: tuple[Any, ...] = (),
    first: Any = None,
) -> Any:
    """Give a value that works at ``key``, made of the one that is there; None: none of those that come to mind does.

    ``written`` are the values as the page has them, ``choices`` those that the key takes, ``first`` is tried first.
    """
    changed = copy.deepcopy(dict(given))
    above, last = value_at(changed, key[:-1]), key[-1]
    near = _values(value_at(given, key), written.get(key), choices)
    for candidate in near if first is None else (first, *near):
        above[last] = candidate
        if not is_wrong(model, changed, key):
            return candidate
    return None


def repaired_list(
    model: type[BaseModel], given: Mapping[str, Any], key: Key, written: Mapping[Key, str], told: Mapping[Any, Any]
) -> Any:
    """Give the list at ``key`` with all of its items such that they work; None: one of them cannot be.

    ``told`` are values by index that are tried first.
    """
    items: list[Any] = []
    for index, item in enumerate(value_at(given, key)):
        place = (*key, index)
        wrong = is_wrong(model, given, place)
        made = repaired(model, given, place, written, first=told.get(index)) if wrong else item
        if made is None:
            return None
        if made not in items:
            items.append(made)
    return items


def renamed(model: type[BaseModel], given: Mapping[str, Any], key: Key, first: str = "") -> str:
    """Give a name that works in the place of the last part of ``key``; empty: none that comes to mind does."""
    *above, name = key
    names = value_at(given, tuple(above))
    for candidate in (first, *_texts(str(name))):
        if not candidate or candidate in names:
            continue
        changed = copy.deepcopy(dict(given))
        place = value_at(changed, tuple(above))
        place[candidate] = place.pop(str(name))
        if not is_wrong(model, changed, (*above, candidate, "[key]")):
            return candidate
    return ""


def moved(model: type[BaseModel], given: Mapping[str, Any], key: Key, name: str) -> bool:
    """Tell whether what stands at ``key``, a text, number or list, works under another ``name`` beside it."""
    changed = copy.deepcopy(dict(given))
    above = value_at(changed, key[:-1])
    if not isinstance(above, dict) or name in above or isinstance(above.get(str(key[-1]), {}), dict):
        return False
    above[name] = above.pop(str(key[-1]))
    return not is_wrong(model, changed, (*key[:-1], name))


def _values(value: Any, written: str | None, choices: tuple[Any, ...]) -> Iterator[Any]:
    if isinstance(value, str):
        texts = [choice for choice in choices if isinstance(choice, str)]
        yield from difflib.get_close_matches(value, texts, n=1)
        yield from _texts(value)
        with suppress(yaml.YAMLError, ValueError):
            # A number or a truth value that has quotes.
            unquoted = yaml.safe_load(value)
            yield from [unquoted] if isinstance(unquoted, (bool, int, float)) else []
    elif isinstance(value, (bool, int, float)):
        # YAML has taken it for something else; the page has the text.
        yield written if written is not None else str(value).lower() if isinstance(value, bool) else str(value)
        yield f"{value}s"


def _texts(text: str) -> Iterator[str]:
    """Give texts near to ``text``: what people write for addresses, for names, for paths, for values of a header."""
    text = text.strip()[:_MOST]
    if not text:
        return
    yield text
    if re.fullmatch(r"\d+(\.\d+)?", text):
        yield f"{text}s"
    yield text.lower()
    host = re.sub(r"^[a-z]+://", "", text.lower()).partition("/")[0].partition(":")[0]
    yield host.removeprefix("*.").strip(".")
    if not text.startswith("/"):
        yield f"/{text}"
        yield f"/{text}".rstrip("/")
    else:
        yield re.split(r"/?(?:[?#(\[]|\.?[*+])", text)[0] or "/"
    names = [re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-"), re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")]
    for name in names if text == text.lower() else reversed(names):
        yield from (name, name[:63].rstrip("-_"), name[:40].rstrip("-_"))
        if name[:1].isdigit():
            yield from (f"app-{name}", f"_{name}")
    yield plain_part(text)
    scheme = re.match(r"[a-z]+://", text.lower())
    yield (scheme[0] if scheme else "https://") + re.sub(r"^[a-z]+://", "", text.lower()).partition("/")[0]


def plain_part(pattern: str) -> str:
    """Give a text that a regular expression finds: without anchors, wildcards and all but the first alternative."""
    text = re.sub(r"\(\?[a-zA-Z:=!<]+", "(", pattern)
    text = re.sub(r"\(([^()|]*)\|[^()]*\)", r"\1", text).partition("|")[0]
    text = re.sub(r"\[([^\]^])[^\]]*\]|\\[dwsDWSbB]|\.[*+?]", r"\1", text)
    text = re.sub(r"\\(.)", r"\1", re.sub(r"\{\d*,?\d*\}|(?<!\\)[\^$*+?()]", "", text))
    return text.strip()
