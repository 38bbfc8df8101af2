"""The one exception that carries a message for the user."""

from __future__ import annotations


class SlipwayError(Exception):
    """Something the user can put right.

    ``message`` says what is wrong and where (file, line, key), shows the value, and names one that would work. Whoever
    catches it prints the message alone, never a traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
