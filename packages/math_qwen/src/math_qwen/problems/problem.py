"""A problem, and when two are the same."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """`operations`: in order, (sign, left, right) with sign one of `+-*/`; two on level 3, else one. `solution`:
    GSM8K's format, lines with `<<a+b=c>>c`, then `#### answer`.
    """

    id: str
    family: str
    level: int
    language: str
    operations: tuple[tuple[str, int, int], ...]
    question: str
    solution: str
    answer: str

    @property
    def operands(self) -> tuple[int, int]:
        return self.operations[0][1:]


def messages(problem: Problem) -> list[dict[str, str]]:
    return [{"role": "user", "content": problem.question}, {"role": "assistant", "content": problem.solution}]


_SPACE_OR_PUNCTUATION = re.compile(r"[^\w+\-*/=<>^%.]+|(?<!\d)\.|\.(?!\d)|_")


def normalise(question: str) -> str:
    """Questions with the same result are one problem.

    Lower case, one spelling of widths and signs, single spaces for punctuation; digits, decimal points and signs of
    arithmetic stay.
    """
    text = unicodedata.normalize("NFKC", question).lower()
    for spelling, sign in (("×", "*"), ("÷", "/"), ("−", "-"), ("–", "-")):
        text = text.replace(spelling, sign)
    return _SPACE_OR_PUNCTUATION.sub(" ", text).strip()


def question_hash(question: str) -> int:
    """64 bits, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(normalise(question).encode(), digest_size=8).digest(), "big")
