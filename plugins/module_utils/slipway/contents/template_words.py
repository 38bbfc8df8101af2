"""Functions of chart templates whose result is another one each time, and how their use is seen. Pure.

Whether a template comes to such a function depends on values. So each use is replaced by ``fail``, which takes one text
and ends the rendering where it is reached; Helm then says the place, and what stood there is known from here. What two
renderings show by themselves is replaced only to find its place: its value may go nowhere, as in ``default (uuidv4)``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

# What reads the cluster, what is made by chance, what reads the clock.
LOOKUP = ("lookup",)
RANDOM = (
    "randAlphaNum",
    "randAlpha",
    "randNumeric",
    "randAscii",
    "randBytes",
    "randInt",
    "shuffle",
    "uuidv4",
    "genPrivateKey",
    "genCAWithKey",
    "genCA",
    "genSelfSignedCertWithKey",
    "genSelfSignedCert",
    "genSignedCertWithKey",
    "genSignedCert",
    "bcrypt",
    "htpasswd",
    "encryptAES",
)
CLOCK = ("now", "ago")
OUTSIDE = ("getHostByName",)
# What may come out the same twice and yet be another one tomorrow.
ALWAYS = (*LOOKUP, *CLOCK, *OUTSIDE, "randInt", "shuffle")
ALL = (*LOOKUP, *RANDOM, *CLOCK, *OUTSIDE)
_ACTION = re.compile(r"\{\{-?\s*/\*.*?\*/\s*-?\}\}|\{\{.*?\}\}", re.DOTALL)
_PART = re.compile(
    r'"(?:\\.|[^"\\])*"|`[^`]*`|(?<![\w.$])(?P<word>' + "|".join(sorted(ALL, key=len, reverse=True)) + r")(?![\w])",
    re.DOTALL,
)
# Where Helm says that a template ended: `template: chart/templates/x.yaml:3:12: executing`.
_PLACE = re.compile(r"template: (?P<file>[^\s:]+):(?P<line>\d+)(?::\d+)?: executing")
_NESTED = re.compile(r"(?P<file>[\w./-]+\.(?:ya?ml|tpl|txt|json)):(?P<line>\d+):\d+")


@dataclass(frozen=True)
class Use:
    """A function that a template names: in which file of the chart, on which line."""

    word: str
    file: str
    line: int

    @property
    def why(self) -> str:
        """Say what makes the result another one."""
        if self.word in LOOKUP:
            return "reads the cluster"
        if self.word in CLOCK:
            return "reads the clock"
        return "asks a name server" if self.word in OUTSIDE else "gives another value each time"


def guarded(text: str, file: str, words: Collection[str] = ALL) -> tuple[str, list[Use]]:
    """Give a template that ends where it comes to one of these functions, and those of them that it names."""
    uses: list[Use] = []

    def action(match: re.Match[str]) -> str:
        if match[0].lstrip("{-").lstrip().startswith("/*"):
            return match[0]

        def part(inner: re.Match[str]) -> str:
            word = inner["word"]
            if word not in words:
                return inner[0]
            line = text.count("\n", 0, match.start() + inner.start()) + 1
            uses.append(Use(word, file, line))
            return "fail"

        return _PART.sub(part, match[0])

    return _ACTION.sub(action, text), uses


def met(message: str, uses: list[Use]) -> Use | None:
    """Find the function at which a rendering ended, by what Helm said; None: it ended for another reason."""
    for file, line in _places(message):
        for use in uses:
            if use.line == line and file.endswith(use.file):
                return use
    return None


def _places(message: str) -> Iterator[tuple[str, int]]:
    found = [(match["file"], int(match["line"])) for match in _PLACE.finditer(message)]
    found += [(match["file"], int(match["line"])) for match in _NESTED.finditer(message)]
    # The innermost template is told last.
    yield from reversed(found)
