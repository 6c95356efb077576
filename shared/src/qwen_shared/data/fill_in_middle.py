"""Fill-in-the-middle on packed samples: documents rearranged so that a model learns to write what stands between.

A document is cut at two random characters into prefix, middle and suffix, and becomes (Bavarian et al. 2022,
"Efficient training of language models to fill in the middle", sections 3 and appendix D)

    PSM   <prefix> prefix <suffix> suffix <middle> middle
    SPM   <prefix> <suffix> suffix <middle> prefix middle     (their variant 2: prefix and middle stay in one piece)

Where the document ends within the sample its `<|endoftext|>` follows, which tells the model where a middle ends.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qwen_shared.errors import UserError
from qwen_shared.tokenizer import Tokenizer

# Prefix, middle, suffix and padding: ours, and what Qwen2.5 and later call theirs. Padding is reserved, not used.
SPECIAL_TOKENS = (
    ("<|extra_0|>", "<|extra_1|>", "<|extra_2|>", "<|extra_3|>"),
    ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"),
)
_FILL_IN_MIDDLE = 2  # what the random numbers are for; `samples` has 0 and 1
_AROUND = 4  # tokens on each side of a cut that are encoded anew with it


def special_ids(tokenizer: Tokenizer) -> tuple[int, int, int]:
    """Ids of prefix, middle and suffix. Raises UserError for a tokenizer without them."""
    for names in SPECIAL_TOKENS:
        if all(name in tokenizer.special_tokens for name in names):
            prefix, middle, suffix, _ = (tokenizer.special_tokens[name] for name in names)
            return prefix, middle, suffix
    raise UserError(
        f"fill-in-the-middle needs special tokens that this tokenizer has not, {' '.join(SPECIAL_TOKENS[0])} or "
        f"{' '.join(SPECIAL_TOKENS[1])}: set data.fill_in_middle.rate=0, or start from a model that has them"
    )


class FillInMiddle:
    """A stream of samples in which each document's piece is rearranged with probability `rate`.

    Pieces are what `<|endoftext|>` parts a sample into. Their order stays, each keeps its `<|endoftext|>`, and a sample
    keeps its length: what the three special tokens need is taken from the end of the sample, before its last piece is
    rearranged, so that undoing it gives the beginning of the original text and nothing else.

    Cuts fall between any two characters with equal probability; the few tokens around one are encoded anew. A cut that
    the tokenizer cannot follow (bytes that are no characters) moves to the nearest border of tokens before it.

    `stream` is anything with `sample(k)` → int64 [S + 1]. What comes out is a function of `seed`, `k` and that sample.
    """

    def __init__(self, stream: Any, tokenizer: Tokenizer, rate: float, spm_share: float, seed: int):
        self.stream = stream
        self.rate = rate
        self.spm_share = spm_share
        self.seed = seed
        self._tokenizer = tokenizer
        self._prefix, self._middle, self._suffix = special_ids(tokenizer)
        self._bytes = [tokenizer.token_bytes(id) for id in range(tokenizer.vocab_size)]

    def sample(self, k: int) -> np.ndarray:
        """Sample k: int64 [S + 1]."""
        original = self.stream.sample(k)
        if not self.rate:
            return original
        eod = self._tokenizer.eod_id
        pieces = np.split(original, np.flatnonzero(original == eod) + 1)
        draws = self._draws(k, len(pieces))
        out: list[int] = []
        for piece, draw in zip(pieces, draws, strict=True):
            room = len(original) - len(out)
            if not room:
                break
            ids = piece.tolist()
            end = [eod] if ids and ids[-1] == eod else []
            out += self._fitted(ids[: len(ids) - len(end)], end, draw, room)
        return np.array(out, original.dtype)

    def undo(self, ids: np.ndarray) -> np.ndarray:
        """A sample with its pieces as they were, the special tokens gone: the text, and perhaps other ids for it where
        it was cut."""
        eod = self._tokenizer.eod_id
        restored: list[int] = []
        for piece in np.split(np.asarray(ids), np.flatnonzero(np.asarray(ids) == eod) + 1):
            restored += self._undone(piece.tolist(), eod)
        return np.array(restored, np.asarray(ids).dtype)

    def _draws(self, k: int, pieces: int) -> np.ndarray:
        """Four numbers in [0, 1) for each piece: [pieces, 4]. Raw words: NumPy promises to keep those."""
        words = np.random.PCG64(np.random.SeedSequence((self.seed, _FILL_IN_MIDDLE, k))).random_raw(4 * pieces)
        return (words >> np.uint64(11)).reshape(pieces, 4) * 2.0**-53

    def _fitted(self, piece: list[int], end: list[int], draw: np.ndarray, room: int) -> list[int]:
        """The piece and its end, rearranged or not, in at most `room` tokens; fewer only where all of it is there."""
        if draw[0] >= self.rate or not piece or room < 4:
            return (piece + end)[:room]
        whole = self._rearranged(piece, draw) + end
        if len(whole) <= room:
            return whole
        # It is the sample's last piece then: it loses tokens at its end until it fits, its <|endoftext|> first.
        size = min(len(piece), room - 3)
        found = self._rearranged(piece[:size], draw)
        while len(found) > room:
            size -= len(found) - room
            found = self._rearranged(piece[: max(1, size)], draw, at_borders=size < 1)
        if len(found) < room:  # encoding anew took less than before; at borders of tokens nothing is encoded anew
            found = self._rearranged(piece[: room - 3], draw, at_borders=True)
            found = (found + end)[:room] if len(piece) <= room - 3 else found
        return found

    def _rearranged(self, piece: list[int], draw: np.ndarray, at_borders: bool = False) -> list[int]:
        prefix, middle, suffix = self._cut(piece, draw[2:], at_borders)
        if len(prefix) + len(middle) + len(suffix) < len(piece):  # never shorter: samples must stay full
            prefix, middle, suffix = self._cut(piece, draw[2:], at_borders=True)
        if draw[1] < self.spm_share:
            return [self._prefix, self._suffix, *suffix, self._middle, *prefix, *middle]
        return [self._prefix, *prefix, self._suffix, *suffix, self._middle, *middle]

    def _cut(self, piece: list[int], draw: np.ndarray, at_borders: bool) -> tuple[list[int], list[int], list[int]]:
        """The piece in three, at two borders of characters."""
        starts = _character_starts(b"".join([self._bytes[id] for id in piece]))
        first, second = sorted(int(starts[int(u * len(starts))]) for u in draw)
        rest, suffix = self._split(piece, second, at_borders)
        prefix, middle = self._split(rest, first, at_borders)
        return prefix, middle, suffix

    def _split(self, ids: list[int], at: int, at_borders: bool) -> tuple[list[int], list[int]]:
        """`ids` before and after byte `at` of their text."""
        content = [self._bytes[id] for id in ids]
        ends = np.cumsum([len(token) for token in content], dtype=np.int64)
        token = int(np.searchsorted(ends, at, side="right"))  # the token that byte `at` stands in
        start = int(ends[token - 1]) if token else 0
        if at == start or token == len(ids):
            return ids[:token], ids[token:]
        if not at_borders:
            low, high = max(0, token - _AROUND), min(len(ids), token + 1 + _AROUND)
            while low and _is_inside(content[low]):
                low -= 1
            while high < len(ids) and _is_inside(content[high]):
                high += 1
            around = b"".join(content[low:high])
            cut = at - (int(ends[low - 1]) if low else 0)
            left, right = self._encoded(around[:cut]), self._encoded(around[cut:])
            if left is not None and right is not None:
                return ids[:low] + left, right + ids[high:]
        while token and _is_inside(content[token]):
            token -= 1
        return ids[:token], ids[token:]

    def _encoded(self, text: bytes) -> list[int] | None:
        """Ids of these very bytes, or None where the tokenizer has none."""
        try:
            ids = self._tokenizer.encode(text.decode("utf-8"))
        except UnicodeDecodeError:
            return None
        return ids if b"".join([self._bytes[id] for id in ids]) == text else None

    def _undone(self, piece: list[int], eod: int) -> list[int]:
        if not piece or piece[0] != self._prefix:
            return piece
        end = [eod] if piece[-1] == eod else []
        body = piece[1 : len(piece) - len(end)]
        suffix_at, middle_at = body.index(self._suffix), body.index(self._middle)
        prefix, suffix, middle = body[:suffix_at], body[suffix_at + 1 : middle_at], body[middle_at + 1 :]
        return prefix + middle + suffix + end  # in SPM the prefix stands with the middle already


def _character_starts(text: bytes) -> np.ndarray:
    """Every byte of UTF-8 text where a character begins, and its end: int64 [characters + 1]. A text that begins within
    a character has its start among them."""
    is_start = (np.frombuffer(text, np.uint8) & 0xC0) != 0x80
    is_start[:1] = True
    return np.append(np.flatnonzero(is_start), len(text))


def _is_inside(token: bytes) -> bool:
    """Whether the token begins within a character."""
    return bool(token) and token[0] & 0xC0 == 0x80
