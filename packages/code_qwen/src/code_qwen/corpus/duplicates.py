"""Finds copies and near copies of earlier files.

Copies: by a hash of the text without white space. Near copies: by MinHash over 5-grams of words (StarCoder 2, Lozhkov
et al. 2024), 120 hashes in 20 bands. Two files that share 70 % of their 5-grams meet in a band with probability 0.9,
with 80 % in all but one case of 300; then their estimated similarity decides.

Memory: about 2.5 kB for each kept file. The index holds at most `INDEX_FILES` files; later files are compared with
these only.
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
    """64-bit hash of the text without white space."""
    return int.from_bytes(hashlib.blake2b("".join(text.split()).encode(), digest_size=8).digest(), "big")


def signature(text: str) -> RMinHash | None:
    """MinHash of 5-grams of words; None for a shorter text."""
    from rensa import RMinHash

    words = _WORD.findall(text)
    if len(words) < NGRAM:
        return None
    found = RMinHash(HASHES, SEED)
    found.update([" ".join(run) for run in zip(*(words[i:] for i in range(NGRAM)), strict=False)])
    return found


class Duplicates:
    """The files kept so far. With a threshold of 1 only exact copies count."""

    def __init__(self, threshold: float):
        from rensa import RMinHashDeduplicator

        self.is_near = threshold < 1
        self._fingerprints: set[int] = set()
        self._index = RMinHashDeduplicator(threshold, HASHES, True, BANDS, SEED)

    def reason_to_drop(self, name: str, fingerprint: int, signature: RMinHash | None) -> str | None:
        """Why to drop this file, or None: then later files are compared with it."""
        if fingerprint in self._fingerprints:
            return "copy"
        if self.is_near and signature is not None:
            if self._index.is_duplicate(name, signature):
                return "near copy"
            if len(self._fingerprints) < INDEX_FILES:
                self._index.add(name, signature)
        self._fingerprints.add(fingerprint)
        return None
