"""The tokens as the parser takes them one by one."""

from __future__ import annotations

from typing import Any

from math_qwen.verify.bounds import DEPTH, TooLarge, Unreadable
from math_qwen.verify.token import Token

_END = Token("end")


class Stream:
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
