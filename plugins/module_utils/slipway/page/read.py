"""Read a page (YAML) together with the line of every key: the settings of a cluster, or a release.

The file is read as Ansible reads it (PyYAML, YAML 1.1), so that ``yes`` or ``1.37`` mean the same to both.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..errors import SlipwayError, marked

Key = tuple[str | int, ...]

# A loader of its own, so that nobody else's gets what is added to it.
_Loader: Any = type("_Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})
_SECRET_NAME = re.compile(r"pass(word|wd|phrase)?$|secret|token|credential", re.IGNORECASE)
# What only private keys and shared secrets have, written as JSON Web Keys.
PRIVATE_PARTS = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
# Up to the last @: a password may have one in it.
_URL_PASSWORD = re.compile(r"://[^/\s]+@")
_LOOKS_SECRET = re.compile(r"pass|secret|token|credential|vault|private|[\w+/=]{24}", re.IGNORECASE)
_SHOWN_LENGTH = 100
# More keys than any page has; aliases of aliases reach any number in a few lines.
_MOST_KEYS = 200_000
_MERGE = "tag:yaml.org,2002:merge"
# Where the parser notices that these do not end is of no use; they began on the line of the mistake.
_BEGAN_BEFORE = ("while scanning a simple key", "while scanning a quoted scalar")


class _TooManyError(yaml.MarkedYAMLError):
    """A page with more keys than any page has."""


class Respelt(int):
    """A whole number that the page writes another way (``0755``, ``12:30``, ``1_000``), with its ``text``."""

    text: str

    @property
    def meant(self) -> int | None:
        """What somebody means who writes this; None: what it is read as."""
        digits = self.text.replace("_", "")
        if ":" in digits:
            return int(digits.partition(":")[0])
        return int(digits) if re.fullmatch(r"[+-]?0[0-7]+", digits) else None


def _whole_number(loader: Any, node: Any) -> int:
    number = int(loader.construct_yaml_int(node))
    if node.value == str(number):
        return number
    respelt = Respelt(number)
    respelt.text = node.value
    return respelt


_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)


@dataclass(frozen=True)
class Sort:
    """A sort of page: what it is called, how one is named, an entry that would work, and why it takes no templates.

    Ansible itself reads one that is ``of_ansible``, too, and is stricter.
    """

    called: str
    named: str
    entry: str
    no_template: str
    of_ansible: bool = False


SETTINGS = Sort(
    "the page of settings",
    "SLIPWAY_PAGE=group_vars/all/cluster.yml",
    "cluster_name: slipway",
    "a template ({{ … }}) does not work here: Vagrant reads this page too",
    of_ansible=True,
)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: place, dotted key, value as shown, the rule that it breaks, and what would work.

    ``id`` names the rule, ``what`` says it.
    """

    id: str
    where: str
    key: str
    value: str
    what: str
    works: str
    line: int = 0

    def __str__(self) -> str:
        subject = ": ".join(part for part in (self.key, self.value) if part)
        return f"{marked(f'{self.where}: {subject}', self.id)}\n    {self.what}\n    would work: {self.works}"

    @property
    def sentence(self) -> str:
        """Say it on one line, without the value and what would work."""
        return marked(f"{self.where}: {self.key} {self.what}", self.id)


class SettingsError(SlipwayError):
    """Everything that is wrong with the settings, or another ``subject``, at once (``problems``).

    Each problem has its own id; the error has that of the first.
    """

    def __init__(self, problems: list[Problem], subject: str = "These settings") -> None:
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = "\n".join(str(problem) for problem in problems)
        super().__init__(problems[0].id, f"{subject} cannot work ({count}):\n{lines}")

    @property
    def message(self) -> str:
        """What is printed: every problem says its own id."""
        return self.text


@dataclass(frozen=True)
class Page:
    """A page as read: plain ``values``, the ``lines`` (from 1) of its keys, and what is wrong with it as a file.

    ``written`` is the text of each value that is neither a map nor a list, as the page has it. ``origins`` names where
    a key comes from that is not what the file says (a variable of the environment).
    """

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[Key, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    written: dict[Key, str] = field(default_factory=dict)
    origins: dict[Key, str] = field(default_factory=dict)

    def line(self, key: Key) -> int:
        """Find the line of ``key``, else of the nearest key above it; 0 when the file has neither."""
        for length in range(len(key), -1, -1):
            if key[:length] in self.origins:
                return 0
            if key[:length] in self.lines:
                return self.lines[key[:length]]
        return 0

    def comes_from(self, key: Key) -> str:
        """Name where ``key`` comes from when it is not what the file says; empty: it is."""
        return next((self.origins[key[:end]] for end in range(len(key), 0, -1) if key[:end] in self.origins), "")

    def where(self, key: Key) -> str:
        """Write ``file:line`` of ``key``; the file alone when the key is not in it; else where the key comes from."""
        if origin := self.comes_from(key):
            return origin
        line = self.line(key)
        return f"{shown_path(self.path)}:{line}" if line else shown_path(self.path)


def shown_path(path: Path) -> str:
    """Write a path as the user would type it from the current folder."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def dotted(key: Key) -> str:
    """Write a key as ``cluster_hosts[0].name``."""
    text = ""
    for part in key:
        name = part if part != "" else '""'
        text += f"[{name}]" if isinstance(part, int) else f".{name}" if text else str(name)
    return text


def flow(value: Any) -> str:
    """Write a value as it could stand on the page, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    if isinstance(value, str):
        return value if _is_plain(value) else "".join(map(_visible, json.dumps(value, ensure_ascii=False)))
    if isinstance(value, Respelt):
        return value.text
    return json.dumps(value, default=str)


def _visible(character: str) -> str:
    """Write what cannot be seen (a no-break space) as YAML and JSON take it in quotes."""
    code = ord(character)
    return character if character.isprintable() else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def odd_blank(text: str) -> str:
    """Name the first character of ``text`` that looks like a blank, or like nothing, and is neither; empty: none."""
    for character in text:
        if not character.isascii() and unicodedata.category(character) in ("Zs", "Zl", "Zp", "Cf", "Cc"):
            return f"a {unicodedata.name(character, 'control character').lower()} (U+{ord(character):04X})"
    return ""


def _is_plain(text: str) -> bool:
    """Tell whether YAML reads ``text`` as itself without quotes."""
    if not re.fullmatch(r"[\w./:@+~-]+", text):
        return False
    try:
        return bool(yaml.safe_load(text) == text)
    except (yaml.YAMLError, ValueError):
        return False


def names_a_secret(name: object) -> bool:
    """Tell whether a key looks as if it held a secret (``password``, ``…_token``)."""
    return bool(_SECRET_NAME.search(str(name)))


def may_be_a_name(value: object) -> bool:
    """Tell whether a value can be the name of something, and is too short for a key or a token."""
    return bool(re.fullmatch(r"[A-Za-z0-9._-]{1,63}", str(value))) and not re.search(r"[\w+/=]{24}", str(value))


def holds_a_secret(text: str) -> bool:
    """Tell whether a text is a private key, a vault text, or a URL with a password in it."""
    if "PRIVATE KEY" in text or text.startswith("$ANSIBLE_VAULT") or _URL_PASSWORD.search(text):
        return True
    return '"kty"' in text and any(f'"{name}"' in text for name in PRIVATE_PARTS)


def shown(value: Any) -> str:
    """Write a value for a message: shortened, and without what is secret in it."""
    text = flow(_without_secrets(value))
    return text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 1] + "…"


def shown_at(key: Key, value: Any) -> str:
    """Write the value of ``key`` for a message; a proxy without ``http://`` may have a password, too."""
    if "proxy" in str(key[0]) and isinstance(value, str) and "@" in value and "://" not in value:
        return "(not shown)"
    return shown(value)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        hidden = PRIVATE_PARTS if "kty" in value else ()
        return {
            k: "(not shown)" if k in hidden or names_a_secret(k) else _without_secrets(item)
            for k, item in value.items()
        }
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    if isinstance(value, str) and holds_a_secret(value):
        return _URL_PASSWORD.sub("://…@", value) if "://" in value else "(not shown)"
    return value


def texts(value: Any, key: Key) -> Iterator[tuple[Key, str]]:
    """Yield every text in ``value`` with its key."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from texts(item, (*key, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from texts(item, (*key, index))
    elif isinstance(value, str):
        yield key, value


def read_value(text: str) -> Any:
    """Read one value as the page has it. Raises ``yaml.YAMLError``, or ``ValueError`` for what looks like a number."""
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def read_page(path: Path, sort: Sort = SETTINGS) -> Page:
    """Read the page at ``path``. What is wrong with it as YAML is in ``problems``; raises when it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise SlipwayError(
            "unreadable-page",
            f"{shown_path(path)}: {sort.called} cannot be read ({reason}); "
            f"name a file that exists, for example {sort.named}",
        ) from exc
    page = Page(path)
    try:
        loader = _Loader(text)
        try:
            _read(loader, page, sort)
        finally:
            loader.dispose()
    except yaml.YAMLError as exc:
        page.problems.append(_yaml_problem(page, exc, sort, text))
    except RecursionError:
        what = "values lie too deep in each other"
        page.problems.append(Problem("too-deep", f"{shown_path(path)}:1", "the page", "", what, sort.entry, 1))
    return page


def _read(loader: Any, page: Page, sort: Sort) -> None:
    node = loader.get_single_node()
    if node is None or node.tag == "tag:yaml.org,2002:null":
        return
    if _walk(node, (), _Walk(page, sort, loader), frozenset()):
        page.values.update(loader.construct_document(node))


def _yaml_problem(page: Page, exc: yaml.YAMLError, sort: Sort, text: str) -> Problem:
    mark = getattr(exc, "problem_mark", None)
    if (getattr(exc, "context", None) or "").startswith(_BEGAN_BEFORE):
        mark = getattr(exc, "context_mark", None) or mark
    before = text[: getattr(exc, "position", 0)]
    line = mark.line + 1 if mark else before.count("\n") + 1
    what = getattr(exc, "problem", None) or " ".join(str(exc).split())
    error_id = "yaml-alias" if isinstance(exc, _TooManyError) else "yaml-syntax"
    if "!vault" in what:
        return _problem(
            "secret-on-page", page, (), line, "a secret does not belong on the page", "a vault file: -e @secrets.yml"
        )
    if "unhashable" in what:
        error_id, what = "template-on-page", sort.no_template
    # A name with one is read as a part of the text before it, so it may stand on any line from there on.
    first = min(line, getattr(getattr(exc, "context_mark", None), "line", line) + 1, max(1, line - 1))
    for number in range(first, line + 1):
        if odd := odd_blank(_at(text, number).partition(" #")[0]):
            what = f"has {odd}, which is no blank to YAML"
            return _problem("odd-blank", page, (), number, what, "plain blanks in its place", _line_of(text, number))
    works = 'one "key: value" per line, texts with odd characters in quotes'
    return _problem(error_id, page, (), line, f"not valid YAML: {what}", works, _line_of(text, line))


def _at(text: str, line: int) -> str:
    # As the parser counts them: str.splitlines() also ends a line where a form feed stands.
    lines = re.split(r"\r\n|[\r\n\x85\u2028\u2029]", text)
    return lines[line - 1] if 0 < line <= len(lines) else ""


def _line_of(text: str, line: int) -> str:
    """Give a line of the page for a message, unless it looks as if it held a secret."""
    found = _at(text, line).strip()
    return "" if _LOOKS_SECRET.search(found) else found[:_SHOWN_LENGTH]


def _problem(error_id: str, page: Page, key: Key, line: int, what: str, works: str, value: str = "") -> Problem:
    where = f"{shown_path(page.path)}:{line}" if line else shown_path(page.path)
    return Problem(error_id, where, dotted(key) or "the page", value, what, works, line)


@dataclass(frozen=True)
class _Walk:
    """What a walk over the nodes needs to know everywhere."""

    page: Page
    sort: Sort
    loader: Any

    def refuse(self, error_id: str, node: Any, key: Key, what: str, works: str, value: str = "") -> bool:
        """Note what is wrong with ``node``; the answer is that its values cannot be used."""
        self.page.problems.append(_problem(error_id, self.page, key, node.start_mark.line + 1, what, works, value))
        return False


def _walk(node: Any, key: Key, walk: _Walk, above: frozenset[int]) -> bool:
    """Note the line of every key below ``node``; False when the values cannot be used."""
    if id(node) in above:
        return walk.refuse("yaml-alias", node, key, "a YAML alias refers to itself", "the value written out")
    if len(walk.page.lines) > _MOST_KEYS:
        raise _TooManyError(problem=f"more than {_MOST_KEYS} values", problem_mark=node.start_mark)
    above |= {id(node)}
    if isinstance(node, yaml.MappingNode):
        fine = _walk_merged(node, key, walk)
        for name, item in node.value:
            fine = _walk_pair(name, item, key, walk, above) and fine
        return fine
    if not key:
        what = 'must be a map of settings, one "key: value" per line'
        return walk.refuse("not-a-map", node, key, what, walk.sort.entry)
    if isinstance(node, yaml.SequenceNode):
        fine = True
        for index, item in enumerate(node.value):
            walk.page.lines[(*key, index)] = item.start_mark.line + 1
            fine = _walk(item, (*key, index), walk, above) and fine
        return fine
    walk.page.written[key] = node.value
    try:
        walk.loader.construct_object(node)
    except (ValueError, ArithmeticError, AttributeError, LookupError) as exc:
        value = "(not shown)" if names_a_secret(key[-1]) else shown(node.value)
        what = f"cannot be read as the value that it looks like: {str(exc)[:60]}"
        return walk.refuse("unreadable-value", node, key, what, "a text in quotes", value)
    return True


def _merged(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield the names in a map with the node each stands in, those of the maps that it merges (``<<``) included."""
    for name, item in node.value:
        if name.tag == _MERGE:
            for part in item.value if isinstance(item, yaml.SequenceNode) else [item]:
                if isinstance(part, yaml.MappingNode):
                    yield from ((text, name) for text, _ in _merged(part))
        elif isinstance(name, yaml.ScalarNode):
            yield name.value, name


def _walk_merged(node: Any, key: Key, walk: _Walk) -> bool:
    """Bound what a map merges, and refuse what Ansible would: a name that comes with ``<<`` and once more."""
    if not any(name.tag == _MERGE for name, _ in node.value):
        return True
    seen: dict[str, Any] = {}
    for number, (text, name) in enumerate(_merged(node)):
        if number > _MOST_KEYS:
            raise _TooManyError(problem=f"more than {_MOST_KEYS} values", problem_mark=node.start_mark)
        if walk.sort.of_ansible and text in seen and _MERGE in (seen[text].tag, name.tag):
            own = name if seen[text].tag == _MERGE else seen[text]
            what = "comes with << twice" if own.tag == _MERGE else "is written here and comes with << as well"
            works = "this map written out, without <<"
            return walk.refuse(
                "duplicate-key", own, (*key, text), f"{what}, which Ansible takes for written twice", works
            )
        seen.setdefault(text, name)
    return True


def _walk_pair(name: Any, item: Any, key: Key, walk: _Walk, above: frozenset[int]) -> bool:
    if name.tag == _MERGE or not isinstance(name, yaml.ScalarNode):
        return True
    name.tag = "tag:yaml.org,2002:str"  # a key is its own text, also `no` and `1`
    inner = (*key, name.value)
    lines = walk.page.lines
    if inner in lines:
        what = f"written twice; the first one is on line {lines[inner]}"
        secret = not isinstance(item, yaml.ScalarNode) or names_a_secret(name.value) or holds_a_secret(item.value)
        value = "" if secret else item.value[:_SHOWN_LENGTH]
        walk.refuse("duplicate-key", name, inner, what, "one of the two lines, the other deleted", value)
    lines[inner] = name.start_mark.line + 1
    if odd := odd_blank(name.value):
        what = f"its name has {odd}, which is no blank to YAML"
        return walk.refuse("odd-blank", name, inner, what, "plain blanks in its place", shown(name.value))
    return _walk(item, inner, walk, above)
