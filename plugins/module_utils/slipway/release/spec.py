"""Read a release's page, and say everything that is wrong with it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..page.form import Fault, plain
from ..page.read import Page, Problem, SettingsError, Sort, holds_a_secret, read_page, texts
from . import dashboard_files
from .checks import examine
from .form import FORM
from .model import Release

PAGE = Sort(
    "the page of the release",
    "-e release=releases/sms-checker.yml",
    "name: hello",
    "a template ({{ … }}) does not work here; what changes from run to run comes by -e release_hosts and the like",
)
SUBJECT = "This release"
# What a run may put in the place of the page's own, as release_<name>.
OVERRIDES = ("name", "namespace", "hosts", "weights", "adopt", "mail")


@dataclass(frozen=True)
class Spec:
    """A release as it was read: the page, the values used (``given``), the model, warnings, files of dashboards."""

    page: Page
    given: dict[str, Any]
    release: Release
    warnings: list[Problem]
    files: dashboard_files.Files = field(default_factory=dict)

    def problems(self, faults: Iterable[Fault]) -> list[Problem]:
        """Give faults found later their place on the page."""
        return FORM.placed(faults, self.given, self.page)

    def refuse(self, faults: Iterable[Fault]) -> None:
        """Raise ``SettingsError`` with the faults, if there are any."""
        problems = self.problems(faults)
        if problems:
            raise SettingsError(problems, SUBJECT)


def load(path: Path | str, overrides: Mapping[str, Any] | None = None) -> Spec:
    """Read the page at ``path``, with ``overrides`` (name, namespace, hosts, weights, adopt) in the place of its own.

    ``mail`` stands for the keys that it has alone, and only where the page has mail.
    Raises ``SettingsError`` with every problem: file and line, key, value, and a value that would work.
    """
    page = read_page(Path(path), PAGE)
    if page.problems and not page.values:
        raise SettingsError(page.problems, SUBJECT)
    page.lines[()] = 1
    other = {key: value for key, value in plain(overrides or {}).items() if value is not None}
    if "mail" in other and isinstance(other["mail"], dict):
        own = page.values.get("mail")
        other["mail"] = {**own, **other["mail"]} if isinstance(own, dict) else own
    given = {**page.values, **{key: value for key, value in other.items() if value is not None}}
    faults = [*_foreign(other), *secrets_on(page)]
    release = None
    try:
        release = Release.model_validate(
            {key: value for key, value in given.items() if key not in other or key in OVERRIDES}
        )
    except ValidationError as exc:
        faults += [FORM.fault(error, given, page) for error in exc.errors(include_url=False)]
    faults += FORM.misread(given, page, faults)
    files: dashboard_files.Files = {}
    if release is not None:
        faults += examine(release)
        files, wrong = dashboard_files.read(release, Path(path).parent)
        faults += wrong
    problems = [*page.problems, *FORM.placed(faults, given, page)]
    if problems or release is None:
        problems.sort(key=lambda problem: (problem.line or sys.maxsize, problem.key))
        raise SettingsError(problems, SUBJECT)
    return Spec(page, given, release, FORM.placed(faults, given, page, warning=True), files)


def _foreign(overrides: Mapping[str, Any]) -> Iterable[Fault]:
    for name in overrides:
        if name not in OVERRIDES:
            yield Fault(
                "override-unknown",
                (name,),
                "cannot be set by -e",
                f"one of {', '.join(f'release_{key}' for key in OVERRIDES)}",
            )


def secrets_on(page: Page) -> Iterable[Fault]:
    """Find what looks like a secret on a page."""
    for key, text in texts(page.values, ()):
        if holds_a_secret(text):
            fix = "secrets: {api-token: {keys: {TOKEN: {environment: API_TOKEN}}}}"
            yield Fault("secret-on-page", key, "a secret does not belong on the page, which is committed", fix)
