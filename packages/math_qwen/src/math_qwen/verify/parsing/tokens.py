"""Tokens, and the stream of them that the parser reads."""

from __future__ import annotations

from typing import Any, NamedTuple

from math_qwen.verify.limits import DEPTH, TooLarge, Unreadable


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


_END = Token("end")


class TokenStream:
    """Where the parser stands: the next token, the depth, and what surrounds it."""

    def __init__(self, stream: list[Token]):
        self.stream = stream
        self.place = 0
        self.depth = 0
        self.bars = 0  # inside |…| or the braces of a set, where a bar ends something
        self.integrals = 0
        self.bound: list[str] = []  # running variables, for which i is no imaginary unit
        self.peek = stream[0] if stream else _END

    def take(self) -> Token:
        token = self.peek
        self.place += 1
        self.peek = self.stream[self.place] if self.place < len(self.stream) else _END
        return token

    def at(self, kind: str, value: Any = None) -> bool:
        return self.peek.kind == kind and (value is None or self.peek.value == value)

    def ahead(self, steps: int = 1) -> Token:
        return self.stream[self.place + steps] if self.place + steps < len(self.stream) else _END

    def jump(self, place: int) -> None:
        self.place = place
        self.peek = self.stream[place] if place < len(self.stream) else _END

    def expect(self, kind: str, value: Any = None) -> Token:
        if not self.at(kind, value):
            raise Unreadable(f"{value or kind} is missing")
        return self.take()

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > DEPTH:
            raise TooLarge("brackets are nested too deeply")
