"""What the lexer cuts a text into."""

from __future__ import annotations

from typing import NamedTuple


class Token(NamedTuple):
    kind: str
    value: object = None
    spaced: bool = False  # white space stood before it
    raw: str = ""


def symbol(letter: str, spaced: bool) -> Token:
    """One letter: e and i are constants."""
    if letter in "ei":
        return Token("const", letter, spaced)
    return Token("name", letter, spaced)
