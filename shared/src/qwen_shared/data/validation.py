"""Held-out text as windows, and what it costs gzip: the bar that bits per byte is held against."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from qwen_shared.data.prepare import PreparedSource
from qwen_shared.data.token_file import TokenFile
from qwen_shared.errors import UserError

if TYPE_CHECKING:
    from qwen_shared.tokenizer import Tokenizer


class ValidationText:
    """The held-out documents of all sources, in order: `<|endoftext|>`, then every document with its own at the end.

    The first window begins with that opening token, so the model is asked for every token of the text, the first of
    each document and the end of each document included. Then

        bits per byte = (sum of -ln p over `all_mask`) / ln 2 / `num_bytes`

    charges the model for everything that a reader needs to get the text back, documents' borders included, and may
    honestly be compared with `gzip_bits_per_byte()`, which pays for the same documents with a line feed between them.
    Windows do not overlap: what a model knows of the text before a window is lost to it, which counts against it.

    `limit_tokens` keeps the first so many tokens only, for validation at intervals; bytes and text follow suit.
    """

    def __init__(
        self,
        sources: Sequence[PreparedSource],
        tokenizer: Tokenizer,
        seq_length: int,
        limit_tokens: int | None = None,
    ):
        parts = [TokenFile(source.validation).tokens for source in sources]
        targets = np.concatenate([np.asarray(part, np.int32) for part in parts])[:limit_tokens]
        if not len(targets):
            raise UserError(
                "no text is held out: there is one document only, or data.validation_share=0; give more documents, "
                "or data.validation_share=1 to evaluate on all of them"
            )
        self._tokenizer = tokenizer
        self.eod_id = tokenizer.eod_id
        self._stream = np.concatenate([np.array([self.eod_id], np.int32), targets])  # [num_tokens + 1]
        self.seq_length = seq_length
        self.num_tokens = len(targets)
        self.num_windows = -(-self.num_tokens // seq_length)
        self.num_bytes = int(np.asarray(tokenizer.token_byte_lengths())[targets].sum(dtype=np.int64))

    def window(self, j: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Window j: tokens int64 [S], labels int64 [S], loss_mask float32 [S], all_mask float32 [S].

        `loss_mask` is the one of training (0 where the input is `<|endoftext|>`); `all_mask` is 1 on every target of
        the text. The last window is filled up with `<|endoftext|>`, masked in both.
        """
        if not 0 <= j < self.num_windows:
            raise IndexError(f"window {j} of {self.num_windows}")
        start = j * self.seq_length
        piece = self._stream[start : start + self.seq_length + 1].astype(np.int64)
        real = len(piece) - 1
        piece = np.pad(piece, (0, self.seq_length - real), constant_values=self.eod_id)
        tokens, labels = piece[:-1], piece[1:]
        all_mask = (np.arange(self.seq_length) < real).astype(np.float32)
        return tokens, labels, all_mask * (tokens != self.eod_id), all_mask

    def text(self) -> str:
        """The documents, decoded, with a line feed between them."""
        targets = self._stream[1:]
        ends = np.flatnonzero(targets == self.eod_id)
        documents = np.split(targets, ends + 1)
        return "\n".join(self._tokenizer.decode(d[d != self.eod_id].tolist()) for d in documents if len(d))

    def gzip_bits_per_byte(self) -> float:
        """8 · length of the text under `gzip -9` / bytes of the text."""
        return 8 * len(gzip.compress(self.text().encode("utf-8"), 9, mtime=0)) / self.num_bytes
