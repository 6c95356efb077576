"""Packed samples as the trainer's micro-batches, and the loss of held-out conversations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from qwen_shared.backend import device
from qwen_shared.data import BlendedDataset, samples_digest
from qwen_shared.model.documents import Documents
from qwen_shared.recipe import Layout
from qwen_shared.sft.packing import PackedConversations, PackedSample
from qwen_shared.training.batches import held_out_indices, micro_batch
from qwen_shared.training.engine import Engine, MicroBatch
from qwen_shared.training.validation import held_out_sums


class ConversationBatches:
    """Step s (from 1) of global batch size G sees samples [(s−1)·G, s·G) of the blend."""

    def __init__(self, blend: BlendedDataset, layout: Layout, data_rank: int, global_batch: int, micro_batch: int):
        self._blend, self._layout, self._data_rank = blend, layout, data_rank
        self._global_batch, self._micro_batch = global_batch, micro_batch

    def micro_batches(self, step: int) -> Iterator[MicroBatch]:
        """This data rank's micro-batches of one step."""
        first = (step - 1) * self._global_batch
        for m in range(self._layout.num_microbatches):
            start = first + (m * self._layout.data_parallel + self._data_rank) * self._micro_batch
            yield conversation_batch([self._blend.sample(k) for k in range(start, start + self._micro_batch)])

    def digest(self, step: int) -> str:
        """Which samples the whole global batch of a step holds, as 16 hex digits."""
        return samples_digest(self._blend, (step - 1) * self._global_batch, self._global_batch)


def conversation_batch(samples: Sequence[PackedSample], real: Sequence[bool] | None = None) -> MicroBatch:
    """Samples as one micro-batch; where not `real`, nothing of a sample is in the loss."""
    tokens, labels, masks, begins = (
        np.stack([getattr(sample, name) for sample in samples])
        for name in ("tokens", "labels", "mask", "document_starts")
    )
    if real is not None:
        masks = masks * np.array(real, dtype=np.float32)[:, None]
    loss_positions = torch.from_numpy(_loss_positions(masks)).to(device(), non_blocking=True)
    batch = micro_batch(tokens, labels, masks[None], Documents.from_starts(begins, device()))
    return replace(batch, loss_positions=loss_positions)


def _loss_positions(masks: np.ndarray) -> np.ndarray:
    """Which of the B·S positions have their logits computed: int64 [T]. Half of what is read is in no loss.

    Others are added until T is a multiple of 256. Matrix products of ever new sizes have ever new kernels prepared for
    them, which takes time, and memory that never comes back.
    """
    order = np.argsort(masks.ravel() == 0, kind="stable")  # those in the loss first
    count = max(1, int(np.count_nonzero(masks)))
    return np.sort(order[: -(-count // 256) * 256])


def held_out_loss(engine: Engine, sources: Sequence[PackedConversations], max_tokens: int | None) -> dict[str, float]:
    """val/loss (nats per token in the loss) and val/perplexity of held-out conversations, at most `max_tokens` long."""
    numbers = [(source, j) for source in sources for j in range(source.num_samples)]
    if max_tokens:  # evenly from all: samples come source by source, those of the longest conversations first
        numbers = numbers[:: -(-len(numbers) // max(1, max_tokens // sources[0].seq_length))]
    size = engine.recipe.training.micro_batch_size
    turns = held_out_indices(len(numbers), engine.layout, engine.processes.data_rank, size)

    def batches(some: list[tuple[int, ...]]) -> Iterator[MicroBatch]:
        for turn in some:
            samples = [numbers[max(number, 0)] for number in turn]
            yield conversation_batch(
                [source.epoch_sample(j) for source, j in samples], [number >= 0 for number in turn]
            )

    loss, tokens = held_out_sums(engine, turns, batches)[:, 0].tolist()
    return {"val/loss": loss / tokens, "val/perplexity": math.exp(min(loss / tokens, 700.0))}
