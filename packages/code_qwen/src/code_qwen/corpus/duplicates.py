"""Copies and near copies of what the corpus has already.

Copies are found by a hash, up to spaces and line ends. Near copies are found by MinHash over runs of five words
(StarCoder 2's, Lozhkov et al. 2024), 120 hashes in 20 bands: of two files that share 70 % of their runs nine in ten
meet in a band, of two that share 80 % all but one in 300; then their estimated similarity decides.

Memory is about 2.5 kB for each file kept, and the index of near copies takes in no more than `INDEX_FILES`: beyond
these a file is still compared, but nothing is compared with it.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rensa import RMinHash

HASHES, BANDS, SEED = 120, 20, 42
RUN = 5  # words
INDEX_FILES = 1 << 20

_WORD = re.compile(r"\w+")


def fingerprint(text: str) -> int:
    """Of the text but for white space."""
    return int.from_bytes(hashlib.blake2b("".join(text.split()).encode(), digest_size=8).digest(), "big")


def signature(text: str) -> RMinHash | None:
    """Of runs of five words; None for a text of fewer, which only its exact copies can resemble."""
    from rensa import RMinHash

    words = _WORD.findall(text)
    if len(words) < RUN:
        return None
    found = RMinHash(HASHES, SEED)
    found.update([" ".join(run) for run in zip(*(words[i:] for i in range(RUN)), strict=False)])
    return found


class Duplicates:
    """What has been kept so far. With a threshold of 1 only copies count."""

    def __init__(self, threshold: float):
        from rensa import RMinHashDeduplicator

        self.is_near = threshold < 1
        self._fingerprints: set[int] = set()
        self._index = RMinHashDeduplicator(threshold, HASHES, True, BANDS, SEED)

    def of(self, name: str, fingerprint: int, signature: RMinHash | None) -> str | None:
        """Why this file is dropped, or None; then it is one of those that later files are compared with."""
        if fingerprint in self._fingerprints:
            return "copy"
        if self.is_near and signature is not None:
            if self._index.is_duplicate(name, signature):
                return "near copy"
            if len(self._fingerprints) < INDEX_FILES:
                self._index.add(name, signature)
        self._fingerprints.add(fingerprint)
        return None
