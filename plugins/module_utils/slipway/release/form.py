"""The form of a release's page: its keys, and how to write a value that would work."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from ..page.form import Form
from .model import Release

FORM = Form(Release, absent="(missing)")
works = FORM.works


def near(name: str, known: Iterable[str]) -> str:
    """Give the known name nearest to ``name``, else the first."""
    all_known = list(known)
    return (difflib.get_close_matches(name, all_known, n=1, cutoff=0.4) or all_known)[0]
