"""Micro-batches of this rank. The layout decides which rank gets a sample, never in which step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from qwen_shared.backend import device
from qwen_shared.data import BlendedDataset, ValidationText, collate, samples_digest
from qwen_shared.model.context import context_slice
from qwen_shared.model.documents import Documents
from qwen_shared.recipe import Layout
from qwen_shared.training.engine import MicroBatch


class BlendBatches(ABC):
    """Step s (from 1) of global batch size G trains on samples [(s−1)·G, s·G) of a blend."""

    def __init__(self, blend: BlendedDataset, layout: Layout, data_rank: int, global_batch: int, micro_batch: int):
        self._blend, self._layout, self._data_rank = blend, layout, data_rank
        self._global_batch, self._micro_batch = global_batch, micro_batch

    @abstractmethod
    def collate(self, samples: list[Any]) -> MicroBatch: ...

    def micro_batches(self, step: int) -> Iterator[MicroBatch]:
        """This data rank's part of a step."""
        first = (step - 1) * self._global_batch
        for m in range(self._layout.num_microbatches):
            start = first + (m * self._layout.data_parallel + self._data_rank) * self._micro_batch
            yield self.collate([self._blend.sample(k) for k in range(start, start + self._micro_batch)])

    def digest(self, step: int) -> str:
        """16 hex digits that identify the samples of a step's global batch."""
        return samples_digest(self._blend, (step - 1) * self._global_batch, self._global_batch)


class PackedBatches(BlendBatches):
    """Packed pretraining samples."""

    def __init__(
        self,
        blend: BlendedDataset,
        eod_id: int,
        layout: Layout,
        data_rank: int,
        global_batch: int,
        micro_batch: int,
        isolate_documents: bool = False,
    ):
        super().__init__(blend, layout, data_rank, global_batch, micro_batch)
        self._eod_id, self._isolate_at = eod_id, eod_id if isolate_documents else None

    def collate(self, samples: list[np.ndarray]) -> MicroBatch:
        rows = collate(samples, self._eod_id)
        return _text_batch(rows["tokens"], rows["labels"], rows["loss_mask"][None], self._isolate_at)


def held_out_indices(count: int, layout: Layout, data_rank: int, size: int) -> list[tuple[int, ...]]:
    """This data rank's micro-batches of `count` held-out samples, as tuples of `size` indices; -1 is no sample.

    Every rank gets equally many, a multiple of the pipeline stages, as the interleaved schedule needs.
    """
    batches = -(-count // (size * layout.data_parallel))
    batches = -(-batches // layout.pipeline_parallel) * layout.pipeline_parallel
    indices = np.full(batches * layout.data_parallel * size, -1)
    indices[:count] = np.arange(count)
    return [tuple(batch) for batch in indices.reshape(batches, layout.data_parallel, size)[:, data_rank].tolist()]


def validation_micro_batches(
    text: ValidationText, batches: list[tuple[int, ...]], isolate_at: int | None = None
) -> Iterator[MicroBatch]:
    """Windows as micro-batches with two masks: the training mask, and every token of the text."""
    for indices in batches:
        windows = [text.window(max(i, 0)) for i in indices]
        tokens, labels, loss_mask, all_mask = (np.stack(column) for column in zip(*windows, strict=True))
        real = np.array([i >= 0 for i in indices], dtype=np.float32)[:, None]
        yield _text_batch(tokens, labels, np.stack((loss_mask * real, all_mask * real)), isolate_at)


def _text_batch(tokens: np.ndarray, labels: np.ndarray, masks: np.ndarray, isolate_at: int | None) -> MicroBatch:
    """Documents are isolated at the token `isolate_at`, if given."""
    documents = None if isolate_at is None else Documents.from_tokens(tokens, isolate_at, device())
    return micro_batch(tokens, labels, masks, documents)


def micro_batch(
    tokens: np.ndarray, labels: np.ndarray, masks: np.ndarray, documents: Documents | None = None
) -> MicroBatch:
    """Arrays [B, S], [B, S], [K, B, S] as tensors on this process's device: this context rank's part of S."""
    parts = [
        context_slice(torch.from_numpy(array), dim=-1).to(device(), non_blocking=True)
        for array in (tokens, labels, masks)
    ]
    return MicroBatch(parts[0], parts[1], parts[2], documents)
