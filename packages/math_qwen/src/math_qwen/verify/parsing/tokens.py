"""Tokens, and the stream that the parser reads."""

from __future__ import annotations

from typing import Any, NamedTuple

from math_qwen.verify.limits import DEPTH, TooLarge, Unparsable


class Token(NamedTuple):
    kind: str
    value: Any = None
    spaced: bool = False  # after white space
    raw: str = ""


def symbol(letter: str, spaced: bool) -> Token:
    """e and i are constants."""
    if letter in "ei":
        return Token("const", letter, spaced)
    return Token("name", letter, spaced)


_END = Token("end")


class TokenStream:
    def __init__(self, stream: list[Token]):
        self.stream = stream
        self.place = 0
        self.depth = 0
        self.bars = 0  # depth of |…| and set braces, in which a bar closes or separates
        self.integrals = 0
        self.bound: list[str] = []  # running variables: an i among them is not imaginary
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
            raise Unparsable(f"{value or kind} is missing")
        return self.take()

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > DEPTH:
            raise TooLarge("brackets are nested too deeply")
