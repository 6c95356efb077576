"""Fill-in-the-middle (FIM) on packed samples (Bavarian et al. 2022, "Efficient training of language models to fill in
the middle", section 3 and appendix D).

A document is cut at two random characters into prefix, middle and suffix:

    PSM   <prefix> prefix <suffix> suffix <middle> middle
    SPM   <prefix> <suffix> suffix <middle> prefix middle     (their variant 2: prefix and middle stay together)

If the document ends within the sample, its `<|endoftext|>` follows and marks the end of the middle.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from qwen_shared.errors import UserError
from qwen_shared.tokenizer import Tokenizer

# Prefix, middle, suffix and padding: ours, and those of Qwen2.5 and later. Padding is reserved, not used.
SPECIAL_TOKENS = (
    ("<|extra_0|>", "<|extra_1|>", "<|extra_2|>", "<|extra_3|>"),
    ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"),
)
_FIM_STREAM = 2  # the random stream's number; `samples` uses 0 and 1
_CONTEXT = 4  # tokens on each side of a cut that are re-encoded


class TokenDataset(Protocol):
    def sample(self, k: int) -> np.ndarray: ...  # int64 [S + 1]


def fim_token_ids(tokenizer: Tokenizer) -> tuple[int, int, int]:
    """Ids of prefix, middle and suffix. Raises UserError if the tokenizer lacks them."""
    for names in SPECIAL_TOKENS:
        if all(name in tokenizer.special_tokens for name in names):
            prefix, middle, suffix, _ = (tokenizer.special_tokens[name] for name in names)
            return prefix, middle, suffix
    raise UserError(
        f"fill-in-the-middle needs special tokens that this tokenizer lacks, {' '.join(SPECIAL_TOKENS[0])} or "
        f"{' '.join(SPECIAL_TOKENS[1])}: set data.fim_rate=0, or start from a model that has them"
    )


class FimDataset:
    """Rearranges each document of a sample with probability `fim_rate`, of these `fim_spm_rate` as SPM.

    Documents are the parts of a sample between `<|endoftext|>`; their order and the sample's length stay. The special
    tokens push text off the sample's end, before its last document is rearranged: `undo` gives the beginning of the
    original text.

    Cuts fall between any two characters with equal probability; tokens around a cut are re-encoded. If the tokenizer
    cannot encode both sides (partial characters), the cut moves to the token border before it.

    The result depends only on `seed`, `k` and the dataset's sample.
    """

    def __init__(self, dataset: TokenDataset, tokenizer: Tokenizer, fim_rate: float, fim_spm_rate: float, seed: int):
        self.dataset = dataset
        self.fim_rate = fim_rate
        self.fim_spm_rate = fim_spm_rate
        self.seed = seed
        self._tokenizer = tokenizer
        self._prefix, self._middle, self._suffix = fim_token_ids(tokenizer)
        self._bytes = [tokenizer.token_bytes(id) for id in range(tokenizer.vocab_size)]

    def sample(self, k: int) -> np.ndarray:
        """int64 [S + 1]."""
        original = self.dataset.sample(k)
        if not self.fim_rate:
            return original
        eod = self._tokenizer.eod_id
        documents = np.split(original, np.flatnonzero(original == eod) + 1)
        draws = self._draws(k, len(documents))
        out: list[int] = []
        for document, draw in zip(documents, draws, strict=True):
            room = len(original) - len(out)
            if not room:
                break
            ids = document.tolist()
            end = [eod] if ids and ids[-1] == eod else []
            out += self._fitted(ids[: len(ids) - len(end)], end, draw, room)
        return np.array(out, original.dtype)

    def undo(self, ids: np.ndarray) -> np.ndarray:
        """The sample in its original order without special tokens. The text is the same; ids near a cut may differ."""
        eod = self._tokenizer.eod_id
        restored: list[int] = []
        for document in np.split(np.asarray(ids), np.flatnonzero(np.asarray(ids) == eod) + 1):
            restored += self._undone(document.tolist(), eod)
        return np.array(restored, np.asarray(ids).dtype)

    def _draws(self, k: int, documents: int) -> np.ndarray:
        """Uniform in [0, 1): [documents, 4]. From raw words, which NumPy promises not to change."""
        words = np.random.PCG64(np.random.SeedSequence((self.seed, _FIM_STREAM, k))).random_raw(4 * documents)
        return (words >> np.uint64(11)).reshape(documents, 4) * 2.0**-53

    def _fitted(self, ids: list[int], end: list[int], draw: np.ndarray, room: int) -> list[int]:
        """The document and its `end`, perhaps rearranged, in at most `room` tokens; fewer only if all of it fits."""
        if draw[0] >= self.fim_rate or not ids or room < 4:
            return (ids + end)[:room]
        whole = self._rearranged(ids, draw) + end
        if len(whole) <= room:
            return whole
        # The sample's last document loses tokens at its end until it fits, <|endoftext|> first.
        size = min(len(ids), room - 3)
        found = self._rearranged(ids[:size], draw)
        while len(found) > room:
            size -= len(found) - room
            found = self._rearranged(ids[: max(1, size)], draw, at_borders=size < 1)
        if len(found) < room:  # the new encoding is shorter; cuts at token borders are not
            found = self._rearranged(ids[: room - 3], draw, at_borders=True)
            found = (found + end)[:room] if len(ids) <= room - 3 else found
        return found

    def _rearranged(self, ids: list[int], draw: np.ndarray, at_borders: bool = False) -> list[int]:
        prefix, middle, suffix = self._cut(ids, draw[2:], at_borders)
        if len(prefix) + len(middle) + len(suffix) < len(ids):  # never shorter: samples must stay full
            prefix, middle, suffix = self._cut(ids, draw[2:], at_borders=True)
        if draw[1] < self.fim_spm_rate:
            return [self._prefix, self._suffix, *suffix, self._middle, *prefix, *middle]
        return [self._prefix, *prefix, self._suffix, *suffix, self._middle, *middle]

    def _cut(self, ids: list[int], draw: np.ndarray, at_borders: bool) -> tuple[list[int], list[int], list[int]]:
        starts = _character_starts(b"".join([self._bytes[id] for id in ids]))
        first, second = sorted(int(starts[int(u * len(starts))]) for u in draw)
        rest, suffix = self._split(ids, second, at_borders)
        prefix, middle = self._split(rest, first, at_borders)
        return prefix, middle, suffix

    def _split(self, ids: list[int], at: int, at_borders: bool) -> tuple[list[int], list[int]]:
        """`ids` before and after byte `at` of their text."""
        content = [self._bytes[id] for id in ids]
        ends = np.cumsum([len(token) for token in content], dtype=np.int64)
        token = int(np.searchsorted(ends, at, side="right"))  # the token that holds byte `at`
        start = int(ends[token - 1]) if token else 0
        if at == start or token == len(ids):
            return ids[:token], ids[token:]
        if not at_borders:
            low, high = max(0, token - _CONTEXT), min(len(ids), token + 1 + _CONTEXT)
            while low and _starts_inside_character(content[low]):
                low -= 1
            while high < len(ids) and _starts_inside_character(content[high]):
                high += 1
            around = b"".join(content[low:high])
            cut = at - (int(ends[low - 1]) if low else 0)
            left, right = self._encoded(around[:cut]), self._encoded(around[cut:])
            if left is not None and right is not None:
                return ids[:low] + left, right + ids[high:]
        while token and _starts_inside_character(content[token]):
            token -= 1
        return ids[:token], ids[token:]

    def _encoded(self, text: bytes) -> list[int] | None:
        """Ids of exactly these bytes, or None if there are none."""
        try:
            ids = self._tokenizer.encode(text.decode("utf-8"))
        except UnicodeDecodeError:
            return None
        return ids if b"".join([self._bytes[id] for id in ids]) == text else None

    def _undone(self, ids: list[int], eod: int) -> list[int]:
        if not ids or ids[0] != self._prefix:
            return ids
        end = [eod] if ids[-1] == eod else []
        body = ids[1 : len(ids) - len(end)]
        suffix_at, middle_at = body.index(self._suffix), body.index(self._middle)
        prefix, suffix, middle = body[:suffix_at], body[suffix_at + 1 : middle_at], body[middle_at + 1 :]
        return prefix + middle + suffix + end  # in SPM the prefix is part of `middle` already


def _character_starts(text: bytes) -> np.ndarray:
    """Offsets of characters in UTF-8 text, and the end: int64 [characters + 1]."""
    is_start = (np.frombuffer(text, np.uint8) & 0xC0) != 0x80
    is_start[:1] = True
    return np.append(np.flatnonzero(is_start), len(text))


def _starts_inside_character(token: bytes) -> bool:
    return bool(token) and token[0] & 0xC0 == 0x80
