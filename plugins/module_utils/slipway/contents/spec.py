"""Read the page of a release whose objects come as they are, and say everything that is wrong with it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..page.form import Fault, plain
from ..page.read import Page, Problem, SettingsError, read_page
from ..release.model import Release
from ..release.spec import PAGE, SUBJECT, secrets_on
from . import oci
from .keys import FORM, ORIGINS, Contents

# What a run may put in the place of the page's own; mail is for pages that have it.
OVERRIDES = ("name", "namespace", "adopt")
_IN_CHART = ("hosts", "weights")


@dataclass(frozen=True)
class Spec:
    """A release as it was read: the page, the values used (``given``), and the model."""

    page: Page
    given: dict[str, Any]
    release: Contents

    @property
    def folder(self) -> Path:
        """Folder that the page's paths count from."""
        return self.page.path.resolve().parent

    def problems(self, faults: Iterable[Fault]) -> list[Problem]:
        """Give faults found later their place on the page."""
        return FORM.placed(faults, self.given, self.page)

    def refuse(self, faults: Iterable[Fault]) -> None:
        """Raise ``SettingsError`` with the faults, if there are any."""
        problems = self.problems(faults)
        if problems:
            raise SettingsError(problems, SUBJECT)


def is_of_contents(path: Path | str) -> bool:
    """Tell whether a page has a chart, manifests or a kustomization; one that cannot be read has none."""
    return any(key in read_page(Path(path), PAGE).values for key in ORIGINS)


def load(path: Path | str, overrides: Mapping[str, Any] | None = None) -> Spec:
    """Read the page at ``path``, with ``overrides`` in the place of its own. Raises ``SettingsError``."""
    page = read_page(Path(path), PAGE)
    page.lines[()] = 1
    # An empty one is none, and adopt: false is not the wish to be stricter than the page.
    other = {key: value for key, value in plain(overrides or {}).items() if value}
    given = {**page.values, **{key: value for key, value in other.items() if key in OVERRIDES}}
    faults = [*_foreign(other), *_one_origin(given), *_of_services(given), *secrets_on(page)]
    release = None
    known = {key: value for key, value in given.items() if not any(fault.key == (key,) for fault in faults)}
    try:
        release = Contents.model_validate(known)
    except ValidationError as exc:
        faults += [FORM.fault(error, given, page) for error in exc.errors(include_url=False)]
    if release and release.chart and oci.is_one(release.chart.path):
        faults += oci.faults(release.chart.path)
    faults += FORM.misread(given, page, faults)
    problems = [*page.problems, *FORM.placed(faults, given, page)]
    if problems or release is None:
        problems.sort(key=lambda problem: (problem.line or sys.maxsize, problem.key))
        raise SettingsError(problems, SUBJECT)
    return Spec(page, given, release)


def _foreign(overrides: Mapping[str, Any]) -> Iterable[Fault]:
    for name in overrides:
        if name in _IN_CHART:
            what = "cannot be set by -e: the contents of this release say it"
            yield Fault("override-unknown", (name,), what, "the value of the chart that says it, in chart.set")


def _one_origin(given: Mapping[str, Any]) -> Iterable[Fault]:
    """Refuse several, and one that is empty."""
    first, *others = (key for key in ORIGINS if key in given)
    for key in others:
        yield Fault("needs-one-of", (key,), f"stands beside {first}: a release has one of the two", f"a page for {key}")
    if not given[first]:
        yield Fault("empty-value", (first,), "must not be empty", FORM.works((first,)))


def _of_services(given: Mapping[str, Any]) -> Iterable[Fault]:
    named = next(key for key in ORIGINS if key in given)
    for key in given:
        if key in Release.model_fields and key not in Contents.model_fields:
            what = f"is for releases of services; with {named} the contents say it themselves"
            yield Fault("not-of-contents", (key,), what, f"this page without {key}, or without {named}")
