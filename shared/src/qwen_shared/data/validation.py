"""Held-out text in windows, and gzip's bits per byte for comparison."""

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

    The opening token makes the model predict every token, so

        bits per byte = (sum of -ln p over `all_mask`) / ln 2 / `num_bytes`

    measures everything needed to restore the text and its document borders, like `gzip_bits_per_byte()`, which
    compresses the documents with line feeds between them. Windows do not overlap: no text before a window helps the
    model, which makes bits per byte worse.

    `limit_tokens` keeps only the first tokens, for validation at intervals.
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
                "no text is held out: there is one document only, or data.validation_fraction=0; give more documents, "
                "or data.validation_fraction=1 to evaluate on all of them"
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

        `loss_mask` is the training mask (0 if the input is `<|endoftext|>`); `all_mask` is 1 on every target. The last
        window is padded with `<|endoftext|>`, masked in both.
        """
        if not 0 <= j < self.num_windows:
            raise IndexError(f"window {j} of {self.num_windows}")
        start = j * self.seq_length
        window = self._stream[start : start + self.seq_length + 1].astype(np.int64)
        real = len(window) - 1
        window = np.pad(window, (0, self.seq_length - real), constant_values=self.eod_id)
        tokens, labels = window[:-1], window[1:]
        all_mask = (np.arange(self.seq_length) < real).astype(np.float32)
        return tokens, labels, all_mask * (tokens != self.eod_id), all_mask

    def text(self) -> str:
        targets = self._stream[1:]
        ends = np.flatnonzero(targets == self.eod_id)
        documents = np.split(targets, ends + 1)
        return "\n".join(self._tokenizer.decode(d[d != self.eod_id].tolist()) for d in documents if len(d))

    def gzip_bits_per_byte(self) -> float:
        """8 · length of the text under `gzip -9` / bytes of the text."""
        return 8 * len(gzip.compress(self.text().encode("utf-8"), 9, mtime=0)) / self.num_bytes
