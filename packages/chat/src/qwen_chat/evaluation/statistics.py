"""How varied answers are, and how much they repeat themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NO_SPACES = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"  # kana and Chinese characters: each counts as a word
_WORD = re.compile(rf"[{_NO_SPACES}]|[^\W{_NO_SPACES}]+|[^\w\s]")


def words(text: str) -> list[str]:
    """Words, single Chinese characters and single punctuation marks, in lower case."""
    return _WORD.findall(text.lower())


def distinct(answers: Sequence[Sequence[str]], n: int) -> float:
    """distinct-n (Li et al. 2016): the share of different n-grams of words among all n-grams of all answers.

    It falls with more text: compare answers to the same prompts. 0 if no answer has n words.
    """
    grams = [gram for answer in answers for gram in _grams(answer, n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def repeated(answer: Sequence[str], n: int) -> float:
    """The share of an answer's n-grams that occur earlier in it (seq-rep-n, Welleck et al. 2020)."""
    grams = _grams(answer, n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _grams(answer: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(answer[i:] for i in range(n)), strict=False))
