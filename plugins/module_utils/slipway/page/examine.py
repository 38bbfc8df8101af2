"""Hold values, or a whole page, against the model and against checks: the settings, or all that is wrong with them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .addresses import fitting
from .environment import read_settings
from .form import Fault, plain
from .model import FORM, Settings, works
from .read import SETTINGS, Key, Page, Problem, SettingsError, holds_a_secret, texts

_TEMPLATE = re.compile(r"\{[{%#]")


@dataclass(frozen=True)
class Report:
    """Result of looking at a set of values; ``settings`` is None when a value is wrong in itself."""

    settings: Settings | None
    problems: list[Problem]
    warnings: list[Problem]

    def accepted(self) -> Settings:
        """Give the settings, or raise ``SettingsError`` with every problem."""
        if self.problems or self.settings is None:
            raise SettingsError(self.problems)
        return self.settings


Check = Callable[[Settings, frozenset[str]], Iterator[Fault]]


def examine(
    values: Mapping[str, Any],
    page: Page | None = None,
    *,
    complete: bool = False,
    check: Check | None = None,
) -> Report:
    """Hold ``values`` (the ``cluster_*`` keys) against the model and against ``check``.

    ``page`` tells file and line of the values that are on it; others are said to come from -e or the inventory.
    ``complete``: a key that is missing is a problem (else it has its default). ``check`` gets settings in which every
    wrong key has its default, and the names of those keys, and yields faults.
    """
    given = plain(values)
    faults = list(_secrets(given, page))
    wrong: set[str] = set()
    try:
        settings = Settings.model_validate(given)
    except ValidationError as exc:
        errors = exc.errors(include_url=False)
        wrong = {str(error["loc"][0]) for error in errors}
        settings = Settings.model_validate({key: value for key, value in given.items() if key not in wrong})
        faults += [_fitted(FORM.fault(error), error["input"], settings) for error in errors]
    if page is not None:
        faults += FORM.misread(given, page, faults)
        faults += _templates(given, page, faults)
    if complete:
        missing = [key for key in Settings.model_fields if key not in given]
        faults += [Fault("missing-key", (key,), "is set nowhere", works((key,))) for key in missing]
    if check:
        faults += check(settings, frozenset(wrong))
    problems = [*(page.problems if page else []), *FORM.placed(faults, given, page)]
    problems.sort(key=lambda problem: (problem.line or sys.maxsize, problem.key))
    return Report(None if problems else settings, problems, FORM.placed(faults, given, page, warning=True))


def examine_page(path: Path, *, check: Check | None = None, provider: str | None = None) -> Report:
    """Read the page at ``path`` and examine it with what the environment says; ``provider`` overrules both."""
    page = read_settings(path)
    return examine(
        page.values if provider is None else {**page.values, "cluster_provider": provider}, page, check=check
    )


def _secrets(values: dict[str, Any], page: Page | None) -> Iterator[Fault]:
    if page is None:
        return
    for key, text in texts(page.values, ()):
        if holds_a_secret(text) and values.get(str(key[0])) == plain(page.values.get(str(key[0]))):
            what = "a secret does not belong on the page, which is committed"
            if page.comes_from(key):
                what = "a secret does not belong into a setting, which runs show and write into their logs"
            yield Fault("secret-on-page", key, what, _without(key))


def _fitted(fault: Fault, value: Any, settings: Settings) -> Fault:
    """Put an address or network that fits the rest of the page in the place of the example."""
    better = fitting(fault.key, value, settings)
    return replace(fault, works=works(*better)) if better else fault


def _templates(values: dict[str, Any], page: Page, faults: list[Fault]) -> Iterator[Fault]:
    """Ansible would work them out, and run what they say; others who read the page would not."""
    known = {fault.key for fault in faults}
    for key, text in texts(page.values, ()):
        top = str(key[0])
        if _TEMPLATE.search(text) and key not in known and values.get(top) == plain(page.values.get(top)):
            yield Fault("template-on-page", key, SETTINGS.no_template, works(key))


def _without(key: Key) -> str:
    if key[0] == "cluster_ssh_keys":
        return "the public half of the key: ~/.ssh/id_ed25519.pub"
    return f"{key[0]} in a vault file: -e @secrets.yml"
