"""Holding documents out by the hash of their text or name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from qwen_shared.data.documents import Document

_LARGEST_HELD_OUT = 0.25  # of the held-out bytes: many small items say more than one giant


@dataclass
class Split:
    """Holds out documents with hash64(text) / 2^64 < `share`: the same ones everywhere, in any order.

    Beyond `max_bytes` of held-out text the rest goes to training. Copies of a held-out document are dropped
    (`copies_dropped`), so that no text is on both sides and none is validated twice. If `share` would hold out nothing,
    the document with the lowest hash is held out, provided there are at least two different ones.
    """

    share: float
    max_bytes: int
    copies_dropped: int = 0

    def __call__(self, documents: Iterable[Document]) -> Iterator[tuple[Document, bool]]:
        """(document, held out?) in the input's order, except for documents that wait."""
        held: set[int] = set()
        held_bytes = 0
        trained = False
        # While nothing is held out, the text with the lowest hash so far, and its copies, wait.
        waiting: list[Document] = []
        # Until there is a training document, held-out ones wait too: a corpus of one document is for training.
        early: list[tuple[int, Document]] = []
        waiting_hash = 2**64
        for document in documents:
            if document.held_out is not None:
                yield document, document.held_out
                continue
            content = document.text.encode("utf-8")
            hash64 = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")
            to_training: list[Document] = []
            if hash64 in held:
                self.copies_dropped += 1
            elif hash64 < self.share * 2**64 and held_bytes < self.max_bytes:
                held.add(hash64)
                held_bytes += len(content)
                if trained or waiting or self.share >= 1:
                    yield document, True
                    to_training, waiting = waiting, []
                else:
                    early.append((hash64, document))
            elif held or not self.share or hash64 > waiting_hash:
                to_training = [document]
            elif hash64 == waiting_hash:
                waiting.append(document)
            else:
                to_training, waiting, waiting_hash = waiting, [document], hash64
            for document in to_training:
                trained = True
                yield from ((first, True) for _, first in early)
                early = []
                yield document, False
        if early:  # every document is below the share: all but the highest hash are held out
            early.sort(key=lambda entry: entry[0])
            yield from ((document, True) for _, document in early[:-1])
            yield early[-1][1], False
        if waiting and trained:
            self.copies_dropped += len(waiting) - 1
            yield waiting[0], True
        else:
            yield from ((document, False) for document in waiting)


def held_out_names(
    sizes: Mapping[str, int], share: float, max_bytes: int, largest: float = _LARGEST_HELD_OUT
) -> set[str]:
    """Names that together have `share` of the bytes of `sizes`, or `max_bytes`, chosen by a hash of the name.

    None has more than `largest` of those bytes; if all have more, none has more than all of them; else the smallest is
    chosen alone.
    """
    limit = min(share * sum(sizes.values()), max_bytes)
    if limit <= 0 or len(sizes) < 2:
        return set()
    # By the name's hash, so that a new release of Python hardly changes the choice.
    order = sorted(sizes, key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest())
    for bound in (largest * limit, limit, min(sizes.values())):
        if fitting := [name for name in order if sizes[name] <= bound]:
            break
    chosen: set[str] = set()
    held = 0
    for name in fitting:
        if held >= limit:
            break
        chosen.add(name)
        held += sizes[name]
    return chosen
