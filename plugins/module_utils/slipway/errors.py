"""The one exception that carries a message for the user, and how its short id is printed."""

from __future__ import annotations

from collections.abc import Sequence


def marked(text: str, error_id: str) -> str:
    """Put the id of an error at the end of the first line, where people find it, and can search for it."""
    first, newline, rest = text.partition("\n")
    return f"{first} [{error_id}]{newline}{rest}"


def told(error_id: str, text: str) -> dict[str, str]:
    """Give what a module ends with (``fail_json``): its message, and the id in the task's result."""
    return {"msg": marked(text, error_id), "error_id": error_id}


class SlipwayError(Exception):
    """Something the user can put right.

    ``id`` names the rule that is broken: one of ``docs/reference/errors.md``, whatever the words are. ``text`` says
    what is wrong and where (file, line, key), shows the value, and names one that would work; ``message`` is the text
    with the id. Whoever catches it prints the message alone, never a traceback.
    """

    def __init__(self, error_id: str, text: str) -> None:
        super().__init__(error_id, text)
        self.id = error_id
        self.text = text

    @property
    def message(self) -> str:
        """What is printed."""
        return marked(self.text, self.id)

    def __str__(self) -> str:
        return self.message


def together(errors: Sequence[SlipwayError]) -> SlipwayError:
    """Make one error of several, one below the other; each says its own id, and the first one's is that of all."""
    first, *others = errors
    return SlipwayError(first.id, "\n".join([first.text, *(error.message for error in others)]))
