"""Training problems that share a 13-gram with an evaluation set (report section 2, GPT-3's method).

Problems from templates share n-grams by design; `problems` keeps their texts apart instead.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

N = 13
SHORTEST = 8  # words; shorter texts are too common to search in others

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")


@dataclass(frozen=True)
class Match:
    """A training sample and an evaluation problem that share `ngram`."""

    training_id: str
    evaluation_id: str
    ngram: str


def words(text: str) -> list[str]:
    """Lower-cased words without punctuation; each Chinese or Japanese character is a word."""
    return _WORD.findall(_APOSTROPHE.sub("", unicodedata.normalize("NFKC", text).lower()))


class EvaluationNgrams:
    """The n-grams of evaluation problems, 8 bytes each; lookup is linear in the text.

    A problem of fewer than n words is matched as a whole: inside other texts from 8 words on, else only as a whole
    text.
    """

    def __init__(self, n: int = N):
        self.n = n
        self._ids: list[str] = []
        self._grams: dict[int, int] = {}  # hash → first problem's index
        self._short: set[int] = set()  # problem lengths below n
        self._tiny: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, problem_id: str, text: str) -> None:
        """Without solutions: their stock phrases are no sign of a shared problem."""
        found = words(text)
        if not found:
            return
        index = len(self._ids)
        self._ids.append(problem_id)
        if len(found) < SHORTEST:
            self._tiny.setdefault(_hash(found), index)
            return
        size = min(self.n, len(found))
        if size < self.n:
            self._short.add(size)
        for start in range(len(found) - size + 1):
            self._grams.setdefault(_hash(found[start : start + size]), index)

    def match(self, training_id: str, *texts: str) -> Match | None:
        """The first n-gram that a text of the sample shares with a problem, or None."""
        for text in texts:
            found = words(text)
            if len(found) < SHORTEST:
                index = self._tiny.get(_hash(found)) if found else None
                if index is not None:
                    return Match(training_id, self._ids[index], " ".join(found))
            for size in sorted({*self._short, self.n}, reverse=True):
                for start in range(len(found) - size + 1):
                    index = self._grams.get(_hash(found[start : start + size]))
                    if index is not None:
                        return Match(training_id, self._ids[index], " ".join(found[start : start + size]))
        return None


def matches(training: Iterable[tuple[str, str]], evaluation: Iterable[tuple[str, str]], n: int = N) -> list[Match]:
    """One match for each (id, text) of `training` that shares an n-gram with `evaluation`."""
    problems = EvaluationNgrams(n)
    for problem_id, text in evaluation:
        problems.add(problem_id, text)
    return [found for sample_id, text in training if (found := problems.match(sample_id, text))]


def _hash(gram: list[str]) -> int:
    # The length keeps a short problem from matching part of a longer n-gram.
    return int.from_bytes(hashlib.blake2b(f"{len(gram)} {' '.join(gram)}".encode(), digest_size=8).digest(), "big")
