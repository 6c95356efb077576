"""Training samples: endless shuffled datasets, packed to seq_length and blended by weight.

A sample is a function of seed, data and its number, so every layout and every resumed run sees the same samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from qwen_shared.data.prepare import PreparedSource
from qwen_shared.data.token_file import TokenFile
from qwen_shared.errors import UserError

# Numbers of random streams, one per use.
_DOCUMENTS, _BLOCKS = 0, 1
_BLOCK = 1024  # samples; a blend keeps its shares in every block
_ONE = 1 << 32  # weights are multiples of 2^-32, so that positions are exact integers


class PackedDataset:
    """An endless sequence of a file's documents, shuffled anew each epoch, cut into samples.

    Documents follow each other without padding (report, section 2), each with its `<|endoftext|>`. Sample i is tokens
    [i·S, i·S + S]: its last label is the next sample's first input. Samples cross document and epoch borders.
    """

    def __init__(self, token_file: TokenFile, seq_length: int, seed: int):
        if not token_file.num_tokens:
            raise UserError("the training data holds no tokens")
        self._file = token_file
        self.seq_length = seq_length
        self.seed = seed
        self._order = lru_cache(maxsize=2)(self._draw_order)

    @property
    def tokens_per_epoch(self) -> int:
        return self._file.num_tokens

    def sample(self, i: int) -> np.ndarray:
        """Sample i: int64 [S + 1]."""
        sample = np.empty(self.seq_length + 1, np.int64)
        epoch, at = divmod(i * self.seq_length, self.tokens_per_epoch)
        filled = 0
        while filled < len(sample):
            order, ends = self._order(epoch)
            place = int(np.searchsorted(ends, at, side="right"))
            while filled < len(sample) and place < len(order):
                document = self._file[int(order[place])]
                part = document[len(document) - (int(ends[place]) - at) :][: len(sample) - filled]
                sample[filled : filled + len(part)] = part
                filled += len(part)
                at += len(part)
                place += 1
            epoch, at = epoch + 1, 0
        return sample

    def _draw_order(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The epoch's documents in order, and each one's end in the epoch: two int64 [documents]."""
        order = permutation(len(self._file), self.seed, _DOCUMENTS, epoch)
        return order, np.cumsum(self._file.lengths[order], dtype=np.int64)


class BlendedDataset:
    """Datasets mixed by weight; each is read from its start in its own order, without gaps or repeats.

    Samples come in blocks of about 1,024. By the end of block b, dataset s has given floor((b+1)·1024·w_s + φ_s)
    samples: within one sample of its weight. The order in a block is drawn by (seed, b). With one dataset, sample k is
    its sample k.

    A dataset is anything with `sample(i)`. `weights` are positive and need not add up to 1.
    """

    def __init__(self, datasets: Sequence[Any], weights: Sequence[float], seed: int):
        if len(datasets) != len(weights) or not datasets:
            raise ValueError(f"{len(datasets)} datasets but {len(weights)} weights")
        if min(weights) <= 0:
            raise UserError(f"a source's weight must be positive, found {min(weights)}")
        self.datasets = list(datasets)
        self.seed = seed
        total = sum(weights)
        self._weights = [max(1, round(w / total * _ONE)) for w in weights]
        self._weights[int(np.argmax(weights))] += _ONE - sum(self._weights)
        # Without evenly spread phases, all small datasets would come in the same block.
        self._phases = [(2 * s + 1) * _ONE // (2 * len(weights)) for s in range(len(weights))]
        self._block = lru_cache(maxsize=4)(self._draw_block)

    def locate(self, k: int) -> tuple[int, int]:
        """(dataset, number in that dataset) of sample k."""
        block = k // _BLOCK
        while self._start(block + 1) <= k:
            block += 1
        while self._start(block) > k:
            block -= 1
        sources, indices = self._block(block)
        place = k - self._start(block)
        return int(sources[place]), int(indices[place])

    def sample(self, k: int) -> Any:
        source, index = self.locate(k)
        return self.datasets[source].sample(index)

    def _starts(self, block: int) -> list[int]:
        """Samples of each dataset before this block."""
        return [
            (block * _BLOCK * weight + phase) // _ONE for weight, phase in zip(self._weights, self._phases, strict=True)
        ]

    def _start(self, block: int) -> int:
        return sum(self._starts(block))

    def _draw_block(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Dataset, and number in the dataset, of each sample in the block: two int64 [samples]."""
        starts, ends = self._starts(block), self._starts(block + 1)
        counts = [end - start for start, end in zip(starts, ends, strict=True)]
        sources = np.repeat(np.arange(len(counts)), counts)
        sources = sources[permutation(len(sources), self.seed, _BLOCKS, block)]
        indices = np.empty_like(sources)
        for source, (start, end) in enumerate(zip(starts, ends, strict=True)):
            indices[sources == source] = np.arange(start, end)
        return sources, indices


def training_blend(sources: Sequence[PreparedSource], seq_length: int, seed: int) -> BlendedDataset:
    datasets = [PackedDataset(TokenFile(source.train), seq_length, seed) for source in sources]
    return BlendedDataset(datasets, [source.weight for source in sources], seed)


def samples_digest(blend: BlendedDataset, first: int, count: int) -> str:
    """16 hex digits over the (dataset, number) pairs of samples [first, first + count), in any order. Equal digests
    mean equal data, on any layout."""
    pairs = sorted(blend.locate(k) for k in range(first, first + count))
    return hashlib.sha256(repr(pairs).encode()).hexdigest()[:16]


def collate(samples: Sequence[np.ndarray], eod_id: int) -> dict[str, np.ndarray]:
    """Samples [S + 1] as `tokens` int64 [B, S], `labels` int64 [B, S] and `loss_mask` float32 [B, S].

    The mask is 0 if the input is `<|endoftext|>`, since the next token begins another document. Predicting
    `<|endoftext|>` counts (report, section 2).
    """
    stacked = np.stack(samples)
    tokens, labels = stacked[:, :-1].copy(), stacked[:, 1:].copy()
    return {"tokens": tokens, "labels": labels, "loss_mask": (tokens != eod_id).astype(np.float32)}


def permutation(n: int, *key: int) -> np.ndarray:
    """A permutation of n drawn by `key`: int64 [n]. Sorts raw words: NumPy may change `Generator.permutation`."""
    words = np.random.PCG64(np.random.SeedSequence(key)).random_raw(n)
    return np.argsort(words, kind="stable")
