"""Finds copies and near copies of earlier files.

Copies: by a hash of the text without white space. Near copies: by MinHash over 5-grams of words (StarCoder 2, Lozhkov
et al. 2024), 120 hashes in 20 bands. Files that share 70 % of their 5-grams meet in a band with probability 0.9, with
80 % in 299 of 300 cases; then their estimated similarity decides.

Memory: about 2.5 kB for each kept file. Files after the first `INDEX_FILES` are compared with these only.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rensa import RMinHash

HASHES, BANDS, SEED = 120, 20, 42
NGRAM = 5  # words
INDEX_FILES = 1 << 20

_WORD = re.compile(r"\w+")


def fingerprint(text: str) -> int:
    """64 bits, without white space."""
    return int.from_bytes(hashlib.blake2b("".join(text.split()).encode(), digest_size=8).digest(), "big")


def signature(text: str) -> RMinHash | None:
    """None for a text shorter than a 5-gram."""
    from rensa import RMinHash

    words = _WORD.findall(text)
    if len(words) < NGRAM:
        return None
    found = RMinHash(HASHES, SEED)
    found.update([" ".join(run) for run in zip(*(words[i:] for i in range(NGRAM)), strict=False)])
    return found


class Duplicates:
    """The files kept so far. A threshold of 1 means exact copies only."""

    def __init__(self, threshold: float):
        from rensa import RMinHashDeduplicator

        self.is_near = threshold < 1
        self._fingerprints: set[int] = set()
        self._index = RMinHashDeduplicator(threshold, HASHES, True, BANDS, SEED)

    def reason_to_drop(self, name: str, fingerprint: int, signature: RMinHash | None) -> str | None:
        """None if the file is kept; later files are then compared with it."""
        if fingerprint in self._fingerprints:
            return "copy"
        if self.is_near and signature is not None:
            if self._index.is_duplicate(name, signature):
                return "near copy"
            if len(self._fingerprints) < INDEX_FILES:
                self._index.add(name, signature)
        self._fingerprints.add(fingerprint)
        return None
